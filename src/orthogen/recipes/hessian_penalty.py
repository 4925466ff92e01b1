"""The Hessian Penalty on the simple GAN, as OroJaR's release runs it."""

from orthogen.recipes import _simple
from orthogen.regularizers.hessian_penalty import HessianPenalty
from orthogen.training.objective import Term
from orthogen.training.recipe import Recipe

__all__ = ["sprites", "sprites_small"]

AFFINE = (
    "Blocks 0 and 1 are affine in the latent, so their penalty is zero and only deeper blocks are regularized; kept as "
    "released."
)


def sprites() -> Recipe:
    """The simple GAN on dSprites, 64 px, with the Hessian Penalty on four layers (OroJaR's release, dsprites_hp)."""
    term = Term(HessianPenalty(), weight=1e-3, layers=_simple.SPRITES_LAYERS)
    return _simple.with_term(_simple.sprites("hessian_penalty.sprites"), "hessian_penalty", term, AFFINE)


def sprites_small() -> Recipe:
    """The small twin of hessian_penalty.sprites: 32 px, minutes on two cores."""
    term = Term(HessianPenalty(), weight=1e-3, layers=_simple.SPRITES_LAYERS[:-1])
    return _simple.with_term(_simple.small_sprites("hessian_penalty.sprites_small"), "hessian_penalty", term, AFFINE)
