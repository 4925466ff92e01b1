"""What each verb does: a call of a public function, and a line that says where to look."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["run"]


def run(arguments: Namespace, rest: Sequence[str]) -> None:
    """Do what the verb says; ``rest`` holds the own options of a recipe, a method or a data set."""
    if vars(arguments).get("own"):
        from orthogen.core import catalogue

        catalogue.load_file(arguments.own)  # so that a record of its classes can be rebuilt
    {
        "demo": _demo,
        "list": _list,
        "show": _show,
        "cite": _cite,
        "train": lambda given: _train(given, rest),
        "sample": _sample,
        "traverse": _traverse,
        "heatmaps": _heat_maps,
        "discover": lambda given: _discover(given, rest),
        "convert": _convert,
        "data": lambda given: _inspect(given, rest),
        "measure": _measure,
        "compare": _compare,
        "report": _report,
    }[arguments.verb](arguments)


def _demo(given: Namespace) -> None:
    from orthogen.cli.demo import demo

    print(demo(Path(given.run), images=given.images, device=given.device))


def _list(given: Namespace) -> None:
    from orthogen.cli.browse import listing

    listing(given.kind)


def _show(given: Namespace) -> None:
    from orthogen.cli.browse import show

    show(given.name)


def _cite(given: Namespace) -> None:
    from orthogen.cli.browse import cite

    cite(given.name)


def _with(recipe: Any, extra: Sequence[str]) -> Any:
    """The recipe with the penalties of the user's files as terms."""
    import re

    from orthogen.core import catalogue
    from orthogen.core.kinds import CriticPenalty, LatentPenalty, WeightPenalty
    from orthogen.training.objective import Term

    terms = dict(recipe.terms)
    for item in extra:
        path, _, number = item.rpartition(":")
        try:
            weight = float(number)
        except ValueError:
            raise ValueError(f"--with {item}: give a file and a weight, such as my_file.py:0.1") from None
        module = catalogue.load_file(path)
        kinds = (LatentPenalty, WeightPenalty, CriticPenalty)
        found = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, kinds) and value.__module__ == module.__name__
        ]
        if len(found) != 1:
            raise ValueError(f"{path} defines {len(found)} penalties; one class derived from a penalty is needed")
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", found[0].__name__).lower()
        terms[name] = Term(found[0](), weight=weight)
    return recipe.with_terms(terms) if extra else recipe


def _train(given: Namespace, rest: Sequence[str]) -> None:
    from orthogen import recipes
    from orthogen.cli.overrides import override, switched
    from orthogen.cli.recipe_data import on_data

    usage = f"orthogen train {given.recipe}"
    chosen, rest = switched(recipes.switches(given.recipe), rest, usage)
    recipe = _with(recipes.build(given.recipe, **chosen), given.extra)
    if given.data is not None:
        recipe = on_data(recipe, given.data)
    recipe = override(recipe, [*rest, *["--help"] * given.help], usage, recipes.switches(given.recipe))
    from orthogen.training.loop import train
    from orthogen.training.recipe import ClassifierRecipe

    folder = Path(given.run or Path("runs") / (given.name or recipe.name))
    if not train(recipe, folder, device=given.device, log_to=tuple(given.log_to)).finished:
        raise KeyboardInterrupt
    verbs = ("report",) if isinstance(recipe, ClassifierRecipe) else ("traverse", "measure", "report")
    print(f"{folder} is trained; next: {', '.join(f'orthogen {verb} {folder}' for verb in verbs)}")


