"""Files of directions: ours, and the raw matrices that the Hessian Penalty and OroJaR published for BigGAN, 128 px."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orthogen.checkpoints import read_torch
from orthogen.core.directions import Directions
from orthogen.core.linalg import orthonormalize
from orthogen.core.shapes import Float

__all__ = ["PUBLISHED", "SPACES", "Published", "published", "read_directions"]

SPACES = {"all": (0, 120), "coarse": (0, 40), "mid": (40, 80), "fine": (80, 120)}  # columns of BigGAN's latent


@dataclass(frozen=True)
class Published:
    """What was published with a matrix of directions.

    Attributes:
        paper: whose.
        fix_class: the ImageNet class that they were found with.
        search_space: a key of `SPACES`.
        names: row and name of those that were named.
        path_size: how far to either side they were shown.
        seed: of the latents that they were shown on.
        samples: how many of these.
    """

    paper: str
    fix_class: int
    search_space: str
    names: tuple[tuple[int, str], ...] = ()
    path_size: float = 5.0
    seed: int = 0
    samples: int = 6


_GOLDENS, _CHURCH = 207, 497  # golden retriever, church
_HP = "Peebles et al., The Hessian Penalty, ECCV 2020"
_OJ = "Wei et al., Orthogonal Jacobian Regularization, ICCV 2021"
_VB = "Voynov and Babenko, Unsupervised Discovery of Interpretable Directions in the GAN Latent Space, ICML 2020"

PUBLISHED: Mapping[str, Published] = {
    "hessian_penalty.goldens": Published(
        _HP, _GOLDENS, "all", ((5, "rotation"), (6, "zoom"), (8, "smoosh")), 2.5, 750
    ),
    "hessian_penalty.church": Published(_HP, _CHURCH, "all", ((4, "rotation"), (14, "shift"), (55, "color")), 3.5),
    "hessian_penalty.goldens_coarse": Published(_HP, _GOLDENS, "coarse", (), 2.5, 750),
    "hessian_penalty.goldens_mid": Published(
        _HP,
        _GOLDENS,
        "mid",
        ((0, "background removal"), (5, "color"), (8, "scene light"), (25, "object light")),
        3.5,
        750,
    ),
    "hessian_penalty.goldens_fine": Published(
        _HP, _GOLDENS, "fine", ((1, "red"), (5, "brightness"), (13, "white"), (20, "saturation")), 6.0, 750
    ),
    "orojar.goldens_coarse": Published(
        _OJ, _GOLDENS, "coarse", ((0, "rotation"), (7, "zoom"), (9, "smoosh")), 2.5, 750
    ),
    "orojar.goldens_mid": Published(
        _OJ, _GOLDENS, "mid", ((0, "background"), (2, "object light"), (8, "scene light"), (21, "color")), 3.5, 750
    ),
    "orojar.goldens_fine": Published(
        _OJ, _GOLDENS, "fine", ((4, "brightness"), (5, "red"), (17, "saturation"), (34, "green")), 8.0, 750
    ),
    "orojar.church_coarse": Published(_OJ, _CHURCH, "coarse", ((0, "rotation"), (7, "zoom"), (9, "shift")), 2.5),
    "orojar.church_mid": Published(
        _OJ, _CHURCH, "mid", ((3, "color"), (4, "object light"), (6, "light")), 3.5
    ),
    "orojar.church_fine": Published(_OJ, _CHURCH, "fine", (), 8.0),  # its list of names is that of another file
    "voynov": Published(_VB, _GOLDENS, "all", (), 8.0, 1, 8),
}  # fmt: skip


def _preset_of(path: Path) -> str | None:
    """Which of the published files it is, by its name and folder; None where they do not tell.

    The Hessian Penalty's files are called ``our_goldens_mid.pt``, and in OroJaR's release ``hessian/goldens_mid.pt``
    beside its own ``orojar/goldens_mid.pt``.
    """
    stem, ours = path.stem.removeprefix("our_"), path.stem.startswith("our_")
    folders = {"hessian": "hessian_penalty", "hessian_penalty": "hessian_penalty", "orojar": "orojar"}
    paper = "hessian_penalty" if ours else folders.get(path.parent.name)
    candidates = [name for name in PUBLISHED if name == stem or name.partition(".")[2] == stem]
    chosen = [name for name in candidates if paper is None or name in (stem, f"{paper}.{stem}")]
    return chosen[0] if len(chosen) == 1 else None


def _raw(path: Path) -> Float[Tensor, "n columns"]:
    """The matrix in a file of ``torch.save``; no code in it is run."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a directions file")
    found = read_torch(path)
    wanted = "torch.save of one matrix, one direction a row, is wanted"
    if not isinstance(found, Tensor):
        raise ValueError(f"{path} holds a {type(found).__name__}; {wanted}")
    if found.ndim != 2 or not found.is_floating_point() or 0 in found.shape:
        raise ValueError(f"{path} holds a tensor {tuple(found.shape)} of {found.dtype}; {wanted}")
    if not found.isfinite().all():
        raise ValueError(f"{path} has numbers that are not finite in row {int((~found.isfinite()).nonzero()[0, 0])}")
    return found.contiguous()


