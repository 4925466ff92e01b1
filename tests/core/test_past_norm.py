"""The generator behind its own norm of latents, which is where ProGAN's released tools move them."""

import dataclasses
from threading import Thread

import pytest
import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core.hessians import hessians
from orthogen.layers.pixel_norm import PixelNorm, pixel_norm
from orthogen.reporting.drawing import traversal
from vectors import vectors


def progan(dim: int = 3, **fields: bool) -> og.Generator:
    model = og.ProGan(og.Normal(dim), resolution=8, channel_max=4, **fields)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return model.adapt(model.build()["generator"].eval())


class Normed(nn.Module):
    """Pixels s_i z_i of a normalized latent z."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.latent_norm = PixelNorm()
        self.scale = nn.Parameter(scale)

    def forward(self, z: Tensor) -> Tensor:
        return (self.latent_norm(z) * self.scale)[:, None, None, :]


def normed(*scale: float) -> og.Generator:
    return og.adapt(Normed(torch.tensor(scale)), og.Normal(len(scale)))


def test_images_are_the_same_where_latents_have_the_norm_already():
    G = progan()
    behind = G.past_norm()
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(behind(pixel_norm(z)), G(z), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(behind(z), G(z))
    assert behind.latent == og.Sphere(3)
    assert behind.digest == G.digest
    assert not G.module.latent_norm._forward_hooks  # and nothing stays behind


@pytest.mark.parametrize("kind", ["raw", "normed"])
def test_the_network_sees_the_latents_of_the_released_traversals(kind):
    """``normed`` is the release as it is, ``raw`` its ``--interpolate_pre_norm``."""
    expected = torch.tensor(vectors("interp_zs")[kind])
    seen: list[Tensor] = []
    G = progan().past_norm() if kind == "normed" else progan()
    layer = G.module.b4 if kind == "normed" else G.module.latent_norm
    layer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    whole = expected.view(3, 2, 5, 3)  # a base latent's own component shows where another one moves
    base = torch.stack([whole[1, :, 0, 0], *whole[0, :, 0, 1:].T], dim=1).float()
    traversal(G, z=base, values=torch.linspace(-2, 2, 5))
    torch.testing.assert_close(torch.cat(seen).double(), expected, rtol=0, atol=1e-6)


def test_traversals_can_be_drawn_behind_it(tmp_path):
    G, seen = progan(), []
    G.module.b4.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    for past in (False, True):
        og.traverse(G, to=tmp_path, gif=False, samples=2, steps=3, past_norm=past)
        lengths = torch.cat(seen).square().mean(dim=1)
        assert torch.allclose(lengths, torch.ones(()), atol=1e-4) is not past
        seen.clear()


def test_a_network_without_the_norm_takes_latents_that_have_it():
    G = progan(latent_norm=False, first_activation=False)
    z = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(G.past_norm()(z), G(z))
    lengths = G.past_norm().latent.sample(4, rng=torch.Generator().manual_seed(0)).square().mean(dim=1)
    torch.testing.assert_close(lengths, torch.ones(4))


def test_what_has_no_such_layer_is_refused_in_a_line():
    with pytest.raises(ValueError, match=r"^Linear has no layer latent_norm: there is no norm of latents to leave out"):
        og.adapt(nn.Linear(2, 2), og.Normal(2)).past_norm()
    uniform = dataclasses.replace(normed(1.0, 2.0), latent=og.Uniform(2))
    with pytest.raises(ValueError, match=r"past_norm takes latents of N\(0, I\) to the sphere, and these are of Unif"):
        uniform.past_norm()


# ---------------------------------------------------------------------------------------------- protocols by name
def test_activeness_behind_the_norm_has_a_closed_form():
    G = normed(1.0, 3.0, 0.5)
    score = og.Activeness.hessian_penalty()(G)
    # -2 s, 0, 2 s in one of three pixels; in front of the norm the others change too, and less
    assert score.parts["activeness"] == pytest.approx([4 / 3, 12.0, 1 / 3], rel=1e-4)
    assert (score.n, score.protocol["points"]) == (300, [-2.0, 0.0, 2.0])
    assert score.protocol["norm of latents"] == "left out, and had before"
    before = og.Activeness()(G)
    assert "norm of latents" not in before.protocol
    assert before.parts["activeness"][1] < 11


def test_activeness_of_the_simple_gan_is_as_it_is():
    assert og.Activeness.simple_gan() == og.Activeness(300, span=(-2.0, 2.0))


def test_diagonality_behind_the_norm():
    model = normed(1.0, 2.0)
    curved = og.adapt(model.module, og.Normal(2), call=lambda m, z: m(z).sin())
    score = og.Diagonality.hessian_penalty()(curved)
    assert (score.value, score.n, score.protocol["step"]) == (1.0, 100, 0.1)
    assert score.protocol["norm of latents"] == "left out, and had before"
    assert og.Diagonality(samples=20)(curved).value < 1  # the norm mixes what comes before it


def test_the_vp_score_draws_its_pairs_behind_the_norm():
    G, seen = normed(1.0, 1.0), []
    G.module.register_forward_hook(lambda module, args, images: seen.append((args[0], images)))
    protocol = og.VariationScore.progan()
    assert (protocol.input, protocol.lr, protocol.batch, protocol.epochs) == ("concat", 5e-4, 32, 300)
    assert (protocol.train_share, protocol.prior, protocol.jpeg_quality) == (0.1, (-2.0, 2.0), 75)
    assert (protocol.pairs, protocol.readout, protocol.predictors) == (10_000, "best", 3)
    quick = dataclasses.replace(protocol, pairs=40, epochs=1, predictors=1, jpeg_quality=None)
    tall = dataclasses.replace(G, call=lambda module, z: module(z).repeat(1, 1, 8, 4))
    score = quick(tall)
    assert score.protocol["norm of latents"] == "left out, and had before"
    for z, images in seen:
        assert z.abs().max() <= 2
        torch.testing.assert_close(images.flatten(1), z)


def test_the_vp_score_of_dsprites():
    protocol = og.VariationScore.dsprites()
    assert (protocol.input, protocol.lr, protocol.epochs) == ("difference", 5e-4, 300)
    assert (protocol.train_share, protocol.prior, protocol.past_norm) == (0.01, (-2.0, 2.0), False)


# ---------------------------------------------------------------------------------------------- Hessians
def test_hessians_equal_the_golden_ones():
    golden = vectors("activeness_diag")
    weight, z = torch.tensor(golden["Wa"]), torch.tensor(golden["z"])[:3]
    image = lambda m, z: torch.tanh(z @ weight + 0.3 * z**2 @ weight.flip(0)).reshape(-1, 1, 2, 5)  # noqa: E731
    f = og.probe(og.adapt(nn.Identity(), og.Normal(4), call=image))
    expected = torch.tensor(golden["hessian"])
    pairs = []
    for i, j, entry in hessians(f, z, 0.1):
        torch.testing.assert_close(entry, expected[..., i, j], rtol=1e-10, atol=1e-11)
        pairs.append((i, j))
    assert len(set(pairs)) == 10


def test_another_thread_has_the_norm_meanwhile():
    G = progan()
    z = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    own, seen = G(z), []

    def look(module: nn.Module, args: object) -> None:
        if not seen:
            seen.append(None)
            thread = Thread(target=lambda: seen.append(G(z)))
            thread.start()
            thread.join()

    G.module.latent_norm.register_forward_pre_hook(look)  # in the middle of a pass without the norm
    assert not torch.allclose(G.past_norm()(z), own)
    torch.testing.assert_close(seen[1], own)
