"""Gradient-boosted trees that tell a factor's class from codes, for the scores that ask how well and by which code.

All trees of a round, one per class, grow as one batch, level by level. Who is in a node is a weight of 0 or 1 per
sample, so that growing is arithmetic on long rows.

Letters: ``t`` trees, ``k`` nodes of a level, ``n`` training samples, ``m`` test samples, ``c`` codes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from orthogen.core.progress import track
from orthogen.core.shapes import Float, Int
from orthogen.metrics._splits import Sorted, best_split

__all__ = ["Boosted", "boost"]


@dataclass(frozen=True)
class Boosted:
    """What boosting found.

    Attributes:
        gain: what the splits on each code took off the squared error of the residuals, summed over all trees.
        parts: every training sample's part in it, where asked for.
        fitted: predicted class of each training sample.
        predicted: predicted class of each test sample.
    """

    gain: Float[Tensor, "c"]
    parts: Float[Tensor, "c n"] | None
    fitted: Int[Tensor, "n"]
    predicted: Int[Tensor, "m"]


def _children(member: Float[Tensor, "t k n"], right: Float[Tensor, "t k n"]) -> Float[Tensor, "t 2*k n"]:
    """Members of the left and of the right child of every node."""
    both = member.new_empty(*member.shape[:2], 2, member.shape[2])
    both[:, :, 1] = right
    torch.sub(member, right, out=both[:, :, 0])
    return both.flatten(1, 2)


def _mean(
    member: Float[Tensor, "t k n"], residual: Float[Tensor, "t n"]
) -> tuple[Float[Tensor, "t k"], Float[Tensor, "t k"]]:
    """The mean residual in each node, and how many samples are in it."""
    n = member.sum(dim=2)
    return (member @ residual[..., None])[..., 0] / n.clamp_min(1), n


def _spread(value: Float[Tensor, "t k"], member: Float[Tensor, "t k n"]) -> Float[Tensor, "t n"]:
    """Each sample's value: that of its node."""
    return (value[:, None] @ member)[:, 0]


@dataclass(frozen=True)
class Grown:
    """Trees, by their leaves.

    Attributes:
        mean: residual in each leaf.
        member: 1 for the training samples in a leaf, else 0.
        away: the same for test samples.
    """

    mean: Float[Tensor, "t k"]
    member: Float[Tensor, "t k n"]
    away: Float[Tensor, "t k m"]


def _grow(
    codes: Sorted,
    residual: Float[Tensor, "t n"],
    test: Float[Tensor, "c m"],
    depth: int,
    gain: Float[Tensor, "c"],
    parts: Float[Tensor, "c n"] | None,
) -> Grown:
    """Trees that fit the residuals; adds to ``gain`` and ``parts``, see `Boosted`."""
    member, away = torch.ones_like(residual)[:, None], residual.new_ones(len(residual), 1, test.shape[1])
    mean, n = _mean(member, residual)
    for _ in range(depth):
        centered = (residual[:, None] - mean[..., None]).mul_(member)
        split = best_split(codes, centered, member, n)
        gain += split.gain.sum(dim=(1, 2))
        right = (test[split.code] - split.threshold[..., None]).sign_().clamp_min_(0)
        away = _children(away, right.mul_(away))
        parent, above = member, mean
        member = _children(member, split.right)
        mean, n = _mean(member, residual)
        if parts is not None:
            before, after = _spread(above, parent), _spread(mean, member)
            rid = (residual - before).square_() - (residual - after).square_()
            parts.index_add_(0, split.code.flatten(), (rid[:, None] * parent).flatten(0, 1))
    return Grown(mean, member, away)


def boost(
    codes: Sorted,
    labels: Int[Tensor, "n"],
    test: Float[Tensor, "c m"],
    *,
    rounds: int,
    depth: int,
    rate: float,
    with_parts: bool,
    what: str,
) -> Boosted:
    """Learn the classes of the training samples and predict those of the test samples.

    Multinomial deviance, or binomial with a single tree per round for two classes; the first prediction is the classes'
    shares, and a leaf takes Friedman's one Newton step, times ``rate``.

    Args:
        codes: training samples.
        labels: their classes, 0 up to their number, each of them present.
        test: samples to predict.
        rounds: how many, of one tree per class.
        depth: levels of splits in a tree.
        rate: learning rate.
        with_parts: whether to tell the samples' parts.
        what: a few words for who waits.

    Reference:
        Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", Annals of Statistics 2001, algorithms 5
        and 6.
    """
    classes = int(labels.max()) + 1
    two = classes == 2
    target = F.one_hot(labels, classes).T[1 if two else 0 :].float()
    share = target.mean(dim=1, keepdim=True)
    start = share.logit() if two else share.log()
    step = rate * (1 if two else 1 - 1 / classes)
    raw, far = start.repeat(1, len(labels)), start.repeat(1, test.shape[1])
    gain = start.new_zeros(len(test))
    parts = start.new_zeros(len(test), len(labels)) if with_parts else None
    for _ in track(range(rounds), what):
        log = F.logsigmoid(raw) if two else raw.log_softmax(dim=0)
        residual = -target * torch.expm1(log) - (1 - target) * log.exp()
        trees = _grow(codes, residual, test, depth, gain, parts)
        size = residual.abs()
        curvature = _mean(trees.member, size * (1 - size))[0]  # p (1 - p), whatever the class is
        value = torch.where(curvature > 1e-30, step * trees.mean / curvature, 0.0)
        raw += _spread(value, trees.member)
        far += _spread(value, trees.away)
    fitted, predicted = ((x[0] >= 0).long() if two else x.argmax(dim=0) for x in (raw, far))
    return Boosted(gain, parts, fitted, predicted)
