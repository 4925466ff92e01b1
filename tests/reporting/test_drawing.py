from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import orthogen as og
from linear_generator import linear_generator
from orthogen.core.images import to_uint8
from orthogen.core.latent import Latent
from orthogen.core.progress import shown
from orthogen.reporting._moves import reach
from orthogen.reporting.drawing import frames, path_values, traversal
from orthogen.reporting.paths import smooth_center, traversal_latents

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True)
class Far(Latent):
    """Latents that lie nowhere near 0, as styles do."""

    dim: int = 2

    @property
    def space(self) -> str:
        return "w"

    def center(self) -> Tensor:
        return torch.tensor([10.0, -4.0])

    @property
    def span(self) -> tuple[float, float]:
        return (-1.0, 1.0)

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.tensor([10.0, -4.0]) + torch.randn(n, 2, generator=rng) * torch.tensor([0.5, 2.0])


def recording(latent: Latent, seen: list[Tensor]) -> og.Generator:
    """A generator that remembers which latents it was asked to draw."""

    def call(module: nn.Module, z: Tensor) -> Tensor:
        seen.append(z)
        return z[:, :1, None, None].expand(-1, 1, 2, 2) * 0

    return og.adapt(nn.Identity(), latent, call=call)


# ------------------------------------------------------------------------------------------------ arrays
@pytest.mark.parametrize("max_batch", [1, 5, 7, 1000])
@pytest.mark.parametrize("mode", ["replace", "add"])
def test_pictures_are_those_of_the_latents_in_passes_of_any_size(max_batch, mode, rng):
    G = linear_generator()
    z = torch.randn(2, 3, generator=rng)
    directions = og.Directions(torch.linalg.qr(torch.randn(3, 3, generator=rng)).Q[:2])
    drawn = traversal(G, directions, z=z, steps=5, extent=1.5, mode=mode, max_batch=max_batch)
    latents = traversal_latents(z, directions.basis, torch.linspace(-1.5, 1.5, 5), mode)
    expected = to_uint8(G(latents.flatten(0, 2))).view(2, 2, 5, 3, 4, 4)
    assert drawn.dtype == torch.uint8
    assert drawn.shape == (2, 2, 5, 3, 4, 4)
    assert (drawn.int() - expected.int()).abs().max() <= 1  # sums in another order, then rounding


@pytest.mark.parametrize("max_batch", [1, 4, 7, 1000])
@pytest.mark.parametrize(("path", "count"), [("pingpong", 6), ("linear", 5), ("smooth_center", 8)])
def test_frames_are_the_pictures_at_each_value_in_turn(path, count, max_batch, rng):
    G = linear_generator()
    z = torch.randn(2, 3, generator=rng)
    film = list(frames(G, z=z, path=path, count=count, extent=1.5, max_batch=max_batch))
    whole = traversal(G, z=z, values=path_values(path, -1.5, 1.5, count))
    assert len(film) == count
    assert (torch.stack(film, dim=2).int() - whole.int()).abs().max() <= 1


def test_frames_are_drawn_when_they_are_asked_for():
    seen: list[Tensor] = []
    film = frames(recording(og.Normal(4), seen), n=3, count=40, max_batch=5)
    assert seen == []
    next(film)
    assert sum(map(len, seen)) <= 4 * 3 + 4
    assert torch.is_grad_enabled()  # while the film waits for its next frame


def test_no_pass_is_larger_than_asked_and_all_are_counted():
    seen: list[Tensor] = []
    said = []

    def show(items, what, total):
        said.append((what, total))
        yield from items

    with shown(show):
        traversal(recording(og.Normal(4), seen), n=3, steps=5, max_batch=8)
    assert max(map(len, seen)) == 8
    assert sum(map(len, seen)) == 4 * 3 * 5
    assert said == [("drawing strips", 8)]


def test_a_generator_in_double_precision_gets_latents_of_its_kind(rng):
    net = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Unflatten(1, (3, 4, 4))).double()
    G = og.adapt(net, og.Normal(3))
    single = og.adapt(nn.Sequential(*net).float(), og.Normal(3))
    low = traversal(single, n=2, steps=3, rng=torch.Generator().manual_seed(1))
    net.double()
    high = traversal(G, n=2, steps=3, rng=torch.Generator().manual_seed(1))
    assert (high.int() - low.int()).abs().max() <= 1
    maps = og.penalty_maps(G, "OroJaR", samples=1, k=4)
    assert maps.maps.isfinite().all()


