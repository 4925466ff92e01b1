"""What the GAN recipes of the orthogonality papers share: networks, schedules, and the switches as rules and terms."""

from dataclasses import replace
from typing import NamedTuple

from orthogen.augment.diff_augment import DiffAugment
from orthogen.core.kinds import Data, StepRule
from orthogen.core.latent import Normal
from orthogen.data.shapes3d import Shapes3d
from orthogen.models.eigengan import EigenGan
from orthogen.models.simple_gan import SimpleGan
from orthogen.recipes import _simple
from orthogen.regularizers.gradient_penalty import R1, GradientPenalty
from orthogen.regularizers.soft_orthogonality import SoftOrthogonality
from orthogen.rules.nearest_orthogonal_gradient import NearestOrthogonalGradient
from orthogen.rules.optimal_learning_rate import OptimalLearningRate
from orthogen.training.adversarial import Hinge, NonSaturating
from orthogen.training.objective import Objective, Term
from orthogen.training.recipe import Adam, Recipe

__all__ = ["Switches", "eigengan", "large_simple", "small_eigengan", "small_simple"]


class Switches(NamedTuple):
    """What is done to the orthogonality of the layers that the latent enters; NOG alone, as in the papers' examples.

    Attributes:
        nog: the nearest orthogonal gradient.
        olr: the optimal learning rate.
        ol: the soft penalty.
        ow: orthogonal weights.
    """

    nog: bool = True
    olr: bool = False
    ol: bool = False
    ow: bool = False

    def named(self, recipe: str) -> str:
        """The recipe's name, with what is on where that is not the default.

        Example:
            >>> Switches().named("a.b"), Switches(olr=True).named("a.b"), Switches(nog=False).named("a.b")
            ('a.b', 'a.b-nog-olr', 'a.b-none')
        """
        if self == Switches():
            return recipe
        return "-".join([recipe, *([name for name, on in self._asdict().items() if on] or ["none"])])

    def rules(self, layers: tuple[str, ...]) -> dict[str, StepRule]:
        """The step rules on these weights."""
        nog: dict[str, StepRule] = {"nog": NearestOrthogonalGradient(layers)} if self.nog else {}
        return nog | ({"olr": OptimalLearningRate(layers)} if self.olr else {})

    def terms(self, layers: tuple[str, ...]) -> dict[str, Term]:
        """The penalty on these weights."""
        return {"ol": Term(SoftOrthogonality(layers), weight=100.0)} if self.ol else {}


STEP = 64  # images of an EigenGAN's step

SWITCHES = (
    "The released reg_type is one word; here nog, olr, ol and ow are switches of their own. No weight is orthogonal by "
    "construction in the released GANs: with ow it is the polar factor of what is learned."
)
BEFORE_ADAM = (
    "NOG and OLR act on the gradient before Adam, as released: Adam's step is not orthogonal, and OLR's formula is not "
    'derived for it. Rules with on="update" act on the step itself.'
)
NO_CLAIMS = "The papers' tables of FID, PPL and VP were not to be had, so no numbers of theirs are claimed."
SEEDLESS = "The released runs have no seed."

EIGENGAN = (
    SWITCHES,
    BEFORE_ADAM,
    "The released R1 is 10 E|grad D|² on every 16th step, not multiplied by 16, in a step of Adam's of its own. Here a "
    "gamma of 20 / 16 gives it the same weight, and it shares the critic's step.",
    "Released FID compares 50,048 images with the first 50,000 of the sorted folder, mirrored at random, and reads "
    "FFHQ's at 128 pixels beside generated ones of 256. Here both have the recipe's size and 8 bits, and none is "
    "mirrored; measure --n 50000 draws as many.",
    "Released PPL draws codes of U(0, 1) and goes around each layer at length 1, in steps of 1e-4, where rounding is 7 "
    "% of the difference; PathLengthScore.layered corrects that, PathLengthScore.eigengan does not.",
    "Released VP pairs have red and blue exchanged in their files, and which predictor the paper took is unknown; see "
    "VariationScore.eigengan.",
    SEEDLESS,
    NO_CLAIMS,
)
SIMPLE = (
    SWITCHES,
    BEFORE_ADAM,
    "The released OLR of this network changes nothing: it looks for a parameter under the name of its layer, finds "
    "none, and sets the rate of no parameter. NOG and OLR together cannot be asked for. Here both act.",
    "No soft penalty on this network is released; its weight is EigenGAN's.",
    "The released test scripts turn the latent by SeFa before VP for networks with NOG, and which predictor the paper "
    "took is unknown. Here VariationScore.simple_gan turns none; along SeFa's directions it is a score of its own.",
    _simple.SCHEDULER,
    "Scripts ask for 1,200 epochs in jobs of a day; how many the papers' networks were trained for is unknown.",
    SEEDLESS,
    NO_CLAIMS,
)


