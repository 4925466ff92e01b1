"""``orthogen discover``: find directions, compare ways to find them, name what was found."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["discover", "options"]


def options(p: ArgumentParser) -> None:
    """The options of the verb that no other has."""
    p.add_argument("methods", metavar="METHOD", nargs="*", help="SeFa, PenaltyDescent, ... or a recipe for a search")
    p.add_argument("--methods", metavar="METHOD", nargs="+", default=(), dest="also", help="methods, if named last")
    p.add_argument("-h", "--help", action="store_true", help="show this; after a method: its settings, such as --lr")
    p.add_argument("--count", type=int, metavar="N", help="how many directions (default: the method's)")
    p.add_argument("--seed", type=int, help="of everything drawn (default: 0, or the recipe's)")
    p.add_argument("--name", metavar="NAME", help="what to call the directions (default: as the method)")
    p.add_argument("--save-every", type=int, default=500, metavar="STEPS", help="of a search's state (default: 500)")
    p.add_argument("--clips-every", type=int, metavar="STEPS", help="draw what a search has found, again and again")
    p.add_argument("--compare", action="store_true", help="score methods side by side: a table, scores.json")
    p.add_argument("--seeds", type=int, metavar="N", help="fits of each method to compare (default: 3)")
    p.add_argument("--budget", type=int, metavar="LATENTS", help="as many for each method to compare, where it can")
    p.add_argument("--no-vp", action="store_true", help="compare without the VP score, which takes the longest")
    p.add_argument("--planted", metavar="FILE", help="the true directions, where they are known, to compare with")
    p.add_argument(
        "--rename", nargs="+", metavar="N=NAME", help="name directions: discover FILE --rename 5=rotation 6=zoom"
    )


def discover(given: Namespace, rest: Sequence[str]) -> None:
    """Do what the verb says; ``rest`` holds the methods' own settings, such as ``--lr 0.02``."""
    from orthogen.cli.source import shifted

    shifted(given, "methods")
    words = [*rest, *["--help"] * given.help]
    while words and not words[0].startswith("-"):  # methods behind an option of the verb
        given.methods.append(words.pop(0))
    if given.rename:
        _rename(given, words)
        return
    given.methods += given.also
    methods = _methods(given, words)
    if given.compare:
        _compare(given, methods)
        return
    for option in ("seeds", "budget", "planted", "no_vp"):
        if getattr(given, option) not in (None, False):
            raise ValueError(f"--{option.replace('_', '-')} goes with --compare; leave it out")
    _discover(given, methods)


def _rename(given: Namespace, words: Sequence[str]) -> None:
    """Give directions of a file names."""
    from orthogen.evaluation.published import read_directions

    if given.methods or words or given.source is None:
        raise ValueError("--rename takes a directions file and nothing else: discover FILE --rename 5=rotation 6=zoom")
    names = {}
    for item in given.rename:
        which, equals, name = item.partition("=")
        if not (which and equals and name):
            raise ValueError(f"--rename {item}: give the direction's number or name, and what to call it: 5=rotation")
        names[which] = name
    path = Path(given.source)
    to = Path(given.to) if given.to else path.with_suffix(".safetensors")
    found = read_directions(path).renamed(names)
    found.save(to)
    print(f"{to}: {', '.join(f'{found.index(name)} {name}' for name in names.values())}")


def _methods(given: Namespace, words: Sequence[str]) -> dict[str, Any]:
    """The methods and recipes by their names, with the settings that the command line gives them."""
    from dataclasses import replace

    from orthogen.cli.overrides import override
    from orthogen.evaluation.discovering import named_methods
    from orthogen.evaluation.search_recipe import SearchRecipe

    chosen: dict[str, Any] = named_methods(given.methods)
    if given.name is not None and len(chosen) != 1:
        raise ValueError(f"--name {given.name}: one name for {len(chosen)} methods; leave it out, or name one method")
    usage = f"orthogen discover {given.source or '--generator ' + str(given.generator)} {' '.join(chosen)}"
    if len(chosen) == 1:
        ((name, found),) = chosen.items()
        if any(word.startswith(f"--{name}.") for word in words):  # as of several: for a setting called like an option
            chosen = override(chosen, words, usage)
        elif isinstance(found, SearchRecipe):
            chosen = {name: replace(found, method=override(found.method, words, usage))}
        else:
            chosen = {name: override(found, words, usage)}
        return {given.name or name: chosen[name]}
    plain = {name: found for name, found in chosen.items() if not isinstance(found, SearchRecipe)}
    return {**chosen, **override(plain, words, usage)}


