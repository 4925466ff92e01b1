"""Spectral monitor: logs how large each class's gains and biases are, and says which class breaks away."""

import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from orthogen.core.groups import grouped
from orthogen.core.kinds import BoundRule, ImageSet, StepRule
from orthogen.core.linalg import spectral_norm
from orthogen.core.shapes import Float
from orthogen.layers.class_vectors import ClassVectors, VectorSource, class_vectors
from orthogen.rules._breaking_away import BreakingAway
from orthogen.rules._class_images import ClassImages
from orthogen.rules._due import Due

__all__ = ["SpectralMonitor"]

CITATION = """\
@inproceedings{rangwani2022improving,
  title     = {Improving {GANs} for Long-Tailed Data through Group Spectral Regularization},
  author    = {Rangwani, Harsh and Jaswani, Naman and Karmali, Tejan and Jampani, Varun and Babu, R. Venkatesh},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2022}
}
"""

Target = Literal["gain", "bias"]

_LISTED = 20  # classes that are logged one by one


@dataclass(frozen=True)
class SpectralMonitor(StepRule):
    """Logs the spectral norm of each class at each conditional norm every so many steps; nothing is changed.

        sigma_y^l = |Gamma_y^l|_2,   as in `GroupSpectral`, by exact singular values

    as ``gain/LAYER/CLASS``: of all classes where there are up to 20, else of the 20 rarest (none where nobody said how
    many images classes have); ``gain/LAYER/mean`` and ``gain/LAYER/max`` over all. At the first measurement
    ``images/CLASS`` is how many there are. Steps in between cost nothing, and those that log wait for the device.

    In GANs on long tails the norms of rare classes shoot up one after the other, and each does as the class collapses
    to copies of a few images. A class has broken away where at some layer its gain's norm

        sigma_y > 2 m,   sigma_y > m + 5 s,   and   sigma_y / m is 1.1 times the least that it was since the start

    with m the median over classes and s 1.48 times the median of |sigma_y - m|: the classes that broke away earlier
    move neither, as long as they are fewer than half; a layer whose m is 0 is not judged. Each is told once by a
    ``RuntimeWarning`` that names it, and logged once as ``away/CLASS``, the factor sigma_y / m; ``breaking_away``
    counts them. What is remembered for it is in ``memory``, which a run keeps in its checkpoints.

    Beside the norms stands how much images of a class differ, as ``diversity/CLASS``: the root mean square distance of
    two images, per pixel and channel, of a few latents of the last batch. It is there for the classes that are logged,
    where the generator is called with class labels; the warning compares it with the median of these.

    Of several processes the first one warns and draws.

    Attributes:
        layers: names of conditional norms, with wildcards; all of them if empty.
        vectors: how norms that are not of this library are found, see `GroupSpectral`.
        targets: "gain", "bias" or both; the paper's figures show gains. Classes are judged by the first.
        every: steps from one measurement to the next (10,000 in the original).
        images: of each class, whose distances are its diversity; 0 for none.
        counts: images of each class; `with_data` takes them from a data set.
        names: of the classes, for the warning.

    Raises:
        ValueError: fields that make no sense; on ``bind``, a generator without conditional norms, or of other classes.

    Reference:
        H. Rangwani, N. Jaswani, T. Karmali, V. Jampani, R. V. Babu, "Improving GANs for Long-Tailed Data through Group
        Spectral Regularization", ECCV 2022, whose figures show these norms over training. When a class counts as broken
        away is ours; its diversity is that of `IntraClassDiversity` in pixels, of fewer images.

    Example:
        >>> from orthogen.layers.batch_norm import ConditionalBatchNorm2d
        >>> norm = ConditionalBatchNorm2d(nn.Embedding(2, 4), nn.Embedding(2, 4), 4)
        >>> norm.gain.weight.data = torch.tensor([[3.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
        >>> monitor = SpectralMonitor().bind(nn.ModuleDict({"norm": norm}))
        >>> log = monitor.before(torch.optim.SGD(norm.parameters(), lr=0.1))
        >>> {name: round(value, 3) for name, value in log.items()}
        {'gain/norm/0': 3.0, 'gain/norm/1': 2.0, 'gain/norm/mean': 2.5, 'gain/norm/max': 3.0, 'breaking_away': 0.0}
    """

    layers: tuple[str, ...] = ()
    vectors: VectorSource | None = None
    targets: tuple[Target, ...] = ("gain",)
    every: int = 1000
    images: int = 16
    counts: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"SpectralMonitor(every={self.every}): give an interval of at least 1 step")
        if self.images == 1 or self.images < 0:
            raise ValueError(f"SpectralMonitor(images={self.images}): give 2 at least, which can differ, or 0 for none")
        if not self.targets or len(set(self.targets) & {"gain", "bias"}) != len(self.targets):
            raise ValueError(
                f"SpectralMonitor(targets={self.targets}): 'gain', 'bias' or both are accepted, as a tuple"
            )

    def with_data(self, data: ImageSet) -> "SpectralMonitor":
        """The monitor with the data's class counts and names; itself where there are no labels."""
        counts = data.class_counts()
        return self if counts is None else replace(self, counts=tuple(counts.tolist()), names=tuple(data.classes))

    def bind(self, module: nn.Module) -> BoundRule:
        """The monitor of the conditional norms of a generator."""
        return _Bound(self, module)


