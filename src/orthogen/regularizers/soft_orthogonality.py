"""Soft orthogonality of weights (OL), as EigenGAN asks of its subspaces."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from orthogen.core.choices import check_choices
from orthogen.core.chosen import chosen
from orthogen.core.generator import Generator, module_of
from orthogen.core.kinds import WeightPenalty
from orthogen.core.shapes import Float

__all__ = ["SoftOrthogonality"]

CITATION = """\
@inproceedings{he2021eigengan,
  title     = {EigenGAN: Layer-Wise Eigen-Learning for GANs},
  author    = {He, Zhenliang and Kan, Meina and Shan, Shiguang},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year      = {2021}
}
"""


@dataclass(frozen=True)
class SoftOrthogonality(WeightPenalty):
    """The rows of a weight should be orthonormal; its columns, where it has more rows than columns.

        mean        average over weights of mean_ij (W W^T - I)_ij²
        frobenius   sum over weights of |W W^T - I|_F²,   W^T W - I where W is tall

    W is the weight with all dimensions but the first flattened. In the first form a term's weight holds for matrices of
    any size: that of n orthogonal directions without length is 1 / n. EigenGAN multiplies it by 100. Of a parametrized
    weight the penalty is one on what is learned, before the parametrization.

    Attributes:
        layers: names of parameters, or of parts that have them, with ``*``, ``?`` and ``[...]`` as wildcards; () is the
            first parameter of two or more dimensions. See `orthogen.core.chosen`.
        form: "mean" or "frobenius".

    Raises:
        ValueError: another form; or, when it is called, a name that no parameter of two or more dimensions has.

    Reference:
        He, Kan, Shan, "EigenGAN: Layer-Wise Eigen-Learning for GANs", ICCV 2021 (mean); Xie, Xiong, Pu, "All You Need
        is Beyond a Good Init: Exploring Better Solution for Training Extremely Deep Convolutional Neural Networks with
        Orthonormality and Modulation", CVPR 2017 (frobenius, of columns).

    Example:
        >>> import orthogen as og
        >>> G = og.adapt(nn.Linear(3, 2, bias=False), og.Normal(3))
        >>> G.module.weight = nn.Parameter(torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))  # W W^T = diag(1, 4)
        >>> og.SoftOrthogonality()(G).item(), og.SoftOrthogonality(form="frobenius")(G).item()
        (2.25, 9.0)
    """

    layers: tuple[str, ...] = ()
    form: Literal["mean", "frobenius"] = "mean"

    def __post_init__(self) -> None:
        check_choices(self)

    def __call__(
        self, network: Generator | nn.Module, *, state: nn.Module | None = None, rng: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """The penalty, unweighted."""
        weights = chosen(module_of(network), self.layers, "SoftOrthogonality")
        gaps = torch.stack([self._gap(weight.flatten(1)) for weight in weights.values()])
        return gaps.mean() if self.form == "mean" else gaps.sum()

    def _gap(self, W: Tensor) -> Tensor:
        if W.shape[0] > W.shape[1]:
            W = W.T
        with torch.autocast(W.device.type, enabled=False):  # what is left of a difference to 1 has few digits as it is
            squares = (W @ W.T - torch.eye(len(W), dtype=W.dtype, device=W.device)).square()
        return squares.mean() if self.form == "mean" else squares.sum()
