"""One pass of a generator for several losses: its images for the critic, its activations for penalties on latents."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from orthogen.core.generator import Generator
from orthogen.core.maps import LatentMap, given, probe
from orthogen.core.passes import OUTPUT
from orthogen.core.shapes import Float
from orthogen.core.untouched import full_precision

__all__ = ["SharedPass"]


class SharedPass:
    """A generator's pass in training, whose images and activations several losses stand on.

    Both are leaves, at which gradients collect; `backward` takes these through the generator, once for all. So the
    critic's graph is gone before penalties are computed, and gradients are those of the sum of the losses. After it the
    generator's graph is gone, too, and nothing is shared any more.

    Where activations are to be shared, the pass is of full float32, as those of penalties are. They are not shared
    under autocast, of whose passes float32 ones would not gain, nor where another pass would not give them again:
    because it draws, or because this one changed buffers.

    Args:
        generator: it is called as by itself: buffers move on, and what it draws is drawn.
        z: latents.
        layers: whose activations are to be shared; none for the images alone.
        conditions: one row per sample, as for `orthogen.given`.

    Attributes:
        images: what the generator made of z.

    Example:
        >>> import orthogen as og
        >>> G = og.adapt(nn.Linear(2, 3), og.Normal(2))
        >>> z, f, penalty = torch.randn(8, 2), og.probe(G), og.OroJaR()
        >>> own = SharedPass(G, z, f.layers)
        >>> own.images.square().mean().backward()   # a loss of the images
        >>> penalty(own.known_by(f), z).backward()  # makes 2 passes, where it would make 3
        >>> own.backward()
        >>> G.module.weight.grad.shape
        torch.Size([3, 2])
    """

    def __init__(
        self, generator: Generator, z: Float[Tensor, "batch dim"], layers: Sequence[str] = (), **conditions: Tensor
    ) -> None:
        self._z = z
        names: tuple[str, ...] = (OUTPUT,)
        if layers and not torch.is_autocast_enabled(z.device.type):
            f = given(probe(generator, tuple(dict.fromkeys((*layers, OUTPUT)))), **conditions)
            before = _versions(generator.module)
            with full_precision(z.device):
                names, self._made = f.layers, f.once(z)
            self._steady = _versions(generator.module) == before
        else:
            self._made, self._steady = (generator(z, **conditions),), False
        self._leaves = {name: x.detach().requires_grad_() for name, x in zip(names, self._made, strict=True)}
        self.images = self._leaves[OUTPUT]

    def known_by(self, f: LatentMap, rows: slice = slice(None)) -> LatentMap:
        """The map of some of the samples, with their activations remembered where that is right.

        Args:
            f: a map of the same generator under the same conditions.
            rows: the samples.
        """
        index = torch.arange(len(self._z), device=self._z.device)[rows]
        everything = len(index) == len(self._z)
        there = self._made and self._steady and set(f.layers) <= set(self._leaves)
        if there and (everything or f.separable(self._z)):
            with full_precision(self._z.device):  # as they were made
                f = f.at(self._z, [self._leaves[name] for name in f.layers])
        return f if everything else f.take(index)

    def backward(self) -> None:
        """Take all gradients collected so far through the generator, and let its graph go."""
        pairs = [(x, leaf.grad) for x, leaf in zip(self._made, self._leaves.values(), strict=False)]
        found = [(x, gradient) for x, gradient in pairs if gradient is not None and x.requires_grad]
        self._made = ()
        if found:
            torch.autograd.backward([x for x, _ in found], [gradient for _, gradient in found])


def _versions(module: nn.Module) -> list[tuple[int, int]]:
    """What changes as soon as a buffer does."""
    return [(id(buffer), buffer._version) for buffer in module.buffers()]
