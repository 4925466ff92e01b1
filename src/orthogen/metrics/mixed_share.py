"""Mixed share: the part of a direction's derivatives that it has in common with the other directions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from orthogen.core.choices import check_choices
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import LatentMetric
from orthogen.core.maps import LatentMap, along, probe
from orthogen.core.probing import rademacher
from orthogen.core.progress import track
from orthogen.core.rng import private
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

__all__ = ["MixedShare"]

CITATION = """\
@inproceedings{peebles2020hessian,
  title     = {The Hessian Penalty: A Weak Prior for Unsupervised Disentanglement},
  author    = {Peebles, William and Peebles, John and Zhu, Jun-Yan and Efros, Alexei A. and Torralba, Antonio},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2020}
}
@inproceedings{wei2021orojar,
  title     = {Orthogonal Jacobian Regularization for Unsupervised Disentanglement in Image Generation},
  author    = {Wei, Yuxiang and Shi, Yupeng and Liu, Xiao and Ji, Zhilong and Gao, Yuan and Wu, Zhongqin and
               Zuo, Wangmeng},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year      = {2021}
}
"""


@dataclass(frozen=True)
class MixedShare(LatentMetric):
    """Each direction's row of the penalized matrix: how much of it lies off the diagonal, from 0 to 1.

    OroJaR sums the squared off-diagonal entries of J^T J, the Hessian Penalty those of each pixel's Hessian; rows of
    these sums belong to single directions. In direction coordinates a -> G(z + a Q), at a = 0,

        order 1   A = J^T J,       o_i = mean over z of sum_{j != i} A_ij²
        order 2   A = H (pixel),   o_i = mean over z and pixels of sum_{j != i} A_ij²
        share_i = o_i / (o_i + d_i),   d_i = the same mean of A_ii²

    0: the direction's effect has nothing to do with those of the others. The penalty itself, over samples and outputs
    by the mean, is 2 sum_i o_i; the part ``penalty`` has the terms 2 o_i (of order 1 divided by the squared number of
    pixels, as with ``normalize="numel"``). It falls with the square or the fourth power of the effects, so that idle
    directions have hardly any: shares do not depend on scale, but on the directions' lengths relative to each other.

    Derivatives are finite differences with the papers' step e = 0.1: of order 1 one-sided, of order 2 the four-point
    difference of direction i with the others under random signs v, whose mean square over v is the row:
    E_v (sum_{j != i} v_j H_ij)² = sum_{j != i} H_ij². They take d + 1 or 6d + 1 passes per sample for d directions. A
    direction whose row is next to nothing beside the largest, or may be rounding, has no share: it is left out of the
    mean and named in the part ``dead``. The value is the mean over the others; where there are none it is 0. The
    standard error is that of ratios of means, over latents. The generator is in evaluation mode.

    Attributes:
        order: 1 for OroJaR's matrix, 2 for the Hessian Penalty's.
        samples: how many latents.
        step: e, in units of the latent (of a direction's length).
        cut: a direction with less than this share of the largest slope (order 1), or of the largest root mean square
            row of the Hessians (order 2), is dead.

    Raises:
        ValueError: fewer than two samples or directions, a field out of range, directions of another width than the
            latent, images that are not finite, or a generator that takes conditions or whose samples see each other.
        TypeError: a generator in half precision.

    Reference:
        Peebles et al., "The Hessian Penalty", ECCV 2020, equations 2 and 5; Wei et al., "Orthogonal Jacobian
        Regularization", ICCV 2021, equation 4. The rows and their shares are of this library.

    Example:
        G(z) = (z0, z0 + z1): J^T J = [[2, 1], [1, 1]], whose rows have 1 / 5 and 1 / 2 off the diagonal.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(torch.nn.Identity(), Normal(2), call=lambda m, z: z.cumsum(1)[:, None, None, :])
        >>> [round(share, 3) for share in MixedShare(samples=4)(G).parts["share"]]
        [0.2, 0.5]
    """

    order: Literal[1, 2] = 1
    samples: int = 64
    step: float = 0.1
    cut: float = 0.01

    def __post_init__(self) -> None:
        check_choices(self)
        if self.samples < 2:
            raise ValueError(f"MixedShare(samples={self.samples}): at least 2 samples are needed")
        if not 0 < self.step < float("inf"):
            raise ValueError(f"MixedShare(step={self.step}): the step must be positive; the papers use 0.1")
        if not 0 < self.cut < 1:
            raise ValueError(f"MixedShare(cut={self.cut}): give a share of the largest, such as 0.01")

    @torch.no_grad()
    def __call__(
        self, generator: Generator, directions: Directions | None = None, *, rng: torch.Generator | None = None
    ) -> Score:
        """The share of every direction, on fresh latents."""
        directions = directions_of("MixedShare", generator, directions)
        if len(directions) < 2:
            raise ValueError("MixedShare was given one direction; there is nothing off the diagonal below two")
        rng = private() if rng is None else rng
        z, f = latents(generator, self.samples, rng), probe(generator)
        basis = directions.basis.to(z)
        rows: Callable[..., tuple[Tensor, Tensor, Tensor]] = self._slopes if self.order == 1 else self._curvatures
        with evaluating(generator.module), f.session():
            try_out("MixedShare", generator, f, z)
            refuse_seeing_each_other("MixedShare", f, z)
            each = track(z.split(1), "derivatives, sample by sample")
            found = [rows(along(f, one, basis), one, rng) for one in each]
        off, on, least = (torch.stack(part).cpu() for part in zip(*found, strict=True))  # (samples, directions)
        refuse_not_finite("MixedShare", off + on)
        total = off + on
        size = (on if self.order == 1 else total).mean(dim=0)
        # the diagonal of J^T J has squared slopes, and is squared again
        live = (total.mean(dim=0) > least.mean(dim=0)) & (size > self.cut ** (4 / self.order) * size.max())
        share = off.sum(dim=0) / total.sum(dim=0).clamp_min(1e-300)
        influence = (off - share * total) / total.mean(dim=0).clamp_min(1e-300)
        scale, alive = self.samples**-0.5, live.tolist()

        def where_live(values: list[float]) -> list[Any]:
            return [value if yes else None for value, yes in zip(values, alive, strict=True)]

        return Score(
            share[live].mean().item() if live.any() else 0.0,
            stderr=influence[:, live].mean(dim=1).std().item() * scale if live.any() else 0.0,
            n=self.samples,
            name="OroJaR share" if self.order == 1 else "Hessian Penalty share",
            protocol={
                "order": self.order,
                "step": self.step,
                "cut": self.cut,
                "lengths": "as given",
                "space": directions.space,
                "stderr": "of a ratio of means, over latents",
            },
            parts={
                "directions": list(directions.names),
                "share": where_live(share.tolist()),
                "stderr": where_live((influence.std(dim=0) * scale).tolist()),
                "penalty": (2 * off.mean(dim=0)).tolist(),
                "penalty_stderr": (2 * off.std(dim=0) * scale).tolist(),
                "dead": [name for name, yes in zip(directions.names, alive, strict=True) if not yes],
            },
        )

    def _slopes(self, f: LatentMap, z: Float[Tensor, "1 dim"], rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Sums off and on the diagonal of the squares in J^T J, by row, and what of them may be rounding."""
        steps = self.step * torch.eye(f.dim).to(z)[:, None]
        images = f.passes(torch.cat([torch.zeros_like(steps[:1]), steps]))
        base = images[0][0].flatten()
        columns = torch.stack([image.flatten() - base for (image,) in images[1:]]).double() / self.step
        matrix = (columns @ columns.T) / columns.shape[1]
        on = matrix.diagonal().square()
        off = (matrix.square().sum(dim=1) - on).clamp_min(0.0)
        return off, on, self._rounding(base, 1).square().to(on).expand_as(on)

    def _curvatures(
        self, f: LatentMap, z: Float[Tensor, "1 dim"], rng: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Means over pixels of the squares in the rows of the Hessians, off and on the diagonal, and the rounding."""
        signs, origin = rademacher(1, z.new_zeros(1, f.dim), rng)[0], z.new_zeros(1, f.dim)
        base = f(origin)[0].flatten()
        off, on = [], []
        for ahead in torch.eye(f.dim).to(z)[:, None]:
            others = signs * (1 - ahead)
            moves = (ahead, -ahead, ahead + others, ahead - others, others - ahead, -ahead - others)
            passes = f.passes(torch.stack([self.step * move for move in moves]))
            up, down, *corners = (image.flatten().double() for (image,) in passes)
            a, b, c, d = corners
            on.append(((up - 2 * base.double() + down) / self.step**2).square().mean())
            off.append(((a - b - c + d) / (4 * self.step**2)).square().mean())
        return torch.stack(off), torch.stack(on), self._rounding(base, 2).expand(f.dim)

    def _rounding(self, base: Tensor, order: int) -> Float[Tensor, ""]:
        """The square of the largest derivative that rounding of the images can feign."""
        eps = torch.finfo(base.dtype).eps
        return (16 * eps * base.abs().max().double() / self.step**order).square()