def published(
    path: str | Path, preset: str | None = None, *, search_space: str | tuple[int, int] | None = None, dim: int = 120
) -> Directions:
    """The directions of a raw matrix, as the Hessian Penalty and OroJaR published them for BigGAN at 128 pixels.

    The rows are orthonormalized, as the released tools do before they use them, and padded with zeros to the latent's
    width; those that the paper named have their names. How they were shown is in the provenance, under ``published``.

    Args:
        path: ``torch.save`` of one matrix, one direction a row.
        preset: a key of `PUBLISHED`; read off the path if None, where it has one of the released names.
        search_space: the columns of the latent that the matrix stands for: a key of `SPACES`, or (start, stop); the
            preset's if None, or else by the file's name (``coarse``, ``mid``, ``fine``), or all.
        dim: width of the latent.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else, numbers that are not finite, rows that are linearly dependent, or a matrix
            of another width than its columns of the latent; or there is no such preset.
    """
    path = Path(path)
    preset = _preset_of(path) if preset is None else preset
    if preset is not None and preset not in PUBLISHED:
        raise ValueError(f"no published directions are called {preset!r}; there are {', '.join(PUBLISHED)}")
    about = None if preset is None else PUBLISHED[preset]
    A = _raw(path)
    if search_space is None:
        word = re.search(r"coarse|mid|fine", path.stem)
        search_space = about.search_space if about else word.group() if word else (0, dim)
    if isinstance(search_space, str) and search_space not in SPACES:
        raise ValueError(f"search_space={search_space!r}: there are {', '.join(SPACES)}, or give columns (start, stop)")
    if isinstance(search_space, str) and dim != SPACES["all"][1]:
        raise ValueError(f"{path} is for the latent of BigGAN at 128 pixels, 120 wide, and {dim} columns are wanted")
    start, stop = SPACES[search_space] if isinstance(search_space, str) else search_space
    if not 0 <= start < stop <= dim:
        raise ValueError(f"search_space={search_space}: give columns (start, stop) of the latent's {dim}")
    if A.shape[1] != stop - start:
        raise ValueError(
            f"{path} has rows of {A.shape[1]} numbers for {stop - start} columns of a latent of {dim}; say which "
            "columns they are: search_space, coarse, mid, fine or (start, stop)"
        )
    try:
        Q = orthonormalize(A.double())
    except ValueError as error:
        raise ValueError(f"{path} cannot be made orthonormal: {error}") from error
    basis = torch.zeros(len(A), dim)
    basis[:, start:stop] = Q.float()
    named = dict(about.names) if about else {}
    if named and max(named) >= len(A):
        raise ValueError(f"{path} has {len(A)} directions, and {preset} has names up to direction {max(named)}")
    provenance: dict[str, Any] = {
        "method": "published" if preset is None else preset,
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "search_space": [start, stop],
    }
    if about is not None:
        provenance["published"] = {**asdict(about), "names": [list(pair) for pair in about.names]}
    return Directions(basis, names=tuple(named.get(i, str(i)) for i in range(len(A))), provenance=provenance)


def read_directions(path: str | Path, *, dim: int = 120) -> Directions:
    """The directions in a file: ours (safetensors), or a published matrix (``.pt`` or ``.pth``), see `published`.

    Args:
        path: of the file.
        dim: width of the latent that a published matrix is padded to.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is neither.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "our_goldens_mid.pt"
        >>> torch.save(torch.randn(40, 40, generator=torch.Generator().manual_seed(0)), file)
        >>> found = read_directions(file)
        >>> found.basis.shape, found.names[:6], found.basis.any(dim=0).nonzero().flatten()[[0, -1]].tolist()
        (torch.Size([40, 120]), ('background removal', '1', '2', '3', '4', 'color'), [40, 79])
    """
    return published(path, dim=dim) if Path(path).suffix in (".pt", ".pth") else Directions.load(path)
