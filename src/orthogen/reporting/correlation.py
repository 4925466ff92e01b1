"""How much the groups of channels of a class resemble one another, as a picture."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from orthogen.core.groups import group_correlation
from orthogen.core.shapes import Float
from orthogen.reporting.figures import PALETTE
from orthogen.reporting.svg import STYLE

__all__ = ["correlation_figure"]

_LIKENESS = LinearSegmentedColormap.from_list("likeness", ["#1d4166", PALETTE[0], "#f4f7fa", PALETTE[1], "#7d2218"])
_RANGE = 0.06  # of the colors, as in the authors' figures
_LETTERS = 16  # of a layer's name, above its column


def correlation_figure(
    vectors: Mapping[str, Float[Tensor, "classes c"]],
    classes: Sequence[int],
    names: Sequence[str] = (),
    limit: float = _RANGE,
) -> Figure:
    """How much the groups of channels resemble one another, see `orthogen.core.groups.group_correlation`.

    A row of panels per class, a column per layer; the diagonal is left blank. Groups of a class that collapses resemble
    one another: its panel has strong colors off the diagonal.

    Args:
        vectors: gain offsets or biases of all classes, by layer; ``{name: gain() for name, (gain, _) in
            class_vectors(module).items()}`` gives them (`orthogen.layers.class_vectors`).
        classes: those that are shown.
        names: of all classes.
        limit: the correlation that the strongest colors stand for.

    Raises:
        ValueError: there is no layer, or no class, or not that one.
    """
    count = min((len(each) for each in vectors.values()), default=0)
    if not vectors or not classes or not all(0 <= label < count for label in classes):
        raise ValueError(
            f"correlation_figure was given {len(vectors)} layers and the classes {list(classes)}; give layers and some "
            f"of the classes 0 to {max(0, count - 1)}"
        )
    with rc_context(STYLE):
        figure = Figure(figsize=(1.0 + 1.25 * len(vectors), 0.45 + 1.2 * len(classes)), layout="constrained")
        figure.patch.set_alpha(0)
        panels = figure.subplots(len(classes), len(vectors), squeeze=False)
        for column, (layer, rows) in enumerate(vectors.items()):
            matrices = group_correlation(rows.detach().double().cpu()).numpy()
            for row, label in enumerate(classes):
                matrix = matrices[label].copy()
                np.fill_diagonal(matrix, np.nan)
                axes = panels[row, column]
                axes.imshow(matrix, cmap=_LIKENESS, vmin=-limit, vmax=limit, interpolation="none")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
                if row == 0:
                    axes.set_title(
                        layer if len(layer) <= _LETTERS else "…" + layer[1 - _LETTERS :], fontsize=8.0, pad=4
                    )
                if column == 0:
                    axes.set_ylabel(names[label] if names else f"class {label}", fontsize=8.5)
        return figure
