import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import orthogen as og
from orthogen.models.stylegan2 import StyleGan2

SMALL = StyleGan2(resolution=16, dim_z=6, dim_w=8, mapping_layers=2, channel_base=96, channel_max=10)


def trained(model: StyleGan2 = SMALL) -> nn.Module:
    """A generator whose every number is its own, noise strengths among them; the same numbers every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = model.build()["generator"].eval()
        with torch.no_grad():
            for value in (*module.parameters(), module.mapping.w_avg):
                value.add_(0.3 * torch.randn_like(value))
    return module


def reference(state: dict[str, Tensor], w: Tensor, resolution: int) -> Tensor:
    """The image of one w+ latent ``(layers, dim)``, straight from the papers' formulas, convolutions by hand."""
    filter4 = torch.outer(*[torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=w.dtype)] * 2) / 16  # with the factor 4

    def styled(x: Tensor, name: str, w: Tensor, up: bool) -> Tensor:
        affine, bias = state[f"{name}.affine.weight"], state[f"{name}.affine.bias"]
        weight = state[f"{name}.weight"] * (w @ affine.T / math.sqrt(len(w)) + bias)[:, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            wide = torch.zeros(x.shape[0], 2 * x.shape[1] - 1, 2 * x.shape[2] - 1, dtype=x.dtype)
            wide[:, ::2, ::2] = x
            x = F.conv2d(wide[None], weight.flip(2, 3), padding=2)
            x = F.conv2d(x.transpose(0, 1), filter4[None, None], padding=1)[:, 0]
        else:
            x = F.conv2d(x[None], weight, padding=1)[0]
        x = x + state[f"{name}.noise_strength"] * state[f"{name}.noise_const"] + state[f"{name}.bias"][:, None, None]
        return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)

    x, image, layer = state["synthesis.b4.const"], None, 0
    for side in [2**i for i in range(2, resolution.bit_length())]:
        name = f"synthesis.b{side}"
        if side > 4:
            x, layer = styled(x, f"{name}.conv0", w[layer], up=True), layer + 1
        x, layer = styled(x, f"{name}.conv1", w[layer], up=False), layer + 1
        style = w[layer] @ state[f"{name}.torgb.affine.weight"].T / math.sqrt(w.shape[1])
        style = (style + state[f"{name}.torgb.affine.bias"]) / math.sqrt(len(x))
        added = torch.einsum("oi,i,ihw->ohw", state[f"{name}.torgb.weight"][:, :, 0, 0], style, x)
        added = added + state[f"{name}.torgb.bias"][:, None, None]
        if image is not None:
            wide = torch.zeros(image.shape[0], 2 * image.shape[1], 2 * image.shape[2], dtype=w.dtype)
            wide[:, ::2, ::2] = image
            added = added + F.conv2d(F.pad(wide, (2, 1, 2, 1))[:, None], filter4[None, None])[:, 0]
        image = added
    return image


def test_images_equal_the_formulas_in_double_precision() -> None:
    module = trained().double()
    w = torch.randn(2, 6 * 8, dtype=torch.float64)
    images = module.draw(w)
    state = {name: value.detach() for name, value in module.state_dict().items()}
    for sample, image in enumerate(images):
        torch.testing.assert_close(image.detach(), reference(state, w[sample].view(6, 8), 16))


def test_styles_equal_the_formula_in_double_precision() -> None:
    module = trained(replace(SMALL, classes=3)).double()
    z, label = torch.randn(4, 6, dtype=torch.float64), torch.tensor([0, 2, 1, 2])
    mapping = module.mapping
    y = mapping.embed.weight.T[label] / math.sqrt(3) + mapping.embed.bias
    x = torch.cat([v / (v.square().mean(1, keepdim=True) + 1e-8).sqrt() for v in (z, y)], dim=1)
    for layer in (mapping.fc0, mapping.fc1):
        x = x @ layer.weight.T * 0.01 / math.sqrt(x.shape[1]) + 0.01 * layer.bias
        x = torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)
    torch.testing.assert_close(module.styles(z, label), x)


OFFICIAL = """mapping.fc0.weight mapping.fc0.bias mapping.fc1.weight mapping.fc1.bias mapping.w_avg
synthesis.b4.const synthesis.b4.resample_filter
synthesis.b4.conv1.weight synthesis.b4.conv1.noise_strength synthesis.b4.conv1.bias synthesis.b4.conv1.noise_const
synthesis.b4.conv1.resample_filter synthesis.b4.conv1.affine.weight synthesis.b4.conv1.affine.bias
synthesis.b4.torgb.weight synthesis.b4.torgb.bias synthesis.b4.torgb.affine.weight synthesis.b4.torgb.affine.bias"""


def test_names_are_the_official_ones() -> None:
    names = list(trained().state_dict())
    assert {name for name in names if ".b4." in name or "mapping" in name} == set(OFFICIAL.split())
    later = {name.removeprefix("synthesis.b8.") for name in names if ".b8." in name}
    first = {name.removeprefix("synthesis.b4.") for name in names if ".b4." in name} - {"const"}
    assert later == first | {name.replace("conv1", "conv0") for name in first if "conv1" in name}


@pytest.mark.parametrize(
    ("model", "parameters", "layers"),
    [(StyleGan2(resolution=1024, channel_base=32768), 30_370_060, 18), (StyleGan2(), 24_767_458, 14)],
)
def test_published_sizes(model: StyleGan2, parameters: int, layers: int) -> None:
    with torch.device("meta"):
        module = model.build()["generator"]
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert module.synthesis.layers == layers


