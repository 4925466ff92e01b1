"""What the CIFAR recipes of the orthogonality papers share: networks, schedule, and the switches as rules and terms."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from orthogen.augment.pad_crop import PadCrop
from orthogen.core.kinds import Data, StepRule
from orthogen.data.factor_classes import FactorClasses
from orthogen.models.decorrelated_resnet import DecorrelatedResNet
from orthogen.regularizers.soft_orthogonality import SoftOrthogonality
from orthogen.rules.conditioning_monitor import ConditioningMonitor
from orthogen.rules.nearest_orthogonal_gradient import NearestOrthogonalGradient
from orthogen.rules.optimal_learning_rate import OptimalLearningRate
from orthogen.training.objective import Term
from orthogen.training.recipe import ClassifierRecipe, Sgd

__all__ = ["Norm", "classifier", "smaller", "stem"]

Norm = Literal["zca", "batchnorm"]
EPOCH = 50_000  # images of CIFAR's training set

DEPARTURES = (
    "The released layer cannot run: its square root takes one matrix and is handed a batch of them. Here the root is "
    'exact (an eigendecomposition), and so is its gradient; model.method="pade" is the released one.',
    "The released OLR changes nothing: it looks for conv1.weight in a network whose parameters begin with module. Here "
    "the layer is chosen by reference, and a name that matches nothing is an error.",
    "The released script has no seed and keeps the best error on the test set. Here the last error is the result, and "
    "the best one is called what it is.",
    "The last, smaller batch of an epoch is filled up with images of the next one.",
    "The papers' tables were not to be had: their errors are unknown here, and nothing is claimed.",
)
OURS = "The papers' weight of the soft penalty is unknown; 1e-4 of the squared Frobenius norm is ours."
TORCHS = "The papers' settings of spectral normalization are unknown; torch's are used."


def stem(*, ow: bool, sn: bool) -> Literal["plain", "skew", "spectral"]:
    """The kind of stem that the switches ask for.

    Raises:
        ValueError: both are on.
    """
    if ow and sn:
        raise ValueError("ow and sn are two constraints on one weight; give one of them")
    return "skew" if ow else "spectral" if sn else "plain"


def classifier(
    name: str, model: DecorrelatedResNet, data: Data, test: Data, *, nog: bool, olr: bool, ol: bool
) -> ClassifierRecipe:
    """350 epochs of SGD, the learning rate a tenth after 100, 200 and 300; the name says what is switched on."""
    layers = (model.stem_layer,)
    on = {
        "batchnorm": model.norm == "batchnorm",
        "nog": nog,
        "olr": olr,
        "ow": model.stem == "skew",
        "ol": ol,
        "sn": model.stem == "spectral",
    }
    rules: Mapping[str, StepRule] = {
        **({"nog": NearestOrthogonalGradient(layers)} if nog else {}),
        **({"olr": OptimalLearningRate(layers)} if olr else {}),
        "stem": ConditioningMonitor(layers, eps=model.eps),
    }
    return ClassifierRecipe(
        "-".join([name, *(switch for switch, here in on.items() if here)]),
        model,
        data,
        test,
        images=350 * EPOCH,
        batch=128,
        penalties={"ol": Term(SoftOrthogonality(layers, form="frobenius"), weight=1e-4)} if ol else {},
        rules=rules,
        optimizer=Sgd(lr=0.1, momentum=0.9, weight_decay=5e-4),
        drops=(100 * EPOCH, 200 * EPOCH, 300 * EPOCH),
        augmentation=PadCrop(4),
        checkpoint_every=10 * EPOCH,
        sample_every=0,
        test_every=EPOCH,
        departures=(*DEPARTURES, *[OURS] * ol, *[TORCHS] * on["sn"]),
    )


def smaller(full: ClassifierRecipe, called: str, data: FactorClasses) -> ClassifierRecipe:
    """The same on drawn scenes, of a minute or two on two cores."""
    assert isinstance(full.model, DecorrelatedResNet)
    classes = len(data.open().classes)
    return replace(
        full,
        name=full.name.replace(called, f"{called}_small"),
        model=replace(full.model, classes=classes, resolution=16, width=32, blocks=(1, 1, 1)),
        data=data,
        test=replace(data, part="test"),
        images=25_600,
        drops=(17_920, 23_040),
        checkpoint_every=0,
        test_every=6_400,
        departures=(
            *full.departures,
            f"A twin for two CPU cores: drawn scenes of 16 pixels, whose {data.factor} is the class, 32 channels in "
            "the stem, three blocks, 25,600 images.",
        ),
    )
