"""``orthogen data``: what is in a data set, as a table and a picture; and sets that have to be prepared."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["add_arguments", "named_data", "run"]


def add_arguments(p: ArgumentParser) -> None:
    """The options of the verb; what ``inspect`` does not know are the data set's own settings, such as ``--path``."""
    acts = p.add_subparsers(title="what to do", metavar="inspect|prepare", dest="act", required=True)

    def act(name: str, help: str) -> ArgumentParser:
        added = acts.add_parser(name, help=help, description=help, allow_abbrev=False)
        added.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return added

    p = act("inspect", "counts, copies, labels, memory, and a picture of them")
    p.add_argument("data", metavar="NAME_OR_PATH", help="NAME or NAME:PATH; a folder or .zip; or my_file.py:function")
    p.add_argument("--resolution", type=int, metavar="PIXELS", help="the side that images are resized to")
    p.add_argument("--to", metavar="FILE.png", help="where the picture goes (default: NAME_sheet.png in this folder)")
    p.add_argument("--batch", type=int, default=64, metavar="IMAGES", help="for the estimate of memory (default: 64)")
    p.add_argument("--compare", type=int, default=50_000, metavar="IMAGES", help="look for copies in so many (50,000)")
    p.add_argument("--log", action="store_true", help="draw counts on a logarithmic scale")

    p = act(
        "prepare",
        "edges2shoes: both halves of each of pix2pix's pairs, shuffled, as PNGs in one zip file, which --data "
        "EdgesShoes:DESTINATION then reads",
    )
    p.add_argument("set", metavar="edges2shoes", choices=("edges2shoes",), help="the set of pairs")
    p.add_argument("source", metavar="SOURCE", help="the folder that pix2pix's edges2shoes.tar.gz is unpacked to")
    p.add_argument("destination", metavar="DESTINATION.zip", help="the zip file to write; it appears when it is whole")
    p.add_argument(
        "--resolution", type=int, default=128, metavar="PIXELS",
        help="4, 8, ... or 256, by means of 2 x 2 pixels (default: 128)",
    )  # fmt: skip


def named_data(named: str, resolution: int | None = None, *, model: int | None = None) -> Any:
    """A data set of the catalogue (``NAME``, or ``NAME:PATH``), a folder or archive by path, or a function's of a file.

    Args:
        named: which one.
        resolution: what the user asked for.
        model: the resolution of the model that it is for, taken where the set has a choice.

    Raises:
        FileNotFoundError: there is no such file of the user's.
        ValueError: it has no such function, or that makes no data set; a path or a resolution for a set without one.
    """
    from dataclasses import fields, replace

    from orthogen.core import catalogue
    from orthogen.core.kinds import Data
    from orthogen.data.image_archive import ImageArchive
    from orthogen.data.image_folder import ImageFolder

    name, _, path = named.partition(":")
    if name in {entry.name for entry in catalogue.entries("data")}:
        kind = catalogue.find(name, "data").load()
        if path and "path" not in {field.name for field in fields(kind)}:
            raise ValueError(f"{named}: {name} is not read from files; give {name} alone")
        found = kind(path=path) if path else kind()
    elif ".py:" in named:
        found = catalogue.made_in_file(named, "a data set")
        if not isinstance(found, Data):
            raise ValueError(f"{named} makes a {type(found).__name__}; a Data is needed, such as ImageFolder(path)")
    else:
        found = (ImageArchive if Path(named).suffix == ".zip" else ImageFolder)(named)
    choice = "resolution" in {field.name for field in fields(found)}
    if resolution is None:
        return replace(found, resolution=model) if choice and model is not None else found
    if not choice:
        raise ValueError(f"--resolution {resolution}: {named} has a resolution of its own; leave it out")
    return replace(found, resolution=resolution)


def run(given: Namespace, rest: Sequence[str] = ()) -> None:
    """Do what the verb says; ``rest`` holds the own settings of the data set that is inspected, such as ``--path``."""
    if given.act == "inspect":
        _inspect(given, rest)
        return
    if rest:
        raise ValueError(f"{rest[0]!r} is no option of data prepare (orthogen data prepare --help lists them)")
    _prepare(given)


def _inspect(given: Namespace, rest: Sequence[str]) -> None:
    from orthogen.cli.overrides import override
    from orthogen.evaluation.waiting import waiting
    from orthogen.reporting.data_sheet import inspect_data

    data = override(named_data(given.data, given.resolution), rest, f"orthogen data inspect {given.data}")
    to = Path(given.to or f"{Path(given.data.rpartition(':')[2]).stem}_sheet.png")
    with waiting():
        facts = inspect_data(data, to=to, title=given.data, batch=given.batch, compare=given.compare, log=given.log)
    print(facts)
    print(to)


def _prepare(given: Namespace) -> None:
    import shlex

    from orthogen.data.edges_shoes import EdgesShoes
    from orthogen.evaluation.waiting import waiting

    data = EdgesShoes(given.destination, resolution=given.resolution)
    with waiting():
        n = data.prepare(given.source)
    print(f"{n:,} images of {data.resolution} x {data.resolution} pixels; to look at them:")
    named = shlex.quote(f"EdgesShoes:{data.path}")
    print(f"orthogen data inspect {named} --resolution {data.resolution}")
