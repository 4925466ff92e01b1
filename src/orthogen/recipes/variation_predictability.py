"""Variation Predictability: VP-GAN as in its release, and on the simple GAN as in OroJaR's."""

from dataclasses import replace

from orthogen.core.latent import Uniform
from orthogen.data.celeba import CelebA
from orthogen.data.factor_classes import FactorClasses
from orthogen.data.shapes3d import Shapes3d
from orthogen.data.sprites import Sprites
from orthogen.models.vc_generator import VcGenerator
from orthogen.recipes import _simple, _vp
from orthogen.regularizers.info_gan_head import InfoGanHead
from orthogen.regularizers.variation_predictability import VariationPredictability
from orthogen.training.objective import Term
from orthogen.training.recipe import Recipe

__all__ = [
    "celeba",
    "celeba_small",
    "dsprites",
    "dsprites_small",
    "shapes3d",
    "shapes3d_small",
    "sprites",
    "sprites_small",
]

TERM = Term(VariationPredictability.simple_gan(), weight=0.1)

RELEASED = (
    "The released critic step draws the second image of each pair too, which nothing reads; here pairs are drawn for "
    "the generator's step only. The recognizer's loss is the released binary one, not VP-GAN's softmax."
)
SCRIPTLESS = (
    "No script of this run is in the release: all settings but the modules are those of CelebA, and the modules are "
    "those of a note that was deleted from it. Weight, length and modules of the published run are unknown."
)
DRAWN = "Here the closed form of dSprites draws the images, at most 6 pixels apart each, with the shape as their class."
HEAD = (
    "The class head has weight 1 (the release has 0 by default, and no script with another), and is learned with the "
    "critic, which learns nothing of it; in the release, with the generator."
)
CLASSES = (
    "The second image of a pair has no class in the release, so that all pairs differ by it; here both have the same."
)
OURS = (
    "Nothing is known of the published run but that there was one: the modules are those of dSprites without classes, "
    "all other settings those of CelebA, and the scenes are drawn anew in the look of 3D Shapes."
)


def celeba() -> Recipe:
    """VP-GAN on CelebA, 128 px, 30 coordinates in four places (the released script)."""
    return _vp.vp_gan("celeba", VcGenerator(), CelebA(crop="vp"), metrics=("Activeness", "VariationScore"))


def celeba_small() -> Recipe:
    """The small twin of variation_predictability.celeba: drawn scenes at 32 px in place of faces, for two cores."""
    modules = (
        "Conv-up-1, C_global-10, Conv-id-1, Noise-1, Conv-up-1, C_global-10, Conv-id-1, Noise-1, Conv-up-1, "
        "C_global-5, Conv-id-1, Noise-1, C_global-5, Conv-id-1"
    )
    model = VcGenerator(
        Uniform(30, -2.0, 2.0), modules, width=32, decay=0.0, global_width=32, critic_width=8, critic_hidden=64
    )
    apology = "Drawn scenes stand in for CelebA, which cannot be shipped; the modules end at 32 pixels."
    return _vp.small(celeba(), model, Shapes3d(resolution=32), apology)


def _with_class_head(recipe: Recipe, model: VcGenerator) -> Recipe:
    head = replace(InfoGanHead.vp_gan(), width=model.critic_hidden)
    return _simple.with_term(replace(recipe, name=f"{recipe.name}-class_head"), "class_head", Term(head), HEAD)


def dsprites(*, class_head: bool = False) -> Recipe:
    """VP-GAN on dSprites, 64 px, 6 coordinates and the shape as a class. Scores along the latent are of one class.

    Args:
        class_head: have the class read back off the critic's features (the released ``vc_gan_with_vc_head_with_cls``).
    """
    model = VcGenerator(Uniform(6, -2.0, 2.0), "dsprites", channels=1, critic_width=16)
    shapes = FactorClasses(Sprites(resolution=64), "shape")
    recipe = _vp.vp_gan("dsprites", model, shapes, SCRIPTLESS, DRAWN, CLASSES, metrics=())  # which are of one class
    return _with_class_head(recipe, model) if class_head else recipe


def dsprites_small(*, class_head: bool = False) -> Recipe:
    """The small twin of variation_predictability.dsprites: 32 px, minutes on two cores.

    Args:
        class_head: as there.
    """
    modules = "D_global-3, Conv-up-1, C_global-6, Conv-id-1, Conv-up-1, Conv-id-1, Conv-up-1, Conv-id-1"
    model = VcGenerator(
        Uniform(6, -2.0, 2.0),
        modules,
        channels=1,
        width=32,
        decay=0.0,
        global_width=32,
        critic_width=8,
        critic_hidden=64,
    )
    recipe = _vp.small(dsprites(), model, FactorClasses(Sprites(resolution=32), "shape"))
    return _with_class_head(recipe, model) if class_head else recipe


def shapes3d() -> Recipe:
    """VP-GAN on drawn 3D Shapes, 64 px, 6 coordinates."""
    modules = (
        "Conv-up-1, C_global-6, Conv-id-1, Conv-id-1, Conv-up-1, Conv-id-1, Conv-id-1, Conv-up-1, Conv-id-1, "
        "Conv-id-1, Conv-up-1, Conv-id-1"
    )
    model = VcGenerator(Uniform(6, -2.0, 2.0), modules, critic_width=16)
    return _vp.vp_gan("shapes3d", model, Shapes3d(resolution=64), OURS, metrics=("Activeness", "Mig"))


def shapes3d_small() -> Recipe:
    """The small twin of variation_predictability.shapes3d: 32 px, minutes on two cores."""
    modules = "Conv-up-1, C_global-6, Conv-id-1, Conv-up-1, Conv-id-1, Conv-up-1, Conv-id-1"
    model = VcGenerator(
        Uniform(6, -2.0, 2.0), modules, width=32, decay=0.0, global_width=32, critic_width=8, critic_hidden=64
    )
    return _vp.small(shapes3d(), model, Shapes3d(resolution=32))


def sprites() -> Recipe:
    """The simple GAN on dSprites, 64 px, with a recognizer of what varied (OroJaR's release, dsprites_vp)."""
    recipe = _simple.sprites("variation_predictability.sprites")
    return _simple.with_term(recipe, "variation_predictability", TERM, RELEASED)


def sprites_small() -> Recipe:
    """The small twin of variation_predictability.sprites: 32 px, minutes on two cores."""
    recipe = _simple.small_sprites("variation_predictability.sprites_small")
    return _simple.with_term(recipe, "variation_predictability", TERM, RELEASED)
