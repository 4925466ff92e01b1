"""Path length: how far images move per step along a way between two latents; PPL where the distance is LPIPS."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from orthogen.core.choices import check_choices
from orthogen.core.directions import Directions
from orthogen.core.functions import described, name_of, networks
from orthogen.core.generator import Generator
from orthogen.core.kinds import LatentMetric
from orthogen.core.latent import Latent
from orthogen.core.maps import probe
from orthogen.core.progress import track
from orthogen.core.rng import private
from orthogen.core.score import Score
from orthogen.core.shapes import Float
from orthogen.core.untouched import evaluating, seeded
from orthogen.metrics._lpips import Lpips
from orthogen.metrics._moves import directions_of, held_columns, try_out
from orthogen.metrics._paths import Prior, Way, between, prior_draw, trim
from orthogen.metrics._resizing import face, resized

__all__ = ["PathLengthScore"]

CITATION = """\
@inproceedings{karras2019stylegan,
  title     = {A Style-Based Generator Architecture for Generative Adversarial Networks},
  author    = {Karras, Tero and Laine, Samuli and Aila, Timo},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2019}
}
@inproceedings{zhang2018perceptual,
  title     = {The Unreasonable Effectiveness of Deep Features as a Perceptual Metric},
  author    = {Zhang, Richard and Isola, Phillip and Efros, Alexei A. and Shechtman, Eli and Wang, Oliver},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2018}
}
"""

Distance = Callable[[Tensor, Tensor], Tensor]


def pixels(a: Float[Tensor, "n ..."], b: Float[Tensor, "n ..."]) -> Float[Tensor, "n"]:
    """The mean squared difference over pixels and channels."""
    return (a.double() - b.double()).square().flatten(1).mean(dim=1)


@dataclass(frozen=True)
class PathLengthScore(LatentMetric):
    """Mean distance of two images a small step apart on the way between two latents, over the step squared.

    With latents z0, z1 of the generator's own prior and w(t) the way from one to the other,

        value = mean of  d(G(w(t)), G(w(t + e))) / e^2,   of those from the lowest to the highest percentile kept

    It is PPL, and printed so, where d is LPIPS; with another distance it is called path length. Smooth generators have
    short paths, and so have those that draw one image only: read it beside a score of quality.

    The default differs from the papers in two points. Their interpolation scales latents to length 1, off the
    distribution that the generator was trained on. Their step of 1e-4 leaves the difference to rounding where images
    hardly differ, or products are rounded; at 0.01 rounding is 1e-5 of the value, and paths through a sharp decoder
    come out some 5 % shorter than in the limit. It also needs no weights, so that its distance is that of pixels. The
    papers' protocols are `hessian_penalty`, `variation_predictability` and `eigengan`; `layered` is the last without
    its errors. LPIPS needs ``weights``.

    Given directions, each step is projected on their span, so that only they move. The generator, and the networks of a
    distance, are in evaluation mode, and noise inside the generator is the same in both images. The standard error is
    that of a trimmed mean (winsorized, Tukey and McLaughlin).

    Attributes:
        samples: how many pairs.
        distance: "pixels" (mean squared difference), "lpips" (on VGG16), or a function of two batches of images in
            [-1, 1] that returns one squared distance per row.
        weights: the folder of LPIPS's two published weights files; torch.hub's own if None. Nothing is downloaded.
        step: e, in units of the whole way.
        path: "slerp" keeps the length of Gaussian latents; "unit slerp" is the papers'; "linear" suits uniform ones.
        rows: interpolate every so many coordinates for themselves, as EigenGAN's layers; all together if None.
        sampling: "end" for t = 0, "full" for t ~ U(0, 1).
        prior: "own"; "normal" and "unit" draw z ~ N(0, I) or U(0, 1) whatever the generator's latent is.
        held: blocks of a `Blocks` latent that are equal in the pair and drawn from their own prior, with a factor.
        crop: look at "all" of the image, or at StyleGAN's crop to the "face".
        resize: "none"; "shrink" averages images above 256 pixels down to it; "256" also enlarges smaller ones.
        percentiles: those of distances between which (inclusive) the mean is taken.
        batch: pairs per pass.

    Raises:
        ValueError: fewer than two samples, words that no field takes, images that are not finite or too small for the
            crop, a latent that ``rows`` or ``held`` do not fit, or a generator that takes conditions.
        TypeError: a generator in half precision.
        FileNotFoundError: LPIPS's weights are not there; the message says where to get them.

    Reference:
        Karras et al., "A Style-Based Generator Architecture for GANs", CVPR 2019, section 4.1, equation 2.

    Example:
        G(z) = 3 z on the line from z0 to z1: the step's length squared is 9 |z1 - z0|^2 e^2 in 4 pixels.

        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> G = adapt(torch.nn.Identity(), Normal(4), call=lambda m, z: 3 * z[:, None, None, :])
        >>> score = PathLengthScore(samples=2000, path="linear")(G)
        >>> score.name, abs(score.value - 9 * 2) < 4 * score.stderr + 0.6  # the filter takes away a little
        ('path length (pixels)', True)
    """

    samples: int = 10_000
    distance: str | Distance = "pixels"
    weights: str | None = None
    step: float = 1e-2
    path: Way = "slerp"
    rows: int | None = None
    sampling: Literal["end", "full"] = "end"
    prior: Prior = "own"
    held: Mapping[str, float] = field(default_factory=dict)
    crop: Literal["all", "face"] = "all"
    resize: Literal["none", "shrink", "256"] = "none"
    percentiles: tuple[float, float] = (1.0, 99.0)
    batch: int = 32

    @classmethod
    def hessian_penalty(cls, weights: str | None = None) -> "PathLengthScore":
        """``ppl_zend_v2`` of the Hessian Penalty's and OroJaR's ProGAN: latents of length 1, whatever it trained on.

        That is where the Hessian Penalty's network brings them anyway; OroJaR's has no norm of latents, and was trained
        at a length of 3.5. NVIDIA's copy of LPIPS is not to be had here; the published weights take its place.
        """
        return cls(100_000, "lpips", weights, step=1e-4, path="unit slerp", prior="normal", resize="256")

    @classmethod
    def variation_predictability(
        cls, weights: str | None = None, sampling: Literal["end", "full"] = "end"
    ) -> "PathLengthScore":
        """``ppl_zend`` or ``ppl_zfull`` of VP-GAN's StyleGAN2: N(0, I) latents scaled to length 1, and a face crop."""
        released = cls(50_000, "lpips", weights, step=1e-4, path="unit slerp", prior="normal")
        return replace(released, sampling=sampling, crop="face", resize="shrink")

    @classmethod
    def eigengan(cls, weights: str | None = None, basis: int = 6, noise: str | None = "epsilon") -> "PathLengthScore":
        """EigenGAN's in OrthoImproveCond: U(0, 1) codes, a slerp of length 1 by layer, the noise block times 0.7."""
        held = {} if noise is None else {noise: 0.7}
        released = cls(10_000, "lpips", weights, step=1e-4, path="unit slerp", sampling="full", prior="unit")
        return replace(released, rows=basis, held=held)

    @classmethod
    def layered(cls, weights: str | None = None, noise: str = "epsilon") -> "PathLengthScore":
        """EigenGAN's with its errors corrected: codes of the generator's own prior, one slerp that keeps their length.

        As released are the pairs (10,000), t ~ U(0, 1), the noise block (the same in a pair, times 0.7), LPIPS of whole
        images, and the filter. A step of 0.01 takes the place of 1e-4, where rounding was 7 % of the difference.
        """
        return cls(10_000, "lpips", weights, sampling="full", held={noise: 0.7})

    def __post_init__(self) -> None:
        check_choices(self)
        if self.samples < 2 or self.batch < 1:
            raise ValueError(
                f"PathLengthScore(samples={self.samples}, batch={self.batch}): give at least 2 pairs, 1 per pass"
            )
        if not 0 < self.step < 1:
            raise ValueError(f"PathLengthScore(step={self.step}): give a share of the way, such as 0.01")
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(
                f"PathLengthScore(percentiles={self.percentiles}): give two of 0 to 100, such as (1.0, 99.0)"
            )
        if not callable(self.distance) and self.distance not in ("pixels", "lpips"):
            raise ValueError(
                f"PathLengthScore(distance={self.distance!r}): 'pixels', 'lpips' or a function of two batches of images"
            )

    @torch.no_grad()
    def __call__(
        self, generator: Generator, directions: Directions | None = None, *, rng: torch.Generator | None = None
    ) -> Score:
        """The mean over fresh pairs of latents."""
        within = None if directions is None else directions_of("PathLengthScore", generator, directions)
        rng = private() if rng is None else rng
        distance, about = self._distance(generator.device)
        total, f, found = math.ceil(self.samples / self.batch), probe(generator), []
        with evaluating(generator.module, *networks(distance)):
            for i, ends in enumerate(track(self._ends(generator.latent, within, rng), "path length", total)):
                pair = ends.to(generator.device, generator.dtype)
                if i == 0:
                    self._check_shape(try_out("PathLengthScore", generator, f, pair[0]))
                with seeded(rng, pair.device):
                    (a,), (b,) = f.passes(pair)
                found.append(distance(self._seen(a), self._seen(b)).double())
        each = torch.cat(found).cpu() / self.step**2
        if each.shape != (self.samples,):
            raise ValueError(f"PathLengthScore: the distance gives {tuple(each.shape)} for {self.samples} pairs")
        if not each.isfinite().all():
            raise ValueError("PathLengthScore: some images or distances are not finite; check the generator's output")
        low, high = trim(each, self.percentiles)
        kept = each[(low <= each) & (each <= high)]
        error = each.clamp(low, high).std() / (len(kept) / self.samples * math.sqrt(self.samples))
        return Score(
            kept.mean().item(),
            stderr=error.item(),
            n=self.samples,
            name="PPL" if isinstance(distance, Lpips) else f"path length ({name_of(distance)})",
            protocol={
                **about,
                **{
                    name: getattr(self, name)
                    for name in ("step", "path", "rows", "sampling", "prior", "crop", "resize")
                },
                "held": dict(self.held),
                "percentiles": list(self.percentiles),
                "space": "z" if within is None else within.space,
                "moved": "every direction" if within is None else "the span of the directions",
                "stderr": "of a trimmed mean, over pairs",
            },
            parts={"untrimmed": each.mean().item(), "median": each.median().item(), "kept": len(kept)},
        )

    def _distance(self, device: torch.device) -> tuple[Distance, dict[str, Any]]:
        """The function, and what the protocol says of it."""
        if self.distance == "lpips":
            lpips = Lpips(self.weights).to(device)
            return lpips, {"distance": "LPIPS", "weights": lpips.digest}
        if self.distance == "pixels":
            return pixels, {"distance": "pixels"}
        assert callable(self.distance)
        return self.distance, {"distance": described(self.distance)}

    def _ends(
        self, latent: Latent, within: Directions | None, rng: torch.Generator
    ) -> Iterator[Float[Tensor, "2 n dim"]]:
        """Both ends of each step, in double precision, batch by batch; everything is drawn before the first."""
        draws = [prior_draw(latent, self.samples, self.prior, self.held, rng) for _ in range(2)]
        t = torch.zeros(self.samples, dtype=torch.float64, device=rng.device)
        if self.sampling == "full":
            t = torch.rand(t.shape, generator=rng, device=rng.device, dtype=t.dtype)
        moving = torch.ones(latent.dim, dtype=torch.bool, device=rng.device)
        for columns in held_columns(latent, self.held).values():
            moving[columns] = False
        count = int(moving.sum())
        width = self.rows or count
        if not count or count % width:
            raise ValueError(f"PathLengthScore(rows={self.rows}): the {count} coordinates that move are no such rows")
        basis = None if within is None else within.basis.to(rng.device, torch.float64)
        onto = None if basis is None else torch.linalg.pinv(basis) @ basis
        for z0, z1, at in zip(*(x.split(self.batch) for x in (*draws, t)), strict=True):
            ends = z0.double().repeat(2, 1, 1)
            a, b = (z.double()[:, moving].unflatten(1, (-1, width)) for z in (z0, z1))
            for end, where in zip(ends, (at, at + self.step), strict=True):
                end[:, moving] = between(a, b, where[:, None], self.path).flatten(1)
            if onto is not None:
                ends[1] = ends[0] + (ends[1] - ends[0]) @ onto
            yield ends

    def _check_shape(self, shape: torch.Size) -> None:
        if len(shape) != 3 and (self.distance == "lpips" or (self.crop, self.resize) != ("all", "none")):
            raise ValueError(
                f"PathLengthScore: the generator's output is {('n', *shape)}; LPIPS, crop and resize take images "
                "(n, c, h, w), so leave them out or give such a generator"
            )

    def _seen(self, images: Tensor) -> Tensor:
        """What of the images is compared."""
        if self.crop == "all" and self.resize == "none":
            return images
        if self.crop == "face":
            images = face(images)
        return images if self.resize == "none" else resized(images, enlarge=self.resize == "256")
