"""A recipe of one's own: a zip of 64-pixel images, with and without OroJaR.

    orthogen train examples/archive.py:plain  --data.path heads.zip --run runs/heads_plain
    orthogen train examples/archive.py:orojar --data.path heads.zip --run runs/heads_orojar

Any zip of square images does (sub-folders or a dataset.json give class labels, unused here). Sized for two CPU cores.
"""

from dataclasses import replace

import orthogen as og
from orthogen.training.recipe import Adam

__all__ = ["orojar", "plain"]


def plain() -> og.Recipe:
    """A small GAN, no penalty on the latent."""
    return og.Recipe(
        name="archive.plain",
        model=og.SimpleGan(
            og.Normal(12),
            channels=3,
            resolution=64,
            generator_channels=(192, 128, 96, 48, 24),
            critic_channels=(32, 64, 128, 192),
            critic_hidden=0,
            critic_norm=False,
        ),
        data=og.ImageArchive("heads.zip", resolution=64),
        objective=og.Objective(og.NonSaturating(), {"r1": og.Term(og.R1(gamma=0.5), every=16)}),
        images=300_000,
        batch=64,
        generator_optimizer=Adam(1.5e-3, (0.0, 0.99)),
        critic_optimizer=Adam(1.5e-3, (0.0, 0.99)),
        ema=8_850,
        precision="bfloat16",
        checkpoint_every=30_000,
        sample_every=30_000,
        metrics=("Activeness", "OroJaR"),
    )


def orojar() -> og.Recipe:
    """The same with OroJaR on the pre-norm convolution outputs of all levels but the last."""
    recipe = plain()
    layers = tuple(f"layers.{i}.layers.conv" for i in range(4))
    term = og.Term(og.OroJaR(reduction="mean", normalize="numel"), weight=0.3, every=4, batch=16, layers=layers)
    objective = replace(recipe.objective, terms={**recipe.objective.terms, "orojar": term})
    return replace(recipe, name="archive.orojar", objective=objective)
