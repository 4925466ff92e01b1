"""Losses that stand on one pass of a generator: the gradients of their sum, in fewer passes."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

import orthogen as og
from hosts import HOSTS
from orthogen.core.kinds import LatentPenalty
from orthogen.core.shared_pass import SharedPass

PENALTIES = {
    "orojar": og.OroJaR(),
    "orojar, mean": og.OroJaR(reduction="mean"),
    "orojar, central": og.OroJaR(derivative=og.FiniteDifference(central=True)),
    "hessian": og.HessianPenalty(),
    "hessian, mean": og.HessianPenalty(reduction="mean"),
}


def progan(side: int = 16, lod: float = 0.0) -> tuple[og.Generator, nn.Module, og.ProGan]:
    model = og.ProGan(og.Normal(4), resolution=side, channel_max=6, channel_base=256)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = model.build()
    for network in networks.values():
        network.double()
        model.grow(network, lod)
    return model.adapt(networks["generator"]), networks["critic"].requires_grad_(False), model


def latents(batch: int = 8) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    z = torch.randn(batch, 4, generator=rng, dtype=torch.float64)
    return z, torch.randn(2, batch, 4, generator=rng, dtype=torch.float64).sign()


def gradients(module: nn.Module) -> list[Tensor]:
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]
    module.zero_grad(set_to_none=True)
    return found


def assert_same(a: list[Tensor], b: list[Tensor]) -> None:
    largest = max(float(y.abs().max()) for y in b)  # sums of such numbers may cancel
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12 * largest)


@pytest.mark.parametrize("lod", [0.0, 1.5])
@pytest.mark.parametrize("rows", [slice(None), slice(4)], ids=["all", "four"])
@pytest.mark.parametrize("name", PENALTIES)
def test_gradients_are_those_of_the_sum_of_all_losses(name: str, rows: slice, lod: float) -> None:
    G, critic, model = progan(lod=lod)
    there = [layer for layer in model.preactivation_layers if model.layer_share(layer, lod)]
    penalty, f = PENALTIES[name], og.probe(G, there)
    z, v = latents()
    plain = penalty(f, z[rows], probes=v[:, rows])
    (critic(G(z)).square().mean() + plain).backward()
    expected = gradients(G.module)
    for first in (False, True):  # the generator's graph gone before the penalty, or after it
        own = SharedPass(G, z, f.layers)
        critic(own.images).square().mean().backward()
        if first:
            own.backward()
        shared = penalty(own.known_by(f, rows), z[rows], probes=v[:, rows])
        torch.testing.assert_close(shared, plain, rtol=1e-12, atol=0)
        shared.backward()
        own.backward()
        assert_same(gradients(G.module), expected)


def test_conditions_go_with_the_samples() -> None:
    host = HOSTS["conditional"]
    G, _ = host.build(torch.float64)
    z, v = latents()
    label, penalty = torch.tensor([2, 0, 1, 1, 0, 2, 2, 1]), og.OroJaR(reduction="mean")
    f = og.given(og.probe(G, host.layers), label=label)
    penalty(f.take(torch.arange(4)), z[:4], probes=v[:, :4]).backward()
    expected = gradients(G.module)
    own = SharedPass(G, z, host.layers, label=label)
    penalty(own.known_by(f, slice(4)), z[:4], probes=v[:, :4]).backward()
    own.backward()
    assert_same(gradients(G.module), expected)


def test_one_layer_under_two_names_gets_the_gradients_of_both() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(4, 3)), nn.Tanh()).double()
    G, (z, v) = og.adapt(net, og.Normal(4)), latents()
    f, penalty = og.probe(G, ("0", "0.0")), og.OroJaR(reduction="mean")
    penalty(f, z, probes=v).backward()
    expected = gradients(net)
    own = SharedPass(G, z, f.layers)
    penalty(own.known_by(f), z, probes=v).backward()
    own.backward()
    assert_same(gradients(net), expected)


# ------------------------------------------------------------------------------------------------- what it saves
@contextmanager
def counted(layer: nn.Module) -> Iterator[dict[bool, int]]:
    """Rows that go through a layer, with and without gradients."""
    rows = {False: 0, True: 0}

    def count(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        rows[output.requires_grad] += len(output)

    handle = layer.register_forward_hook(count)
    yield rows
    handle.remove()


@pytest.mark.parametrize(
    ("penalty", "alone", "shared"),
    [
        # without gradients: the search; with them: one sample that holds all maxima, or the whole batch
        (og.OroJaR(), (3 * 8, 3), (2 * 8, 2)),
        (og.OroJaR(k=3), (4 * 8, 4), (3 * 8, 3)),
        (og.OroJaR(reduction="mean"), (0, 3 * 8), (0, 2 * 8)),
        (og.HessianPenalty(), (4 * 8, 4), (4 * 8, 4)),
    ],
)
def test_a_shared_pass_saves_the_base_pass(
    penalty: LatentPenalty, alone: tuple[int, int], shared: tuple[int, int]
) -> None:
    G, _, _ = progan()
    f, z = og.probe(G, ("b4.conv1.conv",)), latents()[0]
    penalty(f, z)  # what the module does is tried
    own = SharedPass(G, z, f.layers)
    for seen, expected in ((f, alone), (own.known_by(f), shared)):
        with counted(G.module.get_submodule("b4.conv0")) as rows:
            penalty(seen, z)
        assert (rows[False], rows[True]) == expected


def test_which_penalties_look_at_a_base_pass() -> None:
    assert [name for name, penalty in PENALTIES.items() if penalty.shares_base] == ["orojar", "orojar, mean"]
    assert not og.OroJaR(derivative=og.Exact()).shares_base
    assert og.VariationPredictability().shares_base
    assert og.InfoGan().shares_base


def test_the_generators_graph_goes_with_its_backward_pass() -> None:
    G, _, _ = progan()
    z, _ = latents()
    own = SharedPass(G, z, ("b4.conv1",))
    own.images.sum().backward()
    own.backward()
    once = gradients(G.module)
    assert any(x.any() for x in once)
    own.backward()  # nothing has come since
    assert not any(x.any() for x in gradients(G.module))


# ------------------------------------------------------------------------------------------- where it must not share
@pytest.mark.parametrize("name", ["dropout", "noise", "spectral norm, training", "moving average, called twice"])
def test_a_pass_that_another_would_not_repeat_is_not_shared(name: str) -> None:
    G, at = HOSTS[name].build()
    z = latents()[0].float()
    own = SharedPass(G, z, at(8).layers)
    assert not own.known_by(at(8)).knows(z)


def test_batch_statistics_are_those_of_the_whole_batch() -> None:
    G, at = HOSTS["batch norm, evaluation"].build()
    for part in G.module.modules():
        if isinstance(part, nn.BatchNorm1d):  # those of the batch, and no buffers that change
            part.track_running_stats, part.running_mean, part.running_var = False, None, None
    z, f = latents()[0].float(), at(8)
    own = SharedPass(G, z, f.layers)
    assert own.known_by(f).knows(z)
    assert not own.known_by(f, slice(4)).knows(z[:4])


def test_under_autocast_the_pass_is_the_generators_own_and_not_shared() -> None:
    G, at = HOSTS["mlp"].build()
    z = latents()[0].float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        own = SharedPass(G, z, at(8).layers)
    assert own.images.dtype == torch.bfloat16
    assert not own.known_by(at(8)).knows(z)


def test_a_shared_pass_is_of_full_float32() -> None:
    G, at = HOSTS["conv"].build()
    z, f = latents()[0].float(), at(8)
    exact = f(z)
    before = torch.backends.mkldnn.conv.fp32_precision
    torch.backends.mkldnn.conv.fp32_precision = "bf16"
    try:
        own = SharedPass(G, z, f.layers)
        known = own.known_by(f).known(z)
        assert not f.at(z, exact).knows(z)  # who knows how they were made
    finally:
        torch.backends.mkldnn.conv.fp32_precision = before
    assert known is not None
    assert all(torch.equal(a, b) for a, b in zip(known, exact, strict=True))


def test_without_layers_it_is_a_pass_cut_at_the_images() -> None:
    G, critic, _ = progan()
    z, _ = latents()
    critic(G(z)).sum().backward()
    expected = gradients(G.module)
    own = SharedPass(G, z)
    critic(own.images).sum().backward()
    own.backward()
    assert_same(gradients(G.module), expected)
    assert not own.known_by(og.probe(G)).knows(z)


def test_after_its_backward_pass_nothing_is_shared() -> None:
    G, at = HOSTS["mlp"].build(torch.float64)
    z, f = latents()[0], at(8)
    own = SharedPass(G, z, f.layers)
    assert own.known_by(f).knows(z)
    own.backward()
    assert not own.known_by(f).knows(z)
