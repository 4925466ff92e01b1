"""The command line: verbs, each a call of a public function. ``orthogen --help`` imports nothing heavy.

A user's mistake ends in one line on stderr that says what was given, what is accepted and what to do, with exit code 2.
"""

import argparse
import errno
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from orthogen.cli import data, discover, heat_maps, traverse

__all__ = ["main"]

MISTAKES = (ValueError, TypeError, KeyError, OSError, ModuleNotFoundError)  # what a user can mend


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are the one line that `main` prints."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} ({self.prog} --help)")


def _parser() -> _Parser:
    parser = _Parser(
        prog="orthogen",
        description="Train regularized generators, find what their latents do, measure it, look at it.",
        epilog="orthogen VERB --help says more about each.",
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    verbs = parser.add_subparsers(title="verbs", metavar="", dest="verb", parser_class=_Parser)

    def verb(name: str, help: str, **options: bool) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=help, description=help, allow_abbrev=False, **options)  # type: ignore[arg-type]
        added.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return added

    def device(p: argparse.ArgumentParser) -> None:
        p.add_argument("--device", metavar="DEVICE", help="cpu, cuda, cuda:1, ... (default: the best there is)")

    def own(p: argparse.ArgumentParser) -> None:
        p.add_argument("--with", metavar="FILE.py", dest="own", help="the file of yours that defines the run's model")

    def source(p: argparse.ArgumentParser) -> None:
        p.add_argument(
            "source", metavar="RUN_OR_FILE", nargs="?", help="a run folder, or a checkpoint file of any system"
        )
        p.add_argument(
            "--generator", metavar="FILE.py:FUNCTION",
            help="in place of it, a generator of yours: FUNCTION() returns a module, or what og.adapt makes of one",
        )  # fmt: skip
        p.add_argument(
            "--latent", metavar="KIND:DIM", help="what that module takes: normal:100, uniform:64, sphere:512"
        )
        how = p.add_argument_group("how to use a network of another system")
        how.add_argument("--truncation", type=float, metavar="PSI", help="truncation of the latents or styles")
        how.add_argument(
            "--space", metavar="z|w|w+", help="the latent space of a StyleGAN (GanSpace's: --GanSpace.space)"
        )
        how.add_argument("--noise", metavar="const|random|none", help="the noise inputs of a StyleGAN2")
        own(p)

    def fix_class(p: argparse.ArgumentParser, about: str) -> None:
        p.add_argument("--fix-class", type=int, metavar="LABEL", help=about)

    p = verb("demo", "the five-minute tour: train with and without a regularizer, traverse, measure, report")
    p.add_argument("--run", default="runs/demo", metavar="FOLDER", help="where to write (default: runs/demo)")
    p.add_argument("--images", type=int, metavar="N", help="length of each training, in images (default: the recipe's)")
    device(p)

    p = verb("list", "what there is: recipes, regularizers, metrics, networks, data")
    p.add_argument("kind", nargs="?", metavar="KIND", help="only one kind, e.g. regularizers")

    p = verb("show", "one entry: its formula, defaults and reference; a recipe's settings, claims and departures")
    p.add_argument("name", metavar="NAME")

    p = verb("cite", "BibTeX of one entry, or of everything a recipe is made of")
    p.add_argument("name", metavar="NAME")

    p = verb("train", "train a recipe; run it again on the same folder to resume", add_help=False)
    p.add_argument("recipe", metavar="RECIPE", nargs="?", help="paper.function, or my_file.py:function")
    p.add_argument("-h", "--help", action="store_true", help="show this; after a recipe: its fields")
    where = p.add_mutually_exclusive_group()
    where.add_argument("--run", metavar="FOLDER", help="the run folder (default: runs/RECIPE)")
    where.add_argument("--name", metavar="NAME", help="short for --run runs/NAME")
    device(p)
    p.add_argument("--data", metavar="PATH", help="your own images: a folder, a zip, or NAME:PATH of a data set")
    p.add_argument("--log-to", nargs="+", default=(), metavar="WHERE", help="tensorboard, wandb (beside log.jsonl)")
    p.add_argument(
        "--with", action="append", default=[], dest="extra", metavar="FILE.py:WEIGHT",
        help="add the penalty in a file of your own as a term of that weight",
    )  # fmt: skip

    p = verb("sample", "images from a checkpoint alone: no data set needed")
    source(p)
    p.add_argument("-n", type=int, default=16, metavar="IMAGES", help="how many (default: 16)")
    fix_class(p, "one class for all images (default: classes drawn evenly, where there are any)")
    p.add_argument("--seed", type=int, default=0, help="of the latents (default: 0)")
    p.add_argument("--to", metavar="FILE.png", help="where to write (default: samples.png beside the source)")
    device(p)

    p = verb("traverse", "what each direction does: strips and a contact sheet (PNG), films (GIF, WebP, MP4)")
    source(p)
    traverse.options(p)
    fix_class(p, "one class for all (default: each base latent has one, drawn with the seed)")
    p.add_argument("--to", metavar="FOLDER", help="where to write (default: traversals/ in the run folder)")
    device(p)

    p = verb("heatmaps", "where in the image a penalty is large, and the Hessian or J^T J behind it (PNG)")
    source(p)
    heat_maps.options(p)
    fix_class(p, "the class of all images, of a generator that takes class labels")
    p.add_argument("--to", metavar="FOLDER", help="where to write (default: heat_maps/ in the run folder)")
    device(p)

    p = verb("discover", "find directions: what a generator's latent does, by one method or several", add_help=False)
    source(p)
    discover.options(p)
    fix_class(p, "one class for all samples (default: the method's; classes drawn evenly, where there are any)")
    p.add_argument("--to", metavar="FOLDER", help="where to write (default: directions/ in the run folder)")
    device(p)

    p = verb("convert", "another system's checkpoint -> safetensors and JSON, with images compared bit by bit")
    source(p)
    p.add_argument("--to", metavar="FILE.safetensors", help="where to write (default: beside the source, by its name)")

    p = verb("measure", "scores with standard errors and their protocol, kept in scores.json")
    source(p)
    p.add_argument(
        "metrics", nargs="*", metavar="METRIC", help="metrics and penalties as in `list` (default: the recipe's)"
    )
    p.add_argument("--layers", nargs="+", metavar="LAYER", help="where penalties are measured (default: the image)")
    p.add_argument("--directions", metavar="FILE", help="a directions file (default: the latent's coordinates)")
    p.add_argument(
        "--data",
        metavar="NAME_OR_PATH",
        help="a set by NAME or NAME:PATH, or your images: true factors and reference images (default: the recipe's)",
    )
    p.add_argument("--resolution", type=int, metavar="PIXELS", help="resize a folder or .zip given as --data to this")
    p.add_argument("-n", type=int, metavar="IMAGES", help="generated images (default: 5000, or the validation's)")
    p.add_argument("--reference", type=int, metavar="IMAGES", help="reference images (default: all, up to 50,000)")
    p.add_argument(
        "--as-is", action="store_true", help="take the reference as it is (default: equally many of each class)"
    )
    p.add_argument(
        "--inception", metavar="FILE", help="Inception's weights (default: $ORTHOGEN_INCEPTION, or torch's cache)"
    )
    p.add_argument(
        "--features",
        metavar="FILE.py:FUNCTION",
        help="another extractor, as FUNCTION() returns it: images in [-1, 1] -> features, or (features, logits)",
    )
    p.add_argument("--condition", metavar="NAME", help="keyword of class labels, where a generator does not say it")
    fix_class(p, "one class for all images, of a generator that takes class labels")
    p.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")
    device(p)

    p = verb("compare", "scores side by side: of two with each difference's interval, B minus A; of more as a table")
    p.add_argument("a", metavar="A", help="a run folder or its scores.json")
    p.add_argument("b", metavar="B", help="another")
    p.add_argument("more", metavar="C", nargs="*", help="more of them, all held against A's protocols")
    p.add_argument(
        "--despite", nargs="+", default=(), metavar="FIELD", help="compare although these fields of the protocol differ"
    )

    p = verb("data", "what is in a data set, as a table and a picture; and sets that have to be prepared")
    data.add_arguments(p)

    p = verb("report", "one HTML file without outside resources; several runs stand side by side")
    p.add_argument("runs", nargs="+", metavar="RUN")
    own(p)
    p.add_argument("--to", metavar="FILE.html", help="where to write (default: report.html in the first run)")
    return parser