def _sample(given: Namespace) -> None:
    import torch

    from orthogen.cli.source import beside, generator_of
    from orthogen.core import rng
    from orthogen.core.files import write_atomically
    from orthogen.core.images import to_uint8
    from orthogen.reporting import montage

    if given.n < 1:
        raise ValueError(f"-n {given.n}: ask for at least one image")
    generator = generator_of(given)
    device = generator.device
    z = generator.latent.sample(given.n, rng=rng.generator(given.seed, "sample"), device=device)
    labels = torch.randint(max(1, generator.classes), (given.n,), generator=rng.generator(given.seed, "labels"))
    rows = {generator.condition: labels.to(device)} if generator.classes else {}
    parts = []
    with torch.no_grad():
        for index in torch.arange(given.n, device=device).split(64):
            drawn = generator(z[index], **{name: value[index] for name, value in rows.items()})
            if drawn.ndim != 4:
                raise ValueError(f"the generator makes {tuple(drawn.shape)}; images (batch, channel, n, n) are needed")
            parts.append(to_uint8(drawn).cpu())
    images = torch.cat(parts)
    columns = min(given.n, max(1, round(given.n**0.5)))
    blank = images.new_full((-given.n % columns, *images.shape[1:]), 255)
    cells = montage.fit(torch.cat([images, blank]).unflatten(0, (-1, columns)))
    to = Path(given.to) if given.to else beside(given, "samples.png")
    write_atomically(to, montage.png(montage.grid(cells)))
    print(to)


def _traverse(given: Namespace) -> None:
    from orthogen.cli.traverse import traverse

    traverse(given)


def _heat_maps(given: Namespace) -> None:
    from orthogen.cli.heat_maps import heat_maps

    heat_maps(given)


def _discover(given: Namespace, rest: Sequence[str]) -> None:
    from orthogen.cli.discover import discover

    discover(given, rest)


def _convert(given: Namespace) -> None:
    from orthogen.checkpoints import convert
    from orthogen.cli.source import settings

    if given.source is None or given.generator:
        raise ValueError(
            "convert takes a file or a run folder; a generator of yours is saved by orthogen.checkpoints.save_generator"
        )
    found = convert(given.source, given.to, **settings(given))
    print(found)
    print(f"{found.about}: its model, source and hashes")
    if not found.equal:
        raise ValueError(f"{found.path} does not draw the same images as {given.source}; please report this")


def _inspect(given: Namespace, rest: Sequence[str]) -> None:
    from orthogen.cli.data import run

    run(given, rest)


def _measure(given: Namespace) -> None:
    from orthogen.cli.data import named_data
    from orthogen.cli.source import generator_of, settings, shifted
    from orthogen.core import catalogue
    from orthogen.core.score import Score
    from orthogen.evaluation import measure
    from orthogen.metrics.penalty_value import PenaltyValue
    from orthogen.training.distributed import pick_device

    shifted(given, "metrics")
    extractor: Any = given.features
    if given.inception:
        if extractor:
            raise ValueError("--inception and --features name two extractors; give one of them")
        from orthogen.extractors.inception import Inception

        extractor = Inception(given.inception)
    penalties = {entry.name for entry in catalogue.entries("regularizers")}
    if given.layers and not penalties & set(given.metrics):
        raise ValueError("--layers says where penalties are measured, and no penalty is named; leave it out")
    scores: list[Score] = []
    try:
        measure(
            generator_of(given, fixed=False) if given.source is None else given.source,
            [
                PenaltyValue(name, layers=tuple(given.layers or ())) if name in penalties else name
                for name in given.metrics
            ],
            data=None if given.data is None else named_data(given.data, given.resolution),
            directions=given.directions,
            extractor=extractor,
            n=given.n,
            reference_n=given.reference,
            balanced=False if given.as_is else None,
            condition=given.condition,
            fix_class=given.fix_class,
            settings=settings(given),
            seed=given.seed,
            device=pick_device(given.device),
            each=scores.append,
        )
    finally:  # what was measured before a mistake turned up is measured
        for score in scores:
            print(score)
            for _, part in score.named_parts():
                print(f"  {part}")
            if note := score.parts.get("note"):
                print(f"  {note}")


def _compare(given: Namespace) -> None:
    from orthogen.cli.compare import compare

    compare(given)


def _report(given: Namespace) -> None:
    from orthogen.reporting.html import report

    print(report(given.runs, to=given.to))
