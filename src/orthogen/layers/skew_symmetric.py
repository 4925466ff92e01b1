"""Convolution kernels whose linear map is skew-symmetric, of bounded norm: what orthogonal convolutions are made of."""

import torch
from torch import Tensor, nn

from orthogen.core.linalg import spectral_norm
from orthogen.core.shapes import Float

__all__ = ["SkewSymmetric"]

FACTOR = 0.7  # of kernels larger than 1 x 1, as released
REFRESH = 200  # training passes
ROUNDS = 50  # of power iteration, at the start and at every refresh


class SkewSymmetric(nn.Module):
    """The kernel whose convolution is skew-symmetric, scaled to a norm that a series of its powers can stand.

        F = (R - R*) / 2,   (R*)_oiyx = R_io(-y)(-x)
        K = c F / min_j sigma_j(F),   c = 0.7, or 1 where the kernel is 1 x 1

    R* is the kernel of the transposed convolution under zero padding of k // 2 pixels, so that <x, F * y> = -<F * x, y>
    exactly, at borders too. sigma_1 to sigma_4 are the spectral norms of F as the matrices (o h, i w), (o w, i h),
    (o, i h w) and (o h w, i); k times the least of them bounds the norm of the map, so that of K is at most 0.7 k (it
    is about 1.4 at a random start of 3 x 3). Each norm is u^T F v of two vectors, which are buffers: a training pass
    moves them by one round of power iteration, every 200th by 50, and an evaluation pass not at all. Gradients see
    sigma as a function of F alone. Nothing waits for the device.

    It is the kernel of `SkewOrthogonalConv2d`, and a parametrization of any convolution with stride 1, as many outputs
    as inputs and ``padding=k // 2``. That convolution is then skew-symmetric, and not orthogonal: its exponential is.

    Args:
        weight: the kernel to begin with, for its shape and device, and to iterate on.

    Raises:
        ValueError: it is not (n, n, k, k) with an odd k.

    Reference:
        Singla and Feizi, "Skew Orthogonal Convolutions", ICML 2021; the bound: Singla and Feizi,
        "Fantastic Four: Differentiable and Efficient Bounds on Singular Values of Convolution Layers", ICLR 2021.

    Example:
        >>> from torch.nn.utils.parametrize import register_parametrization
        >>> conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        >>> _ = register_parametrization(conv, "weight", SkewSymmetric(conv.weight)).eval()
        >>> x, y = torch.randn(2, 1, 4, 8, 8)
        >>> torch.allclose((x * conv(y)).sum(), -(conv(x) * y).sum(), atol=1e-4)
        True
    """

    u_sides: Tensor  # of the first two matrices, one spatial axis on each side: (2, n k)
    v_sides: Tensor
    u_blocks: Tensor  # of the last two, both spatial axes on one side: (2, n k k)
    v_blocks: Tensor  # (2, n)

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        n, k = len(weight), weight.shape[-1]
        if weight.shape != (n, n, k, k) or k % 2 == 0:
            raise ValueError(
                f"SkewSymmetric: a kernel of shape {tuple(weight.shape)} was given; (n, n, k, k) with an odd k is "
                "accepted, as of a convolution with as many outputs as inputs"
            )
        self.factor = FACTOR if k > 1 else 1.0
        # a plain tensor that stays on the host, where it is read; `orthogen.core.untouched` rewinds such as well
        self.passes = torch.zeros((), dtype=torch.int64)
        for name, size in (("u_sides", n * k), ("v_sides", n * k), ("u_blocks", n * k * k), ("v_blocks", n)):
            start = nn.functional.normalize(torch.randn(2, size), dim=1)
            self.register_buffer(name, start.to(weight.device, weight.dtype))
        with torch.no_grad():
            self._sigma(_skew(weight), ROUNDS)

    def _rounds(self) -> int:
        """Rounds of power iteration in this pass."""
        if not self.training:
            return 0
        self.passes += 1
        return 1 if self.passes % REFRESH else ROUNDS

    def _sigma(self, F: Tensor, rounds: int) -> Tensor:
        """The least of the four norms."""
        n, _, k, _ = F.shape
        sides = torch.stack((F.permute(1, 3, 0, 2), F.permute(1, 2, 0, 3))).reshape(2, n * k, n * k)
        blocks = torch.stack((F.flatten(1), F.transpose(0, 1).flatten(1))).mT
        found = []
        for W, u, v in ((sides, self.u_sides, self.v_sides), (blocks, self.u_blocks, self.v_blocks)):
            # what the graph keeps is not what the next pass overwrites
            if rounds:
                _, left, right = spectral_norm(W.detach(), u, steps=rounds)
                u.copy_(left)
                v.copy_(right)
            else:
                left, right = u.clone(), v.clone()
            found.append((left * (W @ right.unsqueeze(-1)).squeeze(-1)).sum(-1))
        return torch.cat(found).amin()

    def forward(self, weight: Float[Tensor, "n n k k"]) -> Float[Tensor, "n n k k"]:
        """K."""
        with torch.autocast(weight.device.type, enabled=False):
            F = _skew(weight)
            sigma = self._sigma(F, self._rounds())
            return F * (self.factor / torch.where(sigma > 0, sigma, 1))  # a kernel of zeros stays one

    def get_extra_state(self) -> Tensor:
        """How many training passes there were, for state dicts: a refresh comes when it would have come."""
        return self.passes.clone()

    def set_extra_state(self, state: Tensor) -> None:
        """From `get_extra_state`."""
        self.passes = state.detach().cpu().clone()


def _skew(R: Tensor) -> Tensor:
    return (R - R.transpose(0, 1).flip(2, 3)) / 2
