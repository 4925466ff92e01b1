import copy
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import orthogen as og
from orthogen.layers.box import cross_fade, down_conv2d, enlarge, shrink, up_conv2d
from orthogen.layers.equalized import EqualizedConv2d, EqualizedLinear
from orthogen.layers.minibatch_stddev import MinibatchStddev, minibatch_stddev
from orthogen.layers.pixel_norm import pixel_norm
from orthogen.models.progan import ProGan
from vectors import vectors

SMALL = ProGan(og.Normal(6), resolution=32, channel_base=128, channel_max=12)  # 12, 12, 8, 4 channels
OROJAR = replace(SMALL, latent_norm=False, first_activation=False)


def trained(model: ProGan = SMALL) -> dict[str, nn.Module]:
    """Networks in double precision whose every number is its own; the same numbers every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = {name: network.eval().double() for name, network in model.build().items()}
        with torch.no_grad():
            for network in networks.values():
                for parameter in network.parameters():
                    parameter.add_(0.3 * torch.randn_like(parameter))
    return networks


def latents(n: int = 3, dim: int = 6) -> Tensor:
    return torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def at(network: nn.Module, lod: float) -> nn.Module:
    network.lod.fill_(lod)
    return network


# -------------------------------------------------------------------------------------------------- pieces, originals
@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.asarray(values)) for name, values in vectors("progan_ops").items()}


def test_pieces_equal_the_originals(golden: dict[str, Tensor]) -> None:
    maps = golden["xm"]
    torch.testing.assert_close(pixel_norm(maps), golden["pixel_norm"])
    torch.testing.assert_close(minibatch_stddev(maps), golden["mbstd"], atol=1e-7, rtol=0)  # theirs is in float32
    assert torch.equal(enlarge(maps[:2]), golden["upscale2d"])


def test_the_fade_equals_that_of_the_originals(golden: dict[str, Tensor]) -> None:
    images = golden["x_uint8"].float() / 127.5 - 1
    torch.testing.assert_close(cross_fade(images, shrink(images), 0.25), golden["lod025"])
    torch.testing.assert_close(enlarge(cross_fade(images, shrink(images), 0.5)), golden["lod15"])


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_fused_convolutions_are_the_plain_ones(side: int, inputs: int, outputs: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, 3, 3, dtype=torch.float64, generator=rng)
    x = torch.randn(2, inputs, 2 * side, 2 * side, dtype=torch.float64, generator=rng)
    torch.testing.assert_close(down_conv2d(x, weight), shrink(F.conv2d(x, weight, padding=1)))
    x = x[..., :side, :side]
    torch.testing.assert_close(up_conv2d(x, weight), F.conv2d(enlarge(x), weight, padding=1))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:FutureWarning")  # torch's forward mode
@pytest.mark.parametrize("convolve", [up_conv2d, down_conv2d])
def test_fused_convolutions_have_right_derivatives(convolve: Callable[[Tensor, Tensor], Tensor]) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 2, 2, dtype=torch.float64, generator=rng, requires_grad=True)
    weight = torch.randn(1, 2, 3, 3, dtype=torch.float64, generator=rng, requires_grad=True)
    assert torch.autograd.gradcheck(convolve, (x, weight), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(convolve, (x, weight))


def test_enlarged_means_are_means() -> None:
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(shrink(enlarge(x, 4), 4), x)
    assert shrink(x, 1) is x
    assert enlarge(x, 1) is x


def test_minibatch_stddev_says_how_much_a_group_differs() -> None:
    x = torch.randn(8, 3, 2, 2, dtype=torch.float64)
    channel = minibatch_stddev(x)[:, 3]
    for m in range(2):  # samples m, m + 2, m + 4, m + 6 are a group
        expected = x[m::2].std(dim=0, correction=0).mean()
        torch.testing.assert_close(channel[m::2], expected.expand(4, 2, 2), atol=1e-7, rtol=0)
    assert minibatch_stddev(x[:1])[0, 3].unique().item() == pytest.approx(1e-4)  # alone: the root of 1e-8
    torch.testing.assert_close(minibatch_stddev(x[:3])[:, 3].unique().item(), x[:3].std(0, correction=0).mean().item())
    assert str(MinibatchStddev(8)) == "MinibatchStddev(group=8)"
    with pytest.raises(ValueError, match=r"a batch of 6 was given .* give a multiple of its group of 4, or fewer"):
        minibatch_stddev(x[:6])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:FutureWarning")  # torch's forward mode
def test_minibatch_stddev_has_right_derivatives() -> None:
    x = torch.randn(4, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(minibatch_stddev, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda x: minibatch_stddev(x, 2), x)


def test_equalized_layers_scale_at_run_time() -> None:
    x = torch.randn(2, 5, 4, 4, dtype=torch.float64)
    conv = EqualizedConv2d(5, 3, 3).double()
    with torch.no_grad():
        conv.bias.copy_(torch.arange(3.0))
    expected = F.conv2d(x, conv.weight * math.sqrt(2 / 45), conv.bias, padding=1)
    torch.testing.assert_close(conv(x), expected)
    assert str(conv) == "EqualizedConv2d(5, 3, kernel_size=3, gain=1.41421)"
    linear = EqualizedLinear(5, 3, gain=3.0).double()
    torch.testing.assert_close(linear(x[:, :, 0, 0]), x[:, :, 0, 0] @ linear.weight.T * 3 / math.sqrt(5) + linear.bias)


# ----------------------------------------------------------------------------------------- networks against formulas
def drawn(model: ProGan, state: dict[str, Tensor], z: Tensor, lod: float) -> Tensor:
    """Images straight from the paper: enlarge, convolve, activate, normalize; the fade as an average of two images."""

    def normed(x: Tensor) -> Tensor:
        return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()

    def active(x: Tensor, name: str) -> Tensor:
        x = x + state[f"{name}.conv.bias"][:, None, None]
        return normed(torch.where(x > 0, x, 0.2 * x))

    def conv(x: Tensor, name: str) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        return active(F.conv2d(x, weight * math.sqrt(2 / weight[0].numel()), padding=1), name)

    def image(x: Tensor, side: int, final: int) -> Tensor:
        weight, bias = state[f"b{side}.torgb.weight"], state[f"b{side}.torgb.bias"]
        rgb = torch.einsum("oi,nihw->nohw", weight[:, :, 0, 0] / math.sqrt(weight.shape[1]), x) + bias[:, None, None]
        return rgb.repeat_interleave(final // side, 2).repeat_interleave(final // side, 3)

    z = normed(z) if model.latent_norm else z
    weight = state["b4.conv0.conv.weight"].view(-1, 4, 4, z.shape[1])
    x = torch.einsum("cyxd,nd->ncyx", weight, z) * math.sqrt(2 / z.shape[1]) / 4
    if model.first_activation:
        x = active(x, "b4.conv0")
    else:
        x = x + state["b4.conv0.conv.bias"][:, None, None]
    x = conv(x, "b4.conv1")
    images, side = [image(x, 4, model.resolution)], 4
    while side < model.resolution:
        side *= 2
        x = conv(conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3), f"b{side}.conv0"), f"b{side}.conv1")
        images.append(image(x, side, model.resolution))
    images.reverse()  # now by lod
    low, high = math.floor(lod), math.ceil(lod)
    return images[low] + (lod - low) * (images[high] - images[low])


@pytest.mark.parametrize(
    "model", [SMALL, OROJAR, replace(SMALL, first_activation=False)], ids=["paper", "orojar", "3rd"]
)
@pytest.mark.parametrize("lod", [0, 0.3, 1, 2.5, 3])
def test_images_equal_the_formulas(model: ProGan, lod: float) -> None:
    generator, z = at(trained(model)["generator"], lod), latents()
    with torch.no_grad():
        images = generator(z)
    assert images.shape == (3, 3, 32, 32)
    state = {name: value.detach() for name, value in generator.state_dict().items()}
    torch.testing.assert_close(images, drawn(model, state, z, generator.lod.item()))


def scored(state: dict[str, Tensor], images: Tensor, level: int) -> Tensor:
    """Logits at a whole level, straight from the paper."""

    def conv(x: Tensor, name: str) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        x = F.conv2d(x, weight * math.sqrt(2 / weight[0].numel()), padding=weight.shape[-1] // 2)
        x = x + state[f"{name}.conv.bias"][:, None, None]
        if name.endswith("conv1"):
            x = (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4
        return x

    def active(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    side = 4 * 2**level
    small = images.unflatten(3, (side, -1)).unflatten(2, (side, -1)).mean((3, 5))
    x = active(conv(small, f"b{side}.fromrgb"))
    while side > 4:
        x = active(conv(active(conv(x, f"b{side}.conv0")), f"b{side}.conv1"))  # pooled before the activation
        side //= 2
    deviation = x.var(0, correction=0).add(1e-8).sqrt().mean()  # one group: at most 4 samples here
    x = active(conv(torch.cat([x, deviation.expand(len(x), 1, 4, 4)], 1), "b4.conv"))
    weight, bias = state["b4.dense0.conv.weight"], state["b4.dense0.conv.bias"]
    x = active(x.flatten(1) @ weight.T * math.sqrt(2 / weight.shape[1]) + bias)
    weight, bias = state["b4.dense1.weight"], state["b4.dense1.bias"]
    return x @ weight.T / math.sqrt(weight.shape[1]) + bias


@pytest.mark.parametrize("level", [0, 1, 3])
def test_logits_equal_the_formulas(level: int) -> None:
    critic = at(trained()["critic"], 3 - level)
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    state = {name: value.detach() for name, value in critic.state_dict().items()}
    torch.testing.assert_close(critic(images).detach(), scored(state, images, level))


# -------------------------------------------------------------------------------------------------------- growing
def test_the_fade_of_the_generator_is_linear() -> None:
    generator, z = trained()["generator"], latents()
    with torch.no_grad():
        old, new = at(generator, 2)(z), at(generator, 1)(z)
        for share in (0.25, 0.5, 0.875):
            torch.testing.assert_close(at(generator, 1 + share)(z), (1 - share) * new + share * old)
    assert torch.equal(old[..., ::4, ::4], old[..., 3::4, 3::4])  # 8 pixels, each shown as 4 x 4


def test_the_fade_of_the_critic_is_linear_in_what_its_next_block_gets() -> None:
    critic, images = trained()["critic"], torch.randn(4, 3, 32, 32, dtype=torch.float64)
    seen: list[Tensor] = []
    critic.b8.conv0.conv.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        for lod in (1, 2, 1.25):
            at(critic, lod)(images)
    torch.testing.assert_close(seen[2], 0.75 * seen[0] + 0.25 * seen[1])


@pytest.mark.parametrize("lod", [0, 0.5, 1, 1.5, 2, 3])
def test_only_the_current_levels_run(lod: float) -> None:
    networks = trained()
    logits = at(networks["critic"], lod)(at(networks["generator"], lod)(latents(4)))
    logits.sum().backward()
    highest, lowest_rgb = 3 - math.floor(lod), 3 - math.ceil(lod)
    for network in networks.values():
        for level, side in enumerate((4, 8, 16, 32)):
            for name, parameter in network.get_submodule(f"b{side}").named_parameters():
                runs = lowest_rgb <= level <= highest if "rgb" in name else level <= highest
                assert (parameter.grad is not None) == runs, (side, name)


def test_a_level_that_is_not_there_is_named() -> None:
    networks = trained()
    for lod, shown in ((3.5, "3.5"), (-1, "-1"), (math.nan, "nan")):
        with pytest.raises(ValueError, match=rf"lod is {shown}; this network has 0 \(32 pixels\) to 3 \(4 pixels\)"):
            at(networks["generator"], lod)(latents())


def test_the_level_is_part_of_the_state() -> None:
    generator = at(trained()["generator"], 1.25)
    other = SMALL.build()["generator"].double()
    other.load_state_dict(generator.state_dict())
    assert other.lod.item() == 1.25
    assert torch.equal(other(latents()), generator(latents()))


# ----------------------------------------------------------------------------------------------- sizes and variants
def counted(model: ProGan) -> tuple[int, int]:
    """Numbers of parameters of generator and critic, by the paper's table."""
    dim, rgb = model.latent.dim, model.channels
    widths = [min(model.channel_base // 2**i, model.channel_max) for i in range(1, model.resolution.bit_length())]
    hidden, *widths = widths
    first = widths[0]
    generator = 16 * first * dim + first + 9 * first**2 + first
    critic = 9 * (first + 1) * first + first + 16 * first * hidden + hidden + hidden + 1
    for before, after in pairwise(widths):
        generator += 9 * before * after + after + 9 * after**2 + after
        critic += 9 * after**2 + after + 9 * after * before + before
    for width in widths:
        generator += width * rgb + rgb
        critic += rgb * width + width
    return generator, critic


@pytest.mark.parametrize(
    ("model", "numbers"),
    [
        (ProGan(og.Normal(512), resolution=1024), (23_079_115, 23_087_249)),  # "23.1M" in the paper's table 2
        (ProGan(), (18_837_394, 22_941_313)),
        (ProGan(og.Normal(3), resolution=4, channels=1, channel_max=7), None),
        (SMALL, None),
    ],
)
def test_sizes_are_the_published_ones(model: ProGan, numbers: tuple[int, int] | None) -> None:
    with torch.device("meta"):
        networks = model.build()
    found = tuple(sum(p.numel() for p in networks[name].parameters()) for name in ("generator", "critic"))
    assert found == counted(model)
    assert numbers is None or found == numbers


@pytest.mark.parametrize("resolution", [4, 8, 64])
def test_every_resolution(resolution: int) -> None:
    model = ProGan(og.Normal(3), channels=1, resolution=resolution, channel_max=4)
    networks = model.build()
    for lod in np.arange(0, resolution.bit_length() - 2.5, 0.5):
        images = at(networks["generator"], lod)(torch.randn(2, 3))
        assert images.shape == (2, 1, resolution, resolution)
        assert at(networks["critic"], lod)(images).shape == (2, 1)


def test_numbered_layers_are_those_of_the_papers() -> None:
    layers, before = ProGan().penalized_layers, ProGan().preactivation_layers
    names = (
        ["b4.conv0", "b4.conv1"] + [f"b{side}.conv{i}" for side in (8, 16, 32, 64, 128) for i in (0, 1)] + ["output"]
    )
    assert list(layers) == names
    assert list(before) == [f"{name}.conv" for name in names[:-1]] + ["output"]
    G = SMALL.adapt(trained()["generator"])
    z = latents()
    normed = og.probe(G, layers=SMALL.penalized_layers)(z)
    raw = og.probe(G, layers=SMALL.preactivation_layers)(z)
    for one, other in zip(normed[:-1], raw[:-1], strict=True):
        torch.testing.assert_close(one, pixel_norm(F.leaky_relu(other, 0.2)))
    assert torch.equal(normed[-1], raw[-1])
    assert normed[-1].shape == (3, 3, 32, 32)


def test_the_first_layer_of_orojars_is_affine(rng: torch.Generator) -> None:
    z = latents(4)
    for model, affine in ((OROJAR, True), (SMALL, False)):
        f = og.probe(model.adapt(trained(model)["generator"]), layers=model.penalized_layers[:2])
        first, second = og.HessianPenalty().terms(f, z, rng=rng).values()
        assert (first < 1e-15) == affine
        assert second > 1e-6


def test_latents_that_are_normalized_already_can_skip_it() -> None:
    generator = trained()["generator"]
    without = trained(replace(SMALL, latent_norm=False))["generator"]
    without.load_state_dict(generator.state_dict())
    z = latents()
    torch.testing.assert_close(without(pixel_norm(z)), generator(z), atol=1e-7, rtol=0)
    torch.testing.assert_close(generator(3 * z), generator(z), atol=1e-6, rtol=0)
    assert not torch.allclose(without(3 * z), without(z), atol=1e-3)


def test_penalties_and_discovery_run(rng: torch.Generator) -> None:
    for model in (SMALL, OROJAR):
        G = model.adapt(trained(model)["generator"].float())
        z = G.latent.sample(4, rng=rng)
        for penalty, layers in ((og.HessianPenalty(), "penalized_layers"), (og.OroJaR(), "preactivation_layers")):
            value = penalty(og.probe(G, layers=getattr(model, layers)[:6]), z, rng=rng)
            assert value.isfinite()
            assert value > 0
        found = og.SeFa(count=3).fit(G)
        dense = G.module.b4.conv0.conv.weight.detach() * math.sqrt(2 / 6) / 4
        torch.testing.assert_close(found.strength, torch.linalg.svdvals(dense)[:3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 24}, r"resolution=24\): the side is 4·2\^n pixels; give 4, 8, 16"),
        ({"resolution": 2}, r"resolution=2\): the side is 4·2\^n pixels"),
        ({"channel_base": 16}, "channel_base=16.*the base is at least the resolution, 32"),
        ({"channel_max": 0}, "channel_max=0.*all are positive"),
        ({"channels": 0}, "channels=0.*all are positive"),
    ],
)
def test_mistakes_are_named(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


def test_the_level_is_read_again_when_it_has_changed_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading waits for the device."""
    model = ProGan(resolution=16, channel_max=4)
    network = model.build()["generator"]
    read: list[float] = []
    item = Tensor.item
    monkeypatch.setattr(Tensor, "item", lambda self: read.append(item(self)) or read[-1])
    z = torch.ones(1, 12)
    for _ in range(3):
        network(z)
    assert read == [0.0]
    network.lod.fill_(1)  # by whoever fills it
    network(z)
    network(z)
    network.load_state_dict({**network.state_dict(), "lod": torch.tensor(2.0)})
    network(z)
    assert read == [0.0, 1.0, 2.0]
    twin = copy.deepcopy(network)
    twin.lod.fill_(0)
    twin(z)
    assert (twin.level, network.level) == (2, 0)
