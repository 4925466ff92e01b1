import numpy as np
import pytest
import torch
from torch import nn

import orthogen as og
from given_latents import Given
from orthogen.metrics.activeness import Activeness
from vectors import vectors


def test_equals_the_golden_scores():
    golden = vectors("activeness_diag")
    weight, z = torch.tensor(golden["Wa"]), torch.tensor(golden["z"])
    G = og.adapt(
        nn.Identity(),
        Given(z),
        call=lambda m, z: torch.tanh(z @ weight + 0.3 * z**2 @ weight.flip(0)).reshape(-1, 1, 2, 5),
    )
    score = Activeness(samples=30, batch=7)(G)
    np.testing.assert_allclose(score.parts["activeness"], golden["activeness"], rtol=1e-10)
    assert score.value == pytest.approx(golden["activeness"].mean())


def test_equals_the_other_golden_scores():
    golden = vectors("activeness")
    weight, z = torch.tensor(golden["W"]), torch.tensor(golden["z"])
    G = og.adapt(nn.Identity(), Given(z), call=lambda m, z: torch.tanh(z @ weight).reshape(-1, 3, 4, 4))
    found = Activeness()(G).parts["activeness"]
    np.testing.assert_allclose(found, golden["scores"], rtol=2e-6, atol=1e-12)


def image(scale: torch.Tensor) -> og.Generator:
    return og.adapt(nn.Identity(), og.Normal(len(scale)), call=lambda m, z: (z * scale)[:, None, None, :])


def test_linear_generator_has_a_closed_form():
    scale = torch.tensor([1.0, 3.0, 0.0, 2.0])
    score = Activeness(samples=10)(image(scale))
    # -2 s, 0, 2 s in one of four pixels: variance 4 s² / 4
    assert score.parts["activeness"] == pytest.approx((scale**2).tolist(), rel=1e-5)
    assert score.parts["stderr"] == pytest.approx([0.0] * 4, abs=1e-5)
    assert score.parts["effective"] == pytest.approx(14**2 / (1 + 81 + 16), rel=1e-5)
    assert score.protocol["points"] == [-2.0, 0.0, 2.0]
    assert (score.n, score.name) == (10, "Activeness")


def test_along_directions():
    scale = torch.tensor([1.0, 3.0])
    axes = Activeness(samples=5)(image(scale))
    along = Activeness(samples=5)(image(scale), og.Directions(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), names=("b", "a")))
    assert along.parts["activeness"] == pytest.approx(axes.parts["activeness"][::-1], rel=1e-5)
    assert along.parts["directions"] == ["b", "a"]
    # the component along a diagonal moves both pixels by 2 s / sqrt 2 to either side
    diagonal = og.Directions(torch.tensor([[1.0, 1.0]]) / 2**0.5)
    assert Activeness(samples=5)(image(scale), diagonal).value == pytest.approx((2 * 1 + 2 * 9) / 2, rel=1e-5)


def test_span_and_reproducible():
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Unflatten(1, (2, 2, 2)))
    G = og.adapt(net, og.Uniform(3, 0.0, 1.0))
    assert Activeness(samples=4)(G).protocol["points"] == [0.0, 0.5, 1.0]
    assert Activeness(samples=4, span=(-1.0, 1.0))(G).protocol["points"] == [-1.0, 0.0, 1.0]
    one, two = (Activeness(samples=20, batch=b)(G, rng=torch.Generator().manual_seed(3)) for b in (3, 20))
    assert one.value == pytest.approx(two.value, rel=1e-5)
    assert one.stderr == pytest.approx(two.stderr, rel=1e-4)
    assert one.stderr > 0


