"""The Inception network that FID, KID and IS are defined on."""

import hashlib
import io
import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from orthogen.core.digest import digest
from orthogen.core.kinds import Extractor, Eye
from orthogen.core.shapes import UInt8
from orthogen.core.untouched import untouched

__all__ = ["Inception"]

COUNTER = ".num_batches_tracked"  # of batch norm: evaluation does not read it, and not every file has it
CITATION = """@inproceedings{heusel2017gans,
  title={{GANs} Trained by a Two Time-Scale Update Rule Converge to a Local {Nash} Equilibrium},
  author={Heusel, Martin and Ramsauer, Hubert and Unterthiner, Thomas and Nessler, Bernhard and Hochreiter, Sepp},
  booktitle={Advances in Neural Information Processing Systems},
  year={2017}
}"""


def _library() -> Any:
    """torch-fidelity's module with the network; imported when it is needed."""
    try:
        import torch_fidelity.feature_extractor_inceptionv3 as library
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Inception needs torch-fidelity ({error}); pip install orthogen[fidelity], or give another extractor"
        ) from None
    return library


def _unloaded() -> nn.Module:
    """The network with its shapes and no values.

    torch-fidelity's constructor unpickles the weights file, which runs whatever code is in it, or downloads one. Here
    it is handed an empty file in memory and loads nothing; on the meta device it draws nothing either.
    """

    class Unloaded(_library().FeatureExtractorInceptionV3):  # type: ignore[misc]
        def load_state_dict(self, state: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
            return super().load_state_dict(state, strict=strict and len(state) > 0, assign=assign)

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with torch.device("meta"):
        return Unloaded("inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=empty)


def _read(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a weights file, without running code that it may hold."""
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a pickle is of another protocol; whether it loads is what counts
                state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).split("\n", 1)[0][:100]
        raise ValueError(f"{path} is no whole file of weights ({reason}); get it again") from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds a {type(state).__name__}; Inception's weights are tensors by name")
    return state


def _network(path: Path, device: torch.device) -> nn.Module:
    """The network with the weights of a file."""
    network, state = _unloaded(), _read(path)
    counters = {name: torch.tensor(0) for name in network.state_dict() if name.endswith(COUNTER)}
    needed = {name: value.shape for name, value in network.state_dict().items() if name not in counters}
    there = {name: value.shape for name, value in state.items() if name not in counters}
    wrong = sorted(name for name in needed.keys() | there.keys() if needed.get(name) != there.get(name))
    if wrong:
        raise ValueError(
            f"{path} is not Inception's file of weights: {len(wrong)} of {len(needed)} tensors are missing, unknown or "
            f"of another shape, such as {wrong[0]}"
        )
    network.load_state_dict({**state, **counters}, assign=True)
    return network.to(device, torch.float32).requires_grad_(False).eval()


def _published(path: Path) -> bool:
    """Whether it is the very file that was published: its name there ends in the beginning of its SHA-256."""
    stem = _library().URL_INCEPTION_V3.rpartition("/")[2].partition(".")[0]
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(stem.rpartition("-")[2])


@dataclass(frozen=True)
class Inception(Extractor):
    """Inception-v3 as TensorFlow published it in 2015, through torch-fidelity: the features everyone's FID uses.

        uint8 image -> bilinear to 299 px as in TensorFlow 1 -> (x - 128) / 128 -> 2048 features, 1008 logits

    Features are those after the last average pooling; logits are without the bias, as in the original Inception score.
    Gray images are shown as RGB. Arithmetic is float32 throughout.

    Nothing is downloaded. The weights are taken from ``weights``; if that is None, from ``$ORTHOGEN_INCEPTION``; if
    that is not set, from where torch hub keeps torch-fidelity's download. They are read without unpickling code, from
    ``.pth`` or ``.safetensors``. Their hash, which is the same for both, is in the protocol of every score, and so is
    whether the file is the published one, byte for byte; scores made with any other carry a note.

    Attributes:
        weights: path of the weights file; None to look for it.

    Raises:
        ModuleNotFoundError: from `load`, without torch-fidelity (``pip install orthogen[fidelity]``).
        FileNotFoundError: from `load`, where the weights are not there; the message says how to get them.
        ValueError: from `load`, for a damaged file or one of another network.

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016; made the measure of
        generators by Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
        Equilibrium", NeurIPS 2017.

    Example:
        >>> Inception("weights.pth").load(torch.device("cpu"))
        Traceback (most recent call last):
        FileNotFoundError: weights.pth does not exist; Inception's weights are ...
    """

    weights: str | None = None
    inception: ClassVar[bool] = True

    def file(self) -> Path:
        """The weights file.

        Raises:
            FileNotFoundError: it is not there.
        """
        url = _library().URL_INCEPTION_V3
        name = url.rpartition("/")[2]
        hub = Path(torch.hub.get_dir()) / "checkpoints" / name
        given = self.weights or os.environ.get("ORTHOGEN_INCEPTION")
        path = Path(given).expanduser() if given else hub
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist; Inception's weights are at {url}: save them there, or give their path "
                "(--inception FILE, Inception(FILE) or $ORTHOGEN_INCEPTION), or use another extractor"
            )
        return path

    def load(self, device: torch.device) -> Eye:
        """The network, ready to look at images."""
        path = self.file()
        network = _network(path, device)
        weights = {name: value for name, value in network.state_dict().items() if not name.endswith(COUNTER)}

        @torch.no_grad()
        def see(images: UInt8[Tensor, "n c h w"]) -> tuple[Tensor, Tensor | None]:
            with untouched(network, device) as host:  # full float32, whatever the caller's autocast says
                host.rewind()
                features, logits = network(images.to(device).expand(-1, 3, -1, -1))
            return features, logits

        return Eye(
            see,
            {
                "name": "Inception-v3 (TensorFlow, 2015-12-05)",
                "weights": digest(weights),
                "published_weights": _published(path),
                "input": "uint8, gray as RGB",
                "resize": "bilinear as in TensorFlow 1, 299 px",
                "torch-fidelity": version("torch-fidelity"),
            },
        )
