"""The five-minute tour: drawn scenes of wall, floor and ball, with and without OroJaR."""

from dataclasses import replace

from orthogen.core.latent import Normal
from orthogen.data.shapes3d import Shapes3d
from orthogen.models.simple_gan import SimpleGan
from orthogen.regularizers.gradient_penalty import R1
from orthogen.regularizers.orojar import OroJaR
from orthogen.training.adversarial import NonSaturating
from orthogen.training.objective import Objective, Term
from orthogen.training.recipe import Adam, Recipe

__all__ = ["orojar", "plain"]


def plain() -> Recipe:
    """Scenes with three hues and a size, 32 px, no penalty on the latent."""
    return Recipe(
        name="demo.plain",
        model=SimpleGan(
            Normal(4),
            channels=3,
            resolution=32,
            generator_channels=(128, 128, 64, 32),
            critic_channels=(48, 96, 160),
            critic_hidden=0,
            critic_norm=False,
        ),
        data=Shapes3d(resolution=32, varying=("floor_hue", "wall_hue", "object_hue", "scale")),
        objective=Objective(NonSaturating(), {"r1": Term(R1(gamma=0.1), every=16)}),
        images=80_000,
        batch=64,
        generator_optimizer=Adam(1.5e-3, (0.0, 0.99)),
        critic_optimizer=Adam(1.5e-3, (0.0, 0.99)),
        ema=8_850,  # 0.995 per step of 64
        precision="bfloat16",
        checkpoint_every=16_000,
        sample_every=8_000,
        departures=("No paper has this setting; it is made to show in minutes what a penalty on the latent does.",),
        metrics=("Activeness", "Mig"),
    )


def orojar() -> Recipe:
    """The same scenes and networks with OroJaR on the first three levels."""
    recipe = plain()
    assert isinstance(recipe.model, SimpleGan)
    term = Term(
        OroJaR(reduction="mean", normalize="numel"),
        weight=1.0,
        every=4,
        batch=16,
        layers=recipe.model.regularized_layers,
    )
    objective = replace(recipe.objective, terms={**recipe.objective.terms, "orojar": term})
    return replace(recipe, name="demo.orojar", objective=objective)
