"""A classifier that learns from labeled images: what a run of `orthogen.ClassifierRecipe` holds, and its steps."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.images import to_float
from orthogen.core.kinds import Augmentation, ImageSet, WeightPenalty
from orthogen.core.score import Score
from orthogen.core.untouched import evaluating
from orthogen.training.distributed import Processes
from orthogen.training.feed import Batch
from orthogen.training.objective import Term
from orthogen.training.player import Player
from orthogen.training.recipe import ClassifierRecipe
from orthogen.training.state import AUGMENTATION, State, Values, tally

__all__ = ["Lesson"]

AT_ONCE = 500  # images tested in one pass


class Lesson(State):
    """A classifier and the images it is tested on, at image 0 when made."""

    shown = "classifier"
    recipe: ClassifierRecipe

    def __init__(self, recipe: ClassifierRecipe, images: ImageSet, processes: Processes) -> None:
        try:
            self.test_images = recipe.test.open()
        except (FileNotFoundError, ModuleNotFoundError, ValueError) as error:
            raise type(error)(f"test: {error}") from error
        super().__init__(recipe, images, processes)

    @property
    def augmentation(self) -> Augmentation | None:
        """Of the images that are learned from."""
        return self.recipe.augmentation

    def build(self, images: ImageSet) -> dict[str, nn.Module]:
        """A classifier that fits the images, and those of the test."""
        model, built = self.recipe.model, self.recipe.model.build()
        if set(built) != {"classifier"}:
            raise ValueError(
                f"{type(model).__name__} builds {', '.join(sorted(built))}; a ClassifierRecipe takes a model that "
                "builds a classifier, such as DecorrelatedResNet"
            )
        self._check_images(images)
        self._check_augmentation()
        self.classifier = self.place(built["classifier"])
        self._check_classifier(images)
        return built

    def _check_images(self, images: ImageSet) -> None:
        model = self.recipe.model
        for data, its in ((self.recipe.data, images), (self.recipe.test, self.test_images)):
            counts = its.class_counts()
            if counts is None or len(counts) != model.classes:
                has = "no class labels" if counts is None else f"{len(counts)} classes"
                raise ValueError(
                    f"{type(model).__name__} tells {model.classes} classes apart and {type(data).__name__} has {has}; "
                    "change one to fit the other"
                )
        if not len(self.test_images):
            raise ValueError("test: the data set is empty; give one with at least one image")
        for i, (learned, tested) in enumerate(zip(images.classes, self.test_images.classes, strict=True)):
            if learned != tested:
                raise ValueError(
                    f"test: class {i} is {tested!r}, and in training it is {learned!r}; give the same classes in the "
                    "same order"
                )
        ours, theirs = (f"{x.channels}x{x.resolution}x{x.resolution}" for x in (self.test_images, images))
        if ours != theirs:
            raise ValueError(
                f"test: its images are {ours} and those of training {theirs} (channels x height x width); fit one to "
                "the other"
            )

    def _check_augmentation(self) -> None:
        its = self.augmentation
        if its is not None and type(its).observe is not Augmentation.observe and its.init() is not None:
            raise ValueError(
                f"{type(its).__name__} follows a critic, which a classifier does not have; fix how strong it is "
                "(p=0.2), or give another, such as PadCrop"
            )

    def _check_classifier(self, images: ImageSet) -> None:
        name, size = type(self.recipe.model).__name__, (images.channels, images.resolution, images.resolution)
        fit = f"images of {'x'.join(map(str, size))} (channels x height x width)"
        with torch.no_grad(), evaluating(self.classifier):
            try:
                logits = self.classifier(torch.zeros(2, *size, device=self.processes.device))
            except RuntimeError as error:
                reason = " ".join(str(error).split())
                raise ValueError(f"{name} does not take {fit}: {reason}; change one to fit the other") from error
        if logits.shape != (2, self.recipe.model.classes):
            raise ValueError(
                f"{name} makes {tuple(logits.shape)} of two {fit}; it says that it tells {self.recipe.model.classes} "
                "classes apart"
            )

    def memory_of(self, term: Term, images: ImageSet) -> nn.Module | None:
        """What a penalty on weights remembers."""
        assert isinstance(term.penalty, WeightPenalty)  # the recipe has seen to it
        return term.penalty.init(self.classifier, images)

    def seat(self, images: ImageSet) -> dict[str, Player]:
        """The classifier, with what its penalties learn."""
        recipe = self.recipe
        rules = {name: rule.with_data(images).bind(self.classifier) for name, rule in recipe.rules.items()}
        memories = dict(self.memories.items())
        return {"classifier": Player("classifier", self.classifier, memories, recipe.optimizer, recipe.clip, rules)}

    def take_step(self, batch: Batch) -> Values:
        """One step on this process's part of a batch, by cross entropy and penalties."""
        parts, values = self.recipe.accumulate, Values()
        for share in batch.chunk(parts):
            assert share.labels is not None
            logits = self._logits(self.classifier, self._changed(share.images))
            loss = F.cross_entropy(logits, share.labels)
            tally(values, "loss/classifier", loss / parts)
            tally(values, "error/train", _wrong(logits, share.labels).float().mean() / parts)
            (loss / parts).backward()
        for name, penalty, weight in self.due(WeightPenalty, self.step):
            value = penalty(self.classifier, state=self.memory(name), rng=self.rng(name))
            tally(values, f"penalty/{name}", value)
            (weight * value).backward()
        values |= self.players["classifier"].step(self.rate, self.processes, self.buffers)
        self.count()
        return values

    def _changed(self, images: Tensor) -> Tensor:
        if self.augmentation is None:
            return images
        return self.augmentation(images, state=self.memory(AUGMENTATION), rng=self.own["augment"])

    def _logits(self, network: nn.Module, images: Tensor) -> Tensor:
        with self.autocast():
            return network(self.laid(images)).float()

    @property
    def test_every(self) -> int:
        """Images between tests."""
        return self.recipe.test_every

    @torch.no_grad()
    def test(self) -> tuple[float, dict[str, float]]:
        """The error on the test images, a share; the processes share them out."""
        index = torch.arange(len(self.test_images))[self.processes.rank :: self.processes.size]
        wrong = torch.zeros((), device=self.processes.device)
        network = self.average.module
        with evaluating(network):
            for rows in index.split(AT_ONCE):
                images = to_float(self.test_images.images(rows).to(self.processes.device))
                labels = self.test_images.labels(rows)
                assert labels is not None
                wrong += _wrong(self._logits(network, images), labels.to(self.processes.device)).sum()
        self.processes.average([wrong])
        error = (wrong * self.processes.size / len(self.test_images)).item()
        return error, {"error/test": error}

    def scores(self) -> Sequence[Score]:
        """The last error on the test images, and the best, which is selected on them."""
        if self.tests is None:
            return ()
        n, names = len(self.test_images), self.test_images.classes
        protocol = {
            "data": type(self.recipe.test).__name__,
            "images": n,
            "resolution": self.test_images.resolution,
            "classes": f"{len(names)}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}",
            "precision": self.recipe.precision,
        }

        def score(name: str, value: float, images: int, selection: str) -> Score:
            stderr = (value * (1 - value) / n) ** 0.5
            about = {"seed": self.recipe.seed, "trained_images": images}
            return Score(value, stderr, n, name, {**protocol, "selection": selection}, about=about)

        chosen = f"the best of {self.tests.count} tests, selected on the test images themselves"
        return (
            score("Test error", self.tests.last, self.images, "none: the last of the run"),
            score("Best test error", self.tests.best, self.tests.images, chosen),
        )


def _wrong(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.argmax(dim=1) != labels
