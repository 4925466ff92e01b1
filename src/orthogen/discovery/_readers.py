"""Which layers read the latent, found by watching a pass, and the linear map by which each does."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.core.generator import Generator
from orthogen.core.shapes import Float
from orthogen.core.untouched import untouched

__all__ = ["Reader", "readers"]

_TOLERANCE = 1e-5  # relative, between a layer's input and the latent


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that gets the latent, or a part of it, as (a part of) its input.

    Attributes:
        name: of the layer.
        response: how the layer's output moves with each latent component: one row per component.
    """

    name: str
    response: Float[Tensor, "dim outputs"]


def _places(x: Float[Tensor, "n features"], z: Float[Tensor, "n dim"]) -> Float[Tensor, "dim features"] | None:
    """1 where a column of ``x`` is a column of ``z``; None if there is no such place.

    Latents may be scaled sample by sample, as a pixel norm does, if the layer gets the whole of them.
    """
    if not x.any():
        return None
    if x.shape[1] == z.shape[1]:
        z = z * (x.norm(dim=1) / z.norm(dim=1)).unsqueeze(1)
    # the nearest candidate in the first row, then all rows: memory in proportion to x
    ordered, order = z[0].sort()
    right = torch.searchsorted(ordered, x[0].contiguous()).clamp(max=len(ordered) - 1)
    left = (right - 1).clamp(min=0)
    nearest = torch.where((ordered[right] - x[0]).abs() < (ordered[left] - x[0]).abs(), right, left)
    candidate = order[nearest]
    equal = ((x - z[:, candidate]).abs() <= _TOLERANCE * z.abs().amax()).all(dim=0)
    if not equal.any():
        return None
    places = torch.zeros(z.shape[1], x.shape[1]).to(z)
    places[candidate[equal], equal.nonzero()[:, 0]] = 1.0
    return places


def _response(name: str, layer: nn.Module, x: Tensor, tangents: Tensor) -> Tensor | None:
    """The layer's linear map along ``tangents``, with its weights as they act (spectral norm, equalized rates and the
    like included), by forward-mode differentiation, which is exact; None if the layer is not affine.
    """
    # hooks: those of the old spectral and weight norm, which make the weight anew at each call
    hooked = layer._forward_pre_hooks or layer._forward_hooks
    if isinstance(layer, nn.Linear) and type(layer).forward is nn.Linear.forward and x.ndim == 2 and not hooked:
        latent, column = tangents.flatten(1).nonzero(as_tuple=True)
        weight = layer.weight.T
        return weight.new_zeros(len(tangents), weight.shape[1]).index_add_(0, latent, weight[column])
    far = 100 * x  # beyond the kinks of an activation inside the layer
    middle, ahead, behind = layer(torch.zeros_like(x)), layer(far), layer(-far)
    if not ((ahead + behind - 2 * middle).abs().amax() <= _TOLERANCE * ahead.abs().amax()):
        return None
    try:
        with warnings.catch_warnings():  # torch's forward mode warns about itself on first use
            warnings.simplefilter("ignore")
            return torch.func.jvp(layer, (torch.zeros_like(tangents),), (tangents,))[1].flatten(1)
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ValueError(f"layer {name!r} reads the latent, but has no forward-mode derivative ({reason})") from error


def _weighted(module: nn.Module) -> bool:
    """Whether a module is a layer with a matrix of its own, in whatever parametrization."""
    weight = getattr(module, "weight", None)
    # a scripted layer takes no hooks that see its inputs
    return isinstance(weight, Tensor) and weight.ndim >= 2 and not isinstance(module, torch.jit.ScriptModule)


@torch.no_grad()
def readers(
    generator: Generator, z: Float[Tensor, "n dim"], conditions: Mapping[str, Tensor], names: Sequence[str] = ()
) -> list[Reader]:
    """The layers called ``names``, or all layers with a weight, that read the latent, in the order of their calls.

    Args:
        generator: which.
        z: some latents to try with; a few tell columns apart.
        conditions: what the generator takes beside them, one row per latent.
        names: of layers; all that read the latent if empty.

    Raises:
        ValueError: there is no such layer, it does not read the latent, or it is not affine; or none is found.
    """
    modules = {name: module for name, module in generator.module.named_modules()}
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ValueError(f"no layer is called {unknown[0]!r}; generator.layers has all names")
    watched = {name: modules[name] for name in names} or {n: m for n, m in modules.items() if _weighted(m)}
    seen: list[tuple[str, Tensor]] = []

    def see(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        alone = len(args) == 1 and not kwargs and isinstance(args[0], Tensor)
        if alone and args[0].is_floating_point() and args[0].ndim > 1 and len(args[0]) == len(z):
            seen.append((name, args[0]))

    with untouched(generator.module, generator.device) as session:
        session.rewind()
        handles = [
            module.register_forward_pre_hook(
                lambda _, args, kwargs, name=name: see(name, args, kwargs), with_kwargs=True
            )
            for name, module in watched.items()
        ]
        try:
            generator(z, **conditions)
        finally:
            for handle in handles:
                handle.remove()
        responses: dict[str, Tensor | None] = {}
        for name, x in seen:  # a layer that is called again counts once
            places = None if name in responses else _places(x.flatten(1), z.to(x))
            if places is not None:
                session.rewind()
                responses[name] = _response(name, watched[name], x, places.view(-1, *x.shape[1:]))
    found = [Reader(name, response) for name, response in responses.items() if response is not None]
    for name in names or (() if found else responses):
        if name not in responses:
            raise ValueError(f"layer {name!r} does not get the latent as its input; leave layers out to find those")
        if responses[name] is None:
            raise ValueError(f"layer {name!r} reads the latent, but is not affine in it; use JacobianSvd on that layer")
    if not found:
        raise ValueError(
            "no linear or convolutional layer of this generator gets the latent itself as its input; use a method that "
            "looks at activations: JacobianSvd, or GanSpace with the name of a layer"
        )
    return found
