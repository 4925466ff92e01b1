"""What a critic sees of the variety of a batch."""

import torch
from torch import Tensor, nn

from orthogen.core.shapes import Float

__all__ = ["MinibatchStddev", "minibatch_stddev"]


def minibatch_stddev(x: Float[Tensor, "batch c h w"], group: int = 4) -> Float[Tensor, "batch c2 h w"]:
    """The input, and one more channel that says how much the samples of a group differ.

        s_m = mean over c, y, x of sqrt(Var_g[x_gmcyx] + 1e-8)

    Sample g M + m of a batch of G M is member g of group m; the variance divides by G.

    Args:
        x: feature maps.
        group: G, the samples of a group; all of the batch where it has fewer.

    Raises:
        ValueError: the batch is larger than a group and no multiple of it.

    Reference:
        T. Karras, T. Aila, S. Laine, J. Lehtinen, "Progressive Growing of GANs for Improved Quality, Stability, and
        Variation", ICLR 2018, section 3; groups are of the released code.

    Example:
        >>> x = torch.tensor([1.0, 5.0]).view(2, 1, 1, 1)
        >>> minibatch_stddev(x).flatten(1)
        tensor([[1., 2.], [5., 2.]])
    """
    size = _group(len(x), group)
    groups = x.unflatten(0, (size, -1))
    variance = groups.var(dim=0, correction=0)
    spread = (variance + 1e-8).sqrt().mean(dim=(1, 2, 3))
    channel = spread.repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:])
    return torch.cat([x, channel], dim=1)


def _group(batch: int, group: int, owner: str = "") -> int:
    """Samples of a group in a batch of that many."""
    size = min(group, batch)
    if batch % size:
        what = owner or f"a batch of {batch}"
        raise ValueError(f"{what} was given to minibatch_stddev; give a multiple of its group of {group}, or fewer")
    return size


class MinibatchStddev(nn.Module):
    """`minibatch_stddev` as a layer; it has no parameters.

    Args:
        group: samples of a group.
    """

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c2 h w"]:
        """``x`` with one more channel."""
        return minibatch_stddev(x, self.group)

    def check(self, batch: int, owner: str) -> None:
        """Whether a batch of that size can be divided into groups.

        Args:
            batch: its samples.
            owner: how a message should call it.

        Raises:
            ValueError: it cannot.
        """
        _group(batch, self.group, owner)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        return f"group={self.group}"