def test_base_latents_follow_the_seed():
    G = linear_generator()
    first, again, other = (traversal(G, n=2, steps=3, rng=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_generator_draws_in_evaluation_mode_and_is_left_as_it_was(rng):
    norm = nn.BatchNorm2d(1)
    module = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), norm, nn.Dropout(0.5).eval())
    module.train()
    module[2].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    z = torch.randn(2, 4, generator=rng)
    G = og.adapt(module, og.Normal(4))
    whole, split = (traversal(G, z=z, steps=3, max_batch=size) for size in (1000, 1))
    assert torch.equal(whole, split)
    assert [part.training for part in module] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


# ------------------------------------------------------------------------------------------------ where values lead
def test_the_released_films_visit_the_released_latents():
    with np.load(GOLDEN / "direction_paths.npz") as file:
        released = {name: torch.from_numpy(file[name]) for name in file}
    assert torch.allclose(smooth_center(8), released["step_vals"], atol=5e-7)
    for i, size in enumerate(released["path_sizes"].tolist()):
        seen: list[Tensor] = []
        G = recording(og.Normal(6), seen)
        one = og.Directions(released["Q"][i : i + 1], deviation=torch.ones(1))
        film = frames(G, one, z=released["z"], path="smooth_center", count=8, extent=size, max_batch=2)
        assert len(list(film)) == 8
        visited = torch.stack(seen).transpose(0, 1).flatten(0, 1)  # released: sample, then step
        torch.testing.assert_close(visited, released["z_out"].view(3, 16, 6)[i], rtol=1e-5, atol=2e-6)


def test_the_span_of_the_latent_is_the_default_extent(rng):
    G = og.adapt(nn.Unflatten(1, (1, 1, 2)), og.Uniform(2, low=-0.5, high=1.0))
    ends = traversal(G, n=1, steps=2, rng=rng)
    assert ends[0, 0, :, 0, 0, 0].tolist() == to_uint8(torch.tensor([-0.5, 1.0]).view(2, 1, 1, 1)).flatten().tolist()


def test_the_span_is_covered_whatever_the_length_of_a_direction():
    seen: list[Tensor] = []
    traversal(recording(og.Normal(2), seen), og.Directions(torch.tensor([[5.0, 0.0], [0.0, 0.1]])), n=1, steps=3)
    z = torch.cat(seen)
    assert z[:3, 0].tolist() == pytest.approx([-2, 0, 2], abs=1e-5)
    assert z[3:, 1].tolist() == pytest.approx([-2, 0, 2], abs=1e-5)


