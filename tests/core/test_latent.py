"""Latent distributions: moments, ranges, seeds, and blocks."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthogen.core.latent import Blocks, Latent, Normal, Sphere, TruncatedNormal, Uniform

ALL = [Normal(5), Uniform(3, -2.0, 0.5), Sphere(16), Sphere(4, 3.0), Blocks(a=Normal(2), b=Sphere(4), c=Uniform(1))]
ALL += [TruncatedNormal(3, 0.7)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("latent", ALL, ids=repr)
def test_samples(latent):
    before = torch.get_rng_state()
    z = latent.sample(7, rng=seeded())
    assert (z.shape, z.dtype) == ((7, latent.dim), torch.float32)
    assert torch.equal(z, latent.sample(7, rng=seeded()))
    assert not torch.equal(z, latent.sample(7, rng=seeded(1)))
    assert not torch.equal(latent.sample(7), latent.sample(7))
    assert latent.sample(0).shape == (0, latent.dim)
    assert torch.equal(torch.get_rng_state(), before)


def test_moments():
    n, tolerance = 40_000, 5 / math.sqrt(40_000)  # five standard errors
    z = Normal(2).sample(n, rng=seeded())
    assert z.mean(0).abs().max() < tolerance
    assert (z.var(0) - 1).abs().max() < tolerance * math.sqrt(2)
    u = Uniform(2, -2.0, 4.0).sample(n, rng=seeded())
    assert (u >= -2).all()
    assert (u <= 4).all()
    assert (u.mean(0) - 1).abs().max() < tolerance * math.sqrt(3)  # variance (4 + 2)^2 / 12 = 3
    assert (u.var(0) - 3).abs().max() < 0.1
    s = Sphere(3, 2.0).sample(n, rng=seeded())
    assert torch.allclose(s.norm(dim=1), torch.tensor(2.0))
    assert s.mean(0).abs().max() < 2 * tolerance
    assert (s.T @ s / n - torch.eye(3) * 4 / 3).abs().max() < 0.05


def test_sphere_of_no_radius_has_that_of_a_normal_vector():
    assert torch.allclose(Sphere(9).sample(5, rng=seeded()).norm(dim=1), torch.tensor(3.0))


def test_span():
    assert Normal(3).span == (-2.0, 2.0)
    assert Uniform(3, -1.0, 5.0).span == (-1.0, 5.0)
    assert Sphere(16).span == (-2.0, 2.0)
    assert Sphere(16, 2.0).span == (-1.0, 1.0)
    assert Blocks(a=Uniform(1, -3.0, 0.0), b=Normal(1)).span == (-3.0, 2.0)


@pytest.mark.parametrize("latent", ALL, ids=repr)
def test_the_spread_along_a_direction_is_that_of_samples(latent):
    rows = torch.randn(3, latent.dim, generator=seeded(1))
    z = latent.sample(40_000, rng=seeded())
    torch.testing.assert_close(latent.spread(rows), (z @ rows.T).std(dim=0), rtol=0.02, atol=0.0)
    torch.testing.assert_close(Latent.spread(latent, rows), latent.spread(rows), rtol=0.03, atol=0.0)  # by sampling
    assert latent.spread(rows.double()).dtype == torch.float64


@pytest.mark.parametrize("latent", ALL, ids=repr)
def test_the_center_is_the_mean_of_samples(latent):
    z = latent.sample(40_000, rng=seeded())
    torch.testing.assert_close(z.mean(dim=0), latent.center(), rtol=0.0, atol=0.04)


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 6), min_size=1, max_size=5))
def test_blocks_split_and_join(widths):
    latent = Blocks({name: Normal(dim) for name, dim in widths.items()})
    z = latent.sample(3, rng=seeded())
    parts = latent.split(z)
    assert list(parts) == list(widths)
    assert [part.shape[1] for part in parts.values()] == list(widths.values())
    assert torch.equal(torch.cat(list(parts.values()), dim=1), z)
    assert all(part.untyped_storage().data_ptr() == z.untyped_storage().data_ptr() for part in parts.values())


def test_blocks_draw_in_turn_from_one_generator():
    rng = seeded()
    want = torch.cat([Normal(2).draw(3, rng), Uniform(1).draw(3, rng)], dim=1)
    assert torch.equal(Blocks(a=Normal(2), b=Uniform(1)).sample(3, rng=seeded()), want)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Normal(0), "Normal(dim=0): a latent has at least one dimension"),
        (lambda: Uniform(-1), "Uniform(dim=-1): a latent has at least one dimension"),
        (lambda: Sphere(0), "Sphere(dim=0): a latent has at least one dimension"),
        (lambda: Sphere(2, 0.0), "Sphere(radius=0.0): the radius must be positive, or None for sqrt(dim)"),
        (lambda: Blocks(), "Blocks(): give at least one block, such as Blocks(z=Normal(8))"),
        (lambda: Blocks(a=Normal(2)).split(torch.zeros(1, 3)), "Blocks.split: the latent is 3 wide, the blocks need 2"),
    ],
)
def test_mistakes(make, says):
    with pytest.raises(ValueError, match=r"^\w") as caught:
        make()
    assert str(caught.value) == says


def test_uniform_needs_a_range():
    with pytest.raises(ValueError, match="low"):
        Uniform(2, 1.0, 1.0)


def test_truncation_is_within_its_bound():
    z = TruncatedNormal(4, 0.5).sample(1000, rng=seeded())
    assert 0.49 < z.abs().max() <= 0.5
    assert (TruncatedNormal(2, 0.5).span, TruncatedNormal(2, 3.0).span) == ((-0.5, 0.5), (-2.0, 2.0))
    with pytest.raises(ValueError, match="give at least one dimension and a positive bound"):
        TruncatedNormal(2, 0.0)


@pytest.mark.parametrize("bound", [50.0, 1e200, float("inf")])
def test_a_bound_beyond_all_samples_truncates_nothing(bound):
    latent = TruncatedNormal(2, bound)
    assert latent.spread(torch.eye(2)).tolist() == [1.0, 1.0]
    assert 0.97 < latent.sample(5000, rng=seeded()).std() < 1.03


def test_a_latent_of_ones_own():
    class Ones(Latent):
        dim = 3
        span = (1.0, 1.0)

        def draw(self, n, rng):
            return torch.ones(n, self.dim)

    assert Ones().sample(2).tolist() == [[1.0] * 3] * 2
