"""orthogen: controllable, well-conditioned image generators in PyTorch.

A *generator* is a differentiable map from a latent space to images; a *regularizer* shapes its derivatives or weights
while it trains; a *direction* is what one reads out of it once it is trained. Everything public is an attribute of this
module and is imported when it is first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_CORE = {
    "adapt": "core.generator",
    "Generator": "core.generator",
    "probe": "core.maps",
    "given": "core.maps",
    "along": "core.maps",
    "LatentMap": "core.maps",
    "Normal": "core.latent",
    "Uniform": "core.latent",
    "Sphere": "core.latent",
    "TruncatedNormal": "core.latent",
    "Blocks": "core.latent",
    "FiniteDifference": "core.derivative",
    "Exact": "core.derivative",
    "Directions": "core.directions",
    "Score": "core.score",
    "Features": "core.features",
    "Objective": "training.objective",
    "Term": "training.objective",
    "Wasserstein": "training.adversarial",
    "NonSaturating": "training.adversarial",
    "Hinge": "training.adversarial",
    "LeastSquares": "training.adversarial",
    "Relativistic": "training.adversarial",
    "Recipe": "training.recipe",
    "ClassifierRecipe": "training.recipe",
    "Growth": "training.growth",
    "VaeRecipe": "training.vae_recipe",
    "Elbo": "training.elbo",
    "Validate": "evaluation.validating",
    "train": "training.loop",
    "Shuffled": "core.sampling",
    "ClassBalanced": "core.sampling",
    "EffectiveNumber": "core.sampling",
    "long_tail_indices": "core.long_tail",
    "load": "checkpoints",
    "convert": "checkpoints",
    "discover": "evaluation",
    "leaderboard": "evaluation.leaderboard",
    "SearchRecipe": "evaluation.search_recipe",
    "read_directions": "evaluation.published",
    "measure": "evaluation",
    "measure_codes": "evaluation",
    "compare": "evaluation",
    "difference": "evaluation",
    "traverse": "reporting.traversal",
    "heat_maps": "reporting.heat_maps",
    "penalty_maps": "evaluation.penalty_maps",
    "inspect_data": "reporting.data_sheet",
    "report": "reporting.html",
}


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    if name in _CORE:
        value = getattr(import_module(f"orthogen.{_CORE[name]}"), name)
    else:
        from orthogen.core import catalogue

        try:
            value = catalogue.find(name).load()
        except KeyError as error:
            raise AttributeError(f"orthogen: {error.args[0]}") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    from orthogen.core import catalogue

    members = [entry.name for folder in catalogue.FOLDERS if folder != "recipes" for entry in catalogue.entries(folder)]
    return sorted({*_CORE, *members, "__version__"})
