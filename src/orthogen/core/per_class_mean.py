"""Running means per class of something that every sample has, without waiting for the device."""

import torch
from torch import Tensor, nn

from orthogen.core.shapes import Float, Int

__all__ = ["PerClassMean"]


class PerClassMean(nn.Module):
    """Exponential means of a number per sample, such as a critic's logit, for each class.

        m_y <- decay m_y + (1 - decay) x_y,    w_y <- decay w_y + (1 - decay),    mean_y = m_y / w_y

    x_y is the mean over the samples of class y in a batch; classes that are not in it stay as they are, and the first
    batch with a class counts in full. All of it is sums by index on the tensors' device: the cost hardly depends on the
    number of classes, and nothing waits.

    Args:
        classes: how many there are.
        decay: share of what was there before.

    Reference:
        H. Rangwani et al., "Improving GANs for Long-Tailed Data through Group Spectral Regularization", ECCV 2022,
        whose code follows the critic's logits so, with a decay of 0.99.

    Example:
        >>> logits = PerClassMean(3, decay=0.5)
        >>> logits.update(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2]))
        >>> logits.mean()
        tensor([2., nan, 5.])
    """

    sums: Tensor
    weights: Tensor

    def __init__(self, classes: int, decay: float = 0.99) -> None:
        super().__init__()
        if classes < 1 or not 0 <= decay < 1:
            raise ValueError(
                f"PerClassMean(classes={classes}, decay={decay}): give 1 class or more, and a decay from 0 to below 1"
            )
        self.decay = decay
        self.register_buffer("sums", torch.zeros(classes))
        self.register_buffer("weights", torch.zeros(classes))

    @torch.no_grad()
    def update(self, values: Float[Tensor, "batch ..."], labels: Int[Tensor, "batch"]) -> None:
        """Take note of a batch: one number per sample, and its class."""
        values = values.reshape(len(labels)).to(self.sums)
        totals, counts = (self.sums.new_zeros(len(self.sums)) for _ in range(2))
        totals.index_add_(0, labels, values)
        counts.index_add_(0, labels, torch.ones_like(values))
        share = (1 - self.decay) * (counts > 0)
        self.sums.lerp_(totals / counts.clamp_min(1), share)
        self.weights.lerp_(torch.ones_like(counts), share)

    def mean(self) -> Float[Tensor, "classes"]:
        """The means; NaN for a class that was never seen."""
        return self.sums / self.weights
