"""ProGAN that grows to 32 px on drawn scenes, with either penalty or without: the runs of the lab book.

Train with ``orthogen train examples/growing_scenes.py:scenes --penalty orojar --run runs/scenes``; then
``orthogen measure runs/scenes Activeness FactorVaeScore Mig`` reads the scenes' factors back off generated images.
"""

from dataclasses import replace
from typing import Literal

import orthogen as og
from orthogen import recipes

__all__ = ["scenes"]


def scenes(*, penalty: Literal["none", "hessian_penalty", "orojar"] = "none") -> og.Recipe:
    """OroJaR's network with 32 channels at most and eight latents for six factors, in bfloat16."""
    small = recipes.build("orojar.clevr_complex_small")
    assert isinstance(small, og.Recipe)
    model = replace(small.model, latent=og.Normal(8), channel_base=512, channel_max=32)
    terms = {name: term for name, term in small.terms.items() if name != "orojar"}
    if penalty == "orojar":
        terms["orojar"] = replace(small.terms["orojar"], layers=model.preactivation_layers[:-1])
    elif penalty == "hessian_penalty":
        term = recipes.build("hessian_penalty.clevr_complex_small").terms["hessian_penalty"]
        terms["hessian_penalty"] = replace(term, layers=model.penalized_layers[:-1])
    return replace(
        small,
        name=f"scenes-{penalty}",
        images=110_000,
        growth=og.Growth(stable=4_000, fade=4_000, batches=(64, 64, 32)),
        model=model,
        objective=replace(small.objective, terms=terms),
        ema=5_000,
        precision="bfloat16",
        channels_last=True,
        departures=("Sizes for two CPU cores, in no paper.",),
    )
