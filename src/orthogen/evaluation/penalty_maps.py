"""A latent penalty as maps: where in the image it is large, and which pairs of components make it so."""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogen.core import catalogue
from orthogen.core import rng as randomness
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.hessians import hessians
from orthogen.core.images import to_uint8
from orthogen.core.maps import LatentMap, along, probe
from orthogen.core.probing import ProbePenalty, rademacher
from orthogen.core.progress import track
from orthogen.core.shapes import Float, Int, UInt8
from orthogen.core.untouched import evaluating

__all__ = ["PenaltyMaps", "penalty_maps"]

_CHUNK = 16  # probes, or columns of the Jacobian, taken at a time


@dataclass(frozen=True, eq=False)
class PenaltyMaps:
    """A penalty's pictures of one generator, a row per base latent.

    Attributes:
        penalty: the class name of the penalty.
        names: of the components.
        images: at the base latents.
        maps: what each pixel has of the penalty; of the largest of its channels where these have one each.
        places: row and column of the largest.
        matrices: |H| of the entry with the largest penalty, or |J^T J| of the image: diagonal where the penalty is 0,
            and 0, as is the map then, where second derivatives are not above the rounding of the image.
    """

    penalty: str
    names: tuple[str, ...]
    images: UInt8[Tensor, "n c h w"]
    maps: Float[Tensor, "n h w"]
    places: tuple[tuple[int, int], ...]
    matrices: Float[Tensor, "n d d"]


def _penalty(given: ProbePenalty | str) -> ProbePenalty:
    found = given
    if isinstance(found, str):
        try:
            found = catalogue.find(found, "regularizers").load()()
        except KeyError:
            found = given
    if not isinstance(found, ProbePenalty):
        raise ValueError(f"heat maps of {given!r}: give a penalty on derivatives, HessianPenalty or OroJaR")
    return found


def _curvatures(
    f: LatentMap, z: Float[Tensor, "1 dim"], penalty: ProbePenalty, k: int, rng: torch.Generator
) -> Float[Tensor, "c h w"]:
    """The unbiased variance over ``k`` probes of each entry's second derivative, from sums in float64."""
    total = square = torch.zeros((), dtype=torch.float64, device=z.device)
    for vectors in rademacher(k, z, rng).split(_CHUNK):
        for (derivative,) in penalty.derivative.along(f, z, vectors, 2, up_to_constant=True):
            value = derivative[0].double()
            total, square = total + value, square + value.square()
    return ((square - total.square() / k) / (k - 1)).clamp_min(0.0)


def _slopes(f: LatentMap, z: Float[Tensor, "1 dim"], penalty: ProbePenalty) -> Float[Tensor, "d c h w"]:
    """The Jacobian of one image."""
    vectors = torch.eye(f.dim).to(z)[:, None].split(_CHUNK)
    return torch.cat([column for part in vectors for (column,) in penalty.derivative.along(f, z, part, 1)]).double()


def _by_pixel(columns: Float[Tensor, "d c h w"]) -> Float[Tensor, "1 h w"]:
    """2 sum_{a != b} (J_p^T J_p)_ab^2 of each pixel p alone, which is its variance over all probes.

    The Gram matrix over components has the norm of that over channels, which is small.
    """
    over_channels = torch.einsum("dchw,dehw->cehw", columns, columns)
    diagonal = columns.square().sum(dim=1)
    return 2 * (over_channels.square().sum(dim=(0, 1)) - diagonal.square().sum(dim=0)).clamp_min(0.0)[None]


def _matrices_of(
    f: LatentMap, z: Float[Tensor, "n dim"], entries: Int[Tensor, "n"], step: float
) -> Float[Tensor, "n d d"]:
    """|H| of one entry of each image."""
    matrices = torch.zeros(len(z), f.dim, f.dim, dtype=torch.float64, device=z.device)
    for i, j, values in hessians(f, z, step):
        matrices[:, i, j] = matrices[:, j, i] = values.flatten(1).gather(1, entries[:, None])[:, 0].abs()
    return matrices


