"""The generator that a command line names: of a run, of a file of any system, or of a function of the user's."""

from argparse import Namespace
from pathlib import Path
from typing import Any

__all__ = ["beside", "generator_of", "latent_of", "settings", "shifted"]


def settings(given: Namespace) -> dict[str, Any]:
    """How to use a network of another system, as far as the user says.

    Raises:
        ValueError: a latent is named for it, which it has.
    """
    if given.latent and given.generator is None:
        raise ValueError(f"--latent goes with --generator; {given.source} knows its own")
    named = {name: getattr(given, name) for name in ("truncation", "space", "noise")}
    return {name: value for name, value in named.items() if value is not None}


def latent_of(text: str) -> Any:
    """The latent that ``normal:100``, ``uniform:64``, ``uniform:64:-2:2`` or ``sphere:512`` names.

    Raises:
        ValueError: it is none of these.

    Example:
        >>> latent_of("normal:100"), latent_of("uniform:64:-2:2")
        (Normal(dim=100), Uniform(dim=64, low=-2.0, high=2.0))
    """
    from orthogen.core.latent import Normal, Sphere, Uniform

    kind, *numbers = text.split(":")
    kinds: dict[str, tuple[Any, int]] = {"normal": (Normal, 0), "uniform": (Uniform, 2), "sphere": (Sphere, 1)}
    try:
        made, most = kinds[kind]
        dim, *more = int(numbers[0]), *map(float, numbers[1:])
        if len(more) not in (0, most):
            raise IndexError
    except (KeyError, IndexError, ValueError):
        raise ValueError(
            f"--latent {text}: give normal:100, uniform:64, uniform:64:-2:2 or sphere:512, with the width that the "
            "generator takes"
        ) from None
    return made(dim, *more)


def generator_of(given: Namespace, *, fixed: bool = True) -> Any:
    """The generator, on the device asked for; with one class fixed where that is asked for, unless not ``fixed``.

    Raises:
        ValueError: none is named, or two are; or what the user's function makes is none.
        FileNotFoundError: there is no such run or file.
    """
    from orthogen.training.distributed import pick_device

    device = pick_device(given.device)
    generator = _named(given)
    generator.module.to(device)
    label = vars(given).get("fix_class") if fixed else None
    return generator if label is None else generator.of_class(label)


def _named(given: Namespace) -> Any:
    if (given.source is None) == (given.generator is None):
        both = "name one of them" if given.source else "name one"
        raise ValueError(f"a run folder or checkpoint file, or --generator FILE.py:FUNCTION: {both}")
    if given.generator is None:
        from orthogen.checkpoints import load

        return load(given.source, **settings(given))
    from torch import nn

    from orthogen.core import catalogue
    from orthogen.core.generator import Generator, adapt

    if unused := settings(given):
        raise ValueError(f"--{next(iter(unused))} is for networks of other systems; set it up in {given.generator}")
    made = catalogue.made_in_file(given.generator, "a generator")
    if isinstance(made, Generator):
        if given.latent:
            raise ValueError(
                f"{given.generator} returns an adapted generator, which has its latent; leave --latent out"
            )
        return _tried(made, given.generator)
    if not isinstance(made, nn.Module):
        raise ValueError(
            f"{given.generator} returned a {type(made).__name__}; a generator is an nn.Module, or what og.adapt returns"
        )
    if not given.latent:
        raise ValueError(f"{given.generator} returned a module; say what it takes: --latent normal:100")
    return _tried(adapt(made.eval(), latent_of(given.latent)), given.generator)


def _tried(generator: Any, name: str) -> Any:
    """The generator, if its module can take its latents; what torch says of shapes, in a line."""
    import torch

    from orthogen.core import rng
    from orthogen.core.untouched import untouched

    rows = {generator.condition: torch.zeros(2, dtype=torch.int64, device=generator.device)}
    try:
        z = generator.latent.sample(2, rng=rng.generator("tried"), device=generator.device)
        with torch.no_grad(), untouched(generator.module, generator.device) as host:
            host.rewind()
            generator(z, **(rows if generator.classes else {}))
    except TypeError:  # it may want more than its latent, which other options give
        pass
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{name} does not take latents of {generator.latent}: {reason}") from error
    return generator


def shifted(given: Namespace, words: str) -> None:
    """Where ``--generator`` names the generator, the first of the words that follow stands where a file would: move it.

    Example:
        >>> given = Namespace(source="Mig", generator="my.py:make", metrics=["Dci"])
        >>> shifted(given, "metrics")
        >>> given.source, given.metrics
        (None, ['Mig', 'Dci'])
    """
    if given.generator is not None and given.source is not None:
        setattr(given, words, [given.source, *getattr(given, words)])
        given.source = None


def beside(given: Namespace, name: str) -> Path:
    """Where a file goes by default: into the run folder, beside the checkpoint, or here for one of the user's own."""
    from orthogen.checkpoints import home_of

    return Path(name) if given.source is None else home_of(given.source) / name
