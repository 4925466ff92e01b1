"""A room with one solid in it, ray-cast: what is behind every pixel, and how brightly it is lit.

Lengths are in units in which solids are about one high; x points right, y up, z away from the camera at azimuth 0. The
camera circles the solid, which stands at the origin. Its view is level and shifted downwards, as by a view camera, so
that verticals stay vertical. The numbers are fitted to measurements of 25 frames of the original 3D Shapes.
"""

import math

import torch
from torch import Tensor

from orthogen.core.shapes import Float

__all__ = ["FLOOR", "GLINT", "OBJECT", "PLANES", "SKY", "WALL", "render"]

FLOOR, WALL, OBJECT, SKY, GLINT = range(PLANES := 5)

DISTANCE, EYE = 5.55, 1.36  # of the camera: from the solid, and above the floor
FOCAL, HORIZON = 100 / 64, 29 / 64  # in sides of the image; the row of the horizon, from the top
HALF_ROOM, WALL_HEIGHT = 5.75, 2.85
MIDDLE, REACH = 0.90, 1.25  # no point of a solid of scale 1 is farther than REACH from (0, MIDDLE, 0)
UP = (0.0, 1.0, 0.0)
LIGHT = (-0.54, 0.82, 0.20)  # a unit vector towards the light: left, above and a little behind the solid


def _length(v: Float[Tensor, "3 rays"]) -> Float[Tensor, "rays"]:
    return v.square().sum(dim=0).sqrt()  # norm(dim=0) takes 50 times as long on a CPU


def _unit(v: Float[Tensor, "3 rays"]) -> Float[Tensor, "3 rays"]:
    return v / _length(v).clamp(min=1e-9)


def _along(direction: tuple[float, ...], like: Tensor) -> Float[Tensor, "3 1"]:
    return _unit(torch.tensor(direction, device=like.device)[:, None])


def _distance(shape: int, scale: float, p: Float[Tensor, "3 rays"]) -> Float[Tensor, "rays"]:
    """Signed distance from points to the solid: a core (box, disc, point, segment) grown by a radius."""
    x, y, z = p / scale
    if shape == 0:  # cube with rounded edges
        beyond, radius = torch.stack([x.abs() - 0.48, (y - 0.56).abs() - 0.48, z.abs() - 0.48]), 0.08
    elif shape == 1:  # cylinder with rounded rims
        beyond, radius = torch.stack([torch.hypot(x, z) - 0.50, (y - 0.66).abs() - 0.58]), 0.08
    else:  # sphere, capsule
        radius, top = (0.64, 0.64) if shape == 2 else (0.49, 1.53)
        return scale * ((x.square() + (y - y.clamp(radius, top)).square() + z.square()).sqrt() - radius)
    outside = beyond.clamp(min=0).square().sum(dim=0).sqrt()
    return scale * (outside + beyond.amax(dim=0).clamp(max=0) - radius)


def _normal(shape: int, scale: float, p: Float[Tensor, "3 rays"]) -> Float[Tensor, "3 rays"]:
    """Outward unit normals: the gradient of the distance, from four differences along a tetrahedron's corners."""
    corners = p.new_tensor([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])[:, :, None]
    return _unit(torch.stack([corner * _distance(shape, scale, p + 0.01 * corner) for corner in corners]).sum(dim=0))


def _sunlit(shape: int, scale: float, p: Float[Tensor, "3 rays"]) -> Float[Tensor, "rays"]:
    """How much of a wide light each point sees, in [0, 1]: by how narrowly the ray to its center misses the solid."""
    light = _along(LIGHT, p)
    clearance, travelled = torch.ones_like(p[0]), torch.full_like(p[0], 0.03)
    for _ in range(32):
        gap = _distance(shape, scale, p + travelled * light)
        clearance = torch.minimum(clearance, 5.0 * gap / travelled)
        travelled = travelled + gap.clamp(0.015, 0.3)
    clearance = clearance.clamp(min=-1)
    return 0.25 * (1 + clearance).square() * (2 - clearance)


def _open_sky(shape: int, scale: float, p: Float[Tensor, "3 rays"]) -> Float[Tensor, "rays"]:
    """How much of the sky floor points see past the solid, in [0, 1]: by how much nearer it is than the floor."""
    hidden = torch.zeros_like(p[0])
    for step in range(1, 6):
        height = 0.12 * step
        above = p + height * _along(UP, p)
        hidden += (height - _distance(shape, scale, above)).clamp(min=0) * 0.5**step
    return (1 - 1.6 * hidden).clamp(0, 1)


def _rays(azimuth: float, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The camera's position and the unit directions of ``side`` x ``side`` rays through it, row by row."""
    cos, sin = math.cos(azimuth), math.sin(azimuth)
    right, up, ahead = torch.tensor([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]], device=device)
    across = (torch.arange(side, device=device) + 0.5) / side
    rays = ahead + (across[:, None] - 0.5) / FOCAL * right + (HORIZON - across[:, None, None]) / FOCAL * up
    return (EYE * up - DISTANCE * ahead)[:, None], _unit(rays.view(-1, 3).T.contiguous())


