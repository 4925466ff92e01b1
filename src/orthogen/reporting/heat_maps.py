"""The picture of a penalty's maps: images, where the penalty is in them, and the matrix that should be diagonal."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from orthogen.checkpoints import home_of, load
from orthogen.core.directions import Directions
from orthogen.core.files import write_atomically
from orthogen.core.generator import Generator
from orthogen.core.probing import ProbePenalty
from orthogen.evaluation.penalty_maps import PenaltyMaps, penalty_maps
from orthogen.reporting._moves import basis_of
from orthogen.reporting.figures import PALETTE, brief

__all__ = ["heat_map_picture", "heat_maps"]

_INK, _FAINT, _PAPER = "#1f2328", "#78808a", "#ffffff"
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.parse_math": False,  # a $ in a name is a dollar
    "text.color": _INK,
    "axes.linewidth": 0.0,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
}
_WORDS = {  # by penalty: its name, its power of derivatives, what its map and its matrix are
    "HessianPenalty": ("Hessian Penalty", 2, "of each pixel, colored by its root", "|H| of the circled pixel"),
    "OroJaR": ("OroJaR", 4, "of each pixel by itself, colored by its fourth root", "|JᵀJ| of the image"),
}
_HEAT = LinearSegmentedColormap.from_list("heat", [_PAPER, "#9fc0dd", PALETTE[0], "#1d4166"])
_GLOW = LinearSegmentedColormap.from_list("glow", ["#f6d9c8", PALETTE[1], "#8c2d04"])
_CELL = 1.35  # inches
_NAMED = 16  # components up to which the axes of a matrix have names


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])


def _image(axes: Axes, image: np.ndarray, place: tuple[int, int]) -> None:
    axes.imshow(image, interpolation="nearest")
    _bare(axes)
    for color, width in ((_INK, 3.0), (_PAPER, 1.4)):  # to be seen on light and on dark
        ring: Any = {"markerfacecolor": "none", "markeredgewidth": width, "markersize": 9, "clip_on": False}
        axes.plot(place[1], place[0], "o", color=color, **ring)


def _map(axes: Axes, image: np.ndarray, heat: np.ndarray, power: int) -> None:
    """The heat on a pale gray of the image, the stronger the larger it is; to the power of a derivative."""
    gray = 0.55 + 0.45 * image.mean(axis=2, keepdims=True) / 255
    share = (heat / max(heat.max(), 1e-300)) ** (1 / power)
    axes.imshow(gray * (1 - share[..., None]) + _GLOW(share)[..., :3] * share[..., None], interpolation="nearest")
    _bare(axes)
    axes.set_xlabel(f"up to {brief(float(f'{heat.max():.2g}'))}", fontsize=8, labelpad=4)


def _matrix(axes: Axes, matrix: np.ndarray, names: tuple[str, ...] | None) -> None:
    axes.imshow(matrix, cmap=_HEAT, vmin=0.0, vmax=max(matrix.max(), 1e-300), interpolation="nearest")
    _bare(axes)
    for spine in axes.spines.values():  # most of it may be as white as the paper
        spine.set(linewidth=0.6, color=_FAINT)
    if names is not None:
        axes.set_yticks(range(len(names)), names, fontsize=7)
    square = np.square(matrix)
    off = f"{1 - square.trace() / square.sum():.0%} off the diagonal" if square.any() else "nothing in it"
    axes.set_xlabel(off, fontsize=8, labelpad=4)


def heat_map_picture(found: PenaltyMaps, title: str = "") -> bytes:
    """A PNG with a column per image: the image, the penalty over it, and the matrix, each up to its own largest value.

    Beneath each matrix stands which share of its squares is off the diagonal: what the penalty wants to be 0.

    Args:
        found: made by `orthogen.evaluation.penalty_maps.penalty_maps`.
        title: a few words more for the heading, such as the name of the run.

    Example:
        >>> import torch
        >>> image, one = torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.ones(1, 8, 8)
        >>> heat_map_picture(PenaltyMaps("OroJaR", ("0", "1"), image, one, ((0, 0),), torch.eye(2)[None]))[1:4]
        b'PNG'
    """
    n, (called, power, of_map, of_matrix) = len(found.images), _WORDS[found.penalty]
    pixels = found.images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    named = found.names if len(found.names) <= _NAMED else None
    with rc_context(_STYLE):
        height, width = pixels.shape[1:3]
        heights = (height / width, height / width, 1.0)
        size = (max(4.6, _CELL * n + 1.1), _CELL * sum(heights) + 1.2)
        figure = Figure(figsize=size, layout="constrained", dpi=160)
        figure.patch.set_facecolor(_PAPER)
        rows = figure.subplots(3, n, squeeze=False, height_ratios=heights)
        for i in range(n):
            _image(rows[0, i], pixels[i], found.places[i])
            _map(rows[1, i], pixels[i], found.maps[i].numpy(), power)
            _matrix(rows[2, i], found.matrices[i].numpy(), named if i == 0 else None)
        for axes, label in zip(rows[:, 0], ("image", "penalty", "matrix"), strict=True):
            axes.set_ylabel(label, color=_FAINT, labelpad=6)
        heading = " · ".join(filter(None, (called, title)))
        figure.suptitle(heading, x=0.012, ha="left", fontsize=11.0, fontweight="bold")
        legend = f"penalty: {of_map}\nmatrix: {of_matrix}; both up to the largest value of each image"
        figure.supxlabel(legend, x=0.012, ha="left", fontsize=8.5, color=_FAINT)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def heat_maps(
    generator: Generator | str | Path,
    penalties: Sequence[ProbePenalty | str] = ("HessianPenalty", "OroJaR"),
    directions: Directions | str | Path | None = None,
    *,
    only: Sequence[int | str] = (),
    to: str | Path | None = None,
    rows: int | None = 12,
    samples: int = 8,
    k: int = 200,
    past_norm: bool = False,
    fix_class: int | None = None,
    seed: int = 0,
    title: str = "",
) -> list[Path]:
    """Write the heat maps of penalties on a generator, a PNG for each.

    Args:
        generator: what draws, or the path of a run or checkpoint.
        penalties: the Hessian Penalty, OroJaR, or both; by name or as they were trained with.
        directions: whose coordinates derivatives are of, or their file; the generator's own, mostly the latent's
            coordinates, for None.
        only: which of them, by number or name; empty for the first ``rows``.
        to: the folder to write to; for None ``heat_maps`` in the run's folder, beside the file, or here.
        rows: how many directions, the first ones; None for all. Time grows with its square.
        samples: how many base latents: those of as many in `orthogen.traverse` with the same ``seed``.
        k: probes of the Hessian Penalty's map.
        past_norm: look behind the network's own norm of latents, see `orthogen.Generator.past_norm`.
        fix_class: the class of all images, of a generator with class labels.
        seed: of the base latents and probes.
        title: a few words for the headings; the name of the run or file where there is one.

    Returns:
        The files written.

    Raises:
        ValueError: something above cannot be; the text says what.
        FileNotFoundError: there is no such run or file.
    """
    if rows is not None and rows < 2:
        raise ValueError(f"rows={rows}: a matrix of derivatives has at least 2 components")
    folder = Path("heat_maps" if to is None else to)
    if isinstance(generator, str | Path):
        title = title or Path(generator).resolve().stem
        folder = home_of(generator) / "heat_maps" if to is None else folder
        generator = load(generator)
    generator = generator if fix_class is None else generator.of_class(fix_class)
    found = basis_of(generator, directions)
    found.warn_if_of_another(generator)
    few = found.take(only) if only else found.take(range(len(found))[:rows])
    written = []
    for penalty in penalties:
        maps = penalty_maps(generator, penalty, few, samples=samples, k=k, past_norm=past_norm, seed=seed)
        along = f"_{Path(directions).stem}" if isinstance(directions, str | Path) else ""
        written.append(folder / f"{maps.penalty}{along}.png")
        write_atomically(written[-1], heat_map_picture(maps, title))
    return written
