"""The training loop's own cost: `og.train` against a loop written by hand for the same networks, losses and optimizers.

Both train the demo's networks (32 px, bf16 autocast) with the non-saturating loss, R1 every 16 steps and an average of
the weights, on images in memory, in one process, in turn: whenever `train` logs, the other loop takes as many steps.
Fetching, logging and progress count as `train`'s cost; sample grids and checkpoints do not happen here. The figure is
the median ratio of times over the rounds. Target: at most 1.03.

    python benchmarks/loop.py [--threads 2] [--rounds 15] [--steps 16] [--batch 64]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import softplus

import orthogen as og
from orthogen.core.images import to_float
from orthogen.core.kinds import CriticBatch, Data, ImageSet
from orthogen.recipes import build

IMAGES = 10_000


class Noise(ImageSet):
    """Random pixels in memory."""

    channels, resolution = 3, 32
    pixels = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8)

    def __len__(self) -> int:
        return IMAGES

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        """Rows of the tensor."""
        return self.pixels[index]


@dataclass(frozen=True)
class NoiseData(Data):
    """Random pixels in memory."""

    def open(self) -> ImageSet:
        """The images."""
        return Noise()


class ByHand:
    """What a person would write for this one run, and nothing else."""

    def __init__(self, recipe: og.Recipe) -> None:
        self.batch, self.dim = recipe.batch, recipe.model.latent.dim
        built = recipe.model.build()
        self.generator, self.critic = built["generator"], built["critic"]
        self.average = deepcopy(self.generator)
        self.r1 = recipe.objective.terms["r1"]
        settings = recipe.generator_optimizer
        self.generator_adam, self.critic_adam = (
            torch.optim.Adam(net.parameters(), lr=settings.lr, betas=settings.betas, fused=True)
            for net in (self.generator, self.critic)
        )
        self.order, self.at, self.step = torch.randperm(IMAGES), 0, 0

    def next_images(self) -> Tensor:
        """The next batch in the order of the epoch."""
        if self.at + self.batch > IMAGES:
            self.order, self.at = torch.randperm(IMAGES), 0
        index = self.order[self.at : self.at + self.batch]
        self.at += self.batch
        return to_float(Noise.pixels[index])

    def one_step(self) -> None:
        """Critic, generator, average."""
        real = self.next_images()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            fake = self.generator(torch.randn(self.batch, self.dim))
        with torch.autocast("cpu", torch.bfloat16):
            on_real, on_fake = self.critic(real), self.critic(fake)
        on_real, on_fake = on_real.float(), on_fake.float()
        loss = softplus(-on_real).mean() + softplus(on_fake).mean()
        if self.step % self.r1.every == 0:
            batch = CriticBatch(real, fake.float(), on_real, on_fake)
            loss = loss + self.r1.every * self.r1.weight * self.r1.penalty(self.critic, batch)
        self.critic_adam.zero_grad()
        loss.backward()
        self.critic_adam.step()
        self.critic.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.critic(self.generator(torch.randn(self.batch, self.dim)))
        loss = softplus(-logits.float()).mean()
        self.generator_adam.zero_grad()
        loss.backward()
        self.generator_adam.step()
        self.critic.requires_grad_(True)
        with torch.no_grad():
            for mine, its in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                mine.lerp_(its, 0.005)
        self.step += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=16, help="in each round, of each loop")
    parser.add_argument("--batch", type=int, default=64)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    shown = given.steps * given.batch
    recipe = replace(
        build("demo.plain"), data=NoiseData(), batch=given.batch, images=(given.rounds + 2) * shown,
        checkpoint_every=0, sample_every=0,
    )  # fmt: skip
    hand, ratios, since = ByHand(recipe), [], 0.0

    def after_line(values: Mapping[str, float]) -> None:
        nonlocal since
        ours = time.perf_counter() - since
        start = time.perf_counter()
        for _ in range(given.steps):
            hand.one_step()
        theirs = time.perf_counter() - start
        if shown < values["images"] < recipe.images:  # the first round warms up, the last one writes the end
            ratios.append(ours / theirs)
            print(f"{values['images']:>7} images   train {ours:6.3f} s   by hand {theirs:6.3f} s   {ratios[-1]:.3f}")
        since = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        og.train(recipe, Path(folder) / "run", device="cpu", log_every=shown, on_log=after_line)
    print(f"median of {len(ratios)} rounds: {statistics.median(ratios):.3f} (at most 1.03)")


if __name__ == "__main__":
    main()
