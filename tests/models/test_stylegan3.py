import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

import orthogen as og
from orthogen.models import _stylegan3
from orthogen.models.stylegan2 import StyleGan2
from orthogen.models.stylegan3 import StyleGan3

SMALL = StyleGan3(resolution=16, dim_z=6, dim_w=8, channel_base=64, channel_max=6, num_layers=4)
DEEP = {  # all 14 layers, of equal widths
    "t": StyleGan3(resolution=64, dim_z=8, dim_w=8, channel_base=128, channel_max=4),
    "r": StyleGan3(resolution=64, dim_z=8, dim_w=8, channel_base=64, channel_max=2, config="r"),
}


def trained(model: StyleGan3 = SMALL) -> nn.Module:
    """A generator in double precision, every number its own, whose running mean squares are right."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = model.build()["generator"].eval().double()
        with torch.no_grad():
            for value in (*module.parameters(), module.mapping.w_avg):
                value.add_(0.1 * torch.randn_like(value))
        w = torch.randn(2, model.dim_w, dtype=torch.float64)

    def measure(layer: nn.Module, given: tuple[Tensor, Tensor]) -> None:
        layer.magnitude_ema.copy_(given[0].detach().square().mean())

    layers = [module.synthesis.get_submodule(name) for name in module.synthesis.names]
    hooks = [layer.register_forward_pre_hook(measure) for layer in layers]
    module.draw(w)
    for hook in hooks:
        hook.remove()
    return module


# --------------------------------------------------------------------------------------------------------- the plan
FFHQ_T = """L0_36_512 L1_36_512 L2_52_512 L3_52_512 L4_84_512 L5_148_512 L6_148_512 L7_276_323 L8_276_203 L9_532_128
L10_1044_81 L11_1044_51 L12_1044_32 L13_1024_32 L14_1024_3"""
FFHQ_R = """L0_36_1024 L1_36_1024 L2_52_1024 L3_52_1024 L4_84_1024 L5_148_1024 L6_148_1024 L7_276_645 L8_276_406
L9_532_256 L10_1044_161 L11_1044_102 L12_1044_64 L13_1024_64 L14_1024_3"""
FFHQ_U_T = """L0_36_512 L1_36_512 L2_36_512 L3_52_512 L4_52_512 L5_84_512 L6_84_512 L7_148_362 L8_148_256 L9_148_181
L10_276_128 L11_276_91 L12_276_64 L13_256_64 L14_256_3"""
PUBLISHED = [  # 22.3 million: the paper's; the others follow from the formulas
    (StyleGan3(resolution=1024), FFHQ_T, 22_313_167),
    (StyleGan3(resolution=1024, config="r"), FFHQ_R, 15_093_151),
    (StyleGan3(channel_base=16384), FFHQ_U_T, 23_320_443),
]


@pytest.mark.parametrize(("model", "layers", "parameters"), PUBLISHED)
def test_published_sizes(model: StyleGan3, layers: str, parameters: int) -> None:
    with torch.device("meta"):
        module = model.build()["generator"]
    assert module.synthesis.names == tuple(layers.split())
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert module.synthesis.layers == 16


def test_bands_grow_geometrically_and_fit_their_rates() -> None:
    bands = StyleGan3(resolution=1024).bands
    assert [band.rate for band in bands] == [16, 16, 32, 32, 64, 128, 128, 256, 256, 512, *5 * [1024]]
    assert [band.cutoff for band in bands] == pytest.approx([*(2 ** (1 + 8 * i / 12) for i in range(12)), *3 * [512]])
    assert [band.critical for band in bands] == [*12 * [False], *3 * [True]]
    for i, band in enumerate(bands):
        stopband = band.cutoff + band.half_width
        assert stopband >= 2 ** (2.1 + 7.2 * min(i, 12) / 12) - 1e-9  # at least f_t
        assert stopband == pytest.approx(band.rate / 2) or band.rate == 1024  # and as far as the rate allows
        assert band.cutoff <= band.rate / 2
        assert (band.cutoff == band.rate / 2) == band.critical


@pytest.mark.parametrize("config", ["t", "r"])
def test_layers_raise_and_lower_rates_with_filters_of_six_taps_a_sample(config: str) -> None:
    module = DEEP[config].build()["generator"]
    bands = DEEP[config].bands
    for name, before, after in zip(module.synthesis.names[:-1], (bands[0], *bands), bands, strict=False):
        layer = module.synthesis.get_submodule(name)
        assert before.rate * layer.up == after.rate * layer.down == 2 * max(before.rate, after.rate)
        assert layer.up_filter.shape == (6 * layer.up,)
        radial = config == "r" and not after.critical
        assert layer.down_filter.shape == (2 if radial else 1) * (6 * layer.down,)
        assert layer.weight.shape[-1] == (3 if config == "t" else 1)


OFFICIAL = """mapping.w_avg mapping.fc0.weight mapping.fc0.bias mapping.fc1.weight mapping.fc1.bias
synthesis.input.weight synthesis.input.freqs synthesis.input.phases synthesis.input.transform
synthesis.input.affine.weight synthesis.input.affine.bias
synthesis.L0_36_6.weight synthesis.L0_36_6.bias synthesis.L0_36_6.magnitude_ema synthesis.L0_36_6.up_filter
synthesis.L0_36_6.down_filter synthesis.L0_36_6.affine.weight synthesis.L0_36_6.affine.bias
synthesis.L4_16_3.weight synthesis.L4_16_3.bias synthesis.L4_16_3.magnitude_ema
synthesis.L4_16_3.affine.weight synthesis.L4_16_3.affine.bias"""


def test_names_are_the_official_ones() -> None:
    names = set(trained().state_dict())
    assert {name for name in names if not name.startswith(("synthesis.L1", "synthesis.L2", "synthesis.L3"))} == set(
        OFFICIAL.split()
    )


# --------------------------------------------------------------------------------------------- layers, by the formulas
def test_fourier_features_equal_the_formula() -> None:
    features = trained().synthesis.input
    state = {name: value.detach() for name, value in features.state_dict().items()}
    state["transform"][:2] += torch.tensor([[0.3, -0.2, 0.1], [0.1, 0.4, -0.3]])
    w = torch.randn(2, 8, dtype=torch.float64)
    for sample, image in zip(w, features(w), strict=True):
        cos, sin, *shift = state["affine.weight"] @ sample / math.sqrt(8) + state["affine.bias"]
        scale = torch.hypot(cos, sin)
        turn, move = (torch.eye(3, dtype=torch.float64) for _ in range(2))
        turn[:2, :2] = torch.tensor([[cos, -sin], [sin, cos]]) / scale
        move[:2, 2] = -torch.tensor(shift) / scale
        matrix = turn @ move @ state["transform"]
        rising = state["freqs"] @ matrix[:2, :2]
        fading = (1 - (rising.norm(dim=1) - 2) / (8 - 2)).clamp(0, 1)
        for y, x in ((0, 0), (3, 20), (35, 17)):
            place = torch.tensor([(x - 17.5) / 16, (y - 17.5) / 16, 1.0], dtype=torch.float64)
            seen = state["freqs"] @ (matrix @ place)[:2] + state["phases"]
            wanted = state["weight"] @ (fading * (2 * math.pi * seen).sin()) / math.sqrt(6)
            torch.testing.assert_close(image[:, y, x].detach(), wanted)


def test_frequencies_are_uniform_on_the_disk_of_the_first_band() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        freqs = _stylegan3.FourierFeatures(replace(SMALL.bands[0], channels=3000), 4).freqs
    assert freqs.shape == (3000, 2)
    share = torch.tensor([(freqs.norm(dim=1) < r).double().mean() for r in (0.5, 1.0, 1.5, 2.0)])
    torch.testing.assert_close(share, torch.tensor([1, 4, 9, 16]).double() / 16, atol=0.03, rtol=0)
    assert freqs.mean(0).abs().max() < 0.06


def test_features_beyond_the_band_fade_out() -> None:
    features = trained().synthesis.input
    w = torch.randn(1, 8, dtype=torch.float64)
    features.transform[:2, :2] *= 1000  # of an image a thousand times as small, hardly anything can be seen
    assert features(w).abs().max() < 0.1


@pytest.mark.parametrize("config", ["t", "r"])
def test_convolutions_are_demodulated_whatever_their_scale(config: str) -> None:
    module = trained(replace(SMALL, config=config))
    layer = module.synthesis.get_submodule(module.synthesis.names[0])
    x, w = torch.randn(2, len(layer.weight[0]), 36, 36, dtype=torch.float64), torch.randn(2, 8, dtype=torch.float64)
    for sample, found in enumerate(layer(x, w)):
        style = layer.affine.weight @ w[sample] / math.sqrt(8) + layer.affine.bias
        weight = layer.weight * style[:, None, None]
        weight = weight / weight.square().sum((1, 2, 3), keepdim=True).sqrt()
        y = F.conv2d(x[sample : sample + 1] / layer.magnitude_ema.sqrt(), weight, padding=weight.shape[-1] - 1)
        wanted = _stylegan3.filtered_leaky_relu(
            y + layer.bias[:, None, None],
            layer.up_filter,
            layer.down_filter,
            up=layer.up,
            down=layer.down,
            size=layer.size,
            gain=2**0.5,
        )
        torch.testing.assert_close(found, wanted[0], atol=1e-7, rtol=1e-7)
    before = layer(x, w)
    with torch.no_grad():
        layer.weight *= 1e-9
        layer.affine.weight *= 1e-9
        layer.affine.bias *= 1e-9
    torch.testing.assert_close(layer(x, w), before)


def test_the_image_is_the_last_layers_output_scaled_down() -> None:
    module, w = trained(), torch.randn(2, 8, dtype=torch.float64)
    *_, before, last = module.synthesis.names
    (x,) = og.probe(replace(SMALL, space="w").adapt(module), layers=(f"synthesis.{before}",))(w)
    layer = module.synthesis.get_submodule(last)
    style = (w @ layer.affine.weight.T / math.sqrt(8) + layer.affine.bias) / math.sqrt(x.shape[1])
    image = torch.einsum("oi,bi,bihw->bohw", layer.weight[:, :, 0, 0], style, x / layer.magnitude_ema.sqrt())
    torch.testing.assert_close(module.draw(w), 0.25 * (image + layer.bias[:, None, None]))


def test_gradients_with_respect_to_the_styles_are_right(rng: torch.Generator) -> None:
    model = StyleGan3(resolution=8, dim_z=3, dim_w=3, channel_base=8, num_layers=2, num_critical=1, margin_size=2)
    module = trained(model)
    w = torch.randn(1, 4 * 3, generator=rng, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(module.draw, w)


# -------------------------------------------------------------------------------------------------------- equivariance
def decibel(found: Tensor, wanted: Tensor) -> float:
    """Peak signal-to-noise ratio; the peak is two standard deviations to either side."""
    return 10 * torch.log10(16 * wanted.var() / (found - wanted).square().mean()).item()


def naive(x: Tensor, *_: Tensor, up: int, down: int, size: int, gain: float = 1.0, **__: float | None) -> Tensor:
    """Nearest-neighbor resampling around a pointwise LeakyReLU."""
    x = gain * F.leaky_relu(x.repeat_interleave(up, 2).repeat_interleave(up, 3), 0.2)
    x = F.avg_pool2d(x, down)
    start = (x.shape[-1] - size) // 2
    return x[..., start : start + size, start : start + size]


@contextmanager
def moved(module: nn.Module, matrix: list[list[float]]) -> Iterator[None]:
    """The image, moved: the inverse motion of where the Fourier features are seen."""
    transform = module.synthesis.input.transform
    before = transform.clone()
    transform.copy_(torch.linalg.inv(torch.tensor([*matrix, [0, 0, 1]], dtype=torch.float64)))
    yield
    transform.copy_(before)


def shift(right: float, down: float = 0.0) -> list[list[float]]:
    return [[1, 0, right], [0, 1, down]]


def turn(angle: float) -> list[list[float]]:
    cos, sin = math.cos(angle), math.sin(angle)
    return [[cos, -sin, 0], [sin, cos, 0]]


@pytest.mark.parametrize("config", ["t", "r"])
@torch.no_grad()
def test_images_move_with_their_features_by_whole_pixels(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, z = trained(DEEP[config]), torch.randn(2, 8, dtype=torch.float64)

    def translates(right: int, down: int) -> float:  # by a fraction of a sample of the layers at 16 and 32 samples
        image = module(z)
        with moved(module, shift(right / 64, down / 64)):
            found = module(z)
        # two pixels at the edges are left out: the last layer has no margin
        return decibel(found[..., 2 + down : -2, 2 + right : -2], image[..., 2 : -2 - down, 2 : -2 - right])

    assert min(translates(1, 0), translates(0, 3)) > 55
    monkeypatch.setattr(_stylegan3, "filtered_leaky_relu", naive)
    assert max(translates(1, 0), translates(0, 3)) < 40


def resampled(x: Tensor, places: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Tensor:
    """Activations read at other places by splines, which is precise where they have no frequencies near the rate's."""
    middle = (x.shape[-1] - 1) / 2
    down, right = np.mgrid[: x.shape[-1], : x.shape[-1]] - middle
    right, down = places(right, down)
    read = [ndimage.map_coordinates(each, [down + middle, right + middle], order=5) for each in x.flatten(0, 1).numpy()]
    return torch.from_numpy(np.stack(read)).view_as(x)


