"""Golden vectors: outputs of the original functions, see golden/README.md."""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parent / "golden"


def vectors(name: str) -> dict[str, np.ndarray]:
    """All arrays of one file."""
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}
