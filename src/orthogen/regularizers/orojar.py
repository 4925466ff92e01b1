"""Orthogonal Jacobian regularization, OroJaR (Wei et al., ICCV 2021, arXiv 2108.07668)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from orthogen.core.derivative import Order
from orthogen.core.probing import ProbePenalty

__all__ = ["OroJaR"]

CITATION = """\
@inproceedings{wei2021orojar,
  title     = {Orthogonal Jacobian Regularization for Unsupervised Disentanglement in Image Generation},
  author    = {Wei, Yuxiang and Shi, Yupeng and Liu, Xiao and Ji, Zhilong and Gao, Yuan and Wu, Zhongqin and
               Zuo, Wangmeng},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year      = {2021}
}
"""


@dataclass(frozen=True)
class OroJaR(ProbePenalty):
    """The Jacobian's columns should be orthogonal: latent components change activations in unrelated ways.

    For a layer's activation a(z) with Jacobian J, and v uniform on {-1, +1}^dim,

        L = Var_v[ |J v|² ] = 2 sum_{a != b} (J^T J)_ab²
        J v ~ [a(z + e v) - a(z)] / e,  e = 0.1, one-sided

    with |.|² summed over all entries of a sample's activation, reduced over samples by the maximum, summed over layers.
    The squared norm grows with the number of entries, so a weight holds for one width and resolution only;
    ``normalize="numel"`` divides by that number squared.

    Fields, from `orthogen.core.probing.ProbePenalty`: k, derivative, variance, reduction, normalize, layer_weights.

    Raises:
        ValueError: k below 2, or a field outside its accepted values.

    Reference:
        Wei et al., Orthogonal Jacobian Regularization for Unsupervised Disentanglement in Image Generation, ICCV 2021.
        Defaults: k = 2, e = 0.1, one-sided, max, as in the released code.

    Example:
        >>> import torch, orthogen as og
        >>> columns = torch.tensor([[1.0, 1.0], [0.0, 2.0]])  # J^T J = [[1, 1], [1, 5]]
        >>> G = og.adapt(torch.nn.Identity(), og.Normal(2), call=lambda m, z: z @ columns.T)
        >>> probes = torch.tensor([[[1.0, 1.0]], [[1.0, -1.0]]])  # |J v|² = 6 ± 2
        >>> round(og.OroJaR(variance="population")(og.probe(G), torch.zeros(1, 2), probes=probes).item(), 3)
        4.0
    """

    order: ClassVar[Order] = 1
    degree: ClassVar[int] = 2

    def statistic(self, derivative: Tensor) -> Tensor:
        """|J v|² of each sample."""
        # one pass over memory, where square and sum take two
        return torch.linalg.vector_norm(derivative.reshape(len(derivative), -1), dim=1).square()
