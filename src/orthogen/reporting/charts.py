"""Which charts a set of runs gets: a line per run, so that runs compare, or per layer, in a chart for each run."""

from collections.abc import Sequence

from markupsafe import Markup

from orthogen.reporting.conditioning import shown_keys
from orthogen.reporting.figures import PALETTE, curves
from orthogen.reporting.record import RunRecord
from orthogen.reporting.spectral import spectral_keys

__all__ = ["charts"]

_SECTIONS = {
    "loss": "Losses",
    "error": "Errors",
    "validation": "Validation",
    "divergence": "Divergence from the prior",
    "penalty": "Penalties",
    "norm": "Gradient norms",
    "rate": "Learning rates and speed",
    "speed": "Learning rates and speed",
}
_TITLES = {
    "speed/images_per_second": "images per second",
    "error/train": "of the images learned from, as they are seen",
    "error/test": "of the test images",
}
_SPLIT = ("penalty", "divergence")  # whose third level is one line each in a chart for each run
_PARTS = {"latent": "nats by latent"}
_HIDDEN = ("seconds", "step", "epoch")  # counters, not curves


def charts(runs: Sequence[RunRecord]) -> dict[str, list[tuple[str, Markup]]]:
    """Titles and SVG elements of what the runs logged, by section; what is in none of the known ones comes last.

    What is in the pictures of conditioning and of classes' norms is left out.
    """
    hidden = {*_HIDDEN, *shown_keys(runs), *spectral_keys(runs)}
    keys = dict.fromkeys(key for run in runs for key in run.log if key not in hidden)
    layered = [key for key in keys if key.partition("/")[0] in _SPLIT and key.count("/") > 1]
    found: dict[str, list[tuple[str, Markup]]] = {section: [] for section in (*_SECTIONS.values(), "More")}
    for key in keys:
        if key in layered:
            continue
        head, _, rest = key.partition("/")
        lines = {run.name: run.log[key] for run in runs if key in run.log}
        colors = [PALETTE[i % len(PALETTE)] for i, run in enumerate(runs) if key in run.log]
        named = rest if head in _SECTIONS and rest else key.replace("/", " ")  # of a rule: nog cosine, olr rate
        title = _TITLES.get(key, named) + (" learning rate" if head == "rate" else "")
        svg = curves(lines, f"{title} over images", colors=colors, legend=len(runs) > 1, log=head != "rate")
        found[_SECTIONS.get(head, "More")].append((title, Markup(svg)))
    for run in runs:
        for head, term in dict.fromkeys(tuple(key.split("/")[:2]) for key in layered if key in run.log):
            start = f"{head}/{term}/"
            lines = {
                key.removeprefix(start): run.log[key] for key in layered if key in run.log and key.startswith(start)
            }
            title = _PARTS.get(term, f"{term} by layer") + (f", {run.name}" if len(runs) > 1 else "")
            found[_SECTIONS[head]].append((title, Markup(curves(lines, f"{title}, over images"))))
    return {section: entries for section, entries in found.items() if entries}
