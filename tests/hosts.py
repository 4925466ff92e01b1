"""Small generators with every habit that users' modules have, as hosts for penalties."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.layers.batch_norm import ConditionalBatchNorm2d


class ConditionalNorm(nn.Module):
    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels, affine=False)
        self.gain = nn.Embedding(classes, channels)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return self.norm(x) * self.gain(label)


class Conditional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 8), ConditionalNorm(3, 8), nn.Linear(8, 6)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return self.last(torch.tanh(self.norm(self.first(z), label)))


class ConditionalMaps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 24), nn.Conv2d(6, 1, 1)
        self.norm = ConditionalBatchNorm2d(nn.Embedding(3, 6), nn.Embedding(3, 6), 6)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return self.last(torch.tanh(self.norm(self.first(z).view(-1, 6, 2, 2), label)))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.attention = nn.Linear(4, 12), nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, z: Tensor) -> Tensor:
        x = self.first(z).unflatten(1, (3, 4))
        return torch.tanh(self.attention(x, x, x)[0]).flatten(1)


class TwoLatents(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(1, 6), nn.Linear(3, 6)

    def forward(self, latents: tuple[Tensor, Tensor]) -> Tensor:
        return torch.tanh(self.a(latents[0])) * torch.tanh(self.b(latents[1]))


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)


class BatchSpread(nn.Module):
    """Adds a batch statistic, as minibatch standard deviation does."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x.std(0, unbiased=False).mean()


class Counting(nn.Module):
    """Keeps a moving average in a buffer at every pass, and is called twice per pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("average", torch.zeros(4))

    def forward(self, z: Tensor) -> Tensor:
        x = torch.tanh(self.layer(self.layer(z)))
        with torch.no_grad():
            self.average.lerp_(x.mean(0).to(self.average), 0.1)
        return x + self.average


def conv() -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(4, 8, 4), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(8, 1, 3), nn.Tanh())


@dataclass(frozen=True)
class Host:
    """A generator with layers worth probing, and labels if it takes any."""

    make: Callable[[], nn.Module]
    layers: tuple[str, ...]
    separable: bool = True
    repeatable: bool = True
    call: Callable[..., Tensor] = lambda module, z: module(z)
    labeled: bool = False
    train: bool = False

    def build(self, dtype: torch.dtype = torch.float32) -> tuple[og.Generator, Callable[[int], og.LatentMap]]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = self.make().to(dtype).train(self.train)
        G = og.adapt(module, og.Normal(4), call=self.call, classes=3 * self.labeled)

        def probe(batch: int) -> og.LatentMap:
            f = og.probe(G, self.layers)
            return og.given(f, label=torch.arange(batch) % 3) if self.labeled else f

        return G, probe


def _mlp(*extra: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), *extra, nn.Tanh(), nn.Linear(8, 6))


def _old_spectral() -> nn.Module:
    return _mlp(nn.utils.spectral_norm(nn.Linear(8, 8)))


HOSTS = {
    "mlp": Host(lambda: _mlp(nn.Linear(8, 8)), ("1", "2", "output")),
    "conv": Host(conv, ("0", "2"), call=lambda m, z: m(z[:, :, None, None])),
    "batch norm, training": Host(lambda: _mlp(nn.BatchNorm1d(8)), ("1", "2"), separable=False, train=True),
    "batch norm, evaluation": Host(lambda: _mlp(nn.BatchNorm1d(8)), ("1", "2")),
    "batch norm without running statistics": Host(
        lambda: _mlp(nn.BatchNorm1d(8, track_running_stats=False)), ("1",), separable=False
    ),
    "spectral norm, training": Host(
        lambda: _mlp(nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))), ("1", "2"), repeatable=False, train=True
    ),
    "old spectral norm, training": Host(_old_spectral, ("1", "2"), repeatable=False, train=True),
    "weight norm": Host(lambda: _mlp(nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))), ("1", "2")),
    "orthogonal": Host(lambda: _mlp(nn.utils.parametrizations.orthogonal(nn.Linear(8, 8))), ("1", "2")),
    "dropout": Host(lambda: _mlp(nn.Dropout(0.3)), ("2", "3"), separable=False, repeatable=False, train=True),
    "noise": Host(lambda: _mlp(Noisy()), ("2", "3"), separable=False, repeatable=False),
    "batch spread": Host(lambda: _mlp(BatchSpread()), ("2", "3"), separable=False),
    "moving average, called twice": Host(Counting, ("layer", "output"), separable=False, train=True),
    "conditional": Host(Conditional, ("norm", "output"), call=lambda m, z, label: m(z, label), labeled=True),
    "attention": Host(Attention, ("attention", "output")),
    "two latents": Host(TwoLatents, ("b", "output"), call=lambda m, z: m((z[:, :1], z[:, 1:]))),
}

# for what is about conditional norms of this library
CONDITIONAL_MAPS = Host(ConditionalMaps, ("norm", "output"), call=lambda m, z, label: m(z, label), labeled=True)


def painted(host: Host) -> Host:
    """The same module with an image of 8 x 8 pixels painted from its output, for penalties that look at images."""

    def call(module: nn.Module, z: Tensor, **conditions: Tensor) -> Tensor:
        values = host.call(module, z, **conditions).flatten(1)
        brush = torch.sin(torch.arange(values.shape[1] * 64, dtype=values.dtype)).view(-1, 64)
        return torch.tanh(values @ brush).view(-1, 1, 8, 8)

    return replace(host, call=call, layers=("output",))
