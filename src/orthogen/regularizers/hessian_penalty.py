"""The Hessian Penalty (Peebles, Peebles, Zhu, Efros, Torralba, ECCV 2020, arXiv 2008.10599)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from orthogen.core.derivative import Order
from orthogen.core.probing import ProbePenalty

__all__ = ["HessianPenalty"]

CITATION = """\
@inproceedings{peebles2020hessian,
  title     = {The Hessian Penalty: A Weak Prior for Unsupervised Disentanglement},
  author    = {Peebles, William and Peebles, John and Zhu, Jun-Yan and Efros, Alexei A. and Torralba, Antonio},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2020}
}
"""


@dataclass(frozen=True)
class HessianPenalty(ProbePenalty):
    """Mixed second derivatives of activations with respect to the latent, which should vanish.

    For each output x_i of a layer with Hessian H_i, and v uniform on {-1, +1}^dim,

        L_i = Var_v[ v^T H_i v ] = 2 sum_{a != b} (H_i)_ab²          (Theorem 1)
        v^T H v ~ [x(z + e v) - 2 x(z) + x(z - e v)] / e²,  e = 0.1   (eq. 5)

    reduced over samples and outputs by the maximum, summed over layers. The middle term -2 x(z) is the same for every
    probe and drops out of the variance, so a penalty with k probes takes 2k passes, not 2k + 1.

    Fields, from `orthogen.core.probing.ProbePenalty`: k, derivative, variance, reduction, normalize, layer_weights.

    Raises:
        ValueError: k below 2, or a field outside its accepted values.

    Reference:
        Peebles et al., The Hessian Penalty: A Weak Prior for Unsupervised Disentanglement, ECCV 2020.
        Defaults: k = 2, e = 0.1, max, as in the released code.

    Example:
        >>> import torch, orthogen as og
        >>> G = og.adapt(torch.nn.Identity(), og.Normal(2), call=lambda m, z: z[:, :1] * z[:, 1:])
        >>> probes = torch.tensor([[[1.0, 1.0]], [[1.0, -1.0]]])  # x = z0 z1: v^T H v = 2 v0 v1 = 2, -2
        >>> round(og.HessianPenalty()(og.probe(G), torch.zeros(1, 2), probes=probes).item(), 3)
        8.0
        >>> og.HessianPenalty(variance="population")(og.probe(G), torch.zeros(1, 2), probes=probes).round().item()
        4.0
    """

    order: ClassVar[Order] = 2
    degree: ClassVar[int] = 1

    def statistic(self, derivative: Tensor) -> Tensor:
        """The second derivative itself, output by output."""
        return derivative