def test_the_three_spaces_agree() -> None:
    module, z = trained(), torch.randn(3, 6)
    images = SMALL.adapt(module)(z)
    w = module.styles(z)
    for space, latent in (("w", w), ("w+", w.repeat(1, 6))):
        G = replace(SMALL, space=space).adapt(module)
        assert G.latent.dim == latent.shape[1]
        assert torch.equal(G(latent), images)
    blocks = replace(SMALL, space="w+").adapt(module).latent.slices
    assert blocks == {"coarse": slice(0, 32), "middle": slice(32, 48)}


def test_latents_of_the_style_spaces_are_mapped(rng: torch.Generator) -> None:
    module = trained(replace(SMALL, classes=3, truncation=0.5)).train()
    before = module.mapping.w_avg.clone()
    G = replace(SMALL, space="w+", classes=3).adapt(module)
    w = G.latent.sample(500, rng=rng)
    assert torch.equal(w[:, :8], w[:, 40:])
    draws = torch.Generator().manual_seed(0)
    z, label = torch.randn(500, 6, generator=draws), torch.randint(3, (500,), generator=draws)
    torch.testing.assert_close(w[:, :8], module.eval().styles(z, label).detach())
    assert torch.equal(module.mapping.w_avg, before)  # sampling is no training
    low, high = G.latent.span
    assert high == -low == pytest.approx(2 * w.var(dim=0).mean().sqrt().item(), rel=0.2)


def test_truncation_pulls_styles_to_their_mean() -> None:
    full, half, none = (trained(replace(SMALL, truncation=psi)) for psi in (1.0, 0.5, 0.0))
    z, mean = torch.randn(3, 6), full.mapping.w_avg
    torch.testing.assert_close(half.styles(z), (full.styles(z) + mean) / 2)
    torch.testing.assert_close(none.styles(z), mean.expand(3, -1))


def test_noise_is_constant_random_or_none() -> None:
    z = torch.randn(2, 6)
    const, random, none = (trained(replace(SMALL, noise=noise)) for noise in ("const", "random", "none"))
    assert torch.equal(const(z), const(z))
    assert not torch.equal(random(z), random(z))
    for parameter_name, parameter in const.named_parameters():
        if parameter_name.endswith("noise_strength"):
            parameter.data.zero_()
    assert torch.equal(const(z), none(z))


def test_clamping_bounds_the_activations() -> None:
    module = trained(replace(SMALL, clamp=0.5))
    f = og.probe(SMALL.adapt(module), layers=("synthesis.b8.conv1", "synthesis.b16.torgb"))
    assert [x.abs().max().item() for x in f(torch.randn(2, 6))] == [0.5, 0.5]


def test_the_mean_style_follows_in_training() -> None:
    module, z = trained().train(), torch.randn(50, 6)
    before = module.mapping.w_avg.clone()
    w = module.mapping(z)
    torch.testing.assert_close(module.mapping.w_avg, 0.995 * before + 0.005 * w.detach().mean(0))
    module.eval()(z)
    torch.testing.assert_close(module.mapping.w_avg, 0.995 * before + 0.005 * w.detach().mean(0))


def test_penalties_and_discovery_run_in_every_space(rng: torch.Generator) -> None:
    module = trained()
    for space in ("z", "w", "w+"):
        G = replace(SMALL, space=space).adapt(module)
        f = og.probe(G, layers=("synthesis.b8.conv1",))
        z = G.latent.sample(3, rng=rng)
        values = og.OroJaR()(f, z, rng=rng), og.HessianPenalty()(f, z, rng=rng)
        assert all(value.isfinite() and value > 0 for value in values)
        assert og.SeFa(count=3).fit(G).basis.shape == (3, G.latent.dim)


def test_sefa_reads_the_stacked_affine_layers() -> None:
    module = trained()
    found = og.SeFa().fit(replace(SMALL, space="w").adapt(module))
    stack = torch.cat([layer.weight for name, layer in module.named_modules() if name.endswith("affine")])
    _, strength, basis = torch.linalg.svd(stack.detach().double() / math.sqrt(8), full_matrices=False)
    torch.testing.assert_close(found.strength, strength.float())
    torch.testing.assert_close((found.basis @ basis.float().T).abs(), torch.eye(8), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 24}, "resolution=24.*give a power of two from 8 on"),
        ({"resolution": 4}, "resolution=4.*give a power of two from 8 on"),
        ({"space": "s"}, "space='s'.*give one of z, w, w+"),
        ({"noise": "off"}, "noise='off'.*give one of const, random, none"),
        ({"dim_z": 0}, "dim_z=0.*must be positive"),
        ({"channel_base": 8}, "channel_base=8.*at least the resolution, 16"),
        ({"classes": -1}, "classes=-1.*classes are 0 or more"),
    ],
)
def test_mistakes_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        replace(SMALL, **changes)


def test_labels_where_there_are_none_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="labels were given; this generator has no classes"):
        SMALL.adapt(trained())(torch.zeros(1, 6), label=torch.tensor([0]))
    with pytest.raises(TypeError, match="was given Linear; give the network it built"):
        SMALL.adapt(nn.Linear(1, 1))


def test_drawing_styles_leaves_each_part_in_its_mode() -> None:
    model = StyleGan2(resolution=8, dim_z=4, dim_w=4, channel_base=32, mapping_layers=2, space="w")
    G = model.adapt(model.build()["generator"].eval())
    G.module.synthesis.train()
    G.latent.sample(2)
    assert (G.module.training, G.module.mapping.training, G.module.synthesis.training) == (False, False, True)