def _draw_room(planes: Tensor, eye: Tensor, rays: Tensor, shape: int, scale: float) -> Tensor:
    """Light floor, walls and sky into the planes, with the solid's shadow; return the way to them along each ray."""
    heading = torch.where(rays == 0, 1e-6, rays)
    to_x, _, to_z = (heading.sign() * HALF_ROOM - eye) / heading  # the two walls ahead
    to_floor = torch.where(heading[1] < 0, -eye[1] / heading[1], math.inf)
    depth = torch.minimum(torch.minimum(to_x, to_z), to_floor)
    p = eye + depth * rays
    to_walls = (HALF_ROOM - p[::2].abs()).clamp(min=0)
    on_floor = to_floor == depth
    in_sky = ~on_floor & (p[1] > WALL_HEIGHT)

    # the wall across faces the light; its neighbors are a third darker; corners and skirting lie in soft shade
    wall = torch.where(to_x < to_z, 0.66, 0.97) * (0.93 + 0.07 / WALL_HEIGHT * p[1])
    wall *= (1 - 0.22 * torch.exp(-p[1] / 0.35)) * (1 - 0.14 * torch.exp(-to_walls.amax(dim=0) / 0.5))
    planes[WALL] = torch.where(on_floor | in_sky, 0, wall)
    planes[SKY] = in_sky.float()

    floor = 0.97 - 0.18 * (1 - torch.exp(-(p[0] + 0.5).square() / 40 - p[2].square() / 40))
    floor *= 1 - 0.2 * torch.exp(-to_walls.amin(dim=0) / 0.5)
    near = (on_floor & (_length(p) < 4.5 * scale)).nonzero()[:, 0]
    light, open_sky = _sunlit(shape, scale, p[:, near]), _open_sky(shape, scale, p[:, near])
    floor[near] *= (0.38 + 0.62 * light) * (0.35 + 0.65 * open_sky)
    planes[FLOOR] = torch.where(on_floor, floor, 0)
    return depth


def _draw_solid(planes: Tensor, eye: Tensor, rays: Tensor, depth: Tensor, shape: int, scale: float) -> None:
    """March along the rays that may meet the solid and light it where they do; ``depth`` is how far the room is."""
    center = MIDDLE * scale * _along(UP, eye) - eye
    closest = (rays * center).sum(dim=0)
    may = (_length(closest * rays - center) < REACH * scale).nonzero()[:, 0]
    ahead = rays[:, may]
    travelled = closest[may] - REACH * scale
    for _ in range(32):
        travelled = travelled + _distance(shape, scale, eye + travelled * ahead)
    p = eye + travelled * ahead
    hit = (_distance(shape, scale, p) < 4e-3) & (travelled < depth[may])
    pixels, p, ahead = may[hit], p[:, hit], ahead[:, hit]

    normal, light = _normal(shape, scale, p), _along(LIGHT, p)
    facing = (normal * light).sum(dim=0)
    frontal = -(normal * ahead).sum(dim=0).clamp(max=0)
    upward = 0.5 + 0.5 * normal[1]
    shade = 0.30 + 0.26 * upward + 0.30 * frontal + 0.40 * ((facing + 0.25) / 1.25).clamp(min=0)
    shade *= 1 - 0.45 * torch.exp(-p[1] / (0.22 * scale)) * (1 - upward)  # dark where it meets the floor
    highlight = (normal * _unit(light - ahead)).sum(dim=0).clamp(min=0).pow(60) * (facing > 0)
    glint = (0.7 * highlight + 0.16 * (1 - frontal).pow(4) * upward).clamp(max=1)
    planes[:, pixels] = 0
    planes[OBJECT, pixels] = shade.clamp(max=1) * (1 - glint)
    planes[GLINT, pixels] = glint


def render(
    shape: int, scale: float, azimuth: float, resolution: int, supersample: int, device: torch.device
) -> Float[Tensor, "planes h w"]:
    """One scene as five planes in [0, 1]: light on floor, wall and object, sky, white glints.

    The image is linear in the colors, image = sum over planes of plane x color, because nothing here casts its color
    on anything else.

    Args:
        shape: 0 cube, 1 cylinder, 2 sphere, 3 capsule.
        scale: size of the solid; 1 is the middle.
        azimuth: of the camera around the solid, in radians.
        resolution: side of the image, in pixels.
        supersample: rays per pixel along each axis.
        device: where to compute.
    """
    eye, rays = _rays(azimuth, resolution * supersample, device)
    planes = torch.zeros(PLANES, rays.shape[1], device=device)
    depth = _draw_room(planes, eye, rays, shape, scale)
    _draw_solid(planes, eye, rays, depth, shape, scale)
    return planes.view(PLANES, resolution, supersample, resolution, supersample).mean(dim=(2, 4))
