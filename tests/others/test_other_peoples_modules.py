"""Every penalty, discovery and score runs on modules that others wrote, as they are."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

import orthogen as og
from contracts import scores
from contracts.members import classes, members
from orthogen.core.kinds import CodeMetric, Discovery, FactorSet, ImageMetric, LatentMetric, LatentPenalty
from others.adapters import OTHERS, Other
from traces import trace

everyone = pytest.mark.parametrize("other", [pytest.param(other, id=name) for name, other in OTHERS.items()])
probing = pytest.mark.parametrize("penalty", [og.HessianPenalty(), og.OroJaR()], ids=lambda p: type(p).__name__)


def drawn(G: og.Generator, n: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, dict[str, Tensor]]:
    """Latents, and a label for each where the generator takes any."""
    z = G.latent.sample(n, rng=torch.Generator().manual_seed(0)).to(dtype)
    return z, {"label": torch.arange(n) % G.classes} if G.classes else {}


def signs(z: Tensor, k: int = 3) -> Tensor:
    return torch.randint(0, 2, (k, *z.shape), generator=torch.Generator().manual_seed(1)).to(z) * 2 - 1


def of_one_class(G: og.Generator) -> og.Generator:
    return G.of_class(1) if G.classes else G


def weights(G: og.Generator) -> list[Tensor]:
    return list(G.module.parameters())


def eye(images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits."""
    patches = torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)
    return patches, 5 * patches[:, :4]


FEW = {"steps": 4, "batch": 4, "samples": 4, "batches": 2, "count": 3, "pairs": 64, "epochs": 2, "predictors": 2}


def turned_down(member: type, other: Other) -> Any:
    """A member that takes few steps and samples, and looks at a layer where it wants one."""
    defaults = {field.name: field.default for field in dataclasses.fields(member)}
    known = {
        **FEW,
        "reader": lambda images: eye(images)[1],
        **({"layer": other.layer} if defaults.get("layer") == "" else {}),
    }
    return member(**{name: value for name, value in known.items() if name in defaults})


def outputs(G: og.Generator, layers: tuple[str, ...], z: Tensor, conditions: dict[str, Tensor]) -> list[Tensor]:
    """Activations by hooks of our own."""
    seen = {}
    named = dict(G.module.named_modules())
    hooks = [
        named[name].register_forward_hook(lambda module, args, output, name=name: seen.update({name: output}))
        for name in layers
        if name != "output"
    ]
    seen["output"] = G(z, **conditions)
    for hook in hooks:
        hook.remove()
    return [seen[name].flatten(1) for name in layers]


def transcribed(penalty, G, layers, z, probes, conditions) -> Tensor:
    """Either penalty as the papers write it, pass by pass."""
    e, by_probe = 0.1, []
    here = outputs(G, layers, z, conditions)
    for v in probes:
        ahead, behind = (outputs(G, layers, z + sign * e * v, conditions) for sign in (1, -1))
        if isinstance(penalty, og.HessianPenalty):
            by_probe.append([(a - 2 * b + c) / e**2 for a, b, c in zip(ahead, here, behind, strict=True)])
        else:
            by_probe.append([((a - b) / e).square().sum(dim=1) for a, b in zip(ahead, here, strict=True)])
    return sum(torch.stack(layer).var(dim=0).max() for layer in zip(*by_probe, strict=True))


def same_gradients(one: Tensor, other: Tensor, G: og.Generator) -> None:
    found, expected = (torch.autograd.grad(x, weights(G), materialize_grads=True) for x in (one, other))
    largest = max(x.abs().max() for x in expected)
    assert largest > 0
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() <= 1e-8 * largest


# ---------------------------------------------------------------------------------------------- penalties
@everyone
@probing
def test_value_and_gradient_are_those_of_a_plain_transcription(other, penalty):
    G = other.build(torch.float64)
    z, conditions = drawn(G, 4, torch.float64)
    f, probes = og.given(og.probe(G, other.layers), **conditions), signs(z)
    G.module.train()  # spectral norm does not iterate during a penalty
    found = penalty(f, z, probes=probes)
    G.module.eval()
    expected = transcribed(penalty, G, other.layers, z, probes, conditions)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    same_gradients(found, expected, G)


