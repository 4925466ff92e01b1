"""The VP score: can a small network tell from two images which latent coordinate changed?"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from orthogen.core.choices import check_choices
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.kinds import LatentMetric
from orthogen.core.rng import private
from orthogen.core.score import Score
from orthogen.core.shapes import Float, Int
from orthogen.metrics._moves import PAST_NORM, directions_of
from orthogen.metrics._pairs import Pairs
from orthogen.metrics._predictor import Input
from orthogen.metrics._training import APART, Precision, Run, Training, accuracy, split

__all__ = ["Pairs", "VariationScore"]

CITATION = """\
@inproceedings{zhu2020learning,
  title     = {Learning Disentangled Representations with Latent Variation Predictability},
  author    = {Zhu, Xinqi and Xu, Chang and Tao, Dacheng},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2020}
}
"""

DEAD = 0.5  # gray levels of 255, on the mean over pixels and pairs
VALUES = 1 << 22  # of images compared at a time

Shown = Literal["best", "last", "cosine", "both"]


def visible_change(pairs: Pairs) -> Float[Tensor, "k"]:
    """Mean absolute difference of two images in gray levels, by class; NaN for a class without pairs."""
    total, labels = torch.zeros(pairs.classes, dtype=torch.float64), pairs.labels.cpu()
    few = max(1, VALUES // pairs.first[0].numel())
    for a, b, label in zip(*(x.split(few) for x in (pairs.first, pairs.second, labels)), strict=True):
        apart = torch.maximum(a, b).sub_(torch.minimum(a, b))  # |a - b| in eight bits
        total.index_add_(0, label, apart.float().mean(dim=(1, 2, 3)).double().cpu())
    return total / torch.bincount(labels, minlength=pairs.classes)


def _error(each: Float[Tensor, "k"], n: int) -> float | None:
    """The standard error of the mean accuracy of predictors, in percent, that share n test pairs; None for one."""
    value = each.mean().item()
    return math.sqrt(each.var().item() / len(each) + value * (100 - value) / n) if len(each) > 1 else None


@dataclass(frozen=True)
class VariationScore(LatentMetric):
    """Accuracy, in percent, of a small network that sees G(z) and G(z') and must name the one coordinate that differs.

        VP = 100 P( argmax_d Q(G(z), G(z'))_d = d ),    z' = z but for coordinate d, d uniform

    Q is trained on a small share of the pairs and tested on the others; the easier the latent's effects are told apart,
    the fewer pairs it needs. Chance is 100 / classes. Where a coordinate changes by little the images are almost the
    same, so that a perfect generator stays below 100, and dimensions without effect bound the score: their share and
    the confusion matrix are among the parts. Along directions, brought to length 1 as q, the component of z is that of
    another latent, z' = z + ((z2 - z).q) q, and the classes are the directions. The generator is in evaluation mode,
    and noise inside it is the same in a pair.

    The published scores belong to different protocols and cannot be compared with each other:

    ==========================  =======  =========  ==========  ===============  ======  ==========  ============
    system                      dims     ``prior``  ``input``   ``train_share``  ``lr``  ``epochs``  other fields
    ==========================  =======  =========  ==========  ===============  ======  ==========  ============
    VP-GAN, CelebA (default)    30       (-2, 2)    difference  0.1              0.01    200
    VP-GAN, defaults in code                        concat      0.5              0.01    60
    OroJaR, dSprites            6        (-2, 2)    difference  0.01             0.0005  300
    OroJaR, ProGAN              12, 3    (-2, 2)    concat      0.1              0.0005  300
    EigenGAN, 128 and 256 px    30, 36   (-4, 4)    not stated  not stated
    Householder GAN, StyleGAN2  60 in W             not stated  not stated                           ``step=5``
    ==========================  =======  =========  ==========  ===============  ======  ==========  ============

    `progan` and `dsprites` are those of OroJaR; `eigengan` and `simple_gan` those of the orthogonality papers.

    Where it is stated they have 10,000 pairs, Adam, batches of 32, one predictor on an unseeded split and the ``best``
    readout. Their scripts draw latents of U[low, high] as in the table whatever the generator was trained on; here that
    is asked for by ``prior``, and the default is the generator's own.
    Pairs went through files: JPEG of quality 75 (``jpeg_quality=75``), of 95, or PNG. ``best`` selects among all epochs
    by accuracy on the test set itself: 1 to 5 points above ``cosine``, which selects nothing, tests once, and is faster
    by that. The ``last`` epoch at constant rate scatters by 10 points.

    Predictors are trained one after another: one grouped network gives the same numbers 10 to 30 % more slowly on a CPU
    (on CUDA it was not measured). The standard error is that of their mean, with the binomial one of the n test pairs,
    which they share: sqrt(s^2 / predictors + p (1 - p) / n). A dimension is dead if its pairs differ by less than half
    a gray level on the mean over pixels. Classes of which there is no pair do not count.

    Attributes:
        pairs: how many are drawn.
        train_share: share of them to train on.
        epochs: passes over these.
        lr: learning rate of Adam.
        batch: pairs per step.
        input: whether the predictor sees the ``difference`` of the images or both (``concat``, in their channels).
        predictors: how many, each with its own split, initialization and order on the same pairs.
        readout: ``best``: highest test accuracy of all epochs, at constant rate; ``last``: that of the last one;
            ``cosine``: that of the last one with a rate that falls to 0; ``both``: the score of ``best``, with that of
            ``cosine`` among the parts, from as many predictors more.
        eval_every: epochs between two tests for ``best``.
        precision: ``auto`` is bfloat16 where the processor has it and, on 512 test pairs, is within half a point of
            float32; else float32.
        step: how far z' is moved along its direction, in units of the latent; None takes the component from another
            draw of the latent.
        prior: draw latents of U[low, high], whatever the generator's own are; None takes its own.
        jpeg_quality: send the images through JPEG first, as the released files do; None leaves them as they are.
        held: blocks of a `Blocks` latent that are none of the coordinates and the same in a pair, drawn from their own
            prior, times a factor.
        past_norm: leave the network's own norm of latents out, see `orthogen.Generator.past_norm`.

    Raises:
        ValueError: a field is out of range; too few pairs; pairs of a single class; images that are not finite;
            directions of another width than the latent; a generator that takes conditions.
        TypeError: a generator in half precision.

    Reference:
        X. Zhu, C. Xu, D. Tao, "Learning Disentangled Representations with Latent Variation Predictability", ECCV 2020
        (arXiv 2007.12885), and its released code; Y. Wei et al., "Orthogonal Jacobian Regularization", ICCV 2021.

    Example:
        Two coordinates that change the two halves of an image are told apart.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Uniform
        >>> half = torch.arange(8).div(4, rounding_mode="floor")
        >>> G = adapt(torch.nn.Identity(), Uniform(2), call=lambda m, z: z[:, half].reshape(-1, 1, 1, 8).tile(8, 1))
        >>> quick = VariationScore(pairs=300, epochs=12, lr=0.001, train_share=0.5, predictors=2, readout="cosine")
        >>> score = quick(G, rng=torch.Generator().manual_seed(0))
        >>> score.value > 90, score.parts["chance"], score.parts["dead"]
        (True, 50.0, [])
    """

    pairs: int = 10_000
    train_share: float = 0.1
    epochs: int = 200
    lr: float = 0.01
    batch: int = 32
    input: Input = "difference"
    predictors: int = 3
    readout: Shown = "best"
    eval_every: int = 1
    precision: Precision = "auto"
    step: float | None = None
    prior: tuple[float, float] | None = None
    jpeg_quality: int | None = None
    held: Mapping[str, float] = field(default_factory=dict)
    past_norm: bool = False

    @classmethod
    def progan(cls) -> "VariationScore":
        """OroJaR's of ProGAN: latents of U(-2, 2) behind the network's own norm, JPEG, both images, 1,000 pairs.

        On CLEVR-Simple the release changes six components alone, the most active ones, whose numbers somebody typed in
        for each network. Here they are directions: ``Directions.coordinates(12).take(most_active)``.
        """
        released = cls(train_share=0.1, epochs=300, lr=5e-4, input="concat")
        return replace(released, prior=(-2.0, 2.0), jpeg_quality=75, past_norm=True)

    @classmethod
    def dsprites(cls) -> "VariationScore":
        """OroJaR's of its simple GAN on dSprites: latents of U(-2, 2), the difference of two images, 100 pairs.

        The release writes JPEG of quality 95 with red and blue exchanged, which gray images do not show. Its readme
        asks for three classes where there are six latent components; here there are as many as components.
        """
        return cls(train_share=0.01, epochs=300, lr=5e-4, prior=(-2.0, 2.0), jpeg_quality=95)

    @classmethod
    def eigengan(cls, noise: str = "epsilon") -> "VariationScore":
        """EigenGAN's pairs in OrthoImproveCond: coordinates of U(-4, 4), the noise block times 0.7 and none of them.

        The release writes JPEG files with red and blue exchanged, and names no predictor; here images stay as they are,
        and the predictor is VP-GAN's for CelebA, read out in both ways.
        """
        return cls(readout="both", prior=(-4.0, 4.0), held={noise: 0.7})

    @classmethod
    def simple_gan(cls) -> "VariationScore":
        """The simple GAN's pairs in OrthoImproveCond: all coordinates of U(-2, 2).

        Which predictor its paper took is unknown; here it is VP-GAN's for CelebA, read out in both ways, on images as
        they are. The released scripts turn the latent of one method's networks by SeFa first, and not of the others':
        as a score of its own, that is `measure` along the directions that `SeFa` finds.
        """
        return cls(readout="both", prior=(-2.0, 2.0))

    def __post_init__(self) -> None:
        check_choices(self)
        for name, least in {"pairs": 1, "epochs": 1, "predictors": 1, "eval_every": 1, "batch": 2}.items():
            if getattr(self, name) < least:
                raise ValueError(f"VariationScore({name}={getattr(self, name)}): give at least {least}")
        if not 0 < self.train_share < 1:
            raise ValueError(f"VariationScore(train_share={self.train_share}): give a share between 0 and 1")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"VariationScore(lr={self.lr}): give a positive learning rate, such as 0.01")
        if self.step is not None and not (math.isfinite(self.step) and self.step != 0):
            raise ValueError(f"VariationScore(step={self.step}): give a length other than 0, or None to redraw")
        if self.prior is not None and not (self.prior[0] < self.prior[1] and all(map(math.isfinite, self.prior))):
            raise ValueError(f"VariationScore(prior={self.prior}): give (low, high), or None for the generator's own")
        if self.jpeg_quality is not None and not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"VariationScore(jpeg_quality={self.jpeg_quality}): give 1 to 100, or None for no JPEG")

    def __call__(
        self, generator: Generator, directions: Directions | None = None, *, rng: torch.Generator | None = None
    ) -> Score:
        """The score on fresh pairs."""
        generator, rng = generator.past_norm() if self.past_norm else generator, private() if rng is None else rng
        along = directions_of("VariationScore", generator, directions, self.held)
        drawn = Pairs.draw(generator, self.pairs, along, step=self.step, prior=self.prior, held=self.held, rng=rng)
        score = self._score(drawn, list(along.names), rng)
        latent = generator.latent
        about = {
            "space": along.space,
            "change": "redrawn from the prior" if self.step is None else f"moved by {self.step:g}",
            "lengths": "unit",
            "prior": [type(latent).__name__, *latent.span] if self.prior is None else ["Uniform", *self.prior],
            **({"held": dict(self.held)} if self.held else {}),
            **PAST_NORM[self.past_norm],
        }
        return replace(score, protocol={**score.protocol, **about})

    def of(self, pairs: Pairs, *, rng: torch.Generator | None = None) -> Score:
        """The score of given pairs, on their device; ``pairs``, ``step``, ``prior`` and ``held`` do not matter then."""
        return self._score(pairs, [str(i) for i in range(pairs.classes)], private() if rng is None else rng)

    def _score(self, pairs: Pairs, names: list[str], rng: torch.Generator) -> Score:
        self._check(pairs)
        if self.jpeg_quality is not None:
            pairs = pairs.as_jpeg(self.jpeg_quality)
        settings = {each.name: getattr(self, each.name) for each in fields(Training)}
        training = Training(**(settings | ({"readout": "best"} if self.readout == "both" else {})))
        seeds = torch.randint(2**62, (self.predictors,), generator=rng, device=rng.device).tolist()
        runs, fell_back = training.runs(pairs, seeds)
        read = [max(run.counts, key=accuracy) for run in runs]  # there is one alone unless the readout is best
        each = torch.tensor([accuracy(counts) for counts in read], dtype=torch.float64)
        value, n = each.mean().item(), len(runs[0].test)
        change = visible_change(pairs).tolist()
        varied = [i for i, level in enumerate(change) if level == level]
        chance, k = 100 / len(varied), len(runs)
        return Score(
            value,
            stderr=_error(each, n),
            n=n,
            name="VP score",
            protocol={
                "unit": "percent",
                "pairs": len(pairs),
                "images": list(pairs.first.shape[1:]),
                "classes": len(varied),
                "chance": round(chance, 4),
                **asdict(training),
                "eval_every": self.eval_every if training.readout == "best" else None,
                "selection": "on the test set" if training.readout == "best" else "none",
                "arithmetic": training.arithmetic(pairs.first.device),
                "jpeg_quality": self.jpeg_quality,
                "predictors": k,
                "stderr": "over predictors (split, initialization, order) on the same pairs, and binomial over pairs",
            },
            parts={
                "note": self._note(chance, sum(change[i] < DEAD for i in varied), len(varied), fell_back),
                "directions": names,
                "chance": chance,
                **self._confusion(torch.stack(read).sum(dim=0)),
                "change": [change[i] if i in varied else None for i in range(len(change))],
                "dead": [names[i] for i in varied if change[i] < DEAD],
                "dead_share": sum(change[i] < DEAD for i in varied) / len(varied),
                "predictors": each.tolist(),
                **(self._curves(runs) if training.readout == "best" else {}),
                **(self._cosine(training, pairs, seeds) if self.readout == "both" else {}),
            },
        )

    def _check(self, pairs: Pairs) -> None:
        found = pairs.labels.unique().tolist()
        if len(found) < 2:
            raise ValueError(f"all {len(pairs)} pairs are of class {found[0]}; there is nothing to tell apart")
        trained, tested = (len(part) for part in split(pairs.labels, self.train_share))
        if min(trained, tested) < 2:
            raise ValueError(
                f"{len(pairs)} pairs at train_share={self.train_share} are {trained} to train on and {tested} to test "
                "on; give more pairs, so that there are at least 2 of each"
            )

    @staticmethod
    def _note(chance: float, dead: int, classes: int, fell_back: bool) -> str:
        idle = f"; {dead} of {classes} dimensions change nothing one could see" if dead else ""
        plain = f"; in float32, since bfloat16 was off by more than {APART} points" if fell_back else ""
        return f"chance is {chance:.3g} %{idle}{plain}"

    @staticmethod
    def _confusion(table: Int[Tensor, "k k"]) -> dict[str, Any]:
        right, total = table.diagonal().tolist(), table.sum(dim=1).tolist()
        return {
            "class_accuracy": [100 * r / t if t else None for r, t in zip(right, total, strict=True)],
            "confusion": table.tolist(),
        }

    @staticmethod
    def _curves(runs: list[Run]) -> dict[str, Any]:
        curves = [[accuracy(counts) for counts in run.counts] for run in runs]
        return {
            "last": [curve[-1] for curve in curves],
            "best_epoch": [run.epochs[curve.index(max(curve))] for run, curve in zip(runs, curves, strict=True)],
            "curves": curves,
        }

    @staticmethod
    def _cosine(training: Training, pairs: Pairs, seeds: list[int]) -> dict[str, Any]:
        runs, _ = replace(training, readout="cosine").runs(pairs, seeds)
        each = torch.tensor([accuracy(run.counts[-1]) for run in runs], dtype=torch.float64)
        return {"cosine": each.mean().item(), "cosine_stderr": _error(each, len(runs[0].test))}
