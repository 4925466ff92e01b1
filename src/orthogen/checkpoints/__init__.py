"""Files -> Generator, without running code from them. One format, one file; `load` asks each of them.

A format's file has ``recognizes(path) -> bool`` and ``load(path, *, ema, model) -> Generator``.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from orthogen.checkpoints.generator_file import save_generator
from orthogen.checkpoints.run_folder import Run, open_run
from orthogen.core.generator import Generator
from orthogen.core.kinds import Model

__all__ = ["Run", "load", "open_run", "save_generator"]


def _formats() -> Iterator[ModuleType]:
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        yield import_module(f"{__name__}.{path.stem}")


def load(path: str | Path, *, ema: bool = True, model: Model | None = None) -> Generator:
    """A trained generator, in eval mode on the CPU: of a run of ours, or of another system's file.

    Args:
        path: a run folder, a checkpoint inside one, a generator file of ours, BigGAN-PyTorch's ``G_ema.pth`` or its
            folder, StyleGAN2's ``.pkl`` (PyTorch), or rosinality's StyleGAN2 ``.pt``. No code in any of them is run.
        ema: the averaged weights; False for those the optimizer left.
        model: what builds the network, where the file names a class of yours that is not in this process; for another
            system's file a model such as ``StyleGan2(space="w", truncation=0.7)`` that says how to use it.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: what is there is none of these, or damaged.

    Example:
        >>> load("runs/nowhere")
        Traceback (most recent call last):
        FileNotFoundError: runs/nowhere does not exist; give a run folder, a checkpoint inside it or a generator file
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a run folder, a checkpoint inside it or a generator file")
    for each in _formats():
        if each.recognizes(path):
            return each.load(path, ema=ema, model=model)
    raise ValueError(
        f"{path} is damaged or nothing that load knows; give a run folder, a checkpoint inside it or a generator file"
    )
