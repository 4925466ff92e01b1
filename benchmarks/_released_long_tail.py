"""What was released with group spectral regularization, written plainly: the other side of `group_spectral.py`."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from orthogen.core.rng import Rngs
from orthogen.layers.batch_norm import ConditionalBatchNorm2d

BETA, EPS = 0.999, 1e-3


def unit(x: Tensor) -> Tensor:
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp(min=EPS)


class Plain:
    """The released regularizer, layer by layer."""

    def __init__(self, generator: nn.Module, counts: Sequence[int]) -> None:
        self.generator, self.counts = generator, np.array(counts)
        self.norms = [part for part in generator.modules() if isinstance(part, ConditionalBatchNorm2d | Norm)]
        self.vectors: dict[int, list[Tensor]] = {}
        self.rounds = 40

    def _layer(self, norm: nn.Module) -> Iterator[Tensor]:
        for part in (norm.gain, norm.bias):
            if isinstance(part, nn.Embedding):
                yield part.weight
            else:
                shared = self.generator.shared.weight
                rest = torch.zeros(len(shared), part.in_features - shared.shape[1])
                yield part(torch.cat([shared, rest], dim=1))

    def __call__(self) -> Tensor:
        """The regularization, with class weights of mean 1."""
        effective = (1.0 - np.power(BETA, self.counts)) / (1.0 - BETA)
        weights = (1.0 / effective) / np.sum(1.0 / effective) * len(effective)
        factors = torch.from_numpy(weights)
        total = torch.zeros((), dtype=torch.float64)
        for i, norm in enumerate(self.norms):
            matrices = []
            for rows in self._layer(norm):
                groups = max(n for n in range(1, int(rows.shape[1] ** 0.5) + 1) if rows.shape[1] % n == 0)
                matrices.append(rows.view(len(rows), groups, -1))
            if i not in self.vectors:
                sides = (side for W in matrices for side in W.shape[1:])
                self.vectors[i] = [torch.randn(len(self.counts), side) for side in sides]
            with torch.no_grad():
                for _ in range(self.rounds):
                    for k, W in enumerate(matrices):
                        u, v = self.vectors[i][2 * k : 2 * k + 2]
                        v = unit(torch.matmul(W.permute(0, 2, 1), u.unsqueeze(2)).squeeze(2))
                        u = unit(torch.matmul(W, v.unsqueeze(2)).squeeze(2))
                        self.vectors[i][2 * k : 2 * k + 2] = u, v
            for k, W in enumerate(matrices):
                u, v = self.vectors[i][2 * k : 2 * k + 2]
                sigma = torch.matmul(u.unsqueeze(1), torch.matmul(W, v.unsqueeze(2))).view(-1)
                total = total + (factors * sigma**2).mean()
        self.rounds = 4
        return total / len(self.norms)


class PlainMeans:
    """Per class: is it in the batch, and the mean of its logits, as a number of Python's."""

    def __init__(self, classes: int) -> None:
        self.means = [0.0] * classes

    def __call__(self, logits: Tensor, labels: Tensor) -> None:
        """Take note of a batch."""
        for k in range(len(self.means)):
            if k in labels:
                self.means[k] = 0.99 * self.means[k] + 0.01 * logits[labels == k].mean().item()


# ---------------------------------------------------------------------------------------------- networks of torch's own
class Norm(nn.Module):
    """Batch norm with a table of gains and one of biases."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=1e-4, affine=False, track_running_stats=False)
        self.gain, self.bias = (nn.Embedding(classes, channels) for _ in range(2))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Normalized, then scaled and shifted by class."""
        gain = (1 + self.gain(y)).view(len(y), -1, 1, 1)
        return self.bn(x) * gain + self.bias(y).view(len(y), -1, 1, 1)


class Up(nn.Module):
    """A block of the generator, which doubles the side."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = Norm(channels, classes), Norm(channels, classes)
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.conv_sc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The map at twice the side."""
        h = F.interpolate(F.relu(self.bn1(x, y), inplace=True), scale_factor=2)
        h = self.conv2(F.relu(self.bn2(self.conv1(h), y), inplace=True))
        return h + self.conv_sc(F.interpolate(x, scale_factor=2))