def _parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = _parser()
    verbs = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    first = next((word for word in argv if not word.startswith("-")), None)
    if first is not None and first not in verbs:
        near = get_close_matches(first, verbs, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(verbs)}"
        raise ValueError(f"{first!r} is no verb; {hint}")
    arguments, rest = parser.parse_known_args(argv)
    if arguments.verb not in ("train", "discover", "data") and rest:
        raise ValueError(f"{rest[0]!r} is no option of {arguments.verb} (orthogen {arguments.verb} --help lists them)")
    if arguments.verb == "train" and arguments.recipe is None:
        if not arguments.help:
            raise ValueError("train needs a recipe (orthogen list recipes shows them)")
        verbs["train"].print_help()
        raise SystemExit(0)
    if arguments.verb == "discover" and arguments.help and not (arguments.methods or arguments.generator):
        verbs["discover"].print_help()
        raise SystemExit(0)
    if arguments.verb is None and not arguments.version:
        parser.print_help()
        raise SystemExit(0)
    return arguments, rest


def _line(error: BaseException) -> str:
    """An error as at most three lines."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        text = (
            f"the disk is full ({error.filename or 'while writing'}); free some space and give the same command again"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    return "orthogen: " + "\n".join(lines[:3])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code is 0, 1 for a run that diverged, 2 for a user's mistake, 130 for Ctrl-C.

    Example:
        >>> main(["trian"])
        2
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        arguments, rest = _parse(argv)
        if arguments.version:
            from orthogen import __version__

            print(f"orthogen {__version__}")
            return 0
        from orthogen.cli import verbs

        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: print(f"orthogen: {message}", file=sys.stderr)
            verbs.run(arguments, rest)
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    except KeyboardInterrupt:
        print(f"\nstopped; to go on where it was: {shlex.join(['orthogen', *argv])}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as in `orthogen list | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except FloatingPointError as error:  # a run that diverged: nobody's mistake, and no traceback helps
        print(_line(error), file=sys.stderr)
        return 1
    except MISTAKES as error:
        if "--debug" in argv:
            raise
        print(_line(error), file=sys.stderr)
        return 2
    return 0