def inner(x: Tensor) -> Tensor:
    margin = x.shape[-1] // 4
    return x[..., margin:-margin, margin:-margin]


def follows(config: str, layer: int, motion: list[list[float]]) -> float:
    """How well a layer's activations move and turn as the features do."""
    module, z = trained(DEEP[config]), torch.randn(2, 8, dtype=torch.float64)
    f = og.probe(DEEP[config].adapt(module), layers=(f"synthesis.{module.synthesis.names[layer]}",))
    (a, b, x), (c, d, y) = np.linalg.inv([*motion, [0, 0, 1]])[:2]
    rate = DEEP[config].bands[layer].rate
    (before,) = f(z)
    with moved(module, motion):
        (found,) = f(z)
    wanted = resampled(before, lambda right, down: (a * right + b * down + x * rate, c * right + d * down + y * rate))
    return decibel(inner(found), inner(wanted))


@torch.no_grad()
def test_activations_move_by_parts_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    assert follows("t", 6, shift(1.37 / 64, -0.71 / 64)) > 55
    monkeypatch.setattr(_stylegan3, "filtered_leaky_relu", naive)
    assert follows("t", 6, shift(1.37 / 64, -0.71 / 64)) < 45


@torch.no_grad()
def test_activations_turn_in_config_r_alone() -> None:
    assert follows("r", 6, turn(math.pi / 6)) > 50
    assert follows("t", 6, turn(math.pi / 6)) < 25


