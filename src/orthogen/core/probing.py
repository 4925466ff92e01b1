"""Penalties that estimate off-diagonal energy by the variance over random ±1 probes: one engine for both papers.

For a symmetric matrix A and v uniform on {-1, +1}^d,  Var_v[v^T A v] = 2 sum_{a != b} A_ab²  (Hutchinson 1990). With
A = H_i, the Hessian of an output, this is the Hessian Penalty; with A = J^T J it is OroJaR.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from orthogen.core.choices import check_choices
from orthogen.core.derivative import Derivative, FiniteDifference, Order
from orthogen.core.kinds import LatentPenalty
from orthogen.core.maps import LatentMap
from orthogen.core.rng import private
from orthogen.core.shapes import Float

__all__ = ["ProbePenalty", "rademacher"]


def rademacher(
    k: int, z: Float[Tensor, "batch dim"], rng: torch.Generator | None = None
) -> Float[Tensor, "k batch dim"]:
    """Independent ±1 for every probe, sample and component, in the latents' type and on their device.

    Example:
        >>> rademacher(2, torch.zeros(3, 4)).abs().sum().item()
        24.0
    """
    rng = private() if rng is None else rng
    signs = torch.randint(0, 2, (k, *z.shape), generator=rng, device=rng.device)
    return signs.to(z.device, z.dtype) * 2 - 1


def variance_over(values: list[Tensor], unbiased: bool) -> Tensor:
    """The elementwise variance of k tensors."""
    k = len(values)
    if k == 2:  # the usual case, in two operations: (a - b)² / 2, or / 4
        return (values[0] - values[1]).square().mul_(0.5 if unbiased else 0.25)
    return torch.stack(values).var(0, correction=1 if unbiased else 0)


@dataclass(frozen=True)
class ProbePenalty(LatentPenalty):
    """The variance over ±1 probes of a statistic of directional derivatives.

    Attributes:
        k: number of probes, at least 2. The papers use 2, which is noisy: the value is no measurement.
        derivative: `FiniteDifference` with step 0.1 as in the papers, or `Exact`.
        variance: "unbiased" divides by k - 1 (the PyTorch originals), "population" by k (the TensorFlow originals and
            all ProGAN weights, so halve those at k = 2 when using "unbiased").
        reduction: over samples and outputs of a layer, "max" (the papers' training runs) or "mean" (their BigGAN
            direction search). Of several processes each takes the maximum over its own samples, as the originals do.
        normalize: "numel" divides a layer's derivatives by the square root of their count per sample, so that squared
            norms become mean squares and a weight keeps its meaning over width and resolution; the papers use "none".
        layer_weights: weights of layers by name in the sum; 1 where not named.
    """

    k: int = 2
    derivative: Derivative = field(default_factory=FiniteDifference)
    variance: Literal["unbiased", "population"] = "unbiased"
    reduction: Literal["max", "mean"] = "max"
    normalize: Literal["none", "numel"] = "none"
    layer_weights: Mapping[str, float] = field(default_factory=dict)

    order: ClassVar[Order]  # of the derivative
    degree: ClassVar[int]  # of the statistic in the derivative

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.k < 2:
            raise ValueError(f"{name}(k={self.k}): a variance over probes needs k of 2 or more")
        check_choices(self)

    @abstractmethod
    def statistic(self, derivative: Tensor) -> Tensor:
        """What of one probe's derivative ``(batch, ...)`` the variance is taken of: ``(batch, ...)``."""

    @property
    def shares_base(self) -> bool:
        """Where the difference has a middle that does not cancel."""
        return self.derivative.needs_base(self.order, up_to_constant=self.order == 2)

    def layer_weight(self, layer: str) -> float:
        """The layer's weight in the sum."""
        return self.layer_weights.get(layer, 1.0)

    def terms(
        self,
        f: LatentMap,
        z: Float[Tensor, "batch dim"],
        *,
        state: torch.nn.Module | None = None,
        rng: torch.Generator | None = None,
        probes: Float[Tensor, "k batch dim"] | None = None,
    ) -> dict[str, Tensor]:
        """One scalar per layer.

        With ``max``, value and gradient rest on one sample of each layer. Where samples do not see each other, a search
        without gradients finds these, and only they are differentiated: the same result at a fraction of the cost.

        Args:
            f: the map.
            z: latents.
            state: unused; this penalty remembers nothing.
            rng: draws the probes; the process's private generator if None.
            probes: the ±1 vectors themselves, to fix them.

        Raises:
            ValueError: probes of the wrong shape, fewer than 2, or a weight for a layer that the map does not have.
        """
        probes = self._probes(z, rng, probes)
        unknown = set(self.layer_weights) - {*f.layers, *f.waiting}
        if unknown:
            raise ValueError(f"layer_weights names {sorted(unknown)}; the map has {[*f.layers, *f.waiting]}")
        reduce = torch.amax if self.reduction == "max" else torch.mean
        with f.session():
            everything = torch.arange(len(z), device=z.device)
            parts = [(f.layers, everything)]
            search = self.reduction == "max" and self.derivative.searchable and torch.is_grad_enabled()
            if search and len(z) > 1 and f.separable(z):
                parts = self._largest(f, z.detach(), probes)
            terms: dict[str, Tensor] = {}
            for layers, index in parts:
                part = f if index is everything else f.light().only(layers).take(index)
                derivatives = self.derivative.along(
                    part, z[index], probes[:, index], self.order, up_to_constant=self.order == 2
                )
                variances = [self._variance(layer) for layer in zip(*derivatives, strict=True)]
                terms.update((name, reduce(x)) for name, x in zip(layers, variances, strict=True))
        return {name: terms[name] for name in f.layers}

    def _probes(self, z: Tensor, rng: torch.Generator | None, probes: Tensor | None) -> Tensor:
        if probes is None:
            return rademacher(self.k, z, rng)
        if probes.ndim != 3 or probes.shape[1:] != z.shape or len(probes) < 2:
            expected = f"(k >= 2, {', '.join(map(str, z.shape))})"
            raise ValueError(f"probes have shape {tuple(probes.shape)}; {expected} is needed for these latents")
        return probes.to(z)

    def _variance(self, derivatives: Sequence[Tensor]) -> Tensor:
        """Of one layer, over the probes: ``(batch, ...)``."""
        variance = variance_over([self.statistic(x) for x in derivatives], self.variance == "unbiased")
        return variance * derivatives[0][0].numel() ** -self.degree if self.normalize == "numel" else variance

    @torch.no_grad()
    def _largest(self, f: LatentMap, z: Tensor, probes: Tensor) -> list[tuple[tuple[str, ...], Tensor]]:
        """The samples that hold a layer's maximum, with their layers, by the passes in which they are repeated.

        On a CPU there is a pass for each resolution, for the samples that hold a maximum there, which ends with that
        resolution's last layer. Maxima that they hold further up are served along.
        """

        def largest(derivatives: Sequence[Tensor]) -> Tensor:
            return self._variance(derivatives).reshape(len(derivatives[0]), -1).amax(1)

        found = self.derivative.by_layer(f, z, probes, self.order, largest, up_to_constant=self.order == 2)
        winners = torch.stack(found).argmax(dim=1)
        if z.device.type != "cpu":  # one pass for all: there, launching costs more than computing
            return [(f.layers, winners.unique())]
        held = dict(zip(f.layers, winners.tolist(), strict=True))
        parts = []
        for stage in reversed(f.stages(z)):
            samples = sorted({held[name] for name in stage if name in held})
            if samples:
                served = tuple(name for name in held if held[name] in samples)
                parts.append((served, torch.tensor(samples)))
                held = {name: sample for name, sample in held.items() if name not in served}
        return parts