def _discover(given: Namespace, methods: dict[str, Any]) -> None:
    """Each method's directions, one file per method."""
    from orthogen.cli.source import beside, generator_of
    from orthogen.evaluation import discover

    folder = Path(given.to) if given.to else beside(given, "directions")
    if given.clips_every is not None and given.clips_every < 1:
        raise ValueError(f"--clips-every {given.clips_every}: give at least 1 step")
    generator = generator_of(given, fixed=False)
    for name, method in methods.items():
        (found,) = discover(
            generator,
            {name: method},
            count=given.count,
            fix_class=given.fix_class,
            seed=given.seed,
            to=folder,
            save_every=given.save_every,
            each=_clips(given, generator, method, folder / "searches" / f"{name}_clips"),
        )
        print(f"{folder / name}.safetensors: {len(found)} directions")


def _clips(given: Namespace, generator: Any, method: Any, folder: Path) -> Any:
    """What draws the directions as they are after every so many steps of a search; None where nobody asked for it."""
    if given.clips_every is None:
        return None
    from orthogen.evaluation.search_recipe import SearchRecipe
    from orthogen.reporting.traversal import traverse

    how: dict[str, Any] = {}
    if isinstance(method, SearchRecipe):
        if shown := method.published:
            how = {"extent": shown.path_size, "seed": shown.seed, "samples": shown.samples}
        method = method.method
    label = vars(method).get("fix_class") if given.fix_class is None else given.fix_class

    def draw(search: Any) -> None:
        step = len(search.log)
        if step % given.clips_every == 0:
            traverse(generator, search.directions(), to=folder / f"step_{step:06d}", fix_class=label, **how)

    return draw


def _compare(given: Namespace, methods: dict[str, Any]) -> None:
    """The methods side by side: a table, scores.json, and each one's directions with its scores."""
    from dataclasses import replace

    from rich.console import Console

    from orthogen.cli.source import beside, generator_of
    from orthogen.core.score_file import merge
    from orthogen.evaluation.discovering import keep
    from orthogen.evaluation.leaderboard import QUICK, leaderboard
    from orthogen.evaluation.published import read_directions
    from orthogen.evaluation.search_recipe import SearchRecipe
    from orthogen.evaluation.waiting import waiting

    if given.clips_every is not None or given.name is not None:
        raise ValueError(
            "--compare searches afresh with every seed and names methods itself; leave --name and --clips-every out"
        )
    folder, seed = Path(given.to) if given.to else beside(given, "directions"), given.seed or 0
    generator = generator_of(given)
    searches: dict[str, Any] = {}
    labels = set()
    for name, found in methods.items():
        if isinstance(found, SearchRecipe):
            found.check(generator_of(given, fixed=False))
        method: Any = found.method if isinstance(found, SearchRecipe) else found
        searches[name] = method
        if vars(method).get("fix_class") is not None:  # the generator is made of one class, for all methods alike
            labels.add(method.fix_class)
            searches[name] = replace(method, fix_class=None)
    if generator.classes and len(labels) == 1:
        generator = generator.of_class(labels.pop())
    if generator.classes:
        raise ValueError("--compare looks at one class of a generator that takes labels; choose it: --fix-class LABEL")
    with waiting():
        board = leaderboard(
            generator,
            searches,
            seeds=3 if given.seeds is None else given.seeds,
            count=10 if given.count is None else given.count,
            seed=seed,
            budget=given.budget,
            data=_factors(given),
            variation=None if given.no_vp else QUICK,
            planted=read_directions(given.planted, dim=generator.latent.dim) if given.planted else None,
        )
    run = beside(given, "run.json")
    merge(run.parent if run.is_file() and not given.to else folder, board.scores())
    for standing in board.standings:
        if standing.directions:
            found = standing.directions[0]
            provenance = {**found.provenance, "seed": seed}
            found = replace(found, provenance=provenance, scores=standing.by_direction())
            keep(found, folder / f"{standing.method}.safetensors")
    console, table = Console(highlight=False), board.table()
    if not console.is_terminal:  # a file has room for whole numbers
        console = Console(highlight=False, width=Console(width=1000).measure(table).maximum)
    console.print(table)
    for standing in board.standings:
        for column, reason in standing.missing.items():
            print(f"{standing.method} has no {column}: {reason}")
    print(f"{folder}: the directions of seed {seed}, with their scores")


def _factors(given: Namespace) -> Any:
    """The data of the run, where it is there: leakage reads factors off images with it."""
    from orthogen.checkpoints import open_run

    try:
        return open_run(given.source).recipe.data.open() if given.source else None
    except (ValueError, OSError):
        return None
