"""Latent directions: an orthonormal or free basis with names and a record of where it came from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from orthogen.core.files import write_atomically
from orthogen.core.shapes import Float

__all__ = ["Directions"]


@dataclass(frozen=True, eq=False)
class Directions:
    """Rows of ``basis`` are directions of a latent space.

    Attributes:
        basis: ``(n, dim)``; moving by ``a`` along direction i takes z to ``z + a * basis[i]``.
        space: the latent space it lives in, e.g. ``"z"`` or ``"w"``.
        strength: how much each direction matters to the method that found it (descending, its own unit), or None.
        names: one name per direction; ``"0"``, ``"1"``, ... if not given.
        provenance: what made it: method, settings, generator, seed.
    """

    basis: Float[Tensor, "n dim"]
    space: str = "z"
    strength: Float[Tensor, "n"] | None = None
    names: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.basis.ndim != 2:
            raise ValueError(f"Directions: basis has shape {tuple(self.basis.shape)}; (directions, dim) is needed")
        if not self.names:
            object.__setattr__(self, "names", tuple(str(i) for i in range(len(self.basis))))
        if len(self.names) != len(self.basis):
            raise ValueError(f"Directions: {len(self.names)} names for {len(self.basis)} directions")

    def __len__(self) -> int:
        return len(self.basis)

    @classmethod
    def coordinates(cls, dim: int, space: str = "z") -> "Directions":
        """The latent's own axes.

        Example:
            >>> Directions.coordinates(3).basis.sum().item()
            3.0
        """
        return cls(torch.eye(dim), space, provenance={"method": "coordinates"})

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, atomically."""
        tensors = {"basis": self.basis.detach().cpu().contiguous()}
        if self.strength is not None:
            tensors["strength"] = self.strength.detach().cpu().contiguous()
        about = {"space": self.space, "names": list(self.names), "provenance": dict(self.provenance)}
        write_atomically(Path(path), to_bytes(tensors, metadata={"orthogen.directions": json.dumps(about)}))

    @classmethod
    def load(cls, path: str | Path) -> "Directions":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is no directions file of ours.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} does not exist; give a directions file (written by Directions.save)")
        try:
            with safe_open(str(path), framework="pt") as file:
                about = json.loads((file.metadata() or {})["orthogen.directions"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            basis, space, names, provenance = tensors["basis"], about["space"], about["names"], about["provenance"]
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not a directions file (safetensors written by Directions.save)") from error
        return cls(basis, space, tensors.get("strength"), tuple(names), provenance)
