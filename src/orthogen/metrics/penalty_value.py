"""The value of a latent penalty as a diagnostic: many probes, one sample at a time, with its standard error."""

import dataclasses
from dataclasses import dataclass

import torch

from orthogen.core import catalogue, record
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import LatentMetric, LatentPenalty
from orthogen.core.maps import along, probe
from orthogen.core.score import Score
from orthogen.core.untouched import evaluating
from orthogen.metrics._moves import (
    directions_of,
    latents,
    refuse_not_finite,
    refuse_seeing_each_other,
    try_out,
)

__all__ = ["PenaltyValue"]


@dataclass(frozen=True)
class PenaltyValue(LatentMetric):
    """What a latent penalty is on a finished generator, free of the noise that two probes bring.

    With k = 2 the estimate of one sample scatters by 1.4 to 1.8 times its mean, and a maximum over the batch adds a
    bias, so the value logged in training is not the penalty. Here

        value = mean over z of sum over layers of w_layer * penalty(G, z)        (k probes, one z at a time)

    so that a ``max`` reduction is over the entries of one sample. Given directions, derivatives are taken with respect
    to their coordinates a in G(z + a Q) at a = 0: a longer one has larger derivatives and a longer step. The generator
    is in evaluation mode.

    Attributes:
        penalty: a `LatentPenalty`, or the name of one; a field ``k`` that it has is replaced by ours.
        k: probes per sample.
        layers: layers to look at; the image if empty.
        samples: how many latents.

    Raises:
        ValueError: fewer than two samples, a penalty that learns something, whose value says nothing untrained,
            directions of another width than the latent, images that are not finite, or a generator that takes
            conditions or whose samples see each other.
        TypeError: ``penalty`` is neither a latent penalty nor the name of one, or the generator is in half precision.

    Reference:
        Peebles et al., "The Hessian Penalty", ECCV 2020, equation 4 (the estimator and its variance in k).

    Example:
        Two orthogonal axes have no OroJaR penalty.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(torch.nn.Identity(), Normal(2), call=lambda m, z: z[:, None, None, :])
        >>> PenaltyValue(samples=4)(G).value < 1e-6
        True
    """

    penalty: LatentPenalty | str = "OroJaR"
    k: int = 16
    layers: tuple[str, ...] = ()
    samples: int = 64

    def __post_init__(self) -> None:
        if self.samples < 2 or self.k < 2:
            raise ValueError(f"PenaltyValue(samples={self.samples}, k={self.k}): at least 2 of each are needed")

    def _penalty(self) -> LatentPenalty:
        found = self.penalty
        if isinstance(found, str):
            try:
                found = catalogue.find(found, "regularizers").load()()
            except KeyError as error:
                raise TypeError(f"PenaltyValue: {error.args[0]}") from None
        if not isinstance(found, LatentPenalty):
            raise TypeError(f"PenaltyValue was given {found!r}; it takes a penalty on latents, such as OroJaR()")
        if dataclasses.is_dataclass(found) and any(field.name == "k" for field in dataclasses.fields(found)):
            return dataclasses.replace(found, k=self.k)
        return found

    @torch.no_grad()
    def __call__(
        self, generator: Generator, directions: Directions | None = None, *, rng: torch.Generator | None = None
    ) -> Score:
        """The penalty's mean over fresh latents, and by layer."""
        penalty = self._penalty()
        name = type(penalty).__name__
        if penalty.init(generator) is not None:
            raise ValueError(
                f"PenaltyValue: {name} learns a network of its own, and its value with a fresh one says nothing; "
                "use a penalty on derivatives, such as OroJaR"
            )
        within = None if directions is None else directions_of("PenaltyValue", generator, directions)
        z, f = latents(generator, self.samples, rng), probe(generator, layers=self.layers)
        rows: list[dict[str, float]] = []
        with evaluating(generator.module), f.session():
            try_out("PenaltyValue", generator, f, z)
            refuse_seeing_each_other("PenaltyValue", f, z)
            for one in z.split(1):
                if within is None:
                    terms = penalty.terms(f, one, rng=rng)
                else:
                    basis = within.basis.to(z)
                    terms = penalty.terms(along(f, one, basis), z.new_zeros(1, len(basis)), rng=rng)
                rows.append({layer: penalty.layer_weight(layer) * float(term) for layer, term in terms.items()})
        values = torch.tensor([list(row.values()) for row in rows], dtype=torch.float64)  # (samples, layers)
        refuse_not_finite("PenaltyValue", values)
        error = values.std(dim=0) * self.samples**-0.5
        return Score(
            values.sum(dim=1).mean().item(),
            stderr=(values.sum(dim=1).std() * self.samples**-0.5).item(),
            n=self.samples,
            name=name,
            protocol={
                "penalty": record.to_json(penalty),
                "k": self.k,
                "layers": list(rows[0]),
                "reduced over": "one sample at a time",
                "lengths": "as given",
                "space": "z" if within is None else within.space,
            },
            parts={
                "layers": list(rows[0]),
                "value": values.mean(dim=0).tolist(),
                "stderr": error.tolist(),
            },
        )