def test_mistakes():
    with pytest.raises(ValueError, match="give at least 2 samples"):
        Activeness(samples=1)
    with pytest.raises(ValueError, match="directions are 3 wide, the latent is 2 wide"):
        Activeness()(image(torch.ones(2)), og.Directions.coordinates(3))
    with pytest.raises(ValueError, match="direction 'b' is zero or not finite; leave it out"):
        Activeness()(image(torch.ones(2)), og.Directions(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), names=("a", "b")))
    with pytest.raises(ValueError, match="images are not finite at some latents; use an earlier checkpoint"):
        Activeness(samples=2)(image(torch.tensor([1.0, float("nan")])))
    for span in ((2.0, 2.0), (2.0, -2.0), (0.0, float("inf"))):
        with pytest.raises(ValueError, match="give the lowest value, then a higher one, or None for the latent's own"):
            Activeness(span=span)


class Grainy(nn.Module):
    """Noise that is large beside what the latent does, one draw per image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 16, generator=torch.Generator().manual_seed(0)))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(0.3 * z @ self.weight + 2 * torch.randn(len(z), 1)).view(-1, 1, 4, 4)


def test_every_batch_has_noise_of_its_own_and_the_standard_error_sees_it():
    G = og.adapt(Grainy(), og.Normal(4))
    scores = [Activeness(samples=160)(G, rng=torch.Generator().manual_seed(i)) for i in range(60)]
    spread = torch.tensor([score.value for score in scores]).std().item()
    claimed = torch.tensor([score.stderr for score in scores]).mean().item()
    assert claimed == pytest.approx(spread, rel=0.3)  # 60 repeats tell a standard deviation to 9 %


def test_the_length_of_a_direction_does_not_matter():
    basis = torch.tensor([[10.0, 0.0], [0.1, 0.1]])
    found = [Activeness(samples=5)(image(torch.tensor([1.0, 3.0])), og.Directions(scale * basis)) for scale in (1, 7)]
    assert found[0].parts["activeness"] == pytest.approx([2.0, (2 * 1 + 2 * 9) / 2], rel=1e-5)
    assert found[1].parts["activeness"] == pytest.approx(found[0].parts["activeness"], rel=1e-5)


def test_every_block_has_its_own_span():
    G = og.adapt(nn.Identity(), og.Blocks(a=og.Normal(1), b=og.Uniform(1)), call=lambda m, z: z[:, None, None, :])
    score = Activeness(samples=5)(G)
    assert score.parts["activeness"] == pytest.approx(
        [2.0, 0.5], rel=1e-5
    )  # -2, 0, 2 and -1, 0, 1 in one of two pixels
    assert score.protocol["points"] == {"a": [-2.0, 0.0, 2.0], "b": [-1.0, 0.0, 1.0]}
    diagonal = Activeness(samples=5)(G, og.Directions(torch.ones(1, 2)))
    assert diagonal.value == pytest.approx(1.5**2 / 2, rel=1e-5)
    given = Activeness(samples=5, span=(-2.0, 2.0))(G)
    assert given.parts["activeness"] == pytest.approx([2.0, 2.0], rel=1e-5)


def test_held_blocks_are_no_components():
    """x = noise * layer: of noise times 3, of mean square 9, the layer's activeness is 4 * 9 over two pixels."""
    latent = og.Blocks(noise=og.Normal(2), layer0=og.Normal(2))
    G = og.adapt(nn.Identity(), latent, call=lambda m, z: (z[:, :2] * z[:, 2:])[:, None, None])
    score = Activeness(samples=20_000, held={"noise": 3.0})(G, rng=torch.Generator().manual_seed(0))
    assert score.parts["directions"] == ["layer0, dim 0", "layer0, dim 1"]
    assert score.parts["activeness"] == pytest.approx([18.0, 18.0], rel=0.05)
    assert score.protocol["held"] == {"noise": 3.0}


def test_eigengans_layers_by_name():
    model = og.EigenGan(resolution=8, n_basis=3, noise_dim=4, base_channels=2, max_channels=4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        G = model.adapt(model.build()["generator"])
    G.module.blocks[0].projection.L.data[1] = 0
    score = Activeness.eigengan()(G)
    assert score.parts["directions"] == ["layer0, dim 0", "layer0, dim 1", "layer0, dim 2"]
    assert [a > 0 for a in score.parts["activeness"]] == [True, False, True]
