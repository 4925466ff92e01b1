"""A recipe: one frozen value that says everything about a run."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import nn

from orthogen.core.choices import check_choices
from orthogen.core.claim import Claim
from orthogen.core.kinds import Augmentation, Data, Model, StepRule, Validation, WeightPenalty
from orthogen.core.sampling import Sampling, Shuffled
from orthogen.training.growth import Growth
from orthogen.training.objective import Objective, Term
from orthogen.training.schedule import linear_decay, milestones

__all__ = ["Adam", "ClassifierRecipe", "Recipe", "Sgd", "TrainingRecipe"]


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

    def over(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of these parameters."""
        return torch.optim.Adam(parameters, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)


@dataclass(frozen=True)
class Sgd:
    """Settings of ``torch.optim.SGD``.

    Attributes:
        lr: learning rate.
        momentum: share of the last step's direction in this one's.
        weight_decay: of all parameters, those of norms too; added to the gradient.
        nesterov: whether the momentum is Nesterov's.
    """

    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = False

    def over(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of these parameters."""
        return torch.optim.SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
            fused=True,
        )


@dataclass(frozen=True)
class TrainingRecipe(ABC):
    """What every training run says. Time is counted in images shown.

    Attributes:
        name: ``paper.function``.
        model: the networks.
        data: the images.
        images: length of the run, in images.
        batch: images per optimizer step, over all processes.
        accumulate: gradient accumulation: each step's batch is processed in this many equal parts.
        clip: largest gradient norm of a network; None for no clipping.
        ema: half-life of the weight average, in images; 0 for no average.
        ema_start: images after which the average begins to lag behind; it is the network itself until then.
        precision: of the networks; penalties are always float32.
        channels_last: whether images and weights lie in memory with all channels of a pixel together: the same values
            up to rounding. Which is faster depends on the networks: wide residual ones gain by it, narrow ones
            may lose.
        sampling: which images an epoch shows: each once (`Shuffled`), or those of rare classes more often
            (`ClassBalanced`, `EffectiveNumber`).
        seed: of initialization, data order, latents and probes.
        checkpoint_every: images between checkpoints; 0 for one at the end alone.
        sample_every: images between sample grids; 0 for one at the end alone.
        initial: a run whose newest checkpoint has the weights to begin with, of all networks and of the average; empty
            for fresh ones. Optimizers, and what penalties remember, begin anew, at image 0.
        claims: numbers of the paper.
        departures: where paper, released code and this recipe differ, in sentences.
        metrics: names of metrics that `measure` runs by default.
    """

    name: str
    model: Model
    data: Data
    images: int = field(default=1_000_000, kw_only=True)
    batch: int = field(default=128, kw_only=True)
    accumulate: int = field(default=1, kw_only=True)
    clip: float | None = field(default=None, kw_only=True)
    ema: int = field(default=0, kw_only=True)
    ema_start: int = field(default=0, kw_only=True)
    precision: Literal["float32", "bfloat16"] = field(default="float32", kw_only=True)
    channels_last: bool = field(default=False, kw_only=True)
    sampling: Sampling = field(default_factory=Shuffled, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    checkpoint_every: int = field(default=100_000, kw_only=True)
    sample_every: int = field(default=100_000, kw_only=True)
    initial: str = field(default="", kw_only=True)
    claims: tuple[Claim, ...] = field(default=(), kw_only=True)
    departures: tuple[str, ...] = field(default=(), kw_only=True)
    metrics: tuple[str, ...] = field(default=("Activeness",), kw_only=True)

    def __post_init__(self) -> None:
        check_choices(self)
        if self.batch < 1 or self.accumulate < 1 or self.batch % self.accumulate:
            raise ValueError(
                f"batch={self.batch}, accumulate={self.accumulate}: the batch must be a whole multiple of the parts"
            )
        for name in ("checkpoint_every", "sample_every", "test_every", "validate_every", "ema", "ema_start"):
            if getattr(self, name, 0) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: it counts images, and cannot be negative")
        if self.images < self.images_per_step:
            raise ValueError(f"images={self.images} is less than one step of {self.images_per_step}")

    @property
    def batches(self) -> tuple[int, ...]:
        """Images of an optimizer step, over all processes: all that there are in a run."""
        return (self.batch,)

    def batch_at(self, images: int) -> int:
        """Images of an optimizer step, over all processes, after so many have been shown."""
        return self.batch

    def images_at(self, images: int) -> int:
        """Images from the data that the step takes which begins after so many."""
        return self.batch_at(images)

    @property
    def images_per_step(self) -> int:
        """Images from the data that the first step takes."""
        return self.images_at(0)

    @property
    @abstractmethod
    def terms(self) -> Mapping[str, Term]:
        """The penalties, by name."""

    @abstractmethod
    def with_terms(self, terms: Mapping[str, Term]) -> "TrainingRecipe":
        """The same with other penalties."""

    @abstractmethod
    def rate_factor(self, images: int) -> float:
        """What learning rates are multiplied by after so many images."""


@dataclass(frozen=True)
class Recipe(TrainingRecipe):
    """A complete training run of a generator against a critic. Time is counted in real images shown to the critic.

    Attributes:
        objective: what is minimized.
        generator_optimizer: for the generator and for what its penalties learn.
        critic_optimizer: for the critic.
        critic_steps: steps of the critic, each on a batch of its own, for one of the generator.
        fake_labels: class labels of generated images, where there are classes: all alike often ("uniform"), or as often
            as in the data ("data").
        decay_from: images after which both learning rates fall linearly to 0 at ``images``; None for constant rates.
        growth: how networks grow that do, such as those of `ProGan`; None for the full resolution from the start.
        validation: how the generator is measured on the way; None for not at all. The best checkpoint is kept, and the
            last and the best score are among the run's, each under a name that says what it is.
        validate_every: images between validations; 0 for one at the end alone.
    """

    objective: Objective = field(default_factory=Objective)
    generator_optimizer: Adam = field(default_factory=Adam, kw_only=True)
    critic_optimizer: Adam = field(default_factory=Adam, kw_only=True)
    critic_steps: int = field(default=1, kw_only=True)
    fake_labels: Literal["uniform", "data"] = field(default="uniform", kw_only=True)
    decay_from: int | None = field(default=None, kw_only=True)
    growth: Growth | None = field(default=None, kw_only=True)
    validation: Validation | None = field(default=None, kw_only=True)
    validate_every: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.critic_steps < 1:
            raise ValueError(f"critic_steps={self.critic_steps}: the critic takes at least 1 step for the generator's")
        if self.growth is not None:
            self.growth.check(self.resolution)
        super().__post_init__()
        odd = [batch for batch in self.batches if batch % self.accumulate]
        if odd:
            raise ValueError(
                f"growth.batches has {odd[0]}, accumulate={self.accumulate}: every batch must be a whole multiple of "
                "the parts"
            )

    @property
    def resolution(self) -> int:
        """The full resolution of networks that grow.

        Raises:
            ValueError: its networks do not grow.
        """
        if not self.model.grows:
            raise ValueError(f"{type(self.model).__name__} does not grow; leave growth out, or train a ProGan")
        resolution: int = getattr(self.model, "resolution")  # noqa: B009 (of those that grow)
        return resolution

    def lod(self, images: int) -> float:
        """The level of detail after so many images: how often the side is halved; 0 without growth."""
        return self.growth.lod(images, self.resolution) if self.growth else 0.0

    @property
    def batches(self) -> tuple[int, ...]:
        """Images of an optimizer step, over all processes: all that there are in a run."""
        return self.growth.batches if self.growth and self.growth.batches else super().batches

    def batch_at(self, images: int) -> int:
        """Images of an optimizer step, over all processes, after so many have been shown."""
        batch = self.growth.batch(images, self.resolution) if self.growth else None
        return self.batch if batch is None else batch

    def images_at(self, images: int) -> int:
        """Images from the data that the critic's steps for one of the generator take."""
        return self.batch_at(images) * self.critic_steps

    @property
    def terms(self) -> Mapping[str, Term]:
        """The penalties, by name."""
        return self.objective.terms

    def with_terms(self, terms: Mapping[str, Term]) -> "Recipe":
        """The same with other penalties."""
        return replace(self, objective=replace(self.objective, terms=terms))

    def rate_factor(self, images: int) -> float:
        """What both learning rates are multiplied by after so many images."""
        factor = self.growth.rate(images, self.resolution) if self.growth else 1.0
        return factor * linear_decay(images, self.decay_from, self.images)


@dataclass(frozen=True)
class ClassifierRecipe(TrainingRecipe):
    """A complete training run of a classifier, by cross entropy.

    The error on ``test`` is logged after every ``test_every`` images. The last one is the result; the best one is kept
    beside it under a name that says what it is: selected on the test set.

    Attributes:
        test: images that are never learned from.
        penalties: on weights, by name.
        rules: what happens between the backward pass and the optimizer's step, by name.
        optimizer: for the classifier.
        drops: images after each of which the learning rate is multiplied by ``drop``.
        drop: that factor.
        augmentation: a random change of the images that are learned from; None for none.
        test_every: images between tests; 0 for one at the end alone.
    """

    test: Data
    penalties: Mapping[str, Term] = field(default_factory=dict, kw_only=True)
    rules: Mapping[str, StepRule] = field(default_factory=dict, kw_only=True)
    optimizer: Sgd | Adam = field(default_factory=Sgd, kw_only=True)
    drops: tuple[int, ...] = field(default=(), kw_only=True)
    drop: float = field(default=0.1, kw_only=True)
    augmentation: Augmentation | None = field(default=None, kw_only=True)
    test_every: int = field(default=50_000, kw_only=True)
    channels_last: bool = field(default=True, kw_only=True)
    metrics: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, term in self.penalties.items():
            if not isinstance(term.penalty, WeightPenalty):
                raise ValueError(
                    f"{name}: {type(term.penalty).__name__} sees latents or a critic, which a classifier does not "
                    "have; give a penalty on weights, such as SoftOrthogonality"
                )

    @property
    def terms(self) -> Mapping[str, Term]:
        """The penalties, by name."""
        return self.penalties

    def with_terms(self, terms: Mapping[str, Term]) -> "ClassifierRecipe":
        """The same with other penalties."""
        return replace(self, penalties=terms)

    def rate_factor(self, images: int) -> float:
        """What the learning rate is multiplied by after so many images."""
        return milestones(images, self.drops, self.drop)
