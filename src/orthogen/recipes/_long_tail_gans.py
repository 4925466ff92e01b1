"""What the long-tailed GAN recipes share: schedule, evaluation, twins, and the switches as terms."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from orthogen.augment.diff_augment import DiffAugment
from orthogen.core.claim import Claim
from orthogen.core.kinds import Data
from orthogen.data.factor_classes import FactorClasses
from orthogen.data.long_tailed import LongTailed
from orthogen.data.shapes3d import Shapes3d
from orthogen.evaluation.validating import Validate
from orthogen.extractors.pixels import Pixels
from orthogen.models.biggan import BigGan
from orthogen.models.sngan import Sngan
from orthogen.regularizers.group_spectral import GroupSpectral
from orthogen.regularizers.lecam import LeCam
from orthogen.regularizers.plain_spectral import PlainSpectral
from orthogen.rules.spectral_monitor import SpectralMonitor
from orthogen.training.adversarial import Hinge
from orthogen.training.objective import Objective, Term
from orthogen.training.recipe import Adam, Recipe

__all__ = ["Column", "Switches", "full", "half_life", "small"]

DECAY = 0.9999  # of the average of weights, per step of the generator
EVERY = 2000  # steps of the generator from one validation to the next


class Switches(NamedTuple):
    """What is done for the tail; gSR, LeCam and DiffAugment, as in the paper.

    Attributes:
        gsr: group spectral regularization.
        lecam: the regularizer of the critic's logits.
        diffaug: augmentation of all that the critic sees.
        plain_spectral: an ablation: spectral norms of whole tables, in the place of gSR.
        shuffled: an ablation: gSR with channels grouped at random.
    """

    gsr: bool = True
    lecam: bool = True
    diffaug: bool = True
    plain_spectral: bool = False
    shuffled: bool = False

    def named(self, recipe: str) -> str:
        """The recipe's name, with what is on where that is not the default.

        Raises:
            ValueError: groups are to be shuffled where there are none.

        Example:
            >>> Switches().named("a.b"), Switches(gsr=False).named("a.b"), Switches(plain_spectral=True).named("a.b")
            ('a.b', 'a.b-lecam-diffaug', 'a.b-lecam-diffaug-plain_spectral')
        """
        if self.shuffled and (self.plain_spectral or not self.gsr):
            raise ValueError("shuffled is about the groups of gsr; leave gsr on, and plain_spectral off")
        if self == Switches():
            return recipe
        on = [name for name, value in self._asdict().items() if value and not (name == "gsr" and self.plain_spectral)]
        return "-".join([recipe, *(on or ["none"])])


@dataclass(frozen=True)
class Column:
    """A column of the released configuration.

    Attributes:
        model: the networks.
        data: the images, with their tail.
        test: images of the same classes, alike often, that training does not see.
        weight: of gSR.
        beta: of the effective number in gSR's class weights.
        lecam: weight of LeCam.
        generator: rate and betas of the generator's Adam.
        critic: the same of the critic's.
        steps: of the generator.
        batch: images of a step of the critic.
        critic_steps: for one of the generator.
        average_from: steps of the generator after which the average of weights begins; None for no average.
        departures: where this one departs, beside what all do.
        claims: of the paper, by what was on: (gSR, LeCam and DiffAugment).
    """

    model: Sngan | BigGan
    data: Data
    test: Data
    weight: float = 0.5
    beta: float = 0.999
    lecam: float = 0.3
    generator: tuple[float, tuple[float, float]] = (2e-4, (0.5, 0.9))
    critic: tuple[float, tuple[float, float]] = (2e-4, (0.5, 0.9))
    steps: int = 120_000
    batch: int = 64
    critic_steps: int = 5
    average_from: int | None = None
    departures: tuple[str, ...] = ()
    claims: Mapping[tuple[bool, bool], tuple[Claim, ...]] | None = None

    @property
    def images_per_step(self) -> int:
        """Real images that a step of the generator takes."""
        return self.batch * self.critic_steps


RELEASED = (
    "The released norms of biases come from a vector that the gains' right vector moves: a quarter too low on average, "
    "and with a gradient of another direction. Here biases have vectors of their own; GroupSpectral(compat='released') "
    "is the released way.",
    "The release computes gSR's vectors with one more power iteration of the generator's spectral norms (BigGAN). Here "
    "these are left alone.",
    "The released LeCam has the sign of its second term reversed, so that it is about 0, and averages logits by their "
    "place in the batch. Here it is LeCam as published, with the released weight, from the first step on as there.",
    "The released critics overwrite what their shortcuts read by an in-place ReLU. Here shortcuts start from the map "
    "itself; model.skip_relu=True is the released way.",
    "Released batch norms take statistics of the batch in evaluation too: an image depends on the others of its batch. "
    "Here they take running averages; model.statistics='batch' is the released way.",
    "A released run that is resumed begins with new optimizers, vectors and averages. Here it goes on bit by bit.",
    "Released images are seen by Inception in floating point, resized by PyTorch. Here they are rounded to 8 bits and "
    "resized as in TensorFlow. The reference is not mirrored.",
    "Released final scores are means of three draws of 50,000 images of the best checkpoint of many, with the ± of "
    "these draws, against 10,000 real ones. Here the scores of the last and of the best validation, of 10,000 images, "
    "are kept apart; measure --n 50000 draws as many.",
    "The body of the paper was not to be had: what is claimed stands on its poster, and all else is unknown.",
)
AVERAGE = (
    "The released average keeps 0.9999 of itself at each step of the generator. Here time is counted in real images: "
    "its half-life is log(1/2) / log(0.9999) = 6,931 steps of {step} images, after {start:,} steps without an average."
)
TAIL = "gsr, lecam, diffaug and the ablations are switches of their own; released is one file for each method."
PLAIN = "The plain spectral norms are those of the vectors as they act, not of the parameters; the weight is 0.5."
SHUFFLED = "The release shuffles channels anew at each step, so that no vector can go on. Here the order is drawn once."


def half_life(decay: float, images: int) -> int:
    """The half-life, in images, of an average that keeps ``decay`` of itself after each ``images``.

    Example:
        >>> half_life(0.5, 64), half_life(0.9999, 64 * 5)
        (64, 2217960)
    """
    return round(images * math.log(0.5) / math.log(decay))


def full(name: str, column: Column, switches: Switches) -> Recipe:
    """A released configuration, put right."""
    step = column.images_per_step
    average = column.average_from is not None
    said = (
        *RELEASED,
        *([AVERAGE.format(step=step, start=column.average_from)] if average else []),
        *column.departures,
        TAIL,
        *([PLAIN] if switches.plain_spectral else []),
        *([SHUFFLED] if switches.shuffled else []),
    )
    ablated = switches.plain_spectral or switches.shuffled or switches.lecam != switches.diffaug
    claims = {} if ablated or column.claims is None else column.claims
    return Recipe(
        name=switches.named(name),
        model=column.model,
        data=column.data,
        objective=Objective(
            Hinge(),
            _terms(column, switches),
            {"spectral": SpectralMonitor(every=1000)},
            DiffAugment() if switches.diffaug else None,
        ),
        images=column.steps * step,
        batch=column.batch,
        critic_steps=column.critic_steps,
        generator_optimizer=Adam(*column.generator, eps=1e-6),
        critic_optimizer=Adam(*column.critic, eps=1e-6),
        ema=half_life(DECAY, step) if average else 0,
        ema_start=(column.average_from or 0) * step,
        channels_last=column.model.resolution <= 32,  # where it was measured to be faster
        validation=Validate("Fid", column.test, n=10_000),
        validate_every=EVERY * step,
        checkpoint_every=EVERY * step,
        sample_every=EVERY * step,
        claims=claims.get((switches.gsr, switches.lecam), ()),
        departures=said,
        metrics=("Fid", "InceptionScore", "PerClass.group_spectral", "IntraClassDiversity"),
    )


def _terms(column: Column, switches: Switches) -> dict[str, Term]:
    terms = {}
    if switches.plain_spectral:
        terms["plain_spectral"] = Term(PlainSpectral(), weight=0.5)
    elif switches.gsr:
        shuffle = 0 if switches.shuffled else None
        terms["gsr"] = Term(GroupSpectral(beta=column.beta, iterations=4, shuffle=shuffle), weight=column.weight)
    if switches.lecam:
        terms["lecam"] = Term(LeCam(), weight=column.lecam)
    return terms


TWIN = (
    "A twin for two CPU cores: drawn scenes of 32 pixels with four shapes for classes, 5,000 to 50 images of each, an "
    "eighth of the channels or less, 48,000 images in batches of 32, a fivefold learning rate.",
    "It is validated on other drawn scenes, by the Fréchet distance of their pixels, which needs no weights.",
)


def small(name: str, column: Column, switches: Switches) -> Recipe:
    """The same on drawn scenes, of some minutes on two cores."""
    whole = full(name, column, switches)
    scenes = FactorClasses(Shapes3d(resolution=32), "shape", part="train")
    if isinstance(column.model, BigGan):
        model: Sngan | BigGan = replace(
            column.model, resolution=32, classes=4, width=8, shared_dim=32, attention=(16,), critic_attention=None
        )
    else:
        model = replace(column.model, resolution=32, classes=4, width=8)
    return replace(
        whole,
        model=model,
        data=LongTailed(scenes, rho=100, largest=5000),
        objective=replace(whole.objective, rules={"spectral": SpectralMonitor(every=50)}),
        images=48_000,
        batch=32,
        generator_optimizer=replace(whole.generator_optimizer, lr=5 * whole.generator_optimizer.lr),
        critic_optimizer=replace(whole.critic_optimizer, lr=5 * whole.critic_optimizer.lr),
        ema=2_000 if whole.ema else 0,
        ema_start=8_000 if whole.ema else 0,
        channels_last=True,
        validation=Validate("Fid", replace(scenes, part="test"), n=1000, reference_n=2000, extractor=Pixels()),
        validate_every=16_000,
        checkpoint_every=16_000,
        sample_every=16_000,
        claims=(),
        departures=(*TWIN, *whole.departures),
        metrics=("Fid", "IntraClassDiversity"),
    )
