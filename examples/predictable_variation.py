"""VP-GAN and a simple GAN with and without Variation Predictability, at 32 px: the runs of the lab book.

    orthogen train examples/predictable_variation.py:vp_gan --of sprites --run runs/with
    orthogen train examples/predictable_variation.py:vp_gan --of sprites --no-vp --run runs/without

``--of scenes`` are drawn too; ``--of heads`` is a zip of images, by default heads.zip (``--data.path``).
"""

from dataclasses import replace
from typing import Literal

import orthogen as og
from orthogen import recipes
from orthogen.core.kinds import Data, Model
from orthogen.training.recipe import Adam

__all__ = ["simple_gan", "vp_gan"]

Subject = Literal["sprites", "scenes", "heads"]

DIMS = {"sprites": 6, "scenes": 8, "heads": 12}  # latents, one or two more than factors that show


def _data(of: Subject) -> Data:
    if of == "heads":
        return og.ImageArchive("heads.zip", resolution=32, channels=3)
    return og.Sprites(resolution=32) if of == "sprites" else og.Shapes3d(resolution=32)


def vp_gan(*, of: Subject = "sprites", vp: bool = True) -> og.Recipe:
    """The modular generator; half of its coordinates come in at 8 pixels, half at 16."""
    small = recipes.build("variation_predictability.shapes3d_small")
    assert isinstance(small, og.Recipe)
    half = DIMS[of] // 2
    model = replace(
        small.model,
        latent=og.Uniform(2 * half, -2.0, 2.0),
        modules=f"Conv-up-1, C_global-{half}, Conv-id-1, Conv-up-1, C_global-{half}, Conv-id-1, Conv-up-1, Conv-id-1",
        channels=1 if of == "sprites" else 3,
    )
    return _finished(small, "vp_gan", model, of, vp)


def simple_gan(*, of: Subject = "sprites", vp: bool = True) -> og.Recipe:
    """Transposed convolutions with instance norm; loss and recognizer are those of `vp_gan`."""
    small = recipes.build("variation_predictability.shapes3d_small")
    assert isinstance(small, og.Recipe)
    model = og.SimpleGan(
        og.Normal(DIMS[of]),
        channels=1 if of == "sprites" else 3,
        resolution=32,
        generator_channels=(128, 96, 64, 32),
        critic_channels=(32, 64, 128),
        critic_hidden=0,
        critic_norm=False,
    )
    adam = Adam(1.5e-3, (0.0, 0.99))
    recipe = replace(small, generator_optimizer=adam, critic_optimizer=adam, batch=64)
    return _finished(recipe, "simple_gan", model, of, vp)


def _finished(recipe: og.Recipe, name: str, model: Model, of: Subject, vp: bool) -> og.Recipe:
    terms = {name: term for name, term in recipe.objective.terms.items() if vp or name == "r1"}
    return replace(
        recipe,
        name=f"{name}-{of}" + ("" if vp else "-plain"),
        model=model,
        data=_data(of),
        objective=replace(recipe.objective, terms=terms),
        precision="bfloat16",
        channels_last=True,
        departures=("Sizes for two CPU cores, in no paper.",),
        metrics=("Activeness", "VariationScore"),
    )
