"""Orthogonal initial weights."""

from torch import Tensor, nn

__all__ = ["orthogonal_init"]


def orthogonal_init(module: nn.Module) -> None:
    """Give all convolutions, linear layers and embeddings orthogonal weights, one row per output, and biases of zero.

    Each weight W, flattened to a matrix with one row per output (or class), gets W W^T = I, or W^T W = I where it is
    tall. On the meta device, where there is nothing to fill, nothing is done.

    Args:
        module: a network; its weights are overwritten, drawn from torch's global generator.

    Reference:
        A. M. Saxe, J. L. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
        neural networks", ICLR 2014; so used by BigGAN.

    Example:
        >>> layer = nn.Linear(5, 3)
        >>> orthogonal_init(layer)
        >>> bool(((layer.weight @ layer.weight.T).diag() - 1).abs().max() < 1e-5)
        True
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear | nn.Embedding) and not part.weight.is_meta:
            nn.init.orthogonal_(part.weight)
            if isinstance(bias := getattr(part, "bias", None), Tensor):
                nn.init.zeros_(bias)
