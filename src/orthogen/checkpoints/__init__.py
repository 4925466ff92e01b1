"""Files -> Generator, without running code from them. One format, one file; `load` asks each of them.

A format's file has ``recognizes(path) -> bool`` and ``load(path, *, ema, settings) -> Loaded``; formats that record a
model, which may be a class of the user's, take ``model`` too.
"""

from collections.abc import Iterator
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from orthogen.checkpoints._convert import Conversion, converted
from orthogen.checkpoints._loaded import Loaded
from orthogen.checkpoints._restricted import read_torch
from orthogen.checkpoints.generator_file import save_generator
from orthogen.checkpoints.run_folder import Run, home_of, open_run
from orthogen.core.generator import Generator
from orthogen.core.kinds import Model

__all__ = ["Conversion", "Run", "convert", "home_of", "load", "open_run", "read_torch", "save_generator"]


def _formats() -> Iterator[ModuleType]:
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        yield import_module(f"{__name__}.{path.stem}")


def _read(path: Path, ema: bool, model: Model | None, settings: dict[str, Any]) -> Loaded:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a run folder, a checkpoint inside it or a generator file")
    for each in _formats():
        if not each.recognizes(path):
            continue
        if "model" in signature(each.load).parameters:
            return each.load(path, ema=ema, settings=settings, model=model)
        if model is not None:
            raise ValueError(
                f"{path} says itself what network it holds; leave model={type(model).__name__}(...) out, and give its "
                "settings one by one, such as truncation=0.7"
            )
        return each.load(path, ema=ema, settings=settings)
    raise ValueError(
        f"{path} is damaged or nothing that load knows; give a run folder, a checkpoint inside it or a generator file"
    )


def load(path: str | Path, *, ema: bool = True, model: Model | None = None, **settings: Any) -> Generator:
    """A trained generator, in eval mode on the CPU: of a run of ours, or of another system's file.

    Args:
        path: a run folder, a checkpoint inside one, a generator file of ours, or a file of another system, which is
            recognized: BigGAN (PyTorch's ``G_ema.pth`` or its folder, the names of TFHub), StyleGAN2, StyleGAN2-ADA and
            StyleGAN3 (``.pkl``), StyleGAN2 and ProGAN as genforce or rosinality store them, StudioGAN, and the simple
            GAN of OroJaR. No code in any of them is run.
        ema: the averaged weights; False for those the optimizer left.
        model: what builds the network, where a file of ours names a class of yours that is not in this process.
        settings: fields of the network's model that say how to use it, such as ``truncation=0.7``, ``space="w"`` or
            ``noise="none"``; its sizes are the file's.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: what is there is none of these, or damaged; or its model has no such setting.

    Example:
        >>> load("runs/nowhere")
        Traceback (most recent call last):
        FileNotFoundError: runs/nowhere does not exist; give a run folder, a checkpoint inside it or a generator file
    """
    return _read(Path(path), ema, model, settings).generator


def convert(
    source: str | Path, to: str | Path | None = None, *, ema: bool = True, model: Model | None = None, **settings: Any
) -> Conversion:
    """Write a generator of any format that `load` reads as a file of ours, safetensors with JSON beside it.

    The file is read back, and images of both are compared bit by bit.

    Args:
        source: what `load` takes.
        to: the file to write, by custom ``*.safetensors``; for None beside the source, by its name.
        ema: see `load`.
        model: see `load`.
        settings: see `load`; they are written down with the model.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: see `load`; or ``to`` is the source itself, or no name for a file of weights.
    """
    source = Path(source)
    named = source if source.name.strip(".") else source.resolve()  # "." has no name
    to = named.with_name(f"{named.stem}.safetensors") if to is None else Path(to)
    for written in (to, to.with_suffix(".json")):
        if written.exists() and source.exists() and written.samefile(source):
            raise ValueError(f"{written} is the file itself; name another one to write")
    if to.suffix == ".json":
        raise ValueError(f"{to} is where the record of the model goes; name a file for the weights: *.safetensors")
    return converted(_read(source, ema, model, settings), source, to)
