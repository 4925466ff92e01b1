"""Directions that minimize a penalty on the generator's derivatives: the BigGAN search of both papers."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from orthogen.core.generator import Generator
from orthogen.core.kinds import LatentPenalty
from orthogen.core.maps import along, given
from orthogen.core.probing import ProbePenalty, rademacher
from orthogen.core.shapes import Float
from orthogen.discovery._descent import Descent, Search
from orthogen.discovery._found import initialized
from orthogen.discovery._penalty import penalty_of

__all__ = ["PenaltyDescent"]

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
class PenaltyDescent(Descent):
    """Directions in a trained generator, which stays as it is, along which its derivatives have the least penalty.

        minimize over A   E_{z, a} penalty( a -> G(z + a Q) ),   Q = Gram-Schmidt of the rows of A

    with derivatives taken with respect to the coordinates a. Both papers search so in a frozen BigGAN:

    ==============  ===============================  =====  ========  ============
    paper           ``penalty``                      batch  ``base``  search space
    ==============  ===============================  =====  ========  ============
    HessianPenalty  HessianPenalty(reduction=mean)   96     random    all, slices
    OroJaR          OroJaR(reduction=mean)           32     origin    slices
    ==============  ===============================  =====  ========  ============

    With ``origin``, as OroJaR does it, a = 0. With ``random`` the point of each sample lies up to ``path_size`` along
    one random direction. Gradients flow to the latents and from there in one small product to the directions; the
    generator's weights get none. A search can be saved after any step and resumed to the last bit: see ``search``;
    `orthogen.discover` does so in a folder.

    Attributes:
        penalty: a `LatentPenalty`, or the name of one, which then has mean reduction, as in both papers.
        layers: layers that the penalty looks at; the image if empty, as in both papers.
        init: "normal": A_ij ~ N(0, 2 / width of the searched space), as in both papers; "coordinates": the identity.
        base: where derivatives are taken, as above.
        path_size: the longest distance along a direction to that point, in units of the latent; ``random`` only.
        micro_batch: most latents differentiated at once; the gradient is that of the whole batch. All if None.

    Fields of all searches: count, search_space, orthogonal, lr, batch, steps; for class labels: fix_class. The
    released presets: lr 0.01, 120 directions (40 in a slice), 50 epochs of 1000 steps.

    Raises:
        ValueError: a penalty that learns (see VariationDirections), one that takes a maximum with ``micro_batch``, or
            fields out of range.
        TypeError: ``penalty`` is neither a latent penalty nor the name of one.

    Reference:
        Peebles et al., "The Hessian Penalty", ECCV 2020; Wei et al., "Orthogonal Jacobian
        Regularization", ICCV 2021; presets of the released code.

    Example:
        G(z) = (z0, 2 z1): orthogonal directions have an orthogonal Jacobian only along the axes.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(nn.Identity(), Normal(2), call=lambda m, z: z * torch.tensor([1.0, 2.0]))
        >>> found = PenaltyDescent("OroJaR", steps=300).fit(G, rng=torch.Generator().manual_seed(0))
        >>> sorted([round(abs(x), 1) for x in q] for q in found.basis.tolist())
        [[0.0, 1.0], [1.0, 0.0]]
    """

    penalty: LatentPenalty | str = "OroJaR"
    layers: tuple[str, ...] = ()
    init: Literal["normal", "coordinates"] = "normal"
    base: Literal["origin", "random"] = "origin"
    path_size: float = 5.0
    micro_batch: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path_size < 0:
            raise ValueError(f"PenaltyDescent(path_size={self.path_size}): a distance is not negative")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ValueError(f"PenaltyDescent(micro_batch={self.micro_batch}): give at least 1 latent, or None")

    @property
    def watched(self) -> tuple[str, ...]:
        """The layers that the penalty looks at."""
        return self.layers

    def start(self, n: int, w: int, rng: torch.Generator) -> Float[Tensor, "n w"]:
        """The matrix at the start."""
        if self.init == "coordinates":
            return torch.eye(n, w)
        return torch.randn(n, w, generator=rng, device=rng.device) * (2 / w) ** 0.5

    def _penalty(self) -> LatentPenalty:
        penalty = penalty_of(self, self.penalty)
        if isinstance(self.penalty, str) and isinstance(penalty, ProbePenalty):
            return dataclasses.replace(penalty, reduction="mean")
        return penalty

    def beside(self, generator: Generator, n: int, rng: torch.Generator) -> nn.Module | None:
        """Nothing; penalties that learn are refused, and maxima over parts of a batch."""
        penalty = self._penalty()
        name = type(penalty).__name__
        if initialized(lambda: penalty.init(generator), rng) is not None:
            raise ValueError(f"PenaltyDescent: {name} learns a network of its own; use VariationDirections({name!r})")
        if self._parts < self.batch and getattr(penalty, "reduction", "mean") != "mean":
            raise ValueError(
                f"PenaltyDescent(micro_batch={self.micro_batch}): a maximum over parts of a batch is another penalty; "
                f"use {name}(reduction='mean')"
            )
        return None

    @property
    def _parts(self) -> int:
        return self.batch if self.micro_batch is None else min(self.micro_batch, self.batch)

    def _points(self, search: Search, z: Tensor, n: int) -> Float[Tensor, "batch n"]:
        """Where derivatives are taken, in direction coordinates."""
        a = z.new_zeros(len(z), n)
        if self.base == "origin":
            return a
        rng = search.rng
        which = torch.randint(n, (len(z), 1), generator=rng, device=rng.device)
        far = self.path_size * (2 * torch.rand(len(z), 1, generator=rng, device=rng.device) - 1)
        return a.scatter_(1, which.to(z.device), far.to(z))

    def losses(self, search: Search, basis: Float[Tensor, "n dim"]) -> Iterator[dict[str, Tensor]]:
        """The penalty on fresh latents, part by part."""
        penalty = self._penalty()
        z, conditions = search.draw(self.batch)
        a = self._points(search, z, len(basis))
        # drawn for the whole batch, so that its parts add up to the same loss
        probes = rademacher(penalty.k, a, search.rng) if isinstance(penalty, ProbePenalty) else None
        for index in torch.arange(self.batch, device=z.device).split(self._parts):
            some = {name: value[index] for name, value in conditions.items()}
            f = along(given(search.f, **some), z[index], basis)
            if len(index) < self.batch and not f.separable(a[index]):
                raise ValueError(
                    f"PenaltyDescent(micro_batch={self.micro_batch}): this generator's samples see each other (batch "
                    "statistics) or draw alike (dropout, noise); leave micro_batch out, or call generator.module.eval()"
                )
            chosen = None if probes is None else probes[:, index]
            value = penalty(f, a[index], rng=search.rng, probes=chosen)
            yield {"loss": value * (len(index) / self.batch)}
