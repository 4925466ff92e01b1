"""How much each latent component changes the image: bars of several runs, of which few are tall where few are used."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from orthogen.core.score import Score
from orthogen.reporting.figures import PALETTE, brief, frame
from orthogen.reporting.record import RunRecord
from orthogen.reporting.settings import phrase
from orthogen.reporting.svg import INK, STYLE, element

__all__ = ["activeness_figure", "activeness_pictures"]

Panels = Sequence[tuple[str, Mapping[str, Score]]]

_MOST = 24  # components shown
_ACROSS = 2  # panels side by side
_NAME = 5  # letters up to which components are named on the axis


def activeness_pictures(runs: Sequence[RunRecord]) -> list[tuple[str, Markup]]:
    """`activeness_figure` in each run's own order, and in the first one's where runs have the same components.

    A panel for each data set; runs that were measured by different protocols do not share one.
    """
    panels: dict[tuple[str, str], dict[str, Score]] = {}
    for run in runs:
        data = run.recipe.get("data")
        title = phrase(data).split("(")[0] if isinstance(data, Mapping) else ""
        for score in run.scores:
            if score.name == "Activeness" and "leaderboard" not in score.about and score.parts.get("activeness"):
                protocol = {name: value for name, value in score.protocol.items() if name != "versions"}
                panels.setdefault((title, json.dumps(protocol, sort_keys=True)), {})[run.name] = score
    every = [(title, of) for (title, _), of in panels.items()]
    alike = [(title, of) for title, of in every if len(of) > 1 and _alike(list(of.values()))]
    colors = {run.name: PALETTE[i % len(PALETTE)] for i, run in enumerate(runs)}
    pictures = []
    for chosen, shared, says in (
        (every, False, "The components of each model in an order of its own."),
        (alike, True, "All components in the order of the first model."),
    ):
        if chosen:
            with rc_context(STYLE):
                figure = activeness_figure(chosen, colors, shared=shared)
                pictures.append((says, Markup(element(figure, f"activeness: {says}"))))
    return pictures


def _alike(scores: Sequence[Score]) -> bool:
    return len({tuple(score.parts["directions"]) for score in scores}) == 1


def activeness_figure(panels: Panels, colors: Mapping[str, str] | None = None, *, shared: bool = False) -> Figure:
    """A panel for each data set, with bars of all models there, the tallest first, and their standard errors.

    Args:
        panels: titles, and scores of `orthogen.Activeness` by model.
        colors: by model.
        shared: rank components by the first model of a panel, whose others then show theirs in its order; else every
            model has an order of its own.

    Returns:
        The figure, to be saved.

    Raises:
        ValueError: there is no panel; or models that are to share a ranking have other components.

    Example:
        >>> parts = {"directions": ["0", "1"], "activeness": [0.1, 0.4], "stderr": [0.01, 0.02], "effective": 1.5}
        >>> figure = activeness_figure([("Sprites", {"plain": Score(0.25, parts=parts)})])
        >>> [round(float(bar.get_height()), 1) for bar in figure.axes[0].patches]
        [0.4, 0.1]
    """
    if not panels or not all(of for _, of in panels):
        raise ValueError("activeness_figure was given no scores; measure Activeness first")
    if colors is None:
        names = dict.fromkeys(name for _, of in panels for name in of)
        colors = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}
    down = -(-len(panels) // _ACROSS)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 0.35 + 2.6 * down), layout="constrained")
        figure.patch.set_alpha(0)
        for i, (title, of) in enumerate(panels):
            if shared and not _alike(list(of.values())):
                raise ValueError(f"models of {title or 'the panel'} have different components and no ranking in common")
            axes = figure.add_subplot(down, min(_ACROSS, len(panels)), i + 1, facecolor="none")
            axes.set_title(title, loc="left", fontsize=9.5, pad=5)
            _bars(axes, of, colors, shared)
    return figure


def _bars(axes: Axes, models: Mapping[str, Score], colors: Mapping[str, str], shared: bool) -> None:
    values = {name: np.array(score.parts["activeness"], dtype=float) for name, score in models.items()}
    first = next(iter(models))
    width = 0.84 / len(models)
    for i, (name, score) in enumerate(models.items()):
        order = np.argsort(-values[first if shared else name], kind="stable")[:_MOST]
        places = np.arange(len(order)) + (i - (len(models) - 1) / 2) * width
        label = f"{name} ({score.parts['effective']:.1f} in use)" if "effective" in score.parts else name
        axes.bar(places, values[name][order], width * 0.92, color=colors[name], label=label)
        if score.parts.get("stderr"):
            errors = np.array(score.parts["stderr"], dtype=float)[order]
            axes.errorbar(places, values[name][order], errors, fmt="none", ecolor=INK, elinewidth=0.8, alpha=0.7)
    count = min(_MOST, max(map(len, values.values())))
    frame(axes, "")
    named = [models[first].parts["directions"][i] for i in np.argsort(-values[first], kind="stable")[:_MOST]]
    if (shared or len(models) == 1) and max(map(len, named)) <= _NAME:
        axes.set_xticks(range(len(named)), named)
        axes.set_xlabel("component", alpha=0.65, labelpad=2)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: brief(place + 1)))
        axes.set_xlabel("rank", alpha=0.65, labelpad=2)
    axes.set_xlim(-0.6, count - 0.4)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: brief(value)))
    axes.legend(handlelength=1.0)
