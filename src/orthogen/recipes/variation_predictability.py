"""Variation Predictability on the simple GAN, as OroJaR's release runs it."""

from orthogen.recipes import _simple
from orthogen.regularizers.variation_predictability import VariationPredictability
from orthogen.training.objective import Term
from orthogen.training.recipe import Recipe

__all__ = ["sprites", "sprites_small"]

TERM = Term(VariationPredictability(delta="gauss", eps=1.0, loss="binary"), weight=0.1)

RELEASED = (
    "The released critic step draws the second image of each pair too, which nothing reads; here pairs are drawn for "
    "the generator's step only. The recognizer's loss is the released binary one, not VP-GAN's softmax."
)


def sprites() -> Recipe:
    """The simple GAN on dSprites, 64 px, with a recognizer of what varied (OroJaR's release, dsprites_vp)."""
    recipe = _simple.sprites("variation_predictability.sprites")
    return _simple.with_term(recipe, "variation_predictability", TERM, RELEASED)


def sprites_small() -> Recipe:
    """The small twin of variation_predictability.sprites: 32 px, minutes on two cores."""
    recipe = _simple.small_sprites("variation_predictability.sprites_small")
    return _simple.with_term(recipe, "variation_predictability", TERM, RELEASED)
