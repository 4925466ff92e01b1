"""The simple GAN without a penalty on its latent: what the others are compared with."""

from orthogen.recipes import _simple
from orthogen.training.recipe import Recipe

__all__ = ["sprites", "sprites_small"]


def sprites() -> Recipe:
    """The simple GAN on dSprites, 64 px, no penalty on the latent (OroJaR's release, dsprites_gan)."""
    return _simple.sprites("plain.sprites")


def sprites_small() -> Recipe:
    """The small twin of plain.sprites: 32 px, minutes on two cores."""
    return _simple.small_sprites("plain.sprites_small")
