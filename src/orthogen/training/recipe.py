"""A recipe: one frozen value that says everything about a run."""

from dataclasses import dataclass, field
from typing import Literal

from orthogen.core.claim import Claim
from orthogen.core.kinds import Data, Model
from orthogen.training.objective import Objective

__all__ = ["Adam", "Recipe"]


@dataclass(frozen=True)
class Adam:
    """Settings of ``torch.optim.Adam``.

    Attributes:
        lr: learning rate.
        betas: decay rates of the first and second moment.
        eps: added to the denominator.
    """

    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    eps: float = 1e-8


@dataclass(frozen=True)
class Recipe:
    """A complete training run. Time is counted in real images shown to the critic.

    Attributes:
        name: ``paper.function``.
        model: the networks.
        data: the images.
        objective: what is minimized.
        images: length of the run, in images.
        batch: images per step, over all processes.
        accumulate: gradient accumulation: each step's batch is processed in this many equal parts.
        generator_optimizer: for the generator and for what its penalties learn.
        critic_optimizer: for the critic.
        decay_from: images after which both learning rates fall linearly to 0 at ``images``; None for constant rates.
        clip: largest gradient norm of either network; None for no clipping.
        ema: half-life of the generator's weight average, in images; 0 for no average.
        precision: of the networks in the adversarial part; penalties are always float32.
        seed: of initialization, data order, latents and probes.
        checkpoint_every: images between checkpoints; 0 for one at the end alone.
        sample_every: images between sample grids; 0 for one at the end alone.
        claims: numbers of the paper.
        departures: where paper, released code and this recipe differ, in sentences.
        metrics: names of metrics that `measure` runs by default.
    """

    name: str
    model: Model
    data: Data
    objective: Objective = field(default_factory=Objective)
    images: int = 1_000_000
    batch: int = 128
    accumulate: int = 1
    generator_optimizer: Adam = field(default_factory=Adam)
    critic_optimizer: Adam = field(default_factory=Adam)
    decay_from: int | None = None
    clip: float | None = None
    ema: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    checkpoint_every: int = 100_000
    sample_every: int = 100_000
    claims: tuple[Claim, ...] = ()
    departures: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("Activeness",)

    def __post_init__(self) -> None:
        if self.batch < 1 or self.accumulate < 1 or self.batch % self.accumulate:
            raise ValueError(
                f"batch={self.batch}, accumulate={self.accumulate}: the batch must be a whole multiple of the parts"
            )
        if self.images < self.batch:
            raise ValueError(f"images={self.images} is less than one batch of {self.batch}")
