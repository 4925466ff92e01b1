"""What the VP-GAN recipes share: loss, optimizers, schedule, and what is not known of the published runs."""

from dataclasses import replace

from orthogen.core.kinds import Data
from orthogen.models.vc_generator import VcGenerator
from orthogen.regularizers.gradient_penalty import R1
from orthogen.regularizers.variation_predictability import VariationPredictability
from orthogen.training.adversarial import NonSaturating
from orthogen.training.objective import Objective, Term
from orthogen.training.recipe import Adam, Recipe

__all__ = ["lazy", "small", "vp_gan"]

NAME = "variation_predictability"
EVERY = 16  # steps of the critic from one R1 to the next

DEPARTURES = (
    "Until September 2020 the released loss ignored its weight, so that 0.01 acted like 1; which of them the published "
    "runs had is unknown. Here the weight is 0.01, and counts.",
    "How long the published runs were is unknown; 25,000 kimg is the released trainer's default.",
    "The release corrects the rate and the second beta of both optimizers for lazy regularization, of which the "
    "generator has none; here those of the critic alone, which has.",
    "In evaluation noise is stored, where the release draws it anew for each process.",
    "The release measures FID and path length with latents from N(0, I); here all are drawn as in training.",
)


def lazy(adam: Adam, every: int) -> Adam:
    """Adam for a loss of which a part comes every so many steps: as if it took one step more in as many.

        c = every / (every + 1),    lr -> c lr,    betas -> betas^c

    Reference:
        T. Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, appendix B.

    Example:
        >>> lazy(Adam(lr=0.002, betas=(0.0, 0.99)), every=4).lr
        0.0016
    """
    c = every / (every + 1)
    return replace(adam, lr=c * adam.lr, betas=(adam.betas[0] ** c, adam.betas[1] ** c))


def vp_gan(
    name: str, model: VcGenerator, data: Data, *departures: str, metrics: tuple[str, ...] = ("Activeness",)
) -> Recipe:
    """The settings of the released script; the recognizer is as wide as the model's critic."""
    adam = Adam(lr=0.002, betas=(0.0, 0.99))
    penalty = replace(VariationPredictability.vp_gan(), width=model.critic_width, hidden=model.critic_hidden)
    terms = {"r1": Term(R1(gamma=100.0), every=EVERY), NAME: Term(penalty, weight=0.01)}
    ten_ticks = 120_000 if model.resolution >= 128 else 160_000
    return Recipe(
        name=f"{NAME}.{name}",
        model=model,
        data=data,
        objective=Objective(NonSaturating(), terms),
        images=25_000_000,
        batch=32,
        ema=10_000,
        generator_optimizer=adam,
        critic_optimizer=lazy(adam, EVERY),
        checkpoint_every=ten_ticks,
        sample_every=ten_ticks,
        departures=(*DEPARTURES, *departures),
        metrics=metrics,
    )


def small(full: Recipe, model: VcGenerator, data: Data, *departures: str) -> Recipe:
    """The same path at 32 pixels, in some minutes: coordinates are redrawn, and the weight has an effect."""
    penalty = VariationPredictability(
        loss="softmax", pair="concat", trunk="residual", width=model.critic_width, hidden=model.critic_hidden
    )
    terms = {"r1": Term(R1(gamma=10.0), every=EVERY), NAME: Term(penalty)}
    return replace(
        full,
        name=f"{full.name}_small",
        model=model,
        data=data,
        objective=replace(full.objective, terms=terms),
        images=64_000,
        ema=2_000,
        checkpoint_every=16_000,
        sample_every=16_000,
        departures=(
            *full.departures,
            *departures,
            "A twin for two CPU cores: 32 pixels, narrow networks, all modules alike wide, 64,000 images, R1 of 10, "
            "and an average of weights of a shorter memory. Changed coordinates are redrawn from the prior, the "
            "recognizer has no minibatch standard deviation, and its loss has weight 1.",
        ),
    )
