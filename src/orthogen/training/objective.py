"""What is optimized: a loss, weighted terms and step rules. Weight, interval, ramp and layers live here."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orthogen.core.kinds import Augmentation, CriticPenalty, LatentPenalty, StepRule, WeightPenalty
from orthogen.training.adversarial import AdversarialLoss, Wasserstein

__all__ = ["Objective", "Term"]


@dataclass(frozen=True)
class Term:
    """A penalty and how it enters the loss.

    At image count t the weight is 0 up to ``start``, then ``weight * min(1, (t - start) / ramp)``, or ``weight`` at
    once where ``ramp`` is 0. Applied every ``every`` steps, it is multiplied by ``every`` (lazy regularization).

    Attributes:
        penalty: what is added; to the generator's loss, or to the critic's where it is a `CriticPenalty`.
        weight: its factor (lambda in the papers).
        every: apply on every n-th step only.
        layers: names of the layers a latent penalty sees; empty for the image. In a generator that grows, those that
            are not there yet wait, and enter as far as they are faded in; the image, where it is named (``"output"``),
            with the last.
        batch: how many latents of the batch a latent penalty sees; None for all.
        start: images shown before it begins.
        ramp: images over which the weight rises.
    """

    penalty: LatentPenalty | WeightPenalty | CriticPenalty
    weight: float = 1.0
    every: int = 1
    layers: tuple[str, ...] = ()
    batch: int | None = None
    start: int = 0
    ramp: int = 0

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"Term(every={self.every}): the interval is a whole number of steps, at least 1")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"Term(batch={self.batch}): give at least 1 latent, or None for the whole batch")
        if self.ramp < 0 or self.start < 0:
            raise ValueError(f"Term(start={self.start}, ramp={self.ramp}): image counts cannot be negative")

    def weight_at(self, images: int) -> float:
        """The factor in force after so many images, without the factor for laziness.

        Example:
            >>> from orthogen import OroJaR
            >>> [Term(OroJaR(), 2.0, start=100, ramp=100).weight_at(t) for t in (100, 150, 200, 900)]
            [0.0, 1.0, 2.0, 2.0]
        """
        if images < self.start or (images == self.start and (self.ramp or self.start)):
            return 0.0
        return self.weight * (min(1.0, (images - self.start) / self.ramp) if self.ramp else 1.0)


@dataclass(frozen=True)
class Objective:
    """Everything a training step minimizes.

    Attributes:
        loss: the adversarial loss of critic and generator.
        terms: penalties by the name under which they are logged and their state is kept.
        rules: what happens between the generator's backward pass and its optimizer's step, by name.
        augmentation: a random change of all images that the critic sees, real and generated; None for none.
    """

    loss: AdversarialLoss = field(default_factory=Wasserstein)
    terms: Mapping[str, Term] = field(default_factory=dict)
    rules: Mapping[str, StepRule] = field(default_factory=dict)
    augmentation: Augmentation | None = None
