"""A weight layer with its norm and activation, under the names of the published simple GAN."""

from torch import Tensor, nn

from orthogen.core.shapes import Float
from orthogen.layers.instance_norm import InstanceNorm2d

__all__ = ["Block"]


class Block(nn.Module):
    """``layers.conv``, then ``layers.instancenorm`` and ``layers.activation`` where it has them.

    The first name is ``conv`` for linear layers too: state dicts published with the simple GAN (Wei et al., ICCV 2021)
    call it so. Its output, before norm and activation, is what they regularize.

    Args:
        conv: the weight layer.
        norm: channels of an instance norm after it; 0 for none.
        activation: what follows; None for nothing.

    Example:
        >>> [name for name, _ in Block(nn.Conv2d(1, 4, 3, bias=False), norm=4, activation=nn.ReLU()).named_parameters()]
        ['layers.conv.weight', 'layers.instancenorm.weight', 'layers.instancenorm.bias']
    """

    def __init__(self, conv: nn.Module, norm: int = 0, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        self.layers.add_module("conv", conv)
        if norm:
            self.layers.add_module("instancenorm", InstanceNorm2d(norm))
        if activation is not None:
            self.layers.add_module("activation", activation)

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """The activated, normalized output of the weight layer."""
        return self.layers(x)
