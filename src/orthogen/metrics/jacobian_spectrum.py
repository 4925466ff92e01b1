"""Jacobian spectrum: how strongly, and how independently, latent components move the image."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from orthogen.core import record
from orthogen.core.derivative import Derivative, FiniteDifference
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import LatentMetric
from orthogen.core.maps import LatentMap, along, probe
from orthogen.core.progress import track
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.core.untouched import evaluating
from orthogen.metrics._moves import (
    directions_of,
    latents,
    refuse_not_finite,
    refuse_seeing_each_other,
    try_out,
)

__all__ = ["JacobianSpectrum"]

CITATION = """\
@inproceedings{wei2021orojar,
  title     = {Orthogonal Jacobian Regularization for Unsupervised Disentanglement in Image Generation},
  author    = {Wei, Yuxiang and Shi, Yupeng and Liu, Xiao and Ji, Zhilong and Gao, Yuan and Wu, Zhongqin and
               Zuo, Wangmeng},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year      = {2021}
}
@inproceedings{roy2007effective,
  title     = {The Effective Rank: A Measure of Effective Dimensionality},
  author    = {Roy, Olivier and Vetterli, Martin},
  booktitle = {European Signal Processing Conference (EUSIPCO)},
  year      = {2007}
}
"""

_PIXELS = 1 << 16  # of the image in double precision at a time
_COLUMNS = 32  # of the Jacobian taken at a time


@dataclass(frozen=True)
class JacobianSpectrum(LatentMetric):
    """Angles between the columns of the generator's Jacobian, and its singular values.

    With J = dG/dz at one latent, or dG/da in G(z + a Q) for directions Q, and J_i its columns,

        value = mean over z and pairs i < j of |cos(J_i, J_j)|

    0: every two components change the image in unrelated ways, which OroJaR asks for; 1: all do the same. Columns that
    move nothing have no angle: they are left out and named in the part ``dead``. The other parts are, over samples,

        singular_values, log_singular_values   means by rank, largest first (natural logarithm, floored at the cut)
        condition                              geometric mean of largest / smallest singular value above the cut
        rank                                   mean number of singular values above the cut
        effective_rank                         mean of exp(-sum p log p) with p = s / sum s
        norms, cosines                         root mean square |J_i|, and the matrix of mean |cos| (null where dead)

    One sample's Jacobian is in memory at a time, as d images, beside the passes that 32 of its columns are taken from;
    its Gram matrix is summed in double precision. The generator is in evaluation mode. Directions keep their length,
    which scales their columns, and with them the singular values, but no angle.

    Attributes:
        samples: how many latents.
        derivative: `FiniteDifference`, or ``Exact()``. Unlike in the penalties the step stands for zero: a central
            difference of 0.01 is right to 1e-5 in float32 where the generator is smooth.
        cut: singular values, and columns, of less than this share of the largest count as zero.

    Raises:
        ValueError: fewer than two samples or live columns, directions of another width than the latent, or a generator
            that takes conditions or whose samples see each other.
        TypeError: a generator in half precision.

    Reference:
        Wei et al., "Orthogonal Jacobian Regularization", ICCV 2021, equation 4 (what the angles should be); Roy and
        Vetterli, "The Effective Rank", EUSIPCO 2007, definition 1.

    Example:
        G(z) = (z0, z0 + z1): the columns (1, 1) and (0, 1) are 45 degrees apart.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(torch.nn.Identity(), Normal(2), call=lambda m, z: z.cumsum(1)[:, None, None, :])
        >>> score = JacobianSpectrum(samples=2)(G)
        >>> round(score.value, 3), [round(s, 3) for s in score.parts["singular_values"]]
        (0.707, [1.618, 0.618])
    """

    samples: int = 64
    derivative: Derivative = field(default_factory=lambda: FiniteDifference(0.01, central=True))
    cut: float = 1e-3

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ValueError(f"JacobianSpectrum(samples={self.samples}): at least 2 samples are needed")
        if not 0 < self.cut < 1:
            raise ValueError(f"JacobianSpectrum(cut={self.cut}): give a share of the largest value, such as 1e-3")

    @torch.no_grad()
    def __call__(
        self, generator: Generator, directions: Directions | None = None, *, rng: torch.Generator | None = None
    ) -> Score:
        """The mean |cos| over fresh latents, and the spectrum."""
        directions = directions_of("JacobianSpectrum", generator, directions)
        z, f = latents(generator, self.samples, rng), probe(generator)
        basis = directions.basis.to(z)
        with evaluating(generator.module), f.session():
            try_out("JacobianSpectrum", generator, f, z)
            refuse_seeing_each_other("JacobianSpectrum", f, z)
            each = track(z.split(1), "Jacobians, sample by sample")
            gram = torch.stack([self._gram(along(f, one, basis), one) for one in each]).cpu()  # (samples, d, d)
        refuse_not_finite("JacobianSpectrum", gram)
        square = gram.diagonal(dim1=1, dim2=2)
        norms = square.mean(dim=0).sqrt()
        live = norms > self.cut * norms.max()
        if live.sum() < 2:
            raise ValueError(
                f"JacobianSpectrum: {int(live.sum())} of {len(live)} directions move the image; "
                "an angle needs at least two"
            )
        cosines = _cosines(gram, square)
        above = torch.ones_like(gram[0], dtype=torch.bool).triu(1) & live & live[:, None]
        values = cosines[:, above].mean(dim=1)
        mean = cosines.mean(dim=0).tolist()
        alive = live.tolist()
        return Score(
            values.mean().item(),
            stderr=(values.std() * self.samples**-0.5).item(),
            n=self.samples,
            name="Jacobian |cos|",
            protocol={
                "derivative": record.to_json(self.derivative),
                "cut": self.cut,
                "columns below the cut": "left out",
                "lengths": "as given",
                "space": directions.space,
                "stderr": "over samples",
            },
            parts={
                "directions": list(directions.names),
                "dead": [name for name, yes in zip(directions.names, alive, strict=True) if not yes],
                **self._spectrum(gram),
                "norms": norms.tolist(),
                "cosines": [
                    [c if a and b else None for c, b in zip(row, alive, strict=True)]
                    for row, a in zip(mean, alive, strict=True)
                ],
            },
        )

    def _gram(self, f: LatentMap, z: Float[Tensor, "1 dim"]) -> Float[Tensor, "d d"]:
        """J^T J of one sample, in double precision."""
        origin, columns = z.new_zeros(1, f.dim), z.new_empty(0)
        for start in range(0, f.dim, _COLUMNS):
            vectors = torch.eye(f.dim)[start : start + _COLUMNS, None].to(z)
            for i, (column,) in enumerate(self.derivative.along(f, origin, vectors, 1), start):
                if i == 0:
                    columns = column.new_empty(f.dim, column.numel())
                columns[i] = column.flatten()
        blocks = (block.double() for block in columns.split(_PIXELS, dim=1))
        return torch.stack([block @ block.T for block in blocks]).sum(dim=0)

    def _spectrum(self, gram: Float[Tensor, "n d d"]) -> dict[str, object]:
        """Means over samples of what the singular values say."""
        sigma = torch.linalg.eigvalsh(gram).clamp_min(0.0).sqrt().flip(1)
        largest = sigma[:, :1].clamp_min(1e-300)
        rank = (sigma > self.cut * largest).sum(dim=1).clamp_min(1)
        smallest = sigma.gather(1, rank[:, None] - 1).clamp_min(1e-300)
        share = sigma / sigma.sum(dim=1, keepdim=True).clamp_min(1e-300)
        return {
            "singular_values": sigma.mean(dim=0).tolist(),
            "log_singular_values": torch.maximum(sigma, self.cut * largest).log().mean(dim=0).tolist(),
            "condition": (largest / smallest).log().mean().exp().item(),
            "rank": rank.double().mean().item(),
            "effective_rank": torch.special.entr(share).sum(dim=1).exp().mean().item(),
        }


def _cosines(gram: Float[Tensor, "n d d"], square: Float[Tensor, "n d"]) -> Float[Tensor, "n d d"]:
    """|cos| between columns, 0 where one of them is zero at that sample."""
    length = (square[:, :, None] * square[:, None, :]).sqrt()
    return torch.where(length > 0, gram.abs() / length.clamp_min(1e-300), 0.0).clamp_max(1.0)