class _Bound(BoundRule):
    memory: BreakingAway
    order = -10

    def __init__(self, monitor: SpectralMonitor, module: nn.Module) -> None:
        self.monitor, self.module, self._due = monitor, module, Due(monitor.every)
        found = self._found().values()
        for place, target in enumerate(("gain", "bias")):
            if target in monitor.targets and all(pair[place] is None for pair in found):
                raise ValueError(f"SpectralMonitor: no layer has a {target}; leave it out of targets")
        classes = next(rows.shape[0] for pair in found for rows in pair if rows is not None)
        for what, given in (("counts", monitor.counts), ("names", monitor.names)):
            if given and len(given) != classes:
                raise ValueError(
                    f"SpectralMonitor: {len(given)} {what} were given for the {classes} classes of the generator"
                )
        self.listed = _listed(classes, monitor.counts)
        judged = sum(pair[monitor.targets[0] == "bias"] is not None for pair in found)
        self.memory = BreakingAway(judged, classes)
        self._first = not (dist.is_available() and dist.is_initialized() and dist.get_rank())
        self._images = ClassImages(module, monitor.images) if monitor.images and self._first else None

    def _found(self) -> ClassVectors:
        return class_vectors(self.module, self.monitor.vectors, self.monitor.layers, "SpectralMonitor")

    def before(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
        values = self._measured() if self._due(optimizer) else {}
        if self._images is not None:
            self._images.forget()
        return values

    @torch.no_grad()
    def _measured(self) -> dict[str, float | Tensor]:
        values: dict[str, float | Tensor] = {}
        if not self.memory.begun and self.monitor.counts:
            values |= {f"images/{label}": float(self.monitor.counts[label]) for label in self.listed}
        judged: dict[str, Tensor] = {}
        for target in self.monitor.targets:
            norms = self._norms(target)
            judged = judged or norms
            for layer, sigma in norms.items():
                values |= {f"{target}/{layer}/{label}": sigma[label].item() for label in self.listed}
                values |= {f"{target}/{layer}/{name}": at.item() for name, at in _summary(sigma).items()}
        return values | self._judge(judged)

    def _norms(self, target: Target) -> dict[str, Float[Tensor, "classes"]]:
        """Of all classes by layer, in float64 on the CPU."""
        pairs = {name: pair[target == "bias"] for name, pair in self._found().items()}
        return {
            name: spectral_norm(grouped(rows()).double()).sigma.cpu()
            for name, rows in pairs.items()
            if rows is not None
        }

    def _judge(self, norms: dict[str, Tensor]) -> dict[str, float | Tensor]:
        """Say which classes broke away since the last measurement; what there is to log of it, and of diversity."""
        sigma = torch.stack(list(norms.values()))
        if not sigma.isfinite().all():  # what is not finite is for the training loop to find
            return {}
        new = self.memory(sigma)
        spreads = self._spreads({*self.listed, *(each.label for each in new)})
        values: dict[str, float | Tensor] = {f"diversity/{label}": spread for label, spread in spreads.items()}
        for label, layer, factor in new:
            values[f"away/{label}"] = factor
            if self._first:
                warnings.warn(
                    f"{self._called(label)} breaks away: its {self.monitor.targets[0]} at {list(norms)[layer]} has "
                    f"{factor:.1f} times the spectral norm of the median class, and grows{_beside(label, spreads)}; "
                    "such a class is often about to collapse: look at its samples and its IntraClassDiversity, and see "
                    "GroupSpectral",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return values | {"breaking_away": float(self.memory.away.sum())}

    def _spreads(self, labels: Collection[int]) -> dict[int, float]:
        """How much images of each class differ, where that can be had."""
        found = {label: self._images.spread(label) for label in sorted(labels)} if self._images else {}
        return {label: spread for label, spread in found.items() if spread is not None}

    def _called(self, label: int) -> str:
        known = [self.monitor.names[label]] if self.monitor.names else []
        known += [f"{self.monitor.counts[label]} images"] if self.monitor.counts else []
        return f"class {label}" + (f" ({', '.join(known)})" if known else "")


def _listed(classes: int, counts: tuple[int, ...]) -> list[int]:
    """The classes that are logged one by one: all, or the rarest of many."""
    if classes <= _LISTED:
        return list(range(classes))
    return sorted(sorted(range(len(counts)), key=counts.__getitem__)[:_LISTED])


def _summary(sigma: Float[Tensor, "classes"]) -> dict[str, Tensor]:
    return {"mean": sigma.mean(), "max": sigma.max()}


def _beside(label: int, spreads: dict[int, float]) -> str:
    """The diversity of a class beside that of the others, in words."""
    if label not in spreads:
        return ""
    usual = median(spreads.values())
    return f"; two of its images differ by {spreads[label]:.2g}, those of the median class by {usual:.2g}"