# --------------------------------------------------------------------------------------- spaces, truncation, training
@pytest.mark.parametrize("config", ["t", "r"])
def test_the_three_spaces_agree(config: str) -> None:
    model = replace(SMALL, config=config)
    module, z = trained(model).float(), torch.randn(3, 6)
    images = model.adapt(module)(z)
    w = module.styles(z)
    for space, latent in (("w", w), ("w+", w.repeat(1, 6))):
        G = replace(model, space=space).adapt(module)
        assert G.latent.dim == latent.shape[1]
        assert torch.equal(G(latent), images)
    assert replace(model, space="w+").adapt(module).latent.slices == {"coarse": slice(0, 32), "middle": slice(32, 48)}


def test_a_style_acts_on_its_own_layer_and_those_after_it(rng: torch.Generator) -> None:
    module = trained().float()
    names = ["input", *module.synthesis.names]
    f = og.probe(replace(SMALL, space="w+").adapt(module), layers=[f"synthesis.{name}" for name in names])
    w = torch.randn(1, 6 * 8, generator=rng)
    before = f(w)
    for i in range(6):
        other = w.clone()
        other[:, 8 * i : 8 * i + 8] += 1
        same = [torch.equal(x, y) for x, y in zip(before, f(other), strict=True)]
        assert same == [k < i for k in range(6)]


