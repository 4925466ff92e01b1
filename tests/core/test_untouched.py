"""A penalty leaves no trace: buffers, attributes, hooks, flags and random states are as before."""

import pytest
import torch
from torch import nn

import orthogen as og
from hosts import HOSTS
from orthogen.core.untouched import untouched
from traces import trace

PENALTIES = [
    og.HessianPenalty(),
    og.HessianPenalty(reduction="mean", k=3),
    og.OroJaR(),
    og.OroJaR(reduction="mean", derivative=og.FiniteDifference(central=True)),
]


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: f"{type(p).__name__}-{p.reduction}")
def test_a_penalty_and_its_backward_leave_no_trace(name, penalty):
    G, at = HOSTS[name].build()
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    G(z, **({"label": torch.arange(5) % 3} if HOSTS[name].labeled else {}))  # old hook forms set attributes here
    before = trace(G.module)
    loss = penalty(at(5), z)
    assert trace(G.module) == before
    loss.backward()
    assert trace(G.module) == before


def test_nothing_stays_behind_when_a_pass_fails():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(4)

        def forward(self, z):
            self.norm(z)
            raise RuntimeError("broken generator")

    module = Fails()
    z = torch.randn(3, 4)
    before = trace(module)
    with pytest.raises(RuntimeError, match="broken generator"):
        og.OroJaR()(og.probe(og.adapt(module, og.Normal(4))), z)
    assert trace(module) == before


def test_backward_of_an_earlier_graph_still_works_after_a_penalty():
    # copying buffers back in place would break autograd's version check here
    G, at = HOSTS["spectral norm, training"].build()
    z = torch.randn(5, 4)
    image = G(z)
    penalty = og.OroJaR()(at(5), z)
    (image.sum() + penalty).backward()


def test_all_passes_see_the_same_dropout_and_power_iterations():
    for name in ("dropout", "noise", "spectral norm, training", "old spectral norm, training", "batch norm, training"):
        _, at = HOSTS[name].build(torch.float64)
        z = torch.randn(5, 4, dtype=torch.float64)
        # along a probe of zeros every pass is the base pass
        derivative = og.FiniteDifference().along(at(5), z, torch.zeros(2, 5, 4, dtype=torch.float64), 1)
        assert all(float(x.detach().abs().max()) == 0 for one in derivative for x in one), name


def test_a_shared_buffer_stays_shared_inside():
    a, b = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    b.running_mean = a.running_mean
    with untouched(nn.ModuleList([a, b]), torch.device("cpu")) as host:
        host.rewind()
        assert a.running_mean is b.running_mean


def test_plain_tensors_and_new_buffers_leave_no_trace():
    class Moving(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.mean = nn.Linear(4, 4), torch.zeros(4)

        def forward(self, z):
            x = self.layer(z)
            self.mean.mul_(0.9).add_(x.detach().mean(0))
            self.register_buffer("seen", torch.tensor(len(z)))
            return x + self.mean

    module = Moving()
    og.OroJaR()(og.probe(og.adapt(module, og.Normal(4))), torch.randn(3, 4)).backward()
    assert module.mean.tolist() == [0.0] * 4
    assert "seen" not in dict(module.named_buffers())


def test_a_global_precision_switch_stays_global():
    backends = torch.backends
    before = backends.fp32_precision
    try:
        backends.fp32_precision = "tf32"
        og.OroJaR()(og.probe(og.adapt(nn.Linear(4, 4), og.Normal(4))), torch.randn(3, 4))
        backends.fp32_precision = before
        assert backends.cuda.matmul.fp32_precision in ("none", "ieee")
    finally:
        backends.fp32_precision = before
