"""Networks that others trained, from the folder of real inputs: extractors, generators and encoders of our interfaces.

Images are in [-1, 1] on our side; the networks' own files (``load.py``, ``effnet_lite0.py``) are imported by path.
"""

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import orthogen as og
from orthogen.core.images import to_uint8
from orthogen.core.kinds import FactorSet, ImageSet


def _file(path: Path) -> Any:
    name = f"real_{path.stem}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


class EfficientNet(nn.Module):
    """EfficientNet-Lite0 of ImageNet: images -> 1280 features and 1000 logits."""

    def __init__(self, net: nn.Module, prepare: Callable[..., Tensor], size: int) -> None:
        super().__init__()
        self.net, self.prepare, self.size = net, prepare, size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.net.features(self.prepare(to_uint8(images).expand(-1, 3, -1, -1), self.size))
        return features, self.net._fc(features)


class LeNet(nn.Module):
    """LeNet-5 of MNIST: gray images -> 84 features and 10 logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.net.features((images + 1) / 2)
        return features, self.net.fc["f7"](features)


class Encoder(nn.Module):
    """The mean code of a VAE."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net.encode((images + 1) / 2)[0]


class Decoder(nn.Module):
    """The images of a VAE's codes."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Tensor) -> Tensor:
        return self.net.decode(z) * 2 - 1


class Stored(ImageSet):
    """Images and labels held in memory."""

    def __init__(self, pixels: Tensor, labels: Tensor | None = None, classes: tuple[str, ...] = ()) -> None:
        self.pixels, self._labels, self.classes = pixels, labels, classes
        self.channels, self.resolution = pixels.shape[1], pixels.shape[2]

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        return self.pixels[index]

    def labels(self, index: Tensor) -> Tensor | None:
        return None if self._labels is None else self._labels[index]


def efficientnet(shared_data: Path, size: int = 224) -> EfficientNet:
    """An extractor for color or gray images of any size, brought to ``size`` pixels."""
    file = _file(shared_data / "effnet_lite0.py")
    net = file.load(shared_data / "weights" / "efficientnet_lite0_fp16.safetensors")
    return EfficientNet(net, file.prep, size)


def lenet(shared_data: Path) -> LeNet:
    """An extractor for MNIST digits."""
    return LeNet(_file(shared_data / "load.py").lenet())


def generator(shared_data: Path, name: str) -> og.Generator:
    """One of ``dcgan_digiface_64_fp16``, ``mlpgan_mnist_28``, ``cvae_quickdraw_28`` (50 classes: ``label=``)."""
    net = _file(shared_data / "load.py").generator(name)
    if net.classes:  # whose class 0 means none
        return og.adapt(net, og.Normal(net.nz), call=lambda m, z, label: m(z, label + 1) * 2 - 1, classes=50)
    return og.adapt(net, og.Normal(net.nz), call=lambda m, z: m(z) * 2 - 1)


def vae(shared_data: Path, name: str) -> tuple[Encoder, og.Generator]:
    """The encoder and the decoder of one of ``dvae_{VAE,betaH,factor,btcvae}_dsprites``, ``dvae_factor_celeba``."""
    net = _file(shared_data / "load.py").vae(name)
    return Encoder(net).eval(), og.adapt(Decoder(net).eval(), og.Normal(net.nz))


def some(total: int, n: int) -> np.ndarray:
    """``n`` of ``total`` rows, the same ones every time; the files are sorted by class."""
    return np.random.default_rng(0).permutation(total)[:n]


def pictures(shared_data: Path, name: str, n: int) -> Stored:
    """Some pictures of ``cifar10_jpeg_test`` or another ``*_jpeg`` file, with their classes."""
    with np.load(shared_data / f"{name}.npz") as file:
        data, offsets, labels, names = (file[key] for key in ("data", "offsets", "labels", "label_names"))
    rows = some(len(labels), n)
    files = [BytesIO(data[offsets[i] : offsets[i + 1]].tobytes()) for i in rows]
    pixels = np.stack([np.asarray(Image.open(content).convert("RGB")) for content in files])
    return Stored(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(labels[rows].astype(np.int64)),
        tuple(names.tolist()),
    )


def digits(shared_data: Path, n: int) -> Stored:
    """Some MNIST digits, with their classes."""
    with np.load(shared_data / "mnist_10k.npz") as file:
        rows = some(len(file["labels"]), n)
        images, labels = torch.from_numpy(file["images"][rows]), torch.from_numpy(file["labels"][rows])
    return Stored(images[:, None], labels.long(), tuple("0123456789"))


class RedrawnDSprites(FactorSet):
    """All dSprites, redrawn; every factor counts as it is, the unidentifiable orientation too."""

    channels, resolution = 1, 64
    factor_names, factor_sizes = ("shape", "scale", "orientation", "posX", "posY"), (3, 6, 40, 32, 32)

    def __init__(self, shared_data: Path) -> None:
        self.packed = _file(shared_data / "load.py").DSprites()

    def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        return torch.from_numpy(self.packed[index.numpy()] * np.uint8(255))[:, None]

    def read_factors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError("these images are read by nobody here")