def test_latents_of_the_style_spaces_are_mapped(rng: torch.Generator) -> None:
    model = replace(SMALL, classes=3, truncation=0.5, space="w+")
    module = trained(model).float().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    w = model.adapt(module).latent.sample(50, rng=rng)
    draws = torch.Generator().manual_seed(0)
    z, label = torch.randn(50, 6, generator=draws), torch.randint(3, (50,), generator=draws)
    torch.testing.assert_close(w, module.eval().styles(z, label).detach().repeat(1, 6))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_truncation_pulls_styles_to_their_mean() -> None:
    full, half, none = (trained(replace(SMALL, truncation=psi)) for psi in (1.0, 0.5, 0.0))
    z, mean = torch.randn(3, 6, dtype=torch.float64), full.mapping.w_avg
    torch.testing.assert_close(half.styles(z), (full.styles(z) + mean) / 2)
    torch.testing.assert_close(none.styles(z), mean.expand(3, -1))


def test_images_depend_on_their_own_latent_alone(rng: torch.Generator) -> None:
    module, z = trained(), torch.randn(4, 6, generator=rng, dtype=torch.float64)
    images = module(z)
    assert torch.equal(images, module(z))
    torch.testing.assert_close(torch.cat([module(one) for one in z.split(1)]), images, rtol=1e-10, atol=1e-12)
    assert images.dtype == torch.float64


