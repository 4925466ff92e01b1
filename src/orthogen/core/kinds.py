"""What can be added to the library: one interface per kind, one abstract method each.

A member is a frozen dataclass in a file of its own. Every field has a default, and the default is the paper's value.
The catalogue finds it by its file; there is no registry. What a member carries between steps (a recognizer, vectors of
a power iteration) is an ``nn.Module`` returned by ``init`` and handed back as ``state``, so moving, saving and resuming
need no code. Weight, interval, ramp and layers belong to the term of an objective, not to the method.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from orthogen.core.attached import attach
from orthogen.core.directions import Directions
from orthogen.core.features import Features
from orthogen.core.generator import Generator, adapt
from orthogen.core.latent import Latent
from orthogen.core.maps import LatentMap
from orthogen.core.score import Score
from orthogen.core.shapes import Bool, Float, Int, UInt8

__all__ = [
    "Augmentation",
    "CodeMetric",
    "CriticBatch",
    "CriticPenalty",
    "Data",
    "Discovery",
    "Extractor",
    "Eye",
    "FactorSet",
    "ImageMetric",
    "ImageSet",
    "LatentMetric",
    "LatentPenalty",
    "Model",
    "StepRule",
    "Validation",
    "WeightPenalty",
]


# ---------------------------------------------------------------------------------------------- penalties
class LatentPenalty(ABC):
    """A function of how a generator's activations depend on its latent. It sees a `LatentMap`, never a generator."""

    def init(self, generator: Generator, data: "ImageSet | None" = None) -> nn.Module | None:
        """What is learned or remembered between steps; None for most. Its parameters join the generator's optimizer."""
        return None

    @abstractmethod
    def terms(
        self,
        f: LatentMap,
        z: Float[Tensor, "batch dim"],
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
        probes: Float[Tensor, "k batch dim"] | None = None,
    ) -> dict[str, Tensor]:
        """One scalar per layer of the map, unweighted."""

    @property
    def shares_base(self) -> bool:
        """Whether activations at z that are known (`LatentMap.at`) save it a pass; a step then hands in its own."""
        return False

    def layer_weight(self, layer: str) -> float:
        """The weight of a layer's term in the sum; 1 unless the method has weights of its own."""
        return 1.0

    def total(self, terms: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The weighted sum of what `terms` returned."""
        return torch.stack([self.layer_weight(name) * term for name, term in terms.items()]).sum()

    def __call__(
        self,
        f: LatentMap,
        z: Float[Tensor, "batch dim"],
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
        probes: Float[Tensor, "k batch dim"] | None = None,
    ) -> Float[Tensor, ""]:
        """The weighted sum of the terms: a scalar to add to the generator's loss."""
        return self.total(self.terms(f, z, state=state, rng=rng, probes=probes))


class WeightPenalty(ABC):
    """A function of a network's weights alone: of a generator's, or of any other's."""

    def init(self, network: Generator | nn.Module, data: "ImageSet | None" = None) -> nn.Module | None:
        """What is remembered between steps; None for most."""
        return None

    @abstractmethod
    def __call__(
        self, network: Generator | nn.Module, *, state: nn.Module | None = None, rng: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """A scalar to add to the network's loss."""


@dataclass(frozen=True)
class CriticBatch:
    """What a critic step has at hand: images, the critic's logits for them, class labels, and the fakes' latents."""

    real: Float[Tensor, "batch c h w"]
    fake: Float[Tensor, "batch c h w"]
    real_logits: Float[Tensor, "batch ..."]
    fake_logits: Float[Tensor, "batch ..."]
    real_labels: Int[Tensor, "batch"] | None = None
    fake_labels: Int[Tensor, "batch"] | None = None
    fake_latents: Float[Tensor, "batch dim"] | None = None


class CriticPenalty(ABC):
    """A function of the critic around real and generated images; added to the critic's loss."""

    def init(
        self, generator: Generator, data: "ImageSet | None" = None, critic: nn.Module | None = None
    ) -> nn.Module | None:
        """What is learned or remembered between steps; None for most. Its parameters join the critic's optimizer."""
        return None

    @abstractmethod
    def __call__(
        self,
        critic: nn.Module,
        batch: CriticBatch,
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """A scalar to add to the critic's loss. ``critic(images)`` or ``critic(images, labels)`` gives logits."""

    def of_generator(
        self,
        critic: nn.Module,
        fake: Float[Tensor, "batch c h w"],
        latents: Float[Tensor, "batch dim"],
        labels: Int[Tensor, "batch"] | None = None,
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, ""] | None:
        """What the generator's loss gains of it, under the same weight; None, as for most, for nothing.

        Args:
            critic: as it is in the generator's step; neither it nor ``state`` learns there.
            fake: generated images, with their graph.
            latents: of these images.
            labels: of these images, where the generator takes labels.
            state: what the penalty remembers.
            rng: draws.
        """
        return None


class BoundRule(ABC):
    """A step rule that holds the very parameters it acts on.

    Attributes:
        order: where several rules act around one step, those of lower order act first, whatever order they came in.
        log: what there was to log at the last step of an optimizer that the rule is attached to.
        memory: what is remembered between steps, which a run keeps in its checkpoints; None for most.
    """

    order: ClassVar[int] = 0
    memory: nn.Module | None = None
    log: Mapping[str, float | Tensor] = MappingProxyType({})

    @abstractmethod
    def before(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
        """Act on gradients or learning rates before the optimizer steps; return what to log."""

    def after(self, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
        """Act on parameters after the optimizer stepped; return what to log."""
        return {}

    def attach(self, optimizer: torch.optim.Optimizer) -> "BoundRule":
        """Act around every ``optimizer.step()`` from now on, in a training loop of one's own; returns the rule."""
        attach(self, optimizer)
        return self


class StepRule(ABC):
    """What happens between backward and step.

    Gradients are those of the whole batch by then: accumulated, averaged over processes, clipped.
    """

    def with_data(self, data: "ImageSet") -> "StepRule":
        """The rule with what it can use of the data set, such as its class counts; itself where it needs none."""
        return self

    @abstractmethod
    def bind(self, module: nn.Module) -> BoundRule:
        """Resolve the rule's names to parameters of ``module``.

        Raises:
            ValueError: a name matches no parameter.
        """


# ---------------------------------------------------------------------------------------------- directions and scores
class Discovery(ABC):
    """A way to find latent directions in a trained generator."""

    @abstractmethod
    def fit(self, generator: Generator, *, rng: torch.Generator | None = None) -> Directions:
        """Directions of the generator's latent space."""


class LatentMetric(ABC):
    """A score of a generator along directions of its latent space."""

    @abstractmethod
    def __call__(
        self, generator: Generator, directions: Directions | None = None, *, rng: torch.Generator | None = None
    ) -> Score:
        """The score; the latent's own coordinates where ``directions`` is None."""

    def with_data(self, data: "FactorSet") -> "LatentMetric":
        """The metric with what it can use of a data set, such as a reader of factors; itself where it needs none."""
        return self


class CodeMetric(ABC):
    """A score of codes against ground-truth factors."""

    @abstractmethod
    def __call__(
        self, codes: Float[Tensor, "n c"], factors: Int[Tensor, "n f"], *, rng: torch.Generator | None = None
    ) -> Score:
        """The score of ``codes`` for the factor classes in ``factors``, row by row."""


class ImageMetric(ABC):
    """A score of generated against real images, on what an extractor sees in them.

    Attributes:
        reads: what it needs of both sets, of `orthogen.core.features.PARTS`; evaluation gathers no more than that.
        may_read: what it makes use of where the extractor has it, and can do without.
        needs_reference: whether it looks at real images at all; scores of those that do not have no reference in their
            protocol, and can be had without data.
        on_inception: what the score is called on the features of Inception (FID, KID, IS), where that name is reserved
            for them; None where one name serves all features.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"vectors"})
    may_read: ClassVar[frozenset[str]] = frozenset()
    needs_reference: ClassVar[bool] = True
    on_inception: ClassVar[str | None] = None

    @abstractmethod
    def __call__(
        self,
        real: Float[Tensor, "n d"] | Features,
        fake: Float[Tensor, "m d"] | Features,
        *,
        rng: torch.Generator | None = None,
    ) -> Score:
        """The score of ``fake`` against ``real``; a bare tensor stands for the part that the metric reads."""

    def with_data(self, data: "ImageSet") -> "ImageMetric":
        """The metric with what it can use of the data set, such as its class counts; itself where it needs none."""
        return self


class Validation(ABC):
    """Measures a generator now and then while it is trained, so that a run can keep the checkpoint that was best."""

    def with_data(self, data: "ImageSet") -> "Validation":
        """The validation with all it needs, opened before training begins; itself where that is nothing.

        Args:
            data: what the generator is trained on.

        Raises:
            FileNotFoundError, ValueError: something is missing, or does not fit the data.
        """
        return self

    @abstractmethod
    def score(self, generator: Generator, data: "ImageSet", *, seed: int) -> Score:
        """One score, the lower the better, whose protocol says how it came about.

        The generator's modes and buffers and torch's global random states are as they were, afterwards.

        Args:
            generator: with averaged weights, where there is an average.
            data: what it is trained on.
            seed: of everything that is drawn; the same at every validation of a run.
        """


class Extractor(ABC):
    """A way to see images: where features and class logits come from. Named in every score made on it.

    Attributes:
        inception: whether this is the Inception network whose Fréchet distance is called FID.
    """

    inception: ClassVar[bool] = False

    @abstractmethod
    def load(self, device: torch.device) -> "Eye":
        """The network, ready to look at images.

        Raises:
            FileNotFoundError: its weights are not there; the message says how to get them.
        """


@dataclass(frozen=True, eq=False)
class Eye:
    """A loaded extractor.

    Attributes:
        see: uint8 images ``(n, c, h, w)`` -> features ``(n, d)`` and logits ``(n, k)`` or None, in evaluation mode,
            without gradients, on the extractor's device.
        protocol: its name, the hash of its weights, how images are resized and scaled; ready for JSON.
    """

    see: Callable[[Tensor], tuple[Tensor, Tensor | None]]
    protocol: Mapping[str, Any]


# ---------------------------------------------------------------------------------------------- models and data
class Model(ABC):
    """Networks that are trained together.

    Attributes:
        latent: where latents of the generator come from.
        bounded: whether images end within [-1, 1], as behind a tanh; those of others are cut off when they are shown.
        classes: how many class labels the generator takes, as ``label=``, or the classifier tells apart; 0 for none.
        grows: whether networks can start small and grow to the model's ``resolution``, by `grow`.
    """

    latent: Latent
    bounded: ClassVar[bool] = True
    grows: ClassVar[bool] = False
    classes: int = 0

    @abstractmethod
    def build(self) -> dict[str, nn.Module]:
        """Freshly initialized networks by name: ``generator`` and, where there are any, ``critic``, ``encoder``, ...

        A model that draws nothing builds a ``classifier`` alone, from images in [-1, 1] to logits, and has no latent.

        Initialization draws from torch's global generator, as modules do; seed it for a given start.
        """

    def grow(self, network: nn.Module, lod: float) -> None:
        """Bring one of the networks to a level of detail: 0 is the full resolution, 1 half of it; fractions fade.

        Raises:
            ValueError: these networks do not grow, or have no such level.
        """
        raise ValueError(f"{type(self).__name__} does not grow; leave growth out, or train a ProGan")

    def layer_share(self, layer: str, lod: float) -> float:
        """How far a layer of the generator takes part at a level of detail, from 0 (not yet) to 1 (wholly)."""
        return 1.0

    def adapt(self, generator: nn.Module) -> Generator:
        """The `Generator` around a built (or loaded) generator network."""
        return adapt(generator, latent=self.latent, classes=self.classes)


class Augmentation(ABC):
    """A random change of images that gradients pass through, for all images that a critic sees, real and generated.

    Every call draws anew, on the device of ``rng``; what is drawn is handed to the device of the images without waiting
    for it. One that adapts to the critic keeps how far it has gone in the module that ``init`` returns.
    """

    def init(self) -> nn.Module | None:
        """What is remembered between steps; None for most."""
        return None

    @abstractmethod
    def __call__(
        self,
        images: Float[Tensor, "batch c h w"],
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, "batch c h w"]:
        """The changed images; the process's private generator draws if ``rng`` is None."""

    def observe(self, state: nn.Module | None, real_logits: Float[Tensor, "batch ..."]) -> dict[str, Tensor]:
        """Take note of the critic's logits for a batch of real images, after its step; return what to log."""
        return {}


class ImageSet(ABC):
    """Images by index, as uint8, with class labels where they are known.

    Attributes:
        channels: 1 or 3.
        resolution: side of the square images, in pixels.
        classes: class names; empty where there are none.
    """

    channels: int
    resolution: int
    classes: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int:
        """How many images there are."""

    @abstractmethod
    def images(self, index: Int[Tensor, "n"], *, rng: torch.Generator | None = None) -> UInt8[Tensor, "n c h w"]:
        """The images of those indices; ``rng`` drives random choices such as flips, and None makes none."""

    def labels(self, index: Int[Tensor, "n"]) -> Int[Tensor, "n"] | None:
        """The class labels of those indices (int64); None where there are no classes."""
        return None

    def class_counts(self) -> Int[Tensor, "classes"] | None:
        """How many images each class has; None where there are no classes.

        Raises:
            ValueError: a label that is no class.
        """
        labels = self.labels(torch.arange(len(self))) if self.classes else None
        if labels is None:
            return None
        low, high = (int(end) for end in labels.aminmax()) if len(labels) else (0, 0)
        if low < 0 or high >= len(self.classes):
            raise ValueError(
                f"the data has {len(self.classes)} classes and labels from {low} to {high}; labels must be from 0 to "
                f"{len(self.classes) - 1}"
            )
        return torch.bincount(labels, minlength=len(self.classes))


class FactorSet(ImageSet):
    """Images drawn from known factors. Index and factors are one number in mixed radix, last factor fastest.

    Attributes:
        factor_names: name of each factor.
        factor_sizes: how many values each factor takes.
    """

    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]

    def __len__(self) -> int:
        total = 1
        for size in self.factor_sizes:
            total *= size
        return total

    def factors(self, index: Int[Tensor, "n"]) -> Int[Tensor, "n f"]:
        """The factor classes of those indices."""
        columns = []
        for size in reversed(self.factor_sizes):
            columns.append(index % size)
            index = index // size
        return torch.stack(columns[::-1], dim=1)

    def index(self, factors: Int[Tensor, "n f"]) -> Int[Tensor, "n"]:
        """The index of those factor classes; inverse of `factors`."""
        total = torch.zeros_like(factors[:, 0])
        for column, size in enumerate(self.factor_sizes):
            total = total * size + factors[:, column]
        return total

    def same(self, a: Int[Tensor, "*n f"], b: Int[Tensor, "*n f"]) -> Bool[Tensor, "*n f"]:
        """Where two rows of factor classes cannot be told apart in an image; sets with symmetries say more than ==."""
        return a == b

    @abstractmethod
    def read_factors(self, images: Float[Tensor, "n c h w"]) -> tuple[Int[Tensor, "n f"], Float[Tensor, "n f"]]:
        """The factor classes read back off images in [-1, 1], and a confidence in [0, 1] for each."""


class Data(ABC):
    """Where training images come from: a description that opens to an `ImageSet`."""

    @abstractmethod
    def open(self) -> ImageSet:
        """The images.

        Raises:
            FileNotFoundError: the path of the description does not exist.
            ValueError: what is there is not what was described.
        """


# names of the kinds in words, for listings
KINDS: Mapping[str, Sequence[type[Any]]] = {
    "regularizers": (LatentPenalty, WeightPenalty, CriticPenalty),
    "rules": (StepRule,),
    "discovery": (Discovery,),
    "metrics": (LatentMetric, CodeMetric, ImageMetric),
    "extractors": (Extractor,),
    "models": (Model,),
    "data": (Data,),
    "augment": (Augmentation,),
}
