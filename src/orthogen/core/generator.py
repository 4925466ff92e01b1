"""A generator: a differentiable map from latents to images, with the user's module inside, untouched."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.core.digest import digest
from orthogen.core.latent import Latent, Normal, Sphere
from orthogen.core.shapes import Float

__all__ = ["Generator", "adapt", "first_tensor", "module_of"]


def _plain(module: nn.Module, z: Tensor, **conditions: Tensor) -> Any:
    return module(z, **conditions)


def first_tensor(output: object, what: str) -> Tensor:
    """The tensor itself, or the first of a tuple, list or mapping.

    Attention layers return ``(output, weights)``, models of Hugging Face a mapping.
    """
    while isinstance(output, tuple | list | Mapping) and output:
        output = next(iter(output.values())) if isinstance(output, Mapping) else output[0]
    if not isinstance(output, Tensor):
        raise TypeError(
            f"{what} returned {type(output).__name__}; a tensor, or a tuple beginning with one, is needed: take it out "
            "in adapt(..., call=lambda m, z: m(z).sample)"
        )
    return output


@dataclass(frozen=True, eq=False)
class Generator:
    """A module, the distribution of its latents, and how to call it. Made by `adapt`.

    Attributes:
        module: the user's own module; layer names are those of ``dict(module.named_modules())``.
        latent: where latents come from.
        call: ``call(module, z, **conditions) -> images``; conditions have one row per sample.
        classes: how many class labels there are, 0, ..., classes - 1; 0 for a generator that takes none.
        condition: the keyword under which it takes them.
        own: of its module, the `orthogen.Directions` that it was trained to have; None where these are the latent's
            coordinates.
    """

    module: nn.Module
    latent: Latent
    call: Callable[..., Any] = _plain
    classes: int = 0
    condition: str = "label"
    own: Callable[[nn.Module], Any] | None = None

    def __call__(self, z: Float[Tensor, "batch dim"], **conditions: Tensor) -> Float[Tensor, "batch ..."]:
        """Images for latents ``z``.

        Raises:
            ValueError: ``z`` is not ``(batch, dim)`` of this generator's latent.
        """
        if z.ndim != 2 or z.shape[1] != self.latent.dim:
            raise ValueError(
                f"latents of shape {tuple(z.shape)} were given; this generator takes (batch, {self.latent.dim}), "
                f"its latent is {self.latent}"
            )
        return first_tensor(self.call(self.module, z, **conditions), "the generator")

    @property
    def layers(self) -> tuple[str, ...]:
        """The names that `orthogen.probe` accepts."""
        return tuple(name for name, _ in self.module.named_modules() if name)

    @property
    def device(self) -> torch.device:
        """Where the module's first parameter or buffer lives."""
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            return tensor.device
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """What latents for it are: float64 where the module's first parameter is, else float32."""
        first = next((p.dtype for p in self.module.parameters() if p.is_floating_point()), None)
        return torch.float64 if first == torch.float64 else torch.float32

    @property
    def digest(self) -> str:
        """A hash of its weights and buffers, which names them wherever they are stored."""
        return digest({**dict(self.module.named_parameters()), **dict(self.module.named_buffers())})

    def of_class(self, label: int) -> "Generator":
        """The same generator with one class label for all samples, which then takes none.

        Raises:
            ValueError: it takes no labels, or not this one.

        Example:
            >>> from orthogen.core.latent import Normal
            >>> shift = lambda m, z, *, label: z + label[:, None]
            >>> G = adapt(nn.Identity(), Normal(2), call=shift, classes=10)
            >>> G.of_class(3)(torch.zeros(1, 2))
            tensor([[3., 3.]])
        """
        if not self.classes:
            raise ValueError(f"class {label} was asked for, and this generator takes no class labels; leave it out")
        if not 0 <= label < self.classes:
            raise ValueError(f"class {label} was asked for; this generator has the classes 0 to {self.classes - 1}")
        call, condition = self.call, self.condition

        def of_that_class(module: nn.Module, z: Tensor, **conditions: Tensor) -> Any:
            labels = torch.full((len(z),), label, device=z.device)
            return call(module, z, **{condition: labels, **conditions})

        return replace(self, call=of_that_class, classes=0)

    def past_norm(self) -> "Generator":
        """The same generator without the norm that its own layer ``latent_norm`` gives to latents, as ProGAN has it.

        Latents come normalized instead, from the sphere of radius sqrt(dim), so that the images are the same ones. But
        what moves one coordinate moves that alone, where in front of the norm it moves all the others a little too. A
        network whose ``latent_norm`` does nothing, such as OroJaR's ProGAN, only gets latents from the sphere.

        Raises:
            ValueError: the network has no such layer, or its latents are not of N(0, I).

        Example:
            >>> import orthogen as og
            >>> model = og.ProGan(og.Normal(2), resolution=4, channel_max=2)
            >>> G, z = model.adapt(model.build()["generator"]), torch.tensor([[3.0, 4.0]])
            >>> G.past_norm().latent, torch.allclose(G(z), G.past_norm()(z / 12.5**0.5))
            (Sphere(dim=2, radius=None), True)
        """
        own, call = dict(self.module.named_modules()), self.call
        name = next((name for name in own if name.rpartition(".")[2] == "latent_norm"), None)
        if name is None:
            raise ValueError(
                f"{type(self.module).__name__} has no layer latent_norm: there is no norm of latents to leave out; "
                "past_norm is for networks such as ProGAN"
            )
        if not isinstance(self.latent, Normal):
            raise ValueError(f"past_norm takes latents of N(0, I) to the sphere, and these are of {self.latent}")

        def without(module: nn.Module, z: Tensor, **conditions: Tensor) -> Any:
            here = get_ident()  # other threads may want the norm meanwhile
            handle = module.get_submodule(name).register_forward_hook(
                lambda layer, args, output: args[0] if get_ident() == here else output
            )
            try:
                return call(module, z, **conditions)
            finally:
                handle.remove()

        return replace(self, latent=Sphere(self.latent.dim), call=without)

    @torch.no_grad()
    def sample(self, n: int, *, rng: torch.Generator | None = None, **conditions: Tensor) -> Float[Tensor, "n ..."]:
        """Images of ``n`` fresh latents, without gradients, in the module's current mode."""
        return self(self.latent.sample(n, rng=rng, device=self.device), **conditions)


