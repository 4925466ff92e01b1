"""What the simple-GAN recipes of OroJaR's release share: networks, loss, schedule; only the penalty differs."""

from dataclasses import replace

from orthogen.core.latent import Normal
from orthogen.data.sprites import Sprites
from orthogen.models.simple_gan import SimpleGan
from orthogen.regularizers.gradient_penalty import GradientPenalty
from orthogen.training.adversarial import Wasserstein
from orthogen.training.objective import Objective, Term
from orthogen.training.recipe import Adam, Recipe

__all__ = ["SPRITES_LAYERS", "small_sprites", "sprites", "with_term"]

EPOCH = 737_280  # images of dSprites

SPRITES_LAYERS = SimpleGan().regularized_layers  # convolution outputs before the norm, blocks 0 to 3

DRAWN = "The released runs read dSprites' file; here its closed form draws the images, at most 6 pixels apart each."
SCHEDULER = (
    "The released scheduler steps before the first optimizer step and divides by 601, so its learning rate falls in "
    "steps of an epoch; here it falls linearly per step, to 0 at the end."
)


def sprites(name: str) -> Recipe:
    """The ``dsprites_*`` rows without a penalty on the latent."""
    return Recipe(
        name=name,
        model=SimpleGan(Normal(6), channels=1, resolution=64),
        data=Sprites(resolution=64),
        objective=Objective(Wasserstein(), {"gradient_penalty": Term(GradientPenalty())}),
        images=1200 * EPOCH,
        batch=128,
        generator_optimizer=Adam(2e-4, (0.5, 0.999)),
        critic_optimizer=Adam(2e-4, (0.5, 0.999)),
        decay_from=600 * EPOCH,
        checkpoint_every=EPOCH,
        sample_every=EPOCH,
        departures=(DRAWN, SCHEDULER),
        metrics=("Activeness", "Mig"),
    )


def small_sprites(name: str) -> Recipe:
    """The same path at a quarter of the width, 32 pixels and some minutes."""
    full = sprites(name)
    return replace(
        full,
        model=SimpleGan(Normal(6), channels=1, resolution=32, width=0.25),
        data=Sprites(resolution=32),
        images=96_000,
        batch=64,
        generator_optimizer=Adam(1e-3, (0.5, 0.999)),
        critic_optimizer=Adam(1e-3, (0.5, 0.999)),
        decay_from=48_000,
        checkpoint_every=24_000,
        sample_every=24_000,
        departures=(
            *full.departures,
            "A twin for two CPU cores: 32 pixels, a quarter of the channels, 96,000 images, a fivefold learning rate.",
        ),
    )


def with_term(recipe: Recipe, name: str, term: Term, *departures: str) -> Recipe:
    """The recipe with one more term, and what there is to say about it."""
    terms = {**recipe.objective.terms, name: term}
    return replace(
        recipe,
        objective=replace(recipe.objective, terms=terms),
        departures=(*recipe.departures, *departures),
    )