@everyone
def test_passes_in_parts_give_the_same(other):
    G = other.build(torch.float64)
    z, conditions = drawn(G, 5, torch.float64)
    f, probes = og.given(og.probe(G, other.layers), **conditions), signs(z)
    assert f.separable(z)
    whole = og.OroJaR(reduction="mean")(f, z, probes=probes)
    in_threes = og.OroJaR(reduction="mean", derivative=og.FiniteDifference(max_batch=3))(f, z, probes=probes)
    parts = [og.OroJaR(reduction="mean")(f.take(i), z[i], probes=probes[:, i]) for i in torch.arange(5).split(2)]
    by_parts = sum(part * n for part, n in zip(parts, (2, 2, 1), strict=True)) / 5
    for found in (in_threes, by_parts):
        assert found.item() == pytest.approx(whole.item(), rel=1e-9)
        same_gradients(found, og.OroJaR(reduction="mean")(f, z, probes=probes), G)


@everyone
@probing
def test_exact_derivatives_are_those_of_double_backward_or_refused(other, penalty):
    G = of_one_class(other.build(torch.float64))
    z, _ = drawn(G, 2, torch.float64)
    probes, exact = signs(z, k=2), dataclasses.replace(penalty, derivative=og.Exact())
    if other.exact:
        with pytest.raises(ValueError, match=f"{other.exact}.*; use FiniteDifference"):
            exact(og.probe(G), z, probes=probes)
        return
    found = exact(og.probe(G), z, probes=probes)

    def moved(x: Tensor, v: Tensor) -> Tensor:
        return jvp(lambda point: G(point).flatten(1), x, v, create_graph=True)[1]

    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel has no second derivatives
        if isinstance(penalty, og.OroJaR):
            values = torch.stack([moved(z, v).square().sum(dim=1) for v in probes])
        else:
            values = torch.stack([jvp(lambda x, v=v: moved(x, v), z, v, create_graph=True)[1] for v in probes])
    expected = values.var(dim=0).max()
    assert found.item() == pytest.approx(expected.item(), rel=1e-8)
    same_gradients(found, expected, G)


@everyone
@pytest.mark.parametrize("member", members(LatentPenalty))
def test_every_penalty_reaches_the_weights_and_leaves_no_trace(other, member):
    G, penalty = of_one_class(other.build()), member()
    G(drawn(G, 2)[0])  # the old form of spectral norm sets attributes in its first pass
    G.module.train()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        state = penalty.init(G)
    z, before = drawn(G, 4)[0], trace(G.module)
    value = penalty(og.probe(G), z, state=state, rng=torch.Generator().manual_seed(0))
    assert trace(G.module) == before
    value.backward()
    assert trace(G.module) == before
    gradients = [p.grad for p in weights(G) if p.grad is not None]
    assert value.isfinite()
    assert all(g.isfinite().all() for g in gradients)
    assert any(g.any() for g in gradients)


# ---------------------------------------------------------------------------------------------- directions
@everyone
@pytest.mark.parametrize("member", members(Discovery))
def test_every_discovery_finds_directions_or_says_why_not(other, member):
    G = other.build()
    z, conditions = drawn(G, 2)
    G(z, **conditions)
    before, rng = trace(G.module), torch.Generator()
    if member is og.SeFa and other.matrices is None:
        with pytest.raises(ValueError, match="no linear or convolutional layer of this generator gets the latent"):
            turned_down(member, other).fit(G, rng=rng)
    else:
        first, second = (turned_down(member, other).fit(G, rng=rng.manual_seed(0)) for _ in range(2))
        assert torch.equal(first.basis, second.basis)
        assert first.basis.shape[1] == G.latent.dim
        assert first.basis.isfinite().all()
        assert not first.of_another(G)
    assert trace(G.module) == before
    assert all(p.grad is None for p in weights(G))


