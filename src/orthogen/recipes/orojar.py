"""OroJaR on the simple GAN: dSprites and CelebA, as in its release."""

from dataclasses import replace

from orthogen.core.latent import Normal
from orthogen.data.celeba import CelebA
from orthogen.data.shapes3d import Shapes3d
from orthogen.models.simple_gan import SimpleGan
from orthogen.recipes import _simple
from orthogen.regularizers.orojar import OroJaR
from orthogen.training.objective import Term
from orthogen.training.recipe import Recipe

__all__ = ["celeba", "celeba_small", "sprites", "sprites_small"]

FACES = 202_599  # images of CelebA, an epoch


def sprites() -> Recipe:
    """The simple GAN on dSprites, 64 px, with OroJaR on four layers (OroJaR's release, dsprites_orojar)."""
    return _simple.with_term(
        _simple.sprites("orojar.sprites"),
        "orojar",
        Term(OroJaR(), weight=1e-11, layers=_simple.SPRITES_LAYERS),
        "The released weight of 1e-11 is kept. At initialization the raw penalty is about 5e6, so the term is 5e-5 and "
        "has no measurable effect there.",
        "The sum over layers is unnormalized as released, so the deepest layer outweighs the first a billion times.",
    )


def sprites_small() -> Recipe:
    """The small twin of orojar.sprites: 32 px, minutes on two cores, with a weight that has an effect."""
    return _simple.with_term(
        _simple.small_sprites("orojar.sprites_small"),
        "orojar",
        Term(OroJaR(normalize="numel"), weight=1.0, layers=_simple.SPRITES_LAYERS[:-1]),
        "Squared norms are divided by their size and the weight is 1: at this size the released weight of 1e-11 does "
        "nothing at all.",
    )


def celeba() -> Recipe:
    """The larger simple GAN on CelebA, 128 px, with OroJaR on five layers (OroJaR's release, celeba_orojar)."""
    model = SimpleGan(Normal(30), channels=3, resolution=128)
    recipe = replace(
        _simple.sprites("orojar.celeba"),
        model=model,
        data=CelebA(),
        images=1200 * FACES,
        decay_from=600 * FACES,
        checkpoint_every=FACES,
        sample_every=FACES,
        departures=(_simple.SCHEDULER,),
        metrics=("Activeness",),
    )
    return _simple.with_term(recipe, "orojar", Term(OroJaR(), weight=1e-6, layers=model.regularized_layers))


def celeba_small() -> Recipe:
    """The small twin of orojar.celeba: drawn scenes at 32 px in place of faces, minutes on two cores."""
    model = SimpleGan(Normal(30), channels=3, resolution=32, width=0.25)
    small = _simple.small_sprites("orojar.celeba_small")
    recipe = replace(
        small,
        model=model,
        data=Shapes3d(resolution=32),
        departures=(
            _simple.SCHEDULER,
            "Drawn scenes stand in for CelebA, which cannot be shipped.",
            *small.departures[-1:],
        ),
        metrics=("Activeness",),
    )
    return _simple.with_term(
        recipe, "orojar", Term(OroJaR(normalize="numel"), weight=1.0, layers=model.regularized_layers)
    )
