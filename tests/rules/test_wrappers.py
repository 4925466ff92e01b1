"""Rules act on the layers that were meant, whatever the network is wrapped in: the released ones did not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.rules._rate import optimal_rate

BASE = 0.5


class Net(nn.Module):
    """A stem with a head; of torch's layers, as checks of shapes in signatures cannot be compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.fc = nn.Conv2d(3, 8, 3, bias=False), nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.conv1(x).relu().mean((2, 3)))


def compiled(net: nn.Module) -> nn.Module:
    return torch.compile(net, backend="eager")


WRAPS = {
    "plain": lambda net: net,
    "data parallel": nn.DataParallel,
    "compiled": compiled,
    "compiled data parallel": lambda net: compiled(nn.DataParallel(net)),
    "distributed": nn.parallel.DistributedDataParallel,
    "distributed and compiled": lambda net: nn.parallel.DistributedDataParallel(compiled(net)),
    "compiled and distributed": lambda net: compiled(nn.parallel.DistributedDataParallel(net)),
}


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A process group of one."""
    torch.distributed.init_process_group("gloo", f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def stem_after(wrap, rule, rng):
    """The stem's weight before a step, its gradient, its weight after it, and the bound rule."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net()
    wrapped = wrap(net)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=BASE)
    bound = rule(layers=("conv1",)).bind(wrapped).attach(optimizer)
    logits = wrapped(torch.rand(4, 3, 8, 8, generator=rng) * 2 - 1)
    # <l, w> > 0: the loss grows with the weight
    (logits.square().mean() + net.conv1.weight.square().sum()).backward()
    before = net.conv1.weight.detach().clone()
    optimizer.step()
    assert list(bound.parameters) == ["conv1.weight"]
    assert bound.parameters["conv1.weight"] is net.conv1.weight
    return before, net.conv1.weight.grad, net.conv1.weight.detach(), bound


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.usefixtures("one_process")
def test_the_optimal_rate_is_used_for_the_stem(wrap, rng):
    before, gradient, after, bound = stem_after(wrap, og.OptimalLearningRate, rng)
    rate = optimal_rate(before, gradient).item()
    assert 0 < rate < 0.9 * BASE
    assert bound.log["rate"].item() == pytest.approx(rate, rel=1e-5)
    assert bound.log["at_base"] == 0
    torch.testing.assert_close(after, before - rate * gradient, rtol=1e-5, atol=1e-6)
    assert (after - (before - BASE * gradient)).norm() > 0.1 * (BASE * gradient).norm()


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.usefixtures("one_process")
def test_the_nearest_orthogonal_gradient_is_the_stems(wrap, rng):
    before, _, after, _ = stem_after(wrap, og.NearestOrthogonalGradient, rng)
    step = ((before - after) / BASE).flatten(1)  # 8 x 27
    torch.testing.assert_close(step @ step.T, torch.eye(8), rtol=0, atol=1e-5)
