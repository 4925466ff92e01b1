"""LPIPS on VGG16, from the two published weights files, which are never downloaded from here."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg16

from orthogen.core.digest import digest
from orthogen.core.shapes import Float

__all__ = ["HEADS", "VGG", "Lpips"]

# the paper's weights of version 0.1, in the file that torch-fidelity loads
_HEADS_URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-vgg16-lpips.pth"
_VGG_URL = VGG16_Weights.IMAGENET1K_V1.url
HEADS, VGG = (url.rpartition("/")[2] for url in (_HEADS_URL, _VGG_URL))

_STAGES = ((0, 4), (4, 9), (9, 16), (16, 23), (23, 30))  # of VGG16's layers, each up to its last ReLU before a pooling
_LEAST = 16  # pixels, which four poolings leave one of


def _load(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.float() for name, tensor in found.items()}
    except Exception as error:  # pickles fail in many ways
        raise ValueError(f"{path} is no file of weights ({type(error).__name__}); download it again") from None


class Lpips(nn.Module):
    """The learned perceptual distance of two images.

    With y_l the activations of VGG16 at five depths, each pixel's channels scaled to unit length,

        d(a, b) = sum over depths l of the mean over pixels of  w_l . (y_l(a) - y_l(b))^2

    A squared distance for small differences. Frozen; loading draws nothing.

    Args:
        weights: the folder of the two files `VGG` (torchvision's VGG16) and `HEADS` (the w_l); torch.hub's own folder
            if None, where torchvision and torch-fidelity leave them.

    Attributes:
        digest: a hash of the weights, for protocols.

    Raises:
        FileNotFoundError: a file is not there; the message says where to get it.
        ValueError: a file is damaged or holds something else.

    Reference:
        Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, equation 1.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        folder = Path(torch.hub.get_dir(), "checkpoints") if weights is None else Path(weights)
        files = {folder / VGG: _VGG_URL, folder / HEADS: _HEADS_URL}
        missing = [f"{path.name} ({url})" for path, url in files.items() if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"LPIPS needs {' and '.join(missing)} in {folder}: download it there, or name the folder that has it "
                "as weights=; without these weights use distance='pixels'"
            )
        with torch.device("meta"):  # nothing is initialized, so nothing is drawn
            layers = vgg16().features
        backbone = _load(folder / VGG)
        heads = _load(folder / HEADS)
        try:
            wanted = {name: backbone[f"features.{name}"] for name in layers.state_dict()}
            layers.load_state_dict(wanted, assign=True)
            for i, (_, stop) in enumerate(_STAGES):
                channels = next(layer.out_channels for layer in reversed(layers[:stop]) if isinstance(layer, nn.Conv2d))
                self.register_buffer(f"head{i}", heads[f"lin{i}.model.1.weight"].view(channels, 1, 1))
        except (KeyError, RuntimeError) as error:
            reason = str(error).strip().split("\n", 1)[0]
            raise ValueError(f"{folder}: the files are not VGG16 and its LPIPS weights ({reason})") from None
        self.stages = nn.ModuleList(layers[start:stop] for start, stop in _STAGES)
        # ImageNet's mean and standard deviation, for images in [-1, 1] in place of [0, 1]
        self.register_buffer("mean", 2 * torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1) - 1)
        self.register_buffer("scale", 2 * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))
        self.eval().requires_grad_(False)
        self.digest = digest(self.state_dict())

    def _unit(self, images: Tensor) -> Sequence[Tensor]:
        x, found = (images.float() - self.mean) / self.scale, []
        for stage in self.stages:
            x = stage(x)
            found.append(x / (x.norm(dim=1, keepdim=True) + 1e-10))
        return found

    def forward(self, a: Float[Tensor, "n c h w"], b: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
        """The distances of images in [-1, 1], gray or RGB, of 16 pixels or more; row by row."""
        channels, *sides = a.shape[1:]
        if channels not in (1, 3) or min(sides) < _LEAST:
            raise ValueError(
                f"LPIPS was given images of {channels} x {sides[0]} x {sides[1]}; it takes 1 or 3 channels of at least "
                f"{_LEAST} x {_LEAST} pixels"
            )
        pairs = zip(self._unit(a), self._unit(b), strict=True)
        total = a.new_zeros(len(a), dtype=torch.float32)
        for i, (x, y) in enumerate(pairs):
            total += (self.get_buffer(f"head{i}") * (x - y).square()).sum(dim=1).mean(dim=(1, 2))
        return total
