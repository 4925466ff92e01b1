"""What the ProGAN recipes of both papers share: networks, schedule, losses, and four ways to train.

``scratch`` has the penalty from the first image on; ``finetune`` brings it into a trained network; ``vanilla`` is
without it, and ``infogan`` is a baseline.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from orthogen.core.kinds import Data
from orthogen.core.latent import Normal
from orthogen.data.clevr import Clevr
from orthogen.data.edges_shoes import EdgesShoes
from orthogen.data.shapes3d import Shapes3d
from orthogen.models.progan import ProGan
from orthogen.regularizers.drift import Drift
from orthogen.regularizers.gradient_penalty import GradientPenalty
from orthogen.regularizers.info_gan_head import InfoGanHead
from orthogen.training.adversarial import Wasserstein
from orthogen.training.growth import Growth
from orthogen.training.objective import Objective, Term
from orthogen.training.recipe import Adam, Recipe

__all__ = ["SETS", "Release", "Way", "full", "small"]

Way = Literal["scratch", "finetune", "infogan", "vanilla"]

WARM_UP = 10_000_000  # images over which the penalty's weight rises when a trained network is tuned
STAGE = 600_000  # images at each resolution, and to fade in the next


class Set(NamedTuple):
    """A data set of the released table, and what is set for it.

    Attributes:
        data: the images.
        dim: of the latent.
        codes: that InfoGAN predicts.
    """

    data: Data
    dim: int
    codes: int


SETS = {
    "edges_shoes": Set(EdgesShoes(), 12, 12),
    "clevr_simple": Set(Clevr(variant="simple"), 12, 4),
    "clevr_complex": Set(Clevr(variant="complex"), 12, 10),
    "clevr_u": Set(Clevr(variant="simple"), 3, 3),
    "clevr_1fov": Set(Clevr(variant="1fov"), 12, 1),
}


@dataclass(frozen=True)
class Release:
    """One of the two releases.

    Attributes:
        paper: the file of recipes.
        penalty: the term of the penalty, with weight 1; named after the file.
        changed: whether the network has no norm of the latent, and no activation behind its first layer.
        lr: of both players.
        kimg: thousand images of a run from scratch.
        small: the term in the twins, with its weight.
        rescaled: what there is to say about that weight.
        tuned: the weight for a trained network; that of the data set if None.
        departures: of its own.
    """

    paper: str
    penalty: Term
    changed: bool
    lr: float
    kimg: int
    small: Term
    rescaled: str
    tuned: float | None
    departures: tuple[str, ...]

    def model(self, dim: int) -> ProGan:
        """The networks."""
        return ProGan(Normal(dim), latent_norm=not self.changed, first_activation=not self.changed)

    def layers(self, model: ProGan) -> tuple[str, ...]:
        """The layers that the penalty sees, layers 1 to 10 of the release."""
        return (model.preactivation_layers if self.changed else model.penalized_layers)[:10]


GPUS = (
    "The batches are those of four GPUs, of which the release takes the penalty's maximum one by one and means over "
    "them; here it is one maximum over the batch of a process, or of its accumulated part."
)
SCHEDULE = (
    "The released schedule is looked at every four steps; here, every step. Lower resolutions are averages of the full "
    "images, where the release reads files of their own, rounded to 8 bits."
)
TUNED = (
    "No released script tunes a trained network. The warm-up of 10 million images is the Hessian Penalty's, and so is "
    "its weight of 0.1; OroJaR's is unknown, and here that of a run from scratch. How long it went on is unknown; "
    "here it is twice the warm-up. It begins with the run that initial names."
)
HEAD = "InfoGAN predicts as many codes as the set has factors, as far as these can be told from the released scripts."
UNKNOWN = "The papers' tables were not to be had, so no number is claimed."


def full(release: Release, name: str, weight: float, way: Way) -> Recipe:
    """A row of the table, trained in one of four ways."""
    row = SETS[name]
    model = release.model(row.dim)
    own = f"{release.paper}.{name}"
    terms = {"gradient_penalty": Term(GradientPenalty()), "drift": Term(Drift(), weight=1e-3)}
    penalty = replace(release.penalty, layers=release.layers(model))
    if way == "scratch":
        terms[release.paper] = replace(penalty, weight=weight)
    elif way == "finetune":
        terms[release.paper] = replace(penalty, weight=release.tuned or weight, ramp=WARM_UP)
    elif way == "infogan":
        terms["info_gan"] = Term(InfoGanHead(codes=row.codes, layer="b4.stddev", width=512))
    tuned = way == "finetune"
    adam = Adam(release.lr, (0.0, 0.99))
    said = {"scratch": (GPUS,), "finetune": (GPUS, TUNED), "infogan": (HEAD,), "vanilla": ()}[way]
    return Recipe(
        name=own if way == "scratch" else f"{own}-{way}",
        model=model,
        data=row.data,
        objective=Objective(Wasserstein(critic_scale=1.0), terms),
        images=2 * WARM_UP if tuned else 1000 * release.kimg,
        batch=96,
        growth=None if tuned else Growth(stable=STAGE, fade=STAGE, batches=(2048, 1024, 512, 256, 128, 96, 32)),
        initial=f"runs/{own}-vanilla" if tuned else "",
        generator_optimizer=adam,
        critic_optimizer=adam,
        ema=10_000,
        checkpoint_every=STAGE,
        sample_every=STAGE,
        departures=(SCHEDULE, *release.departures, *said, UNKNOWN),
        metrics=("Activeness.hessian_penalty", "Diagonality.hessian_penalty", "VariationScore.progan"),
    )


TWIN = "A twin for two CPU cores: drawn scenes of 32 pixels, up to 64 channels, 96,000 images, a rate of 0.003."
GROWN = "Half of the images are shown while the networks grow from 4 pixels, in batches of 64 to 32."
WARMED = "The twin's penalty comes in over 32,000 images, a third of them, whatever is said of the full run."


def small(release: Release, name: str, weight: float, way: Way) -> Recipe:
    """The same on drawn scenes, through all levels in minutes."""
    whole = full(release, name, weight, way)
    model = replace(release.model(SETS[name].dim), resolution=32, channel_base=1024, channel_max=64)
    terms = dict(whole.objective.terms)
    if release.paper in terms:
        layers = (model.preactivation_layers if release.changed else model.penalized_layers)[:-1]
        ramp = 32_000 if way == "finetune" else 0
        terms[release.paper] = replace(release.small, layers=layers, ramp=ramp)
    if "info_gan" in terms:
        terms["info_gan"] = Term(InfoGanHead(codes=SETS[name].codes, layer="b4.stddev", width=64))
    growth = None if way == "finetune" else Growth(stable=8_000, fade=8_000, batches=(64, 64, 32, 32))
    said = {
        "scratch": (GROWN, release.rescaled),
        "finetune": (release.rescaled, WARMED),
        "infogan": (GROWN,),
        "vanilla": (GROWN,),
    }[way]
    adam = Adam(3e-3, (0.0, 0.99))  # at 1e-3 the runs of the lab book, half as wide, drew no objects
    return replace(
        whole,
        name=f"{release.paper}.{name}_small" + ("" if way == "scratch" else f"-{way}"),
        model=model,
        data=Shapes3d(resolution=32),
        objective=replace(whole.objective, terms=terms),
        images=96_000,
        batch=32,
        growth=growth,
        initial=f"runs/{release.paper}.{name}_small-vanilla" if way == "finetune" else "",
        generator_optimizer=adam,
        critic_optimizer=adam,
        ema=2_000,
        checkpoint_every=24_000,
        sample_every=24_000,
        departures=(TWIN, *said, *whole.departures),
        metrics=("Activeness.hessian_penalty",),
    )
