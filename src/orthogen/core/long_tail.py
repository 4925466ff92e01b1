"""Long-tailed classes: how many images each keeps, which ones, and what weight rare classes get."""

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from orthogen.core import rng
from orthogen.core.shapes import Float, Int

__all__ = [
    "Compat",
    "Kind",
    "check_long_tail",
    "effective_number_weights",
    "effective_numbers",
    "head_count",
    "kept_images",
    "long_tail_counts",
    "long_tail_indices",
]

Number = float | int
Kind = Literal["exponential", "step"]
Compat = Literal["released", "released_lsun"]


# ---------------------------------------------------------------------------------------------- weights
def effective_numbers(counts: Sequence[int] | Int[Tensor, "classes"], beta: Number) -> Float[Tensor, "classes"]:
    """The effective number of images of each class, E = (1 - beta^n) / (1 - beta), in float64.

    It is how many images do not repeat others: n for beta = 1 (its limit), 1 for beta = 0.

    Args:
        counts: images n of each class.
        beta: 0 to 1; (N - 1) / N where a class has no more than N distinct images.

    Raises:
        ValueError: beta is outside [0, 1], or a class has no images.

    Reference:
        Cui et al., Class-Balanced Loss Based on Effective Number of Samples (CVPR 2019), equation 2.

    Example:
        >>> effective_numbers([1, 2, 3], beta=0.5).tolist()
        [1.0, 1.5, 1.75]
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta={beta}: give 0 (all classes alike) to 1 (inversely to their counts), such as 0.999")
    n = torch.as_tensor(counts, dtype=torch.float64)
    if len(n) == 0 or n.min() < 1:
        raise ValueError(f"{_class_without_images(n.tolist())}; give counts of 1 or more")
    if beta == 1:
        return n
    return -torch.expm1(n * math.log(beta)) / (1 - beta) if beta > 0 else torch.ones_like(n)


def effective_number_weights(
    counts: Sequence[int] | Int[Tensor, "classes"], beta: Number, weight: Number = 1.0
) -> Float[Tensor, "classes"]:
    """Weights of classes that grow as their effective numbers of images E shrink, in float64.

        lambda_y = weight (1 / E_y) / mean_k (1 / E_k)

    Args:
        counts: images of each class.
        beta: of the effective number: 0 gives all classes the same weight, 1 the inverse of their counts.
        weight: the mean of the weights.

    Raises:
        ValueError: beta is outside [0, 1], or a class has no images.

    Reference:
        Rangwani et al., Improving GANs for Long-Tailed Data through Group Spectral Regularization (ECCV 2022), after
        Cui et al., Class-Balanced Loss Based on Effective Number of Samples (CVPR 2019).

    Example:
        >>> effective_number_weights([300, 100], beta=1.0).tolist()
        [0.5, 1.5]
    """
    inverse = effective_numbers(counts, beta).reciprocal()
    return weight * inverse / inverse.mean()


def _class_without_images(counts: Sequence[Number]) -> str:
    empty = [label for label, count in enumerate(counts) if count < 1]
    if not empty:
        return "no classes were given"
    more = f" (nor have {len(empty) - 1} others)" if len(empty) > 1 else ""
    return f"class {empty[0]} of 0 to {len(counts) - 1} has no images{more}"


# ---------------------------------------------------------------------------------------------- counts
def check_long_tail(rho: Number, kind: str, compat: str | None, who: str) -> None:
    """Refuse what no long tail can be made with.

    Raises:
        ValueError: rho is below 1 or not finite, or there is no such kind or compat.
    """
    if not (rho >= 1 and math.isfinite(rho)):
        raise ValueError(
            f"{who}(rho={rho}): the imbalance ratio is images of the first class by images of the last, 1 or more; "
            "a factor such as imb_factor=0.01 is rho=100"
        )
    if kind not in get_args(Kind):
        raise ValueError(f"{who}(kind={kind!r}): {' or '.join(map(repr, get_args(Kind)))} is accepted")
    if compat is not None and compat not in get_args(Compat):
        raise ValueError(f"{who}(compat={compat!r}): None, {' or '.join(map(repr, get_args(Compat)))} is accepted")


def long_tail_counts(
    largest: Number, classes: int, rho: Number, kind: Kind = "exponential", compat: Compat | None = None
) -> tuple[int, ...]:
    """How many images each class of a long tail has; class 0 is the head.

        exponential    n_k = int( largest / rho^(k / (K - 1)) ),  k = 0 ... K - 1
        step           n_k = largest for the first K // 2 classes, int( largest / rho ) for the others

    Args:
        largest: images of class 0.
        classes: how many classes, K.
        rho: the imbalance ratio.
        kind: ``"exponential"`` or ``"step"``.
        compat: ``"released_lsun"`` divides k by K - 1 + 1e-9, as the release does for LSUN.

    Raises:
        ValueError: rho is below 1, there are fewer than 2 classes, or ``largest`` is below 1.

    Reference:
        Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss (NeurIPS 2019), for both
        kinds; counts as in the released code of Rangwani et al., Improving GANs for Long-Tailed Data through Group
        Spectral Regularization (ECCV 2022).

    Example:
        >>> long_tail_counts(5000, 10, rho=100)
        (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
    """
    check_long_tail(rho, kind, compat, "long_tail_counts")
    if classes < 2:
        raise ValueError(f"a long tail of {classes} class{'' if classes == 1 else 'es'}: it needs at least 2")
    if not largest >= 1:
        raise ValueError(f"long_tail_counts(largest={largest}): give the first class at least 1 image")
    # divided, not multiplied by 1 / rho as in the release: 49 * (1 / 49) is less than 1
    if kind == "step":
        return tuple(int(largest if k < classes // 2 else largest / rho) for k in range(classes))
    steps = classes - 1 + (1e-9 if compat == "released_lsun" else 0)
    return tuple(int(largest / rho ** (k / steps)) for k in range(classes))


def head_count(labels: Int[Tensor, "n"], classes: int, compat: Compat | None = None) -> Number:
    """How many images class 0 keeps: all, or n / K in the released mode, which takes the set for a balanced one.

    Raises:
        ValueError: it has none.
    """
    head = len(labels) / classes if compat == "released" else int((labels == 0).sum())
    if head < 1:
        raise ValueError(f"class 0 of 0 to {classes - 1} has no images; it is the head, which has most")
    return head


# ---------------------------------------------------------------------------------------------- which images
def kept_images(
    labels: Int[Tensor, "n"], counts: Sequence[int], seed: int = 0, compat: Compat | None = None
) -> Int[Tensor, "m"]:
    """Which images are kept so that class k has ``counts[k]`` of them.

    The choice is seeded class by class, so that fewer images of a class are a part of more, and no class depends on
    another. See `long_tail_indices` for ``compat``.

    Raises:
        ValueError: a label is not one of 0 to ``len(counts) - 1``, or a class is to keep none, or more than it has.
    """
    low, high = (int(end) for end in labels.aminmax()) if len(labels) else (0, 0)
    if low < 0 or high >= len(counts):
        raise ValueError(f"labels go from {low} to {high}; {len(counts)} classes have labels 0 to {len(counts) - 1}")
    present = torch.bincount(labels, minlength=len(counts)).tolist()
    if min(present) == 0:
        raise ValueError(f"{_class_without_images(present)}; leave it out, or give it some")
    for label, (count, has) in enumerate(zip(counts, present, strict=True)):
        if count < 1:
            raise ValueError(f"class {label} would keep none of its {has} images; take a smaller rho")
        if count > has:
            raise ValueError(
                f"class {label} has {has} images and {count} are asked for; order the classes by their images, most "
                "first, take a larger rho, or keep fewer images of class 0"
            )
    released = np.random.RandomState(seed)  # what the release made of numpy's global generator
    kept = []
    for label, members in enumerate(labels.argsort(stable=True).split(present)):
        if compat is None:
            members = members[torch.randperm(len(members), generator=rng.generator(seed, "long tail", label))]
        elif compat == "released":
            released.shuffle(members.numpy())
        kept.append(members[: counts[label]])
    chosen = torch.cat(kept)
    return chosen.sort().values if compat is None else chosen


def long_tail_indices(
    labels: Any, rho: Number, kind: Kind = "exponential", seed: int = 0, compat: Compat | None = None
) -> Int[Tensor, "m"]:
    """Which images to keep of a labeled set so that its classes have a long tail, see `long_tail_counts`.

    Class 0 keeps all its images. The indices ascend; the images kept at a larger ``rho`` are among those kept at a
    smaller one, with the same seed.

    Args:
        labels: the class of each image, 0 to K - 1: a list, an array or a tensor.
        rho: images of the first class by images of the last, 1 or more.
        kind: ``"exponential"`` or ``"step"``.
        seed: decides which images are kept.
        compat: ``"released"`` keeps what group spectral regularization's code keeps of CIFAR: the first class has n / K
            images, each class is shuffled in turn by numpy's generator (that code always seeds it with 0), and the
            indices stand class by class, shuffled. ``"released_lsun"`` is its rule for LSUN: the first images of each
            class, class by class.

    Raises:
        ValueError: rho is below 1, a label is negative or no whole number, there are fewer than 2 classes, a class up
            to the last has no image, or has fewer than it is to keep, or is to keep none.

    Reference:
        Rangwani et al., Improving GANs for Long-Tailed Data through Group Spectral Regularization (ECCV 2022).

    Example:
        >>> labels = [0, 1, 2] * 100
        >>> kept = long_tail_indices(labels, rho=10)
        >>> torch.tensor(labels)[kept].bincount()
        tensor([100,  31,  10])
        >>> set(long_tail_indices(labels, rho=20).tolist()) <= set(kept.tolist())
        True
    """
    check_long_tail(rho, kind, compat, "long_tail_indices")
    given = _whole_numbers(labels)
    present = torch.bincount(given)
    if len(present) < 2:
        raise ValueError(f"the labels are of {len(present)} class{'' if len(present) == 1 else 'es'}; give at least 2")
    largest = head_count(given, len(present), compat)
    return kept_images(given, long_tail_counts(largest, len(present), rho, kind, compat), seed, compat)


def _whole_numbers(labels: Any) -> Int[Tensor, "n"]:
    """Labels as int64 on the CPU."""
    given = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise ValueError(
            f"labels of type {given.dtype} and shape {given.shape} were given; one whole number per image is needed"
        )
    low, high = int(given.min()), int(given.max())
    if low < 0 or high >= len(given):  # with as many classes as images, or more, one has none
        raise ValueError(f"{len(given)} labels go from {low} to {high}; they are 0 to the number of classes - 1")
    return torch.from_numpy(given.astype(np.int64))
