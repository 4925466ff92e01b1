import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import orthogen as og
from given_latents import Given
from orthogen.metrics._moves import points_along
from orthogen.metrics.linearity import Linearity


def image(*pixels) -> og.Generator:
    """Pixels as functions of the latent, one coordinate for each."""
    return og.adapt(
        nn.Identity(),
        og.Normal(len(pixels)),
        call=lambda m, z: torch.stack([f(z[:, i]) for i, f in enumerate(pixels)], dim=1)[:, None, None],
    )


def test_straight_even_and_cubic_ways_have_closed_forms():
    score = Linearity(samples=5)(image(lambda a: 3 * a - 1, lambda a: a**2, lambda a: a**3))
    # t = -2 ... 2: (sum t⁴)² / (sum t² sum t⁶) = 34² / (10 · 130)
    assert score.parts["linearity"] == pytest.approx([1.0, 0.0, 34**2 / 1300], abs=1e-6)
    assert score.value == pytest.approx((1 + 34**2 / 1300) / 3)
    assert score.parts["stderr"] == pytest.approx([0.0] * 3, abs=1e-6)
    assert score.protocol["points"] == [-2.0, -1.0, 0.0, 1.0, 2.0]


def test_it_is_the_explained_variance_of_a_regression_of_every_pixel_on_the_step():
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.randn(3, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    G = og.adapt(nn.Identity(), Given(z), call=lambda m, z: torch.tanh(z @ weight).reshape(-1, 1, 2, 5))
    t = np.linspace(-2, 2, 7)
    linear = total = 0.0
    for row in z.numpy():
        rows = np.tile(row, (7, 1))
        rows[:, 1] = t
        images = np.tanh(rows @ weight.numpy())
        for pixel in images.T:
            variance = pixel.var() * len(t)
            linear += stats.linregress(t, pixel).rvalue ** 2 * variance
            total += variance
    score = Linearity(samples=6, steps=7, span=(-2.0, 2.0))(G)
    assert score.parts["linearity"][1] == pytest.approx(linear / total, rel=1e-5)


def test_latents_that_change_much_count_for_more():
    # the same way bent in one latent and straight, ten times as long, in the other
    z = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    G = og.adapt(
        nn.Identity(),
        Given(z),
        call=lambda m, z: torch.where(z[:, 1:] > 0.5, 10 * z[:, :1], z[:, :1] ** 2)[:, None, None],
    )
    score = Linearity(samples=2, span=(-2.0, 2.0))(G, og.Directions(torch.tensor([[1.0, 0.0]])))
    assert score.value == pytest.approx(1000 / (1000 + 14))  # sums of squares of 10 t, and of t² less its mean


def test_dead_directions_are_left_out_and_named():
    score = Linearity(samples=5)(image(lambda a: a, lambda a: 0 * a))
    assert score.value == pytest.approx(1.0)
    assert score.parts["linearity"] == [pytest.approx(1.0), None]
    assert (score.parts["dead"], score.parts["stderr"][1]) == (["1"], None)
    with pytest.raises(ValueError, match="none of the directions changes the image"):
        Linearity(samples=5)(image(lambda a: 0 * a))


def test_a_shift_of_brightness_is_straight_and_an_object_on_its_way_is_not():
    place = torch.linspace(-3, 3, 32)

    def call(m, z):
        return (torch.exp(-4 * (place - z[:, :1]) ** 2) + z[:, 1:])[:, None, None]

    moving, brighter = Linearity(samples=8)(og.adapt(nn.Identity(), og.Normal(2), call=call)).parts["linearity"]
    assert brighter == pytest.approx(1.0)
    assert moving < 0.3


def test_a_direction_and_its_opposite_are_the_same_way_where_latents_do_not_lie_around_zero():
    G = og.adapt(nn.Identity(), og.Uniform(1, 0.0, 1.0), call=lambda m, z: z[:, :, None, None].relu())
    found = Linearity(samples=4)(G, og.Directions(torch.tensor([[1.0], [-1.0]])))
    assert found.parts["linearity"] == pytest.approx([1.0, 1.0])  # the relu is of no effect on latents of this range


def test_styles_are_moved_around_their_mean_by_their_own_deviation():
    model = og.StyleGan2(resolution=8, dim_z=4, dim_w=4, channel_base=32, space="w")
    G = model.adapt(model.build()["generator"])
    with torch.no_grad():  # styles now lie around 700
        [part for part in G.module.mapping.modules() if getattr(part, "bias", None) is not None][-1].bias.add_(7e4)
    w = G.latent.sample(2000, rng=torch.Generator().manual_seed(0))
    points = points_along(G.latent, torch.eye(4), None, 3)
    assert w.mean() > 100
    assert (points[:, 1] - w.mean(dim=0)).abs().max() < 0.2 * w.std(dim=0).max()
    half = 2 * w.var(dim=0).mean().sqrt().item()
    assert (points[:, 2] - points[:, 1]).tolist() == pytest.approx([half] * 4, rel=0.1)
    assert Linearity(samples=2, steps=3)(G).protocol["points"][2] == pytest.approx(half, rel=0.1)


def test_mistakes():
    for fields in ({"samples": 1}, {"steps": 2}, {"batch": 0}):
        with pytest.raises(ValueError, match=r"3 steps \(two are always on a line\)"):
            Linearity(**fields)
    with pytest.raises(ValueError, match="give the lowest value, then a higher one"):
        Linearity(span=(1.0, 1.0))