class Generator(nn.Module):
    """SNGAN's, to 32 pixels."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(128, 4 * width * 16)
        self.blocks = nn.ModuleList(nn.ModuleList([Up(4 * width, classes)]) for _ in range(3))
        norm = nn.BatchNorm2d(4 * width, eps=1e-4, track_running_stats=False)
        self.output_layer = nn.Sequential(norm, nn.ReLU(inplace=True), nn.Conv2d(4 * width, 3, 3, padding=1))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Images."""
        h = self.linear(z).view(len(z), -1, 4, 4)
        for (block,) in self.blocks:
            h = block(h, y)
        return torch.tanh(self.output_layer(h))


class Down(nn.Module):
    """A block of the critic, which may halve the side."""

    def __init__(self, inputs: int, outputs: int, halve: bool, first: bool) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        self.conv1 = spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1), eps=1e-6)
        self.conv2 = spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1), eps=1e-6)
        if halve or inputs != outputs:
            self.conv_sc = spectral_norm(nn.Conv2d(inputs, outputs, 1), eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """The map."""
        h = self.conv1(x if self.first else F.relu(x))
        h = self.conv2(F.relu(h, inplace=True))
        if not self.halve:
            return h + x
        shortcut = self.conv_sc(F.avg_pool2d(x, 2)) if self.first else F.avg_pool2d(self.conv_sc(x), 2)
        return F.avg_pool2d(h, 2) + shortcut


class Critic(nn.Module):
    """SNGAN's, of 32 pixels."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        sides = [(3, 2 * width), *[(2 * width, 2 * width)] * 3]
        self.blocks = nn.ModuleList(nn.ModuleList([Down(*io, i < 2, i == 0)]) for i, io in enumerate(sides))
        self.linear = spectral_norm(nn.Linear(2 * width, 1), eps=1e-6)
        self.embed = spectral_norm(nn.Embedding(classes, 2 * width), eps=1e-6)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Logits."""
        for (block,) in self.blocks:
            x = block(x)
        h = F.relu(x, inplace=True).sum(dim=(2, 3))
        return self.linear(h).squeeze(1) + (self.embed(y) * h).sum(1)


def filled(plain: nn.Module, ours: nn.Module) -> nn.Module:
    """The network with the weights of ours, which are named alike but for what carries a spectral norm."""
    given, state = ours.state_dict(), plain.state_dict()
    for name, value in state.items():
        known = name.replace("weight_orig", "weight").replace("weight_u", "u0")
        known = known.replace("output_layer.0.weight", "output_layer.0.gain")
        if not name.endswith("weight_v"):  # each pass makes it anew
            state[name] = given[known].reshape(value.shape)
    plain.load_state_dict(state)
    return plain.train()


# ---------------------------------------------------------------------------------------------- the loop
def augmented(x: Tensor, rng: torch.Generator) -> Tensor:
    """DiffAugment with its three changes of color, a translation and a cutout."""
    n, _, side, _ = x.shape

    def one() -> Tensor:
        return torch.rand(n, generator=rng).view(n, 1, 1, 1)

    x = x + (one() - 0.5)
    mean = x.mean(dim=1, keepdim=True)
    x = (x - mean) * (one() * 2) + mean
    mean = x.mean(dim=[1, 2, 3], keepdim=True)
    x = (x - mean) * (one() + 0.5) + mean

    most, half = int(side * 0.125 + 0.5), int(side * 0.5 + 0.5)
    samples, rows, columns = torch.meshgrid(torch.arange(n), torch.arange(side), torch.arange(side), indexing="ij")
    down, right = (torch.randint(-most, most + 1, (n, 1, 1), generator=rng) for _ in range(2))
    rows, columns = (rows + down + 1).clamp(0, side + 1), (columns + right + 1).clamp(0, side + 1)
    x = F.pad(x, [1, 1, 1, 1]).permute(0, 2, 3, 1).contiguous()[samples, rows, columns]
    x = x.permute(0, 3, 1, 2).contiguous()

    samples, rows, columns = torch.meshgrid(torch.arange(n), torch.arange(half), torch.arange(half), indexing="ij")
    down, right = (torch.randint(0, side + (1 - half % 2), (n, 1, 1), generator=rng) for _ in range(2))
    rows, columns = (rows + down - half // 2).clamp(0, side - 1), (columns + right - half // 2).clamp(0, side - 1)
    mask = torch.ones(n, side, side)
    mask[samples, rows, columns] = 0
    return x * mask.unsqueeze(1)


class Loop:
    """The released loop, with its settings of SNGAN on CIFAR-10.

    Gradients of the network that rests are switched off, real and generated images pass the critic apart, a loop over
    classes averages the critic's logits, the regularizer goes layer by layer, and Adam is as torch has it by default.
    Three things are as in our recipe, so that losses are the same: the sign and the averages of LeCam, shortcuts of the
    critic that start from the map itself, and singular vectors of biases that are their own.

    Args:
        generator: of ours, whose weights it begins with.
        critic: of ours.
        counts: images of each class.
        batch: images of a step of the critic.
        rngs: what latents, labels and augmentations are drawn from, named as in our runs.
    """

    def __init__(self, generator: nn.Module, critic: nn.Module, counts: Sequence[int], batch: int, rngs: Rngs) -> None:
        classes, width = len(counts), generator.linear.out_features // 64
        self.generator = filled(Generator(width, classes), generator)
        self.critic = filled(Critic(width, classes), critic)
        self.regularizer, self.batch, self.rngs = Plain(self.generator, counts), batch, rngs
        self.shares, self.logits = torch.ones(classes), (PlainMeans(classes), PlainMeans(classes))
        self.real_mean = self.fake_mean = None
        self.generator_adam, self.critic_adam = (
            torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.9), eps=1e-6)
            for net in (self.generator, self.critic)
        )

    def _turn(self, learns: nn.Module, rests: nn.Module) -> None:
        for net, on in ((learns, True), (rests, False)):
            for parameter in net.parameters():
                parameter.requires_grad = on

    def _draws(self) -> tuple[Tensor, Tensor]:
        y = torch.multinomial(self.shares, self.batch, replacement=True, generator=self.rngs["label"])
        return torch.randn(self.batch, 128, generator=self.rngs["latent"]), y

    def step(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """Five steps of the critic and one of the generator; their losses."""
        losses = []
        self._turn(self.critic, self.generator)
        for real, its in zip(images.split(self.batch), labels.split(self.batch), strict=True):
            self.critic_adam.zero_grad()
            z, y = self._draws()
            fake = self.generator(z, y)
            on_real = self.critic(augmented(real, self.rngs["augment"]), its)
            on_fake = self.critic(augmented(fake, self.rngs["augment"]), y)
            loss = F.relu(1.0 - on_real).mean() + F.relu(1.0 + on_fake).mean()
            losses.append(loss.item())
            self.logits[0](on_real.detach(), its)
            self.logits[1](on_fake.detach(), y)
            (loss + 0.3 * self._lecam(on_real, on_fake)).backward()
            self.critic_adam.step()
        self._turn(self.generator, self.critic)
        self.generator_adam.zero_grad()
        z, y = self._draws()
        fake, regularization = self.generator(z, y), self.regularizer()
        loss = -self.critic(augmented(fake, self.rngs["augment"]), y).mean()
        (loss + 0.5 * regularization).backward()
        self.generator_adam.step()
        return {
            "loss/critic": sum(losses) / len(losses),
            "loss/generator": loss.item(),
            "penalty/gsr": regularization.item(),
        }

    def _lecam(self, real: Tensor, fake: Tensor) -> Tensor:
        of_real, of_fake = real.mean().item(), fake.mean().item()
        if self.real_mean is None:
            self.real_mean, self.fake_mean = of_real, of_fake
        self.real_mean = 0.99 * self.real_mean + 0.01 * of_real
        self.fake_mean = 0.99 * self.fake_mean + 0.01 * of_fake
        return F.relu(real - self.fake_mean).pow(2).mean() + F.relu(self.real_mean - fake).pow(2).mean()