def test_running_means_follow_in_training_alone() -> None:
    module, z = trained().train(), torch.randn(5, 6, dtype=torch.float64)
    layer, seen = module.synthesis.get_submodule("L0_36_6"), []
    layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().square().mean()))
    average, style = layer.magnitude_ema.clone(), module.mapping.w_avg.clone()
    w = module.mapping(z)
    torch.testing.assert_close(module.mapping.w_avg, 0.998 * style + 0.002 * w.detach().mean(0))
    module.draw(w)
    wanted = 0.999 * average + 0.001 * seen[0]
    torch.testing.assert_close(layer.magnitude_ema, wanted)
    module.eval()(z)
    torch.testing.assert_close(layer.magnitude_ema, wanted)


def test_clamping_bounds_the_activations() -> None:
    module = trained(replace(SMALL, conv_clamp=0.1)).float()
    f = og.probe(SMALL.adapt(module), layers=("synthesis.L0_36_6", "synthesis.L4_16_3"))
    hidden, last = f(torch.randn(2, 6))
    assert last.abs().max().item() == pytest.approx(0.1)
    assert 0.05 < hidden.abs().max() < 0.2  # the filter that follows overshoots


def test_penalties_and_discovery_run_in_every_space(rng: torch.Generator) -> None:
    module = trained().float()
    for space in ("z", "w", "w+"):
        G = replace(SMALL, space=space).adapt(module)
        f = og.probe(G, layers=("synthesis.L2_36_4",))
        z = G.latent.sample(3, rng=rng)
        values = og.OroJaR()(f, z, rng=rng), og.HessianPenalty()(f, z, rng=rng)
        assert all(value.isfinite() and value > 0 for value in values)
        assert og.SeFa(count=3).fit(G).basis.shape == (3, G.latent.dim)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 24}, "resolution=24.*give a power of two from 8 on"),
        ({"space": "s"}, "space='s'.*give one of z, w, w+"),
        ({"config": "T"}, "config='T'.*give one of t, r"),
        ({"dim_w": 0}, "dim_w=0.*must be positive"),
        ({"margin_size": -1}, "margin_size=-1.*classes and margin are 0 or more"),
        ({"channel_base": 8}, "channel_base=8.*at least the resolution, 16"),
        ({"num_critical": 4}, "num_layers=4, num_critical=4.*fewer layers are critically sampled"),
        ({"first_cutoff": 8.0, "first_stopband": 9.0}, "first_cutoff=8.*stop bands begin beyond the cutoffs"),
        ({"first_stopband": 2.0}, "first_stopband=2.*stop bands begin beyond the cutoffs"),
    ],
)
def test_mistakes_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        replace(SMALL, **changes)


def test_networks_of_others_are_a_mistake() -> None:
    for other in (nn.Linear(1, 1), StyleGan2(resolution=8, channel_base=8).build()["generator"]):
        with pytest.raises(TypeError, match=r"StyleGan3\.adapt was given \w+; give the network it built"):
            SMALL.adapt(other)
    with pytest.raises(TypeError, match=r"StyleGan2\.adapt was given StyledGenerator; give the network it built"):
        StyleGan2().adapt(trained())
