"""What the VAE recipes share: the study's networks and settings, and the switches as weights, terms and names."""

from dataclasses import replace
from typing import NamedTuple

from orthogen.core.kinds import Data
from orthogen.core.latent import Normal
from orthogen.models.vae import Vae
from orthogen.regularizers.hessian_penalty import HessianPenalty
from orthogen.regularizers.orojar import OroJaR
from orthogen.regularizers.variation_predictability import VariationPredictability
from orthogen.training.elbo import Elbo
from orthogen.training.objective import Term
from orthogen.training.recipe import Adam
from orthogen.training.vae_recipe import VaeRecipe

__all__ = ["Switches", "small", "study"]

STEP = 64  # images

STUDY = (
    "The study's tables were not to be had, and nothing is claimed. How its weights begin and Adam's decay rates are "
    "unknown: the former are as torch has them, the latter 0.9 and 0.999.",
)
PENALTIES = {
    "vp": Term(VariationPredictability(), weight=10.0),
    "orojar": Term(OroJaR(normalize="numel"), weight=10.0),
    "hessian_penalty": Term(HessianPenalty(), weight=0.01),
}
REMARKS = {
    "vp": "That VP applies to VAEs is claimed in its abstract, and nothing of it was published: neither code nor where "
    "the loss goes nor its weight. Here pairs are decoded from the prior (pair_source), the loss teaches decoder and "
    "recognizer alone, and the weight of 10 is ours.",
    "orojar": "OroJaR on a VAE is not in its paper. It sees the image, whose range is bounded: inner layers of this "
    "decoder, which has no norms, grow by many orders of magnitude. Squared norms are divided by their size; the "
    "weight is ours.",
    "hessian_penalty": "The Hessian Penalty on a VAE is not in its paper. It sees the image, as OroJaR does here; the "
    "weight is ours.",
}


class Switches(NamedTuple):
    """What is added to the plain VAE.

    Attributes:
        beta: weight of the divergence; 1 is the VAE, others beta-VAE.
        tc: weight of the total correlation beyond the 1 in the divergence; beta-TC-VAE's beta is 1 more.
        vp: Variation Predictability of decoded pairs.
        orojar: the orthogonal Jacobian of the decoder.
        hessian_penalty: the diagonal Hessian of the decoder.
    """

    beta: float = 1.0
    tc: float = 0.0
    vp: bool = False
    orojar: bool = False
    hessian_penalty: bool = False

    def named(self, recipe: str) -> str:
        """The recipe's name, with what is not as in the plain VAE.

        Example:
            >>> Switches().named("a.b"), Switches(beta=4.0, vp=True).named("a.b")
            ('a.b', 'a.b-beta4-vp')
        """
        beta, tc = [f"beta{self.beta:g}"] * (self.beta != 1), [f"tc{self.tc:g}"] * (self.tc != 0)
        return "-".join([recipe, *beta, *tc, *self.on])

    @property
    def on(self) -> list[str]:
        """The names of the penalties on the decoder."""
        return [name for name in PENALTIES if getattr(self, name)]


def study(name: str, data: Data, channels: int, switches: Switches, *departures: str) -> VaeRecipe:
    """300,000 steps of 64 images with Adam at 1e-4, 10 latents, Bernoulli likelihood."""
    return VaeRecipe(
        switches.named(name),
        Vae(Normal(10), channels, resolution=64),
        data,
        elbo=Elbo(switches.beta, switches.tc, "bernoulli"),
        penalties={name: PENALTIES[name] for name in switches.on},
        images=300_000 * STEP,
        batch=STEP,
        optimizer=Adam(1e-4, (0.9, 0.999)),
        checkpoint_every=10_000 * STEP,
        sample_every=10_000 * STEP,
        departures=(*STUDY, *(REMARKS[name] for name in switches.on), *departures),
        metrics=("FactorVaeScore", "BetaVaeScore", "Mig", "Dci", "Sap", "Modularity", "Irs"),
    )


def small(full: VaeRecipe, called: str, data: Data) -> VaeRecipe:
    """The same path at 32 pixels and some minutes."""
    assert isinstance(full.model, Vae)
    return replace(
        full,
        name=full.name.replace(called, f"{called}_small"),
        model=replace(full.model, resolution=32),
        data=data,
        images=96_000,
        optimizer=replace(full.optimizer, lr=1e-3),
        checkpoint_every=24_000,
        sample_every=24_000,
        departures=(
            *full.departures,
            "A twin for two CPU cores: 32 pixels, one convolution less on each side, 96,000 images, a tenfold learning "
            "rate.",
        ),
    )
