"""A critic's logits that are to be compared: of passes that differ in their images alone."""

from torch import Tensor, nn

from orthogen.core.draws import repeating
from orthogen.core.shapes import Float, Int
from orthogen.core.untouched import untouched

__all__ = ["gap"]


def gap(
    critic: nn.Module,
    images: Float[Tensor, "batch c h w"],
    others: Float[Tensor, "batch c h w"],
    labels: Int[Tensor, "batch"] | None,
) -> Float[Tensor, ""]:
    """E (D(x) - D(x'))^2 over pairs of images, of the same labels where the critic takes any.

    Both passes are made for it, in float32 whatever the precision of the networks, with the same spectral norms. What
    the critic draws, for dropout or an augmentation in front of it, is the same in both; nothing of them stays in it.
    """
    logits, again = [], repeating(critic)
    with untouched(critic, images.device) as host:
        for each in (images, others):
            host.rewind()
            again()
            logits.append(critic(each) if labels is None else critic(each, labels))
    return (logits[0] - logits[1]).square().mean()