def eigengan(name: str, model: EigenGan, data: Data, switches: Switches, *departures: str) -> Recipe:
    """500,000 steps of EigenGAN."""
    model = replace(model, basis="orthogonal" if switches.ow else "free")
    terms = {"r1": Term(R1(gamma=20 / 16), every=16), **switches.terms(model.subspaces)}
    rules = switches.rules(model.subspaces)
    return Recipe(
        name=switches.named(name),
        model=model,
        data=data,
        objective=Objective(Hinge(bounded=True), terms, rules, DiffAugment.eigengan()),
        images=500_000 * STEP,
        batch=STEP,
        generator_optimizer=Adam(1e-4, (0.5, 0.99)),
        critic_optimizer=Adam(1e-4, (0.5, 0.99)),
        ema=10_000,
        checkpoint_every=10_000 * STEP,
        sample_every=10_000 * STEP,
        departures=(*EIGENGAN, *departures),
        metrics=("Fid", "PathLengthScore.layered", "VariationScore.eigengan", "Activeness.eigengan"),
    )


def small_eigengan(name: str, resolution: int, switches: Switches) -> Recipe:
    """The same on drawn scenes, of some minutes on two cores."""
    model = EigenGan(resolution=resolution, noise_dim=32, base_channels=8, max_channels=64)
    return replace(
        eigengan(name, model, Shapes3d(resolution=resolution), switches),
        images=64_000,
        batch=32,
        generator_optimizer=Adam(1e-3, (0.5, 0.99)),
        critic_optimizer=Adam(1e-3, (0.5, 0.99)),
        ema=2_000,
        checkpoint_every=16_000,
        sample_every=16_000,
        departures=(
            *EIGENGAN,
            f"A twin for two CPU cores: drawn scenes of {resolution} pixels, 8 to 64 channels, 32 dimensions of noise, "
            "64,000 images in batches of 32, a tenfold learning rate.",
        ),
        metrics=("Activeness.eigengan",),
    )


def simple(name: str, model: SimpleGan, data: Data, switches: Switches, base: Recipe, *departures: str) -> Recipe:
    """The simple GAN with the schedule of a recipe with another loss."""
    model = replace(model, first="orthogonal" if switches.ow else "free")
    first = (model.first_weight,)
    terms = {"gradient_penalty": Term(GradientPenalty()), **switches.terms(first)}
    return replace(
        base,
        name=switches.named(name),
        model=model,
        data=data,
        objective=Objective(NonSaturating(critic_scale=0.5), terms, switches.rules(first)),
        departures=(*SIMPLE, *departures),
        metrics=("Activeness",),
    )


def large_simple(name: str, data: Data, epoch: int, switches: Switches, reference: str) -> Recipe:
    """At 128 pixels, for 1,200 epochs of so many images."""
    model = SimpleGan(Normal(30), channels=3, resolution=128)
    fid = (
        f"Released FID compares 10,000 JPEG files, of U(-2, 2) latents, with {reference}. Here latents are those of "
        "training, and both sides are as training frames them, in 8 bits."
    )
    return replace(
        simple(name, model, data, switches, _simple.sprites(name), fid),
        images=1200 * epoch,
        decay_from=600 * epoch,
        checkpoint_every=epoch,
        sample_every=epoch,
        metrics=("Fid", "VariationScore.simple_gan", "Activeness"),
    )


def small_simple(name: str, resolution: int, switches: Switches) -> Recipe:
    """On drawn scenes at a quarter of the width, of some minutes on two cores."""
    model = SimpleGan(Normal(30), channels=3, resolution=resolution, width=0.25)
    twin = (
        f"A twin for two CPU cores: drawn scenes of {resolution} pixels, a quarter of the channels, 96,000 images in "
        "batches of 64, a fivefold learning rate."
    )
    return simple(name, model, Shapes3d(resolution=resolution), switches, _simple.small_sprites(name), twin)