@everyone
@probing
def test_the_search_of_both_papers_is_the_same_in_micro_batches(other, penalty):
    method = og.PenaltyDescent(type(penalty).__name__, count=3, steps=2, batch=5, base="random")
    G = other.build(torch.float64)
    found = [
        dataclasses.replace(method, micro_batch=micro).fit(G, rng=torch.Generator().manual_seed(0)).basis
        for micro in (None, 2)
    ]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[0] @ found[0].mT, torch.eye(3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("other", [pytest.param(x, id=name) for name, x in OTHERS.items() if x.matrices])
def test_sefa_factorizes_the_layers_that_read_the_latent(other):
    G = other.build()
    z, conditions = drawn(G, 2)
    G(z, **conditions)  # after which the old form of spectral norm has its weights
    found = og.SeFa().fit(G)
    _, strength, axes = torch.linalg.svd(torch.cat(other.matrices(G.module)).detach())
    torch.testing.assert_close(found.strength, strength, rtol=1e-4, atol=1e-5)
    if strength.diff().abs().min() > 1e-3:  # else axes may be turned
        torch.testing.assert_close((found.basis * axes).sum(dim=1).abs(), torch.ones(len(axes)), rtol=1e-4, atol=0)


@everyone
def test_jacobian_svd_is_that_of_the_dense_jacobian(other):
    G = of_one_class(other.build(torch.float64))
    found = og.JacobianSvd(samples=1, count=3).fit(G, rng=torch.Generator().manual_seed(0))
    z, e = drawn(G, 1, torch.float64)[0], 1e-6
    axes = torch.eye(z.shape[1], dtype=torch.float64)
    with torch.no_grad():
        J = torch.stack([(G(z + e * v) - G(z - e * v)).flatten() / (2 * e) for v in axes], dim=1)
    _, strength, expected = torch.linalg.svd(J)
    torch.testing.assert_close(found.strength.double(), strength[:3], rtol=0.01, atol=0)  # its step sees kinks
    overlap = (found.basis.double() * expected[:3]).sum(dim=1).abs()
    torch.testing.assert_close(overlap, torch.ones(3).double(), rtol=0.01, atol=0)


# ---------------------------------------------------------------------------------------------- scores
class Tones(FactorSet):
    """Plain colors; the factors of an image are the quarters, among some images, of its red, green and blue."""

    channels, factor_names, factor_sizes = 3, ("red", "green", "blue"), (4, 4, 4)
    classes = ("none", "a little", "much", "most")

    def __init__(self, images: Tensor) -> None:
        self.resolution = images.shape[-1]
        self.edges = images.mean(dim=(2, 3)).quantile(torch.tensor([0.25, 0.5, 0.75]), dim=0).T

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        colors = (60 * self.factors(index) + 30).to(torch.uint8)
        return colors[:, :, None, None].expand(-1, -1, self.resolution, self.resolution)

    def labels(self, index: Tensor) -> Tensor:
        return self.factors(index)[:, 0]

    def read_factors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        factors = (images.mean(dim=(2, 3))[:, :, None] > self.edges).sum(dim=2)
        return factors, torch.ones(factors.shape)


@everyone
@pytest.mark.parametrize("member", members(LatentMetric))
def test_every_score_along_directions_is_measured_and_leaves_no_trace(other, member):
    G = of_one_class(other.build())
    G(drawn(G, 2)[0])
    G.module.train()
    before = trace(G.module)
    metric, directions = turned_down(member, other), og.Random(count=3).fit(G)
    score = metric(G, directions, rng=torch.Generator().manual_seed(0))
    assert trace(G.module) == before
    scores.check(score)
    assert score.stderr is not None


@everyone
def test_activeness_is_that_of_a_plain_transcription(other):
    G = of_one_class(other.build(torch.float64))
    score = og.Activeness(samples=3)(G, rng=torch.Generator().manual_seed(0))
    z, (low, high) = drawn(G, 3, torch.float64)[0], G.latent.span
    for i, found in enumerate(score.parts["activeness"]):
        images = []
        for value in (low, (low + high) / 2, high):
            moved = z.clone()
            moved[:, i] = value
            images.append(G(moved))
        assert found == pytest.approx(torch.stack(images).var(dim=0).mean().item(), rel=1e-9)


@everyone
def test_every_score_of_images_and_of_codes_is_measured(other):
    G = of_one_class(other.build())
    data = Tones(G.sample(100, rng=torch.Generator().manual_seed(1)).clamp(-1, 1))
    chosen = [member() for member in classes("metrics") if issubclass(member, ImageMetric | CodeMetric)]
    before = trace(G.module)
    found = og.measure(G, chosen, data=data, extractor=eye, n=100, quiet=True)
    assert trace(G.module) == before
    assert len(found) == len(chosen)
    for score in found:
        scores.check(score)
