"""What a pass over a growing network is found to do, and how far the repeated passes of a search go."""

import pytest
import torch
from torch import Tensor, nn

import orthogen as og


class Level(nn.Module):
    """Runs as many of its layers as a buffer says, and tells so by a plain number once it has run, as ProGAN does."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.register_buffer("count", torch.tensor(3))
        self.told = 3

    def forward(self, z: Tensor) -> Tensor:
        self.told = int(self.count)
        for layer in self.layers[: self.told]:
            z = layer(z).tanh()
        return z


def test_a_module_that_a_pass_tells_its_mode_is_known_by_that_mode() -> None:
    module = Level()
    f, z = og.probe(og.adapt(module, og.Normal(4)), ("layers.0", "output")), torch.randn(2, 4)
    g = og.probe(og.adapt(module, og.Normal(4)), ("layers.0", "layers.2"))
    module.count.fill_(1)  # told is 3 still
    f(z)
    with pytest.raises(ValueError, match=r"'layers\.2' is not reached"):
        g(z)
    module.count.fill_(3)
    module.told = 3
    assert f.stages(z) == [("layers.0", "output")]
    assert len(g(z)) == 2


@pytest.mark.parametrize("method", [og.HessianPenalty, og.OroJaR])
def test_a_network_that_has_grown_is_tried_again(method: type) -> None:
    model = og.ProGan(og.Normal(4), resolution=16, channel_max=4)
    network = model.build()["generator"]
    G, z = model.adapt(network), torch.randn(5, 4)
    model.grow(network, 2.0)
    first = og.probe(G, ("b4.conv0", "b4.conv1"))
    method()(first, z).backward()
    deeper = og.probe(G, ("b4.conv0", "b8.conv1", "output"))
    with pytest.raises(ValueError, match=r"'b8\.conv1' is not reached"):
        deeper(z)
    for lod, side in ((1.5, 8), (1.0, 8), (0.5, 16), (0.0, 16)):
        model.grow(network, lod)
        assert [x.shape[2] for x in first(z)] == [4, 4]
        assert [x.shape[2] for x in deeper(z)] == [4, 8, 16]
        there = [layer for layer in model.penalized_layers if model.layer_share(layer, lod)]
        f = og.probe(G, there)
        assert {name for stage in f.stages(z) for name in stage} == set(there)
        assert f.stages(z)[0] == ("b4.conv0", "b4.conv1")
        assert [x.shape[2] for x in f(z)][-2:] == ([side, 16] if lod < 1 else [8, 8])
        assert set(method().terms(f, z)) == set(there)


class Tower(nn.Module):
    """Three resolutions; each has its largest response to one coordinate of the latent alone."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.middle, self.high = (nn.Conv2d(4, 4, 1, bias=False) for _ in range(3))

    def forward(self, z: Tensor) -> Tensor:
        x = self.low(z[:, :, None, None])
        x = self.middle(nn.functional.interpolate(x.sin(), scale_factor=2))
        return self.high(nn.functional.interpolate(x.sin(), scale_factor=2))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("method", [og.HessianPenalty, og.OroJaR])
def test_each_winner_runs_as_far_as_the_last_resolution_it_is_needed_for(method: type, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    net = Tower().double()
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    f = og.probe(og.adapt(net, og.Normal(4)), ("high", "low", "middle"))
    z = torch.randn(12, 4, generator=rng, dtype=torch.float64)
    v = torch.randn(2, 12, 4, generator=rng, dtype=torch.float64).sign()
    derivatives = og.FiniteDifference().along(f, z, v, method.order)
    statistics = [torch.stack([method().statistic(d[i]) for d in derivatives]).var(0) for i in range(3)]
    holders = dict(zip(f.layers, (x.reshape(12, -1).amax(1).argmax().item() for x in statistics), strict=True))
    plain = sum(x.max() for x in statistics)
    expected = torch.autograd.grad(plain, list(net.parameters()))

    rows = {name: 0 for name in f.layers}

    def count(name: str):
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            rows[name] += len(output) * output.requires_grad

        return hook

    handles = [net.get_submodule(name).register_forward_hook(count(name)) for name in f.layers]
    fast = method()(f, z, probes=v)
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)
    for a, b in zip(torch.autograd.grad(fast, list(net.parameters())), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * float(b.abs().max()))

    points = 4 if method is og.HessianPenalty else 3
    high, middle, low = holders["high"], holders["middle"], holders["low"]
    assert rows["high"] == points
    assert rows["middle"] == points * len({high, middle})
    assert rows["low"] == points * len({high, middle, low})


def test_what_is_reduced_along_a_pass_is_what_is_reduced_after_it() -> None:
    net = Tower()
    f = og.probe(og.adapt(net, og.Normal(4)), ("low", "high"))
    points = torch.randn(3, 7, 4)
    passes = f.passes(points)
    seen = []

    def spread(x: Tensor, known: Tensor | None) -> Tensor:
        seen.append((x.shape[:2], known))
        return x.var(0).flatten(1).sum(1)

    for rows in (None, 1, 9):
        seen.clear()
        got = f.reduced(points, spread, rows)
        for i, each in enumerate(got):
            torch.testing.assert_close(each, torch.stack([x[i] for x in passes]).var(0).flatten(1).sum(1))
    assert [tuple(shape) for shape, _ in seen] == [(3, 3), (3, 3), (3, 3), (3, 3), (3, 1), (3, 1)]  # of two layers
    assert all(known is None for _, known in seen)
