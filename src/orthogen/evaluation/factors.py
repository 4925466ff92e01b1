"""Codes beside the true factors of images: a generator's latents through a reader, or an encoder's codes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.core import rng as randomness
from orthogen.core.generator import Generator, first_tensor
from orthogen.core.images import to_float
from orthogen.core.kinds import Data, FactorSet, ImageSet
from orthogen.core.progress import track
from orthogen.core.untouched import evaluating, untouched
from orthogen.evaluation.drawing import missing_condition, resting, see_each_other

__all__ = ["ambiguous", "encoded", "factor_set", "read"]

Encoder = Callable[[Tensor], Any]
TOGETHER = 64  # images per pass on any device, where those of a batch see each other


def factor_set(data: Data | ImageSet | None) -> FactorSet:
    """The opened data, if its factors are known.

    Raises:
        ValueError: they are not.
    """
    opened: Any = data.open() if isinstance(data, Data) else data
    if not isinstance(opened, FactorSet):
        what = "no data" if data is None else type(data).__name__
        raise ValueError(
            f"code metrics need true factors, and {what} has none to read off an image; give Sprites() or Shapes3d()"
        )
    return opened


def ambiguous(factors: FactorSet, rng: torch.Generator) -> list[int]:
    """Factors two values of which can look the same, as the orientation of a square."""
    a = factors.factors(torch.randint(len(factors), (4096,), generator=rng))
    found = []
    for i, size in enumerate(factors.factor_sizes):
        b = a.clone()
        b[:, i] = torch.randint(size, (len(a),), generator=rng)
        if (factors.same(a, b)[:, i] & (a[:, i] != b[:, i])).any():
            found.append(i)
    return found


def _kept(factors: FactorSet, rng: torch.Generator) -> tuple[list[int], dict[str, Any]]:
    """The factors that an image determines, and what the protocol says of them."""
    left_out = ambiguous(factors, rng)
    kept = [i for i in range(len(factors.factor_sizes)) if i not in left_out]
    names = factors.factor_names
    return kept, {
        "factors": [names[i] for i in kept],
        "ambiguous_factors_left_out": [names[i] for i in left_out],
    }


def _reading_error(factors: FactorSet, rng: torch.Generator, n: int = 500) -> Tensor:
    """The share of true frames in which each factor is read wrong."""
    index = torch.randint(len(factors), (n,), generator=rng)
    read, _ = factors.read_factors(to_float(factors.images(index)))
    return (~factors.same(read, factors.factors(index))).float().mean(dim=0)


def _few(device: torch.device) -> int:
    return 32 if device.type == "cpu" else 512  # the caches of a CPU like few images


@contextmanager
def _labels_refused() -> Iterator[None]:
    try:
        yield
    except TypeError as error:
        missing = missing_condition(error)
        if missing is None:
            raise
        raise ValueError(
            f"code metrics take images of latents alone, and the generator needs {missing!r} too; fix it in "
            f"adapt(module, latent, call=lambda m, z: m(z, {missing}=...)) ({error})"
        ) from None


@torch.no_grad()
def read(
    generator: Generator, z: Tensor, factors: FactorSet, rng: torch.Generator
) -> tuple[Tensor, dict[str, Any], dict[str, Any]]:
    """The factors that the reader finds in the images of ``z``; how it reads; and how sure it was of these images.

    The generator is in evaluation mode and left as it was.

    Raises:
        ValueError: the generator needs class labels.
    """
    values, confidences = [], []
    with _labels_refused(), resting(generator, randomness.generator(rng.initial_seed(), "noise")):
        together = see_each_other(generator)
        for part in track(z.split(TOGETHER if together else _few(generator.device)), "reading factors off images"):
            images = generator(part.to(generator.device)).float().cpu()
            value, confidence = factors.read_factors(images)
            values.append(value)
            confidences.append(confidence)
    kept, protocol = _kept(factors, rng)
    if together:
        protocol |= {"batch": TOGETHER, "samples see each other": True}
    sure = torch.cat(confidences)[:, kept]
    protocol |= {"reader": f"{type(factors).__name__}.read_factors", "low_confidence_images": "kept"}
    found = {
        "reader_error_on_true_frames": [round(e, 4) for e in _reading_error(factors, rng)[kept].tolist()],
        "reader_confidence": [round(c, 4) for c in sure.mean(dim=0).tolist()],
        "read_with_confidence_below_half": [round(c, 4) for c in (sure < 0.5).float().mean(dim=0).tolist()],
    }
    return torch.cat(values)[:, kept], protocol, found


@torch.no_grad()
def encoded(
    encoder: Encoder, factors: FactorSet, n: int, rng: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Codes and factors of ``n`` images drawn evenly over the set (every one of them, where there are no more).

    Raises:
        ValueError: the encoder returns anything but one row of numbers for each image.
    """
    total = len(factors)
    index = torch.randperm(total, generator=rng) if n >= total else torch.randint(total, (n,), generator=rng)
    codes = []
    network = encoder if isinstance(encoder, nn.Module) else nn.Identity()
    with evaluating(network), untouched(network, device) as host:
        host.rewind()
        for part in track(index.split(2 * _few(device)), "encoding images"):
            code = first_tensor(encoder(to_float(factors.images(part)).to(device)), "the encoder")
            if code.ndim != 2 or len(code) != len(part):
                raise ValueError(
                    f"the encoder returned shape {tuple(code.shape)} for {len(part)} images; (images, codes) is needed"
                )
            codes.append(code.cpu())
    kept, protocol = _kept(factors, rng)
    return torch.cat(codes), factors.factors(index)[:, kept], protocol | {"images": "drawn evenly over the factors"}
