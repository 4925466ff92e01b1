"""``orthogen demo``: the five-minute tour. Two trainings on drawn scenes, side by side on one page."""

import time
from dataclasses import replace
from pathlib import Path

__all__ = ["demo"]

NOTE = (
    "Two generators learned the same drawn scenes with the same networks, schedule and seed; one was regularized. Look "
    "at the traversals: each row moves one latent component. MIG asks whether each true factor (three hues and a size) "
    "has one component of its own; the penalty's value, how far the components' effects overlap."
)


def demo(folder: Path, images: int | None = None, device: str | None = None) -> str:
    """Train with and without a regularizer, traverse, measure against the true factors, and report.

    What is already in ``folder`` is not done again: an interrupted tour goes on where it was.

    Args:
        folder: where to write.
        images: length of each training; the recipes' own if None.
        device: of the networks; the best there is if None.

    Returns:
        A line that says where the page is.
    """
    from rich.console import Console

    from orthogen import recipes
    from orthogen.evaluation import measure
    from orthogen.metrics.activeness import Activeness
    from orthogen.metrics.mig import Mig
    from orthogen.metrics.penalty_value import PenaltyValue
    from orthogen.regularizers.orojar import OroJaR
    from orthogen.reporting.html import report
    from orthogen.reporting.traversal import traverse
    from orthogen.training.loop import train

    say = Console(stderr=True, highlight=False).print
    began = time.monotonic()
    runs = []
    for name, words in (
        ("demo.plain", "1/4  a plain generator learns to draw wall, floor and ball"),
        ("demo.orojar", "2/4  the same with OroJaR: each latent component should change one thing"),
    ):
        recipe = recipes.build(name)
        if images is not None:
            recipe = replace(recipe, images=images)
        say(words)
        runs.append(folder / name.partition(".")[2])
        if not train(recipe, runs[-1], device=device).finished:
            raise KeyboardInterrupt  # it was told to stop; the next tour goes on from here
    say("3/4  moving one latent component at a time")
    for run in runs:
        traverse(run)
    say("4/4  measuring both against the true factors")
    penalty = PenaltyValue(OroJaR(normalize="numel"), layers=recipe.objective.terms["orojar"].layers)
    for run in runs:
        for score in measure(run, [Activeness(samples=100), Mig(), penalty], n=2000):
            say(f"     {run.name:<8} {score}")
    page = report(runs, to=folder / "report.html", title="With and without a regularizer", note=NOTE)
    return f"{page}  ({(time.monotonic() - began) / 60:.1f} minutes): open it in a browser"
