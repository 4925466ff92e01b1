"""Two sets of images side by side: what image metrics ask of both before they begin."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from orthogen.core.features import Features, Moments
from orthogen.core.shapes import Float

__all__ = ["GIVEN", "generated_logits", "logits_of", "moments_of", "vectors_of"]

# the protocol's extractor until whoever made the features names it
GIVEN: Mapping[str, Any] = {"extractor": "none; features were given"}

Given = Tensor | Features


def _check(who: str, what: str, real: Tensor, fake: Tensor) -> None:
    if real.shape[-1] != fake.shape[-1]:
        raise ValueError(
            f"{who}: {what} of the real images are {real.shape[-1]} wide, of the generated ones {fake.shape[-1]}; "
            "take both from one extractor, at one resolution"
        )
    _finite(who, what, "real", real)
    _finite(who, what, "generated", fake)


def _finite(who: str, what: str, name: str, given: Tensor) -> None:
    if not given.sum().isfinite() and not given.isfinite().all():  # the sum alone is enough, and faster, if finite
        raise ValueError(f"{who}: {what} of the {name} images are not all finite; leave those images out")


def _enough(who: str, real: int, fake: int, least: int) -> None:
    if min(real, fake) < least:
        raise ValueError(
            f"{who} was given {real} real and {fake} generated images; at least {least} of each are needed"
        )


def _alike(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Both of the wider number type, float32 at least, on the device of the first.

    Half precision holds features but not their products, and integers would be divided as such.
    """
    kind = torch.promote_types(torch.promote_types(real.dtype, fake.dtype), torch.float32)
    return real.detach().to(kind), fake.detach().to(real.device, kind)


def vectors_of(who: str, real: Given, fake: Given, least: int = 2) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """The feature vectors of both sets, of one type and on one device; ``who`` asks.

    Raises:
        ValueError: fewer than ``least`` images, different widths, or values that are not finite.
    """
    x, y = (Features.of(each).need_vectors(who) for each in (real, fake))
    _enough(who, len(x), len(y), least)
    _check(who, "features", x, y)
    return _alike(x, y)


def logits_of(who: str, real: Given, fake: Given, least: int = 2) -> tuple[Float[Tensor, "n k"], Float[Tensor, "m k"]]:
    """The logits of both sets, in float64; ``who`` asks.

    Raises:
        ValueError: fewer than ``least`` images, different numbers of classes, or values that are not numbers.
    """
    x, y = (Features.of(each, "logits").need_logits(who).double() for each in (real, fake))
    _enough(who, len(x), len(y), least)
    _check(who, "logits", x, y)
    return _alike(x, y)


def generated_logits(who: str, fake: Given, least: int = 2) -> Float[Tensor, "m k"]:
    """The logits of generated images alone, in float64; ``who`` asks.

    Raises:
        ValueError: fewer than ``least`` images, or values that are not finite.
    """
    y = Features.of(fake, "logits").need_logits(who).detach().double()
    if len(y) < least:
        raise ValueError(f"{who} was given {len(y)} generated images; at least {least} are needed")
    _finite(who, "logits", "generated", y)
    return y


def moments_of(who: str, real: Given, fake: Given) -> tuple[Moments, Moments]:
    """The moments of both sets, on one device; ``who`` asks.

    Raises:
        ValueError: fewer than two images, different widths, or values that are not finite.
    """
    x, y = Features.of(real), Features.of(fake)
    _enough(who, x.n, y.n, 2)
    for name, each in (("real", x), ("generated", y)):
        if each.vectors is not None:
            _finite(who, "features", name, each.vectors)
    one, other = x.need_moments(who), y.need_moments(who)
    _check(who, "features", one.mean, other.mean)
    device = one.mean.device
    return one, Moments(other.n, other.mean.to(device), other.covariance.to(device), other.sample.to(device))
