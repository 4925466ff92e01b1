import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import orthogen as og
from orthogen.core import catalogue
from orthogen.core.record import from_json, to_json
from orthogen.models.vc_generator import VcGenerator
from traces import trace

UNIFORM = {"low": -2.0, "high": 2.0}
MODULES = "Conv-up-1, C_global-2, Noise-2, Conv-up-1, Conv-id-0, C_nocond_global-1, Conv-down-1, Conv-id-1"
SMALL = VcGenerator(og.Uniform(3, **UNIFORM), MODULES, width=12, min_width=4, global_width=6, critic_hidden=16)
CLASSES = replace(SMALL, modules=f"D_global-4, {MODULES}")
PUBLISHED = {  # coordinates, channels, side, classes, parameters
    "celeba_30": (30, 3, 128, 0, 11_369_595),
    "celeba_14": (14, 3, 128, 0, 10_433_727),
    "mnist": (6, 1, 32, 10, 9_439_869),
    "dsprites": (6, 1, 64, 3, 8_246_665),
}
published = pytest.mark.parametrize("name", PUBLISHED)


def model_of(name: str) -> VcGenerator:
    dim, channels, side, *_ = PUBLISHED[name]
    return VcGenerator(og.Uniform(dim, **UNIFORM), name, channels, critic_width=1024 // side)


def on_meta(model: VcGenerator) -> dict[str, nn.Module]:
    with torch.device("meta"):
        return model.build()


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def trained(model: VcGenerator = SMALL) -> nn.Module:
    """A generator in double precision whose every number is its own, noise strengths among them; always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = model.build()["generator"].eval().double()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def latents(n: int = 3, dim: int = 3) -> Tensor:
    return 4 * torch.rand(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 2


# ------------------------------------------------------------------------------------------------ the published tables
@pytest.fixture(scope="module")
def tables(shared_golden: Path) -> dict[str, Any]:
    return json.loads((shared_golden / "variation-predictability" / "vp_generator_tables.json").read_text())


@published
def test_published_sizes(name: str) -> None:
    dim, channels, side, classes, count = PUBLISHED[name]
    model = model_of(name)
    assert (model.latent.dim, model.channels, model.resolution, model.classes) == (dim, channels, side, classes)
    assert parameters(on_meta(model)["generator"]) == count


@published
def test_every_layer_equals_the_golden_table(name: str, tables: dict[str, Any]) -> None:
    model, golden = model_of(name), tables[name]
    assert [part.kind for part in model.parts] == golden["keys"]
    assert [part.count for part in model.parts] == golden["sizes"]
    assert model.latent.dim + model.classes == golden["n_latent"]
    generator = on_meta(model)["generator"]
    *rows, last = golden["rows"]
    for layer, row in zip(model.table, rows, strict=True):
        found = generator.layers[layer.index][layer.repeat]
        taken = model.classes if layer.kind == "D_global" else layer.columns.stop - layer.columns.start
        mine = [layer.index, layer.kind, layer.repeat, layer.before, layer.after, layer.side, taken or None]
        assert [*mine, parameters(found)] == row
    assert [len(generator.layers), model.table[-1].after, model.channels] == [last[0], *last[3:5]]
    assert parameters(generator.torgb) == last[-1]


def test_the_critic_equals_the_golden_table(tables: dict[str, Any]) -> None:
    for name, golden in (("celeba_30", "D_128"), ("dsprites", "D_64_gray")):
        trunk = on_meta(model_of(name))["critic"].trunk
        layers = [trunk.fromrgb, *(layer for block in trunk.blocks for layer in block.children())]
        layers = [*layers, trunk.conv, trunk.dense, trunk.out]
        assert [parameters(layer) for layer in layers] == [row[-1] for row in tables[golden]["rows"]]
        assert parameters(trunk) == tables[golden]["params"]


def test_widths_are_explicit() -> None:
    critics = [parameters(on_meta(VcGenerator(critic_width=width))["critic"]) for width in (8, 16, 128)]
    assert critics[0] == 3_324_233
    assert critics == sorted(critics)
    assert {layer.after for layer in VcGenerator(global_width=48).table if layer.kind == "C_global"} == {48}
    assert {layer.after for layer in replace(SMALL, decay=0.0, global_width=12).table} == {12}


# -------------------------------------------------------------------------------------------------------- the formulas
def lrelu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def reference(module: nn.Module, model: VcGenerator, z: Tensor, one_hot: Tensor | None) -> Tensor:
    """The image of one latent straight from the formulas: weights modulated per sample, filters and sizes by hand."""
    state = {name: value.detach() for name, value in module.state_dict().items()}
    taps = torch.outer(*[torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=z.dtype)] * 2) / 64

    def dense(name: str, x: Tensor) -> Tensor:
        return state[f"{name}.weight"] @ x / math.sqrt(len(x)) + state[f"{name}.bias"]

    def filtered(x: Tensor, pad: int) -> Tensor:
        return F.conv2d(x[:, None], taps[None, None], padding=pad)[:, 0]

    x = state["const"][0]
    for layer in model.table:
        name = f"layers.{layer.index}.{layer.repeat}"
        if layer.kind.endswith("global"):
            drive = one_hot if layer.kind == "D_global" else z[layer.columns]
            if layer.kind == "C_global" and one_hot is not None:
                drive = drive * torch.sigmoid(dense(f"{name}.gate.out", lrelu(dense(f"{name}.gate.hidden", one_hot))))
            if layer.kind == "C_nocond_global":
                drive = lrelu(dense(f"{name}.hidden", drive))
            weight = state[f"{name}.weight"] * dense(f"{name}.affine", drive)[:, None, None]
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
            bias = state[f"{name}.bias"]
        else:
            weight, bias = state[f"{name}.conv.weight"], state[f"{name}.conv.bias"]
            weight = weight / math.sqrt(weight[0].numel())
        if layer.kind == "Conv-up":
            x = 4 * filtered(F.conv_transpose2d(x[None], weight.transpose(0, 1), stride=2)[0], 1)
        elif layer.kind == "Conv-down":
            x = F.conv2d(filtered(x, 2)[None], weight, stride=2)[0]
        else:
            x = F.conv2d(x[None], weight, padding=1)[0]
        if layer.kind == "Noise":
            x = x + state[f"{name}.noise_strength"] * state[f"{name}.noise_const"]
        x = lrelu(x + bias[:, None, None])
        assert x.shape == (layer.after, layer.side, layer.side)
    weight = state["torgb.weight"][:, :, 0, 0] / math.sqrt(len(x))
    return torch.einsum("oc,chw->ohw", weight, x) + state["torgb.bias"][:, None, None]


@pytest.mark.parametrize("model", [SMALL, CLASSES], ids=["plain", "classes"])
def test_images_equal_the_formulas_in_double_precision(model: VcGenerator) -> None:
    module, z, label = trained(model), latents(), torch.tensor([3, 0, 2])
    images = module(z, label) if model.classes else module(z)
    one_hot = F.one_hot(label, 4).double() if model.classes else [None] * 3
    for image, one, its in zip(images, z, one_hot, strict=True):
        torch.testing.assert_close(image.detach(), reference(module, model, one, its))


def test_logits_equal_the_formulas_in_double_precision() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        critic = replace(SMALL, critic_width=3).build()["critic"].double()
    for parameter in critic.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    state = {name.removeprefix("trunk."): value.detach() for name, value in critic.state_dict().items()}
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    taps = torch.outer(*[torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)] * 2) / 64

    def conv(name: str, x: Tensor, **options: int) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight / math.sqrt(weight[0].numel()), state.get(f"{name}.bias"), **options)

    def filtered(x: Tensor, pad: int) -> Tensor:
        return F.conv2d(x, taps.expand(x.shape[1], 1, 4, 4), padding=pad, groups=x.shape[1])

    x = lrelu(conv("fromrgb", images))
    y = lrelu(conv("blocks.b8.conv0", x, padding=1))
    y = lrelu(conv("blocks.b8.conv1", filtered(y, 2), stride=2))
    x = (y + conv("blocks.b8.skip", filtered(x, 1), stride=2)) / math.sqrt(2)
    spread = (x.var(dim=0, correction=0) + 1e-8).sqrt().mean()
    x = lrelu(conv("conv", torch.cat([x, spread.expand(4, 1, 4, 4)], 1), padding=1)).flatten(1)
    x = lrelu(x @ state["dense.weight"].T / math.sqrt(x.shape[1]) + state["dense.bias"])
    expected = x @ state["out.weight"].T / math.sqrt(x.shape[1]) + state["out.bias"]
    torch.testing.assert_close(critic(images).detach(), expected)
    assert torch.equal(critic(images, torch.arange(4)), critic(images))  # it sees no classes


def test_classes_may_have_constants_of_their_own() -> None:
    model = replace(CLASSES, class_constants=True)
    module, z = trained(model), latents()
    assert module.const.shape == (4, 8, 4, 4)
    assert len(module.layers[0]) == 0  # in place of D_global's convolution
    label = torch.tensor([3, 0, 2])
    alone = [module(z[i : i + 1], label[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(module(z, label), torch.cat(alone))
    module(z, label).sum().backward()
    assert module.const.grad.flatten(1).any(dim=1).tolist() == [True, False, True, True]


# --------------------------------------------------------------------------------------------------------------- noise
def test_noise_is_drawn_in_training_and_stored_for_evaluation() -> None:
    z = latents()
    for noise in ("independent", "shared"):
        module = trained(replace(SMALL, noise=noise))
        assert torch.equal(module(z), module(z))
        assert torch.equal(module.train()(z), module(z)) == (noise == "shared")
    stored = [name for name in module.state_dict() if "noise_const" in name]
    assert stored == ["layers.2.0.noise_const", "layers.2.1.noise_const"]  # they are part of a checkpoint


def test_at_the_start_noise_has_no_effect() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = SMALL.build()["generator"]
    z = latents().float()
    assert torch.equal(module(z), module(z))


def test_both_images_of_a_pair_have_the_same_noise() -> None:
    module = trained().train()
    f, z = og.probe(SMALL.adapt(module)), latents()
    with f.session():
        first, second = f.passes(torch.stack([z, z]))
    assert torch.equal(first[0], second[0])


# ------------------------------------------------------------------------------------------------------------- classes
def test_a_class_reaches_the_image_and_is_asked_for() -> None:
    module, z = trained(CLASSES), latents()
    images = [module(z, torch.full((3,), label)) for label in range(4)]
    assert len({image.sum().item() for image in images}) == 4
    with pytest.raises(ValueError, match=r"hand it label=, integers from 0 to 3, one per sample"):
        module(z)
    with pytest.raises(ValueError, match=r"labels from 4 to 4 were given; 0 to 3 are known"):
        module(z, torch.full((3,), 4))
    with pytest.raises(ValueError, match=r"this generator has no classes \(no D_global among its modules\)"):
        trained()(z, torch.zeros(3, dtype=torch.int64))


# ---------------------------------------------------------------------------------- everything that works on generators
def quick(entry: catalogue.Entry) -> Any:
    """The member, with little work to do."""
    small = {"steps": 2, "batch": 4, "samples": 32}
    member = entry.load()
    return member(**{name: value for name, value in small.items() if name in member.__dataclass_fields__})


LATENT = [entry for entry in catalogue.entries("regularizers") if issubclass(entry.load(), og.core.kinds.LatentPenalty)]
METHODS = list(catalogue.entries("discovery"))


@pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("entry", LATENT, ids=lambda entry: entry.name)
def test_every_latent_penalty_works_on_it(entry: catalogue.Entry, train: bool) -> None:
    module = trained(CLASSES).float().train(train)
    generator, penalty = CLASSES.adapt(module), entry.load()()
    learns = entry.load().init is not og.core.kinds.LatentPenalty.init
    with torch.random.fork_rng():
        state = penalty.init(generator.of_class(1))
    layers = () if learns else ("layers.2.0", "layers.3.1.conv", "layers.6.0", "output")
    z = latents(4).float()
    f = og.probe(generator.of_class(1), layers)
    before = trace(module)
    loss = penalty(f, z, state=state, rng=torch.Generator().manual_seed(0))
    loss.backward()
    assert trace(module) == before
    assert loss.isfinite()
    assert module.layers[2][0].weight.grad.any()  # of the first C_global


@pytest.mark.parametrize("entry", METHODS, ids=lambda entry: entry.name)
def test_every_discovery_works_on_it(entry: catalogue.Entry) -> None:
    generator = SMALL.adapt(trained().float())
    found = quick(entry).fit(generator, rng=torch.Generator().manual_seed(0))
    assert found.basis.shape[1] == 3
    assert found.basis.isfinite().all()


def test_one_prior_for_training_measuring_and_traversals(tmp_path: Path) -> None:
    generator = SMALL.adapt(trained().float())
    assert generator.latent is SMALL.latent
    assert generator.latent.span == (-2.0, 2.0)
    drawn: list[Tensor] = []
    seen = og.adapt(generator.module, SMALL.latent, call=lambda m, z: drawn.append(z) or m(z))
    og.PathLengthScore(path="linear", distance="pixels", samples=32)(seen, rng=torch.Generator().manual_seed(0))
    # N(0, I) would leave the range with 5 % of its numbers
    assert 1.9 < torch.cat(drawn).abs().max() <= 2.001
    drawn.clear()
    og.traverse(seen, to=tmp_path, samples=1, steps=3, gif=False)
    assert {(z.amin().item(), z.amax().item()) for z in torch.cat(drawn).split(3)} == {(-2.0, 2.0)}


# ------------------------------------------------------------------------------------------------------------ mistakes
@given(st.lists(st.sampled_from(["Conv-id-1", "Conv-up-1", "Noise-2", "C_global-2", "C_nocond_global-1"]), max_size=6))
@settings(max_examples=20)
def test_any_list_gives_the_plan_that_is_built(names: list[str]) -> None:
    names = ["C_global-1", *names]
    dim = sum({"C": int(name[-1])}.get(name[0], 0) for name in names if "global" in name)
    if sum(name == "Conv-up-1" for name in names) > 2:
        return
    model = VcGenerator(og.Normal(dim), tuple(names), width=4, min_width=2, global_width=4)
    assert model == replace(model, modules=model.modules)
    assert replace(model, modules=", ".join(names)).table == model.table
    with torch.random.fork_rng():
        images = model.build()["generator"](torch.zeros(2, dim))
    assert images.shape == (2, 3, model.resolution, model.resolution)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modules": "Conv-op-1, C_global-3"}, r"\(modules\): 'Conv-op-1' is no module; give Conv-up-n, Conv-id-n, Co"),
        ({"modules": "C_global-3, Conv-up"}, r"'Conv-up' is no module.*or one of the lists celeba_30, celeba_14, m"),
        ({"modules": "C_global-3,"}, r"\(modules\): '' is no module"),
        ({"modules": "C_global-4"}, r"the modules take 4 coordinates and the latent has 3; change one to fit"),
        ({"modules": "D_global-2, C_global-3, D_global-2"}, r"more than one D_global; classes come in once"),
        ({"modules": "C_global-3, Conv-id-101"}, r"they have 102 layers; give 100 layers at most, and 4 pixels at lea"),
        ({"modules": "C_global-3, Conv-down-1"}, r"images end at 2 pixels; give 100 layers at most, and 4 pixels at l"),
        ({"modules": "C_global-3, Conv-down-3"}, r"module 1, Conv-down-3, halves the side of a single pixel"),
        ({"modules": "Conv-up-11, C_global-3"}, r"a layer has 8,192 pixels to a side; give 4,096 at most"),
        ({"modules": "Conv-up-11, C_global-3, Conv-down-11"}, r"a layer has 8,192 pixels to a side"),
        ({"modules": f"C_global-3, Conv-id-{'1' * 5000}"}, r"'Conv-id-1+' is no module; give Conv-up-n"),
        ({"class_constants": True}, r"there are no classes; give a D_global in modules"),
        ({"critic_width": 0}, r"\(critic_width=0\): it is 1 at least"),
        ({"decay": math.inf}, r"\(decay=inf\): give 0, for modules as wide as the first, or more"),
        ({"decay": -0.1}, r"\(decay=-0.1\): give 0, for modules as wide as the first, or more"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        replace(SMALL, **changes)
    assert "\n" not in str(error.value)


def test_a_misspelt_word_is_refused(unchecked: None) -> None:
    with pytest.raises(ValueError, match=r"\(noise='random'\): 'independent' or 'shared' is accepted"):
        VcGenerator(noise="random")


def test_survives_json() -> None:
    for model in (SMALL, CLASSES, replace(SMALL, modules=tuple(MODULES.split(", ")))):
        assert from_json(json.loads(json.dumps(to_json(model)))) == model
