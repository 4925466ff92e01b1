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
    from PIL import Image
    from rich.console import Console

    from orthogen import recipes
    from orthogen.cli.together import train_together
    from orthogen.core.files import write_atomically
    from orthogen.evaluation import measure
    from orthogen.metrics.activeness import Activeness
    from orthogen.metrics.mig import Mig
    from orthogen.metrics.penalty_value import PenaltyValue
    from orthogen.regularizers.orojar import OroJaR
    from orthogen.reporting import montage
    from orthogen.reporting.html import report
    from orthogen.reporting.traversal import traverse

    say = Console(stderr=True, highlight=False).print
    began = time.monotonic()
    pair = [recipes.build("demo.plain"), recipes.build("demo.orojar")]
    if images is not None:
        pair = [replace(recipe, images=images) for recipe in pair]
    runs = [folder / recipe.name.partition(".")[2] for recipe in pair]
    say("1/3  two generators learn to draw wall, floor and ball: a plain one, and one with OroJaR")
    train_together(list(zip(pair, runs, strict=True)), device)
    say("2/3  moving one latent component at a time")
    for run in runs:
        traverse(run)
    sheets = [Image.open(run / "traversals" / "coordinates.png") for run in runs]
    picture = montage.beside(sheets, ["plain", "with OroJaR"])
    write_atomically(folder / "traversals.png", montage.png(picture))
    say("3/3  measuring both against the true factors")
    penalty = PenaltyValue(OroJaR(normalize="numel"), layers=pair[1].terms["orojar"].layers)
    for run in runs:
        for score in measure(run, [Activeness(samples=100), Mig(), penalty], n=2000):
            say(f"     {run.name:<8} {score}")
    page = report(runs, to=folder / "report.html", title="With and without a regularizer", note=NOTE)
    return f"{page}  ({(time.monotonic() - began) / 60:.1f} minutes): open it in a browser"
