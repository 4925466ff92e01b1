"""Conditioning: does a layer spread what it puts out over all its directions?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orthogen.core.conditioning import conditioning, matrix_of, rows_of, true_rank
from orthogen.core.directions import Directions
from orthogen.core.features import Gathering, Moments
from orthogen.core.generator import Generator
from orthogen.core.kinds import LatentMetric
from orthogen.core.maps import probe
from orthogen.core.progress import track
from orthogen.core.rng import private
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.core.untouched import evaluating, seeded
from orthogen.metrics._moves import directions_of, latents, refuse_not_finite, try_out

__all__ = ["Conditioning"]

CITATION = """\
@inproceedings{song2022improving,
  title     = {Improving Covariance Conditioning of the {SVD} Meta-layer by Orthogonality},
  author    = {Song, Yue and Sebe, Nicu and Wang, Wei},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2022}
}
@inproceedings{roy2007effective,
  title     = {The Effective Rank: A Measure of Effective Dimensionality},
  author    = {Roy, Olivier and Vetterli, Martin},
  booktitle = {European Signal Processing Conference (EUSIPCO)},
  year      = {2007}
}
"""


@dataclass(frozen=True)
class Conditioning(LatentMetric):
    """The condition number of the covariance of a layer's output, over samples and positions.

    With eigenvalues l_1 >= l_2 >= ... of the covariance of the layer's c channels,

        value = l_1 / l_r,     r = min(c, inputs per output of the layer's weight)

    r is the rank that the layer can have at all: beyond it eigenvalues are rounding, and l_1 / l_c says nothing. The
    parts are those of `orthogen.core.conditioning.conditioning`: ``effective_rank``, ``ridge_condition`` with the
    ridge ``eps``, and of the weight ``weight_norm`` and the orthogonality ``defect``; and the eigenvalues.

    The covariance is streamed in float64. Standard errors are those of a jackknife that leaves out one batch of
    samples at a time. The generator is in evaluation mode; directions play no part, as latents are its own.

    Attributes:
        layer: its name; the first layer with a matrix for a weight if empty.
        eps: the ridge.
        samples: how many latents.
        batches: into how many batches they are divided.

    Raises:
        ValueError: no layer has that name, or none has a weight; fewer than two batches, or than two samples for
            each; a ridge that is not positive; outputs that are not finite; or a generator that takes conditions.
        TypeError: a generator in half precision.

    Reference:
        Song et al., "Improving Covariance Conditioning of the SVD Meta-layer by Orthogonality", ECCV 2022 (of the
        covariance before an SVD); Roy and Vetterli, "The Effective Rank", EUSIPCO 2007, definition 1.

    Example:
        Latents (z0, z1) of unit variance become (3 z0, z1): the condition is near 9.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> net = torch.nn.Linear(2, 2, bias=False)
        >>> _ = net.weight.data.copy_(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
        >>> score = Conditioning(samples=20_000)(adapt(net, Normal(2)), rng=torch.Generator().manual_seed(0))
        >>> abs(score.value - 9) < 3 * score.stderr < 0.6, score.parts["rank"]
        (True, 2)
    """

    layer: str = ""
    eps: float = 1e-2
    samples: int = 1024
    batches: int = 16

    def __post_init__(self) -> None:
        if self.batches < 2 or self.samples < 2 * self.batches or not 0 < self.eps < math.inf:
            raise ValueError(
                f"Conditioning(samples={self.samples}, batches={self.batches}, eps={self.eps}): give at least 2 "
                "batches, two samples for each, and a ridge above 0"
            )

    @torch.no_grad()
    def __call__(
        self, generator: Generator, directions: Directions | None = None, *, rng: torch.Generator | None = None
    ) -> Score:
        """The condition of the layer on fresh latents."""
        directions_of("Conditioning", generator, directions)
        name = self.layer or _first(generator.module)
        rng = private() if rng is None else rng
        z, f = latents(generator, self.samples, rng), probe(generator, (name,))
        layer = dict(generator.module.named_modules())[name]
        parts: list[Moments] = []
        with evaluating(generator.module):
            try_out("Conditioning", generator, f, z)
            weight = matrix_of(layer)
            weight = None if weight is None else weight.clone()  # a parametrized one is made in evaluation mode, too
            for part in track(z.tensor_split(self.batches), "covariances"):
                with seeded(rng, z.device), f.session():
                    rows = rows_of(layer, f(part)[0])
                refuse_not_finite("Conditioning", rows)
                parts.append(_moments(rows))
        channels = len(parts[0].mean)
        rank = true_rank(weight, channels, getattr(layer, "groups", 1))
        whole = _covariance(parts)
        found = conditioning(weight, whole, self.eps, rank=rank)
        without = [
            conditioning(None, _covariance([*parts[:i], *parts[i + 1 :]]), self.eps, rank=rank)
            for i in range(len(parts))
        ]
        errors = {key: _jackknife([one[key] for one in without]) for key in without[0] if key != "rank"}
        value, error = found.pop("condition"), errors.pop("condition")
        return Score(
            value,
            stderr=error,
            n=self.samples,
            name="Conditioning",
            protocol={
                "layer": name,
                "covariance": "of channels, over samples and positions",
                "condition": "largest eigenvalue / eigenvalue of the true rank",
                "eps": self.eps,
                "stderr": f"jackknife over {self.batches} batches",
            },
            parts={
                **found,
                **{f"{key}_stderr": error for key, error in errors.items()},
                "eigenvalues": torch.linalg.eigvalsh(whole).flip(0).tolist(),
            },
        )


def _first(module: nn.Module) -> str:
    for name, layer in module.named_modules():
        if matrix_of(layer) is not None:
            return name
    raise ValueError("Conditioning: the generator has no layer with a weight of two or more dimensions; name a layer")


def _moments(rows: Float[Tensor, "m c"]) -> Moments:
    gathering = Gathering({"moments"}, sample=1)
    gathering.add(rows)
    return gathering.finish().need_moments("Conditioning")


def _covariance(parts: Sequence[Moments]) -> Float[Tensor, "c c"]:
    """The covariance of all batches together: the mean of theirs, and that of their means."""
    n = torch.tensor([part.n for part in parts], dtype=torch.float64)
    means = torch.stack([part.mean for part in parts])
    centered = means - (n @ means) / n.sum()
    within = torch.stack([part.covariance * (part.n - 1) for part in parts]).sum(dim=0)
    return (within + (centered.T * n) @ centered) / (n.sum() - 1)


def _jackknife(values: list[float]) -> float:
    n = len(values)
    return float(torch.tensor(values, dtype=torch.float64).std(correction=0) * (n - 1) ** 0.5)
