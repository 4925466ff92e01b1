"""An extractor of the user's own, made by a function in a file of theirs."""

from dataclasses import dataclass
from pathlib import Path

import torch

from orthogen.core import catalogue
from orthogen.core.kinds import Extractor, Eye
from orthogen.extractors._callable import eye_of

__all__ = ["Custom"]


@dataclass(frozen=True)
class Custom(Extractor):
    """Whatever ``make()`` in the user's file returns: a function or module from images to features.

        images in [-1, 1], (n, c, h, w)  ->  features (n, d),  or features (n, d) and logits (n, k)

    Images come as everywhere in the library, float in [-1, 1], after rounding to 256 levels; resizing and scaling are
    the function's own. Networks are run in evaluation mode without gradients and left as they were. Scores on such
    features name the file, its hash and the hash of the weights, and are not called FID, KID or IS.

    In Python a function or module itself will do wherever an extractor is asked for.

    Attributes:
        make: ``"my_file.py:make"``, the file and the function in it.

    Raises:
        ValueError: from `load`, where ``make`` is empty or names no function, or the file or the function fails.
        FileNotFoundError: from `load`, where there is no such file.
        TypeError: from `load`, where what ``make()`` returns cannot be called.

    Reference:
        Stein et al., "Exposing flaws of generative model evaluation metrics and their unfair treatment of diffusion
        models", NeurIPS 2023, on what scores on other features than Inception's are good for.

    Example:
        >>> from tempfile import NamedTemporaryFile
        >>> with NamedTemporaryFile("w", suffix=".py") as file:
        ...     print("def make(): return lambda images: images.mean(dim=(2, 3))", file=file, flush=True)
        ...     eye = Custom(f"{file.name}:make").load(torch.device("cpu"))
        >>> eye.see(torch.full((2, 1, 4, 4), 255, dtype=torch.uint8))[0].tolist()
        [[1.0], [1.0]]
    """

    make: str = ""

    def load(self, device: torch.device) -> Eye:
        """What the function in the file makes, ready to look at images."""
        made = catalogue.made_in_file(self.make, "an extractor")
        path, _, name = self.make.rpartition(":")
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        return eye_of(made, device, name=f"{Path(path).name}:{name}", source=text)
