import pytest
import torch
from torch import nn

import orthogen as og
from given_latents import Given
from orthogen.metrics.effect_size import EffectSize


def image(scale: torch.Tensor, latent: og.Normal | og.Uniform | None = None) -> og.Generator:
    latent = og.Normal(len(scale)) if latent is None else latent
    return og.adapt(nn.Identity(), latent, call=lambda m, z: (z * scale)[:, None, None, :])


def test_a_linear_generator_has_a_closed_form():
    scale = torch.tensor([1.0, 3.0, 0.0, 2.0])
    score = EffectSize(samples=10)(image(scale))
    # s per standard deviation in one of four pixels: s / sqrt 4
    assert score.parts["effect_size"] == pytest.approx((scale / 2).tolist(), rel=1e-5)
    assert score.parts["stderr"] == pytest.approx([0.0] * 4, abs=1e-5)
    assert score.value == pytest.approx(0.75, rel=1e-5)
    assert (score.name, score.n, score.parts["deviation"]) == ("Effect size", 10, [1.0] * 4)


@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
def test_it_counts_in_standard_deviations_whatever_the_latent_the_length_or_the_step(step):
    scale = torch.tensor([1.0, 3.0])
    G = image(scale, og.Uniform(2, -3.0, 3.0))
    found = EffectSize(samples=4, step=step)(G, og.Directions(torch.tensor([[5.0, 0.0], [0.0, 0.1]]), names=("a", "b")))
    assert found.parts["effect_size"] == pytest.approx((scale * 3**0.5 / 2**0.5).tolist(), rel=1e-4)
    assert found.parts["directions"] == ["a", "b"]


def test_blocks_have_standard_deviations_of_their_own():
    latent = og.Blocks(wide=og.Uniform(1, -6.0, 6.0), narrow=og.Normal(1))
    score = EffectSize(samples=4)(image(torch.ones(2), latent))
    assert score.parts["deviation"] == pytest.approx([12**0.5, 1.0])
    assert score.parts["effect_size"] == pytest.approx([6**0.5, 0.5**0.5], rel=1e-5)


def test_a_square_has_the_effect_and_the_error_of_its_slope():
    # (z + d/2)² - (z - d/2)² = 2 z d: the root mean square of that, and its error to first order
    z = torch.randn(50, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    G = og.adapt(nn.Identity(), Given(z), call=lambda m, z: z.square()[:, None, None, :])
    score = EffectSize(samples=50)(G)
    squares = (2 * z[:, 0] * score.parts["deviation"][0]).square()
    assert score.value == pytest.approx(squares.mean().sqrt().item())
    expected = squares.std() / 50**0.5 / (2 * squares.mean().sqrt())
    assert score.stderr == pytest.approx(expected.item())
    assert score.parts["stderr"] == pytest.approx([score.stderr])


def test_the_sum_of_squares_of_a_linear_map_does_not_depend_on_the_basis():
    G = og.adapt(nn.Linear(5, 12, bias=False), og.Normal(5), call=lambda m, z: m(z).reshape(-1, 1, 3, 4))
    turned = og.Directions(torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1))).Q)
    totals = [
        sum(e**2 for e in EffectSize(samples=3)(G, directions).parts["effect_size"]) for directions in (None, turned)
    ]
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)


def test_batches_do_not_matter():
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Unflatten(1, (2, 2, 2)))
    G = og.adapt(net, og.Normal(3))
    one, two = (EffectSize(samples=20, batch=b)(G, rng=torch.Generator().manual_seed(3)) for b in (3, 20))
    assert one.value == pytest.approx(two.value, rel=1e-5)
    assert one.stderr == pytest.approx(two.stderr, rel=1e-4)


def test_mistakes():
    with pytest.raises(ValueError, match="give at least 2 samples, 1 per pass"):
        EffectSize(samples=1)
    with pytest.raises(ValueError, match="give a positive number of standard deviations, such as 1"):
        EffectSize(step=0.0)
    with pytest.raises(ValueError, match="images are not finite at some latents"):
        EffectSize(samples=2)(image(torch.tensor([1.0, float("nan")])))