@torch.no_grad()
def penalty_maps(
    generator: Generator,
    penalty: ProbePenalty | str = "HessianPenalty",
    directions: Directions | None = None,
    *,
    samples: int = 8,
    k: int = 200,
    step: float = 0.1,
    past_norm: bool = False,
    seed: int = 0,
) -> PenaltyMaps:
    """Where in the image a penalty is large, and the matrix whose off-diagonal it asks to vanish.

    Hessian Penalty: each entry of the image has its own, the variance over probes of v^T H v. The map shows the largest
    of a pixel's channels; the matrix is |H| of the entry with the largest of all, by central differences.

    OroJaR: the penalty is of the whole image, and so is the matrix, |J^T J|. The map shows what each pixel would have
    if it were the image, 2 sum_{a != b} (J_p^T J_p)_ab^2.

    The generator is in evaluation mode. For d components the Hessian Penalty takes 2k + 2 d^2 passes per sample, OroJaR
    d + 1.

    Args:
        generator: one that takes no labels; see `orthogen.Generator.of_class`.
        penalty: one of the two, or its name; derivatives are taken as it takes them.
        directions: whose coordinates the derivatives are of, at 0; the latent's own for None.
        samples: how many base latents. One ``seed`` gives the same ones to every generator of the same latent.
        k: probes for the Hessian Penalty's map; 200 as in its release for the entry, which took 2 for the map.
        step: of the differences for |H|.
        past_norm: look behind the network's own norm of latents, as the release does with ProGAN; see
            `orthogen.Generator.past_norm`.
        seed: of latents and probes.

    Raises:
        ValueError: there are fewer than two components, samples or probes to speak of; the directions do not fit; the
            penalty is none of these; the generator takes class labels, or its samples see each other; or what comes out
            is no image, or not finite.

    Reference:
        Peebles et al., "The Hessian Penalty", ECCV 2020, and the figures of its release; Wei et al., "Orthogonal
        Jacobian Regularization", ICCV 2021, equation 4.

    Example:
        A pixel z0 z1 has a mixed derivative, a pixel z0 has none.

        >>> import orthogen as og
        >>> pixels = lambda m, z: torch.stack([z[:, 0] * z[:, 1], z[:, 0]], dim=1).view(-1, 1, 1, 2)
        >>> found = penalty_maps(og.adapt(torch.nn.Identity(), og.Normal(2), call=pixels), samples=1)
        >>> found.places, found.matrices.round().tolist()
        (((0, 0),), [[[0.0, 1.0], [1.0, 0.0]]])
    """
    chosen = _penalty(penalty)
    if samples < 1 or k < 2 or not 0 < step < float("inf"):
        raise ValueError(f"samples={samples}, k={k}, step={step}: give at least 1 sample, 2 probes and a positive step")
    if generator.classes:
        raise ValueError("this generator takes class labels; choose one: generator.of_class(0) (--fix-class 0)")
    generator = generator.past_norm() if past_norm else generator
    width = generator.latent.dim
    within = Directions.coordinates(width) if directions is None else directions
    if within.basis.shape[1] != width or len(within) < 2:
        raise ValueError(
            f"{len(within)} directions {within.basis.shape[1]} wide for a latent {width} wide: at least two of its "
            "width are needed"
        )
    z = generator.latent.sample(samples, rng=randomness.generator(seed, "traversal"), device=generator.device)
    z = z.to(torch.promote_types(z.dtype, generator.dtype))
    rng = randomness.generator(seed, "probes")
    f, basis = probe(generator), within.basis.to(z)
    with evaluating(generator.module), f.session():
        images = f(z)[0]
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.isfinite().all():
            raise ValueError(f"the generator gives {tuple(images.shape)}; heat maps are of finite images, gray or RGB")
        if not f.separable(z):
            raise ValueError(
                "heat maps are of one image at a time, and this generator's samples see each other (batch statistics) "
                "or draw alike (noise) even in evaluation mode; give it running statistics, or fix the noise"
            )
        origin, maps, matrices = z.new_zeros(samples, len(basis)), [], []
        for one in track(z.split(1), "heat maps, sample by sample"):
            moved = along(f, one, basis)
            if chosen.order == 2:
                maps.append(_curvatures(moved, origin[:1], chosen, k, rng))
            else:
                columns = _slopes(moved, origin[:1], chosen)
                maps.append(_by_pixel(columns))
                matrices.append((columns.flatten(1) @ columns.flatten(1).T).abs())
        entries = torch.stack(maps).flatten(1).argmax(dim=1)
        found = _matrices_of(along(f, z, basis), origin, entries, step) if chosen.order == 2 else torch.stack(matrices)
    heat = torch.stack(maps).amax(dim=1)
    if chosen.order == 2:  # the four images of a difference are rounded to the generator's precision
        rounding = 16 * torch.finfo(images.dtype).eps / (4 * step**2) * images.abs().amax(dim=(1, 2, 3)).double()
        flat = (found.amax(dim=(1, 2)) <= rounding)[:, None, None]
        found, heat = found.masked_fill(flat, 0.0), heat.masked_fill(flat, 0.0)
    h, w = images.shape[2:]
    return PenaltyMaps(
        type(chosen).__name__,
        tuple(within.names),
        to_uint8(images).cpu(),
        heat.cpu(),
        tuple((entry % (h * w) // w, entry % w) for entry in entries.tolist()),
        found.cpu(),
    )
