"""Variational autoencoders with the networks and settings of the large comparison on factor metrics.

The switches are independent: ``beta`` weights the divergence (beta-VAE), ``tc`` adds weight to its total correlation
(beta-TC-VAE, whose beta is tc + 1); ``vp``, ``orojar`` and ``hessian_penalty`` attach to the decoder.
"""

from orthogen.data.shapes3d import Shapes3d
from orthogen.data.sprites import Sprites
from orthogen.recipes._vae import Switches, small, study
from orthogen.training.vae_recipe import VaeRecipe

__all__ = ["shapes3d", "shapes3d_small", "sprites", "sprites_small"]

SPRITES = "The study reads dSprites' file; here its closed form draws the images, at most 6 pixels apart each."
ROOMS = "The study reads 3D Shapes' file; here scenes of the same factors are drawn, in its look, whose pixels differ."


def sprites(
    *, beta: float = 1.0, tc: float = 0.0, vp: bool = False, orojar: bool = False, hessian_penalty: bool = False
) -> VaeRecipe:
    """The VAE on dSprites, 64 px, in the study's settings."""
    switches = Switches(beta, tc, vp, orojar, hessian_penalty)
    return study("vae.sprites", Sprites(resolution=64), 1, switches, SPRITES)


def sprites_small(
    *, beta: float = 1.0, tc: float = 0.0, vp: bool = False, orojar: bool = False, hessian_penalty: bool = False
) -> VaeRecipe:
    """The small twin of vae.sprites: 32 px, minutes on two cores."""
    full = sprites(beta=beta, tc=tc, vp=vp, orojar=orojar, hessian_penalty=hessian_penalty)
    return small(full, "sprites", Sprites(resolution=32))


def shapes3d(
    *, beta: float = 1.0, tc: float = 0.0, vp: bool = False, orojar: bool = False, hessian_penalty: bool = False
) -> VaeRecipe:
    """The VAE on 3D Shapes, drawn, 64 px, in the study's settings."""
    switches = Switches(beta, tc, vp, orojar, hessian_penalty)
    return study("vae.shapes3d", Shapes3d(resolution=64), 3, switches, ROOMS)


def shapes3d_small(
    *, beta: float = 1.0, tc: float = 0.0, vp: bool = False, orojar: bool = False, hessian_penalty: bool = False
) -> VaeRecipe:
    """The small twin of vae.shapes3d: 32 px, minutes on two cores."""
    full = shapes3d(beta=beta, tc=tc, vp=vp, orojar=orojar, hessian_penalty=hessian_penalty)
    return small(full, "shapes3d", Shapes3d(resolution=32))