def module_of(network: Generator | nn.Module) -> nn.Module:
    """The module of a generator; any other module is itself.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> from orthogen.core.latent import Normal
        >>> module_of(net) is net, module_of(adapt(net, Normal(2))) is net
        (True, True)
    """
    return network.module if isinstance(network, Generator) else network


def adapt(
    module: nn.Module,
    latent: Latent,
    call: Callable[..., Any] = _plain,
    classes: int = 0,
    condition: str = "label",
) -> Generator:
    """A `Generator` around any module, which stays as it is.

    Args:
        module: any ``nn.Module``.
        latent: its latent space, such as ``Normal(128)``.
        call: how to call it where ``module(z, **conditions)`` is not right. It may see any number of samples; whatever
            has one row per sample must come through ``conditions`` (see `orthogen.given`), not through a closure.
        classes: how many class labels it takes, if any; what draws images can then draw labels, or fix one.
        condition: the keyword under which ``call`` takes them, int64, one per sample.

    Raises:
        TypeError: ``module`` is no ``nn.Module`` or ``latent`` no `Latent`.
        ValueError: ``classes`` is negative.

    Example:
        >>> from orthogen.core.latent import Normal
        >>> dcgan = nn.ConvTranspose2d(8, 3, 4)
        >>> G = adapt(dcgan, Normal(8), call=lambda m, z: m(z[:, :, None, None]))
        >>> G(torch.zeros(2, 8)).shape
        torch.Size([2, 3, 4, 4])
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"adapt was given a {type(module).__name__}; it takes an nn.Module (wrap a function in one)")
    if not isinstance(latent, Latent):
        raise TypeError(f"adapt was given latent={latent!r}; it takes a Latent such as og.Normal(128)")
    if classes < 0:
        raise ValueError(f"adapt was given classes={classes}; give how many there are, 0 for none")
    return Generator(module, latent, call, classes, condition)
