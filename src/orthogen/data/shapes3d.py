"""Shapes3d: a solid in a colored room, ray-cast; the factors of 3D Shapes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from orthogen.core.kinds import Data
from orthogen.core.shapes import Float, Int, UInt8
from orthogen.data._drawn import DrawnSet, check_resolution, shrink
from orthogen.data._room import OBJECT, PLANES, SKY, render
from orthogen.data._room_reader import RoomReader

__all__ = ["Shapes3d"]

FACTORS = {"floor_hue": 10, "wall_hue": 10, "object_hue": 10, "scale": 8, "shape": 4, "orientation": 15}
USUAL = {"floor_hue": 1, "wall_hue": 5, "object_hue": 0, "scale": 4, "shape": 2, "orientation": 7}
HUES = 3  # so many factors are hues; the others make the geometry
SKY_COLOR = (153.0, 226.0, 249.0)
READ = 32  # geometry is recognized at this resolution at most


def _hues(device: torch.device) -> Float[Tensor, "10 3"]:
    """RGB of the ten hues 0, 0.1, ..., 0.9 at full saturation, in [0, 1]."""
    sector = (torch.tensor([5.0, 3.0, 1.0], device=device) + 0.6 * torch.arange(10, device=device)[:, None]) % 6
    return 1 - torch.minimum(sector, 4 - sector).clamp(0, 1)


class _Planes:
    """The planes of all 480 geometries (scale, shape, orientation) in 255 levels, rendered when first asked for."""

    def __init__(self, resolution: int, supersample: int, device: torch.device) -> None:
        self.resolution, self.supersample, self.device = resolution, supersample, device
        self.levels = torch.empty(8 * 4 * 15, PLANES, resolution**2, dtype=torch.uint8, device=device)
        self.rendered: set[int] = set()

    def __getitem__(self, geometry: Int[Tensor, "n 3"]) -> UInt8[Tensor, "n planes hw"]:
        index = (geometry[:, 0] * 4 + geometry[:, 1]) * 15 + geometry[:, 2]
        for item in set(index.unique().tolist()) - self.rendered:
            scale, shape, orientation = 0.75 + 0.5 / 7 * (item // 60), item // 15 % 4, item % 15
            azimuth = math.radians(-30 + 60 / 14 * orientation)
            planes = render(shape, scale, azimuth, self.resolution, self.supersample, self.device)
            self.levels[item] = (planes.flatten(1) * 255).round().to(torch.uint8)
            self.rendered.add(item)
        return self.levels.index_select(0, index)  # on a CPU, ten times as fast as indexing


class RoomSet(DrawnSet):
    """The frames of `Shapes3d`; ``draw``, ``images``, ``factors``, ``read_factors``, ``reading_error``."""

    channels = 3

    def __init__(self, resolution: int, supersample: int, varying: tuple[str, ...], fixed: Mapping[str, int]) -> None:
        self.resolution, self.supersample = resolution, supersample
        self.factor_names = varying
        self.factor_sizes = tuple(FACTORS[name] for name in varying)
        self._columns = [list(FACTORS).index(name) for name in varying]
        self._fixed = [fixed.get(name, USUAL[name]) for name in FACTORS]
        self._planes: dict[tuple[int, torch.device], _Planes] = {}
        self._readers: dict[torch.device, tuple[Tensor, RoomReader]] = {}

    def _draw(self, factors: Int[Tensor, "n f"]) -> UInt8[Tensor, "n 3 h w"]:
        device = factors.device
        scene = torch.tensor(self._fixed, device=device).repeat(len(factors), 1)
        scene[:, self._columns] = factors
        colors = torch.full((len(scene), PLANES, 3), 255.0, device=device)
        colors[:, : OBJECT + 1] = (_hues(device) * 255).round()[scene[:, :HUES]]
        colors[:, SKY] = torch.tensor(SKY_COLOR, device=device)
        # products of 8-bit integers sum exactly in float32: no order of summation, batch or device changes a level
        frames = torch.bmm(colors.mT, self._planes_at(self.resolution, device)[scene[:, HUES:]].float())
        frames = frames.div_(255).round_().clamp_(max=255).to(torch.uint8)
        return frames.view(-1, 3, self.resolution, self.resolution)

    def _planes_at(self, resolution: int, device: torch.device) -> _Planes:
        if (resolution, device) not in self._planes:
            # the few pixels that a large set's geometry is recognized by are averaged over more rays
            supersample = self.supersample if resolution == self.resolution else 2 * self.supersample
            self._planes[resolution, device] = _Planes(resolution, supersample, device)
        return self._planes[resolution, device]

    def _reader(self, device: torch.device) -> tuple[Int[Tensor, "g 3"], RoomReader]:
        """The geometries this set shows, and what recognizes them."""
        if device not in self._readers:
            shown = [
                torch.arange(FACTORS[name], device=device)
                if name in self.factor_names
                else torch.tensor([value], device=device)
                for name, value in list(zip(FACTORS, self._fixed, strict=True))[HUES:]
            ]
            geometry = torch.cartesian_prod(*shown)
            planes = self._planes_at(min(self.resolution, READ), device)[geometry].float() / 255
            self._readers[device] = geometry, RoomReader(planes, torch.tensor(SKY_COLOR, device=device) / 255)
        return self._readers[device]

    def _propose(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, "n k f"]:
        if images.shape[1] != 3:
            raise ValueError(
                "images of 1 channel: the hues of Shapes3d cannot be read off gray images; give 3 channels"
            )
        geometries, reader = self._reader(images.device)
        best, colors = reader.best((shrink(images, READ).flatten(2) + 1) / 2, k=8)
        # the hue of a color is the direction in which it departs from gray
        chroma = _hues(images.device)
        chroma = chroma - chroma.mean(dim=1, keepdim=True)
        nearest = (colors @ (chroma / chroma.norm(dim=1, keepdim=True)).mT).topk(2, dim=-1).indices
        hues, geometry = nearest[..., 0], geometries[best]
        # in the best geometry, each color may also be of the second nearest hue
        swap = torch.eye(HUES, dtype=torch.bool, device=images.device)
        hues = torch.cat([hues, torch.where(swap, nearest[:, :1, :, 1], nearest[:, :1, :, 0])], dim=1)
        geometry = torch.cat([geometry, geometry[:, :1].expand(-1, HUES, -1)], dim=1)
        return torch.cat([hues, geometry], dim=2)[:, :, self._columns]


@dataclass(frozen=True)
class Shapes3d(Data):
    """A shaded cube, cylinder, ball or capsule in a room: the factors of 3D Shapes in its order, ray-cast.

    The camera circles the solid from -30 to 30 degrees (orientation, 15 values); floor, wall and object have one of ten
    saturated hues 0, 0.1, ..., 0.9; scale grows from 0.75 to 1.25 in 8 steps. Where edges, sizes, sky and shades lie
    was fitted to 25 frames of the original, whose look it has; pixels differ. A frame is the sum of five planes times
    five colors, and only the planes of the 480 geometries are ray-cast (once each), so that frames come fast.

    Hues, scale, shape and orientation are read back together: each geometry is a linear subspace of images, and the
    one nearest to the image gives the colors too.

    Attributes:
        resolution: side of the frames, 16 to 256 pixels.
        varying: the factors of the set, any of ``floor_hue wall_hue object_hue scale shape orientation``; they keep the
            original's order.
        fixed: classes of the factors that do not vary; what is not named is a red ball of middle size on an orange
            floor before a cyan wall, seen from the front.
        supersample: rays per pixel along each axis.

    Raises:
        ValueError: a resolution, name, class or number of rays is none of these, or a factor is both varying and fixed.

    Reference:
        C. Burgess, H. Kim, *3D Shapes dataset*, 2018.

    Example:
        >>> rooms = Shapes3d(resolution=32, varying=("floor_hue", "wall_hue", "object_hue", "scale")).open()
        >>> len(rooms), rooms.factor_sizes
        (8000, (10, 10, 10, 8))
        >>> values, confidence = rooms.read_factors(rooms.images(torch.tensor([4321])) / 127.5 - 1)
        >>> rooms.index(values).tolist(), bool((confidence > 0.9).all())
        ([4321], True)
    """

    resolution: int = 64
    varying: tuple[str, ...] = tuple(FACTORS)
    fixed: Mapping[str, int] = field(default_factory=dict)
    supersample: int = 2

    def __post_init__(self) -> None:
        check_resolution("Shapes3d", self.resolution)
        if not 1 <= self.supersample <= 8:
            raise ValueError(f"Shapes3d(supersample={self.supersample}): give 1 to 8 rays per pixel along each axis")
        known = ", ".join(FACTORS)
        for name in (*self.varying, *self.fixed):
            if name not in FACTORS:
                raise ValueError(f"Shapes3d: there is no factor {name!r}; the factors are {known}")
        if not self.varying or len(set(self.varying)) < len(self.varying):
            raise ValueError(f"Shapes3d(varying={self.varying}): name at least one factor, each once, of {known}")
        for name, value in self.fixed.items():
            if name in self.varying:
                raise ValueError(f"Shapes3d: {name} is both varying and fixed; leave it out of one of them")
            if not 0 <= value < FACTORS[name]:
                raise ValueError(f"Shapes3d(fixed): {name}={value} is outside its range 0 to {FACTORS[name] - 1}")

    def open(self) -> RoomSet:
        """The frames; nothing is rendered yet."""
        varying = tuple(name for name in FACTORS if name in self.varying)
        return RoomSet(self.resolution, self.supersample, varying, self.fixed)