def test_noise_inside_comes_back_and_takes_nothing_from_the_global_state():
    noisy = og.adapt(nn.Identity(), og.Normal(2), call=lambda m, z: 0.3 * torch.randn(len(z), 1, 4, 4))
    before = torch.get_rng_state()
    first, second = (traversal(noisy, n=1, steps=3, rng=torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "latent", [og.Normal(3), og.Uniform(3, low=0.0, high=6.0), og.Blocks(a=og.Sphere(2), b=og.Uniform(1))]
)
def test_a_known_deviation_is_the_unit_around_the_mean(latent, rng):
    basis = torch.randn(2, 3, generator=rng) * 3  # of any length, at any angle
    squares = basis.square().sum(1)
    deviation = latent.spread(basis) / squares
    seen: list[Tensor] = []
    z = latent.sample(2, rng=rng)
    traversal(recording(latent, seen), og.Directions(basis, deviation=deviation), z=z, steps=3)
    latents = torch.cat(seen).view(2, 2, 3, 3)
    coordinates = (latents * basis[:, None, None]).sum(-1) / squares[:, None, None]
    samples = latent.sample(20_000, rng=rng) @ basis.T / squares
    for i in range(2):
        for value, column in zip((-2, 0, 2), coordinates[i].T, strict=True):
            expected = samples[:, i].mean() + value * samples[:, i].std()
            assert column.tolist() == pytest.approx([expected.item()] * 2, abs=0.05 * samples[:, i].std().item())
    rest = latents - coordinates[..., None] * basis[:, None, None]
    stays = z - (z @ basis.T / squares)[..., None].transpose(0, 1) * basis[:, None]
    torch.testing.assert_close(rest, stays[:, :, None].expand_as(rest), rtol=1e-4, atol=1e-4)


def test_an_extent_or_values_are_coordinates_even_where_the_deviation_is_known(rng):
    directions = og.Directions(torch.eye(2), deviation=torch.full((2,), 7.0))
    for given in ({"extent": 3.0, "steps": 2}, {"values": torch.tensor([-3.0, 3.0])}):
        seen: list[Tensor] = []
        traversal(recording(og.Normal(2), seen), directions, n=1, rng=rng, **given)
        visited = torch.cat(seen).view(2, 2, 2)[[0, 1], :, [0, 1]]
        torch.testing.assert_close(visited, torch.tensor([[-3.0, 3.0], [-3.0, 3.0]]))


def test_latents_behind_a_mapping_are_added_to_unless_one_says_replace(rng):
    z = Far().sample(2, rng=rng)
    directions = og.Directions(torch.eye(2), deviation=torch.tensor([0.5, 2.0]))
    seen: list[Tensor] = []
    for mode in (None, "replace"):
        traversal(recording(Far(), seen), directions, z=z, steps=3, mode=mode)
    added, replaced = (part.view(2, 2, 3, 2) for part in seen)
    torch.testing.assert_close(added[0, :, :, 0], z[:, :1] + torch.tensor([-1.0, 0.0, 1.0]))
    torch.testing.assert_close(added[1, :, :, 1], z[:, 1:] + torch.tensor([-4.0, 0.0, 4.0]))
    assert replaced[0, 0, :, 0].tolist() == pytest.approx([9.0, 10.0, 11.0], abs=0.05)  # around the mean
    assert replaced[1, 1, :, 1].tolist() == pytest.approx([-8.0, -4.0, 0.0], abs=0.1)


def test_styles_are_added_to(rng):
    model = og.StyleGan2(resolution=8, channels=1, dim_z=4, dim_w=4, mapping_layers=2, channel_base=32, space="w")
    G = model.adapt(model.build()["generator"])
    z = G.latent.sample(1, rng=rng)
    seen: list[Tensor] = []
    traversal(recording(G.latent, seen), og.Directions(torch.eye(4)[:1]), z=z, steps=3, extent=1.0)
    torch.testing.assert_close(seen[0], z + torch.tensor([[-1.0], [0.0], [1.0]]) * torch.eye(4)[0])


def test_reach_takes_a_number_a_pair_or_nothing():
    G = linear_generator()
    assert [reach(G, extent) for extent in (None, 3.0, (-1.0, 4.0))] == [(-2.0, 2.0), (-3.0, 3.0), (-1.0, 4.0)]


# ------------------------------------------------------------------------------------------------ classes
def labeled() -> og.Generator:
    """Images as bright as their class."""

    def call(module: nn.Module, z: Tensor, label: Tensor) -> Tensor:
        return label.view(-1, 1, 1, 1).expand(-1, 1, 2, 2) / 127.5 - 1

    return og.adapt(nn.Identity(), og.Normal(2), call=call, classes=200)


def test_conditions_follow_their_sample():
    drawn = traversal(labeled(), n=3, steps=4, max_batch=5, conditions={"label": torch.tensor([0, 128, 199])})
    assert drawn[:, :, :, 0, 0, 0].tolist() == [[[level] * 4 for level in (0, 128, 199)]] * 2


def test_a_class_is_drawn_per_base_latent_and_stays_along_the_path():
    first, again, other = (
        traversal(labeled(), n=4, steps=3, rng=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    levels = first[..., 0, 0, 0]
    assert torch.equal(levels, levels[:1, :, :1].expand_as(levels))
    assert len(levels.unique()) > 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_one_class_can_be_fixed():
    assert traversal(labeled().of_class(7), n=2, steps=2).unique().tolist() == [7]


# ------------------------------------------------------------------------------------------------ mistakes
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n": 0}, "n=0: a traversal starts from at least one latent"),
        ({"steps": 0}, "steps=0: give at least 1"),
        ({"extent": -1.0}, "extent=-1.0: give one positive number, or two with the first below the second"),
        ({"extent": (2.0, 1.0)}, "extent=(2.0, 1.0): give one positive number, or two with the first below the second"),
        (
            {"directions": og.Directions(torch.eye(5))},
            "the directions are 5 wide, the generator's latent 3; give directions that were found in this generator",
        ),
        (
            {"conditions": {"label": torch.zeros(2)}, "n": 3},
            "condition 'label' has 2 rows for 3 base latents; give one each",
        ),
    ],
)
def test_mistakes_are_said_in_one_line(arguments, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is compared whole)
        traversal(linear_generator(), **arguments)
    assert str(caught.value) == text


def test_an_unknown_path_names_those_there_are():
    with pytest.raises(ValueError, match=r"path='zigzag': a film can follow pingpong, linear, smooth_center"):
        frames(linear_generator(), path="zigzag")


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"the generator gives \(8, 2, 2, 2\); images are \(batch, .*, gray or RGB"):
        traversal(og.adapt(nn.Unflatten(1, (2, 2, 2)), og.Normal(8)), n=1, steps=1)
