"""The recipe of a variational autoencoder."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from orthogen.core.kinds import CriticPenalty, StepRule
from orthogen.training.elbo import Elbo
from orthogen.training.objective import Term
from orthogen.training.recipe import Adam, TrainingRecipe

__all__ = ["VaeRecipe"]


@dataclass(frozen=True)
class VaeRecipe(TrainingRecipe):
    """A complete training run of an encoder and a decoder that approximate each other's inverse.

    Penalties are of the decoder, which is the generator: those on latents see it at latents of the prior or at codes of
    the batch, and have gradients for the decoder and what they learn alone; the encoder has none of them. Encoder,
    decoder and what penalties learn share one optimizer. Where there is an average, it follows the decoder: images are
    drawn with it, and codes come from the encoder as the optimizer left it.

    The defaults are the settings of the large comparison on factor metrics: 300,000 steps of 64 images with Adam at
    1e-4 (F. Locatello et al., "Challenging Common Assumptions in the Unsupervised Learning of Disentangled
    Representations", ICML 2019).

    Attributes:
        elbo: what is minimized.
        penalties: on latents or weights of the decoder, by name.
        pair_source: where latents for penalties come from: fresh ones of the ``prior``, or the ``posterior``: codes
            drawn for the images of the batch.
        rules: what happens between the backward pass and the optimizer's step, by name; they act on the decoder.
        optimizer: for all that learns.
    """

    elbo: Elbo = field(default_factory=Elbo, kw_only=True)
    penalties: Mapping[str, Term] = field(default_factory=dict, kw_only=True)
    pair_source: Literal["prior", "posterior"] = field(default="prior", kw_only=True)
    rules: Mapping[str, StepRule] = field(default_factory=dict, kw_only=True)
    optimizer: Adam = field(default_factory=lambda: Adam(1e-4, (0.9, 0.999)), kw_only=True)
    images: int = field(default=300_000 * 64, kw_only=True)
    batch: int = field(default=64, kw_only=True)
    metrics: tuple[str, ...] = field(default=("FactorVaeScore", "Mig"), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, term in self.penalties.items():
            if isinstance(term.penalty, CriticPenalty):
                raise ValueError(
                    f"{name}: {type(term.penalty).__name__} sees a critic, which a VAE does not have; give a penalty "
                    "on latents or weights, such as OroJaR"
                )

    @property
    def terms(self) -> Mapping[str, Term]:
        """The penalties, by name."""
        return self.penalties

    def with_terms(self, terms: Mapping[str, Term]) -> "VaeRecipe":
        """The same with other penalties."""
        return replace(self, penalties=terms)

    def rate_factor(self, images: int) -> float:
        """The learning rate is constant."""
        return 1.0
