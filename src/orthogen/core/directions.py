"""Latent directions: an orthonormal or free basis with names and a record of where it came from."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from orthogen.core.files import write_atomically
from orthogen.core.generator import Generator
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
        provenance: what made it: method, settings, layers, the hash of the generator's weights, seed.
        deviation: the standard deviation of the latents' coordinate z . q / |q|² along each direction q, so that a step
            of ``deviation[i]`` is one standard deviation; None where it is not known.
        scores: what was measured along them: by name one number per direction, None where there is none.

    Raises:
        ValueError: the basis is no matrix, or something has not one entry per direction.

    Example:
        >>> found = Directions(torch.eye(3)).renamed({1: "pose"})
        >>> found.names, found.take(["pose", 0]).basis.tolist()
        (('0', 'pose', '2'), [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    """

    basis: Float[Tensor, "n dim"]
    space: str = "z"
    strength: Float[Tensor, "n"] | None = None
    names: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    deviation: Float[Tensor, "n"] | None = None
    scores: Mapping[str, Sequence[float | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.basis.ndim != 2:
            raise ValueError(f"Directions: basis has shape {tuple(self.basis.shape)}; (directions, dim) is needed")
        n = len(self.basis)
        object.__setattr__(self, "names", tuple(self.names) or tuple(str(i) for i in range(n)))
        object.__setattr__(self, "scores", {name: tuple(values) for name, values in self.scores.items()})
        columns: dict[str, Any] = {"names": self.names, "strength": self.strength, "deviation": self.deviation}
        for what, column in {**columns, **self.scores}.items():
            if column is not None and len(column) != n:
                raise ValueError(f"Directions: {len(column)} {what} for {n} directions")

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

    def index(self, which: int | str) -> int:
        """The row of a direction: by its name, or by its number where no name is that number.

        Raises:
            ValueError: there is no such direction.
        """
        names = list(self.names)
        if str(which) in names:
            return names.index(str(which))
        number = int(which) if str(which).isdecimal() else -1
        if not 0 <= number < len(self):
            named = [name for i, name in enumerate(names) if name != str(i)]
            hint = f", or by name: {', '.join(named[:12])}" if named else ""
            raise ValueError(f"there is no direction {which!s}; give 0 to {len(self) - 1}{hint}")
        return number

    def take(self, which: Sequence[int | str]) -> "Directions":
        """Some of the directions, by number or name, in the order asked for.

        Raises:
            ValueError: there is no such direction.
        """
        rows = [self.index(each) for each in which]
        return Directions(
            self.basis[rows],
            self.space,
            None if self.strength is None else self.strength[rows],
            tuple(self.names[i] for i in rows),
            self.provenance,
            None if self.deviation is None else self.deviation[rows],
            {name: tuple(values[i] for i in rows) for name, values in self.scores.items()},
        )

    def renamed(self, names: Mapping[int | str, str]) -> "Directions":
        """The same directions, some under new names.

        Raises:
            ValueError: there is no such direction, or two would have one name.
        """
        changed = list(self.names)
        for which, name in names.items():
            changed[self.index(which)] = name
        twice = [name for name in changed if changed.count(name) > 1]
        if twice or "" in changed:
            raise ValueError(f"every direction has a name of its own; {twice[0] if twice else 'an empty one'!r} is not")
        return replace(self, names=tuple(changed))

    def of_another(self, generator: Generator) -> bool:
        """Whether they were found in a generator with other weights; False where that is not known."""
        made_in = self.provenance.get("generator")
        return made_in is not None and made_in != generator.digest

    def warn_if_of_another(self, generator: Generator) -> None:
        """One line for the user who moves a generator along directions of another one, or of another space."""
        if self.space != generator.latent.space:
            warnings.warn(
                f"these directions are of the space {self.space!r}, and this generator takes "
                f"{generator.latent.space!r}; a StyleGAN is loaded with space={self.space!r} (--space {self.space})",
                stacklevel=3,
            )
        if self.of_another(generator):
            method = self.provenance.get("method", "a method")
            warnings.warn(
                f"these directions were found by {method} in a generator with other weights; they may mean nothing "
                "here",
                stacklevel=3,
            )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, atomically."""
        tensors = {"basis": self.basis, "strength": self.strength, "deviation": self.deviation}
        kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items() if value is not None}
        about = {
            "space": self.space,
            "names": list(self.names),
            "provenance": dict(self.provenance),
            "scores": {name: list(values) for name, values in self.scores.items()},
        }
        write_atomically(Path(path), to_bytes(kept, metadata={"orthogen.directions": json.dumps(about)}))

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
            return cls(
                tensors["basis"],
                about["space"],
                tensors.get("strength"),
                tuple(about["names"]),
                about["provenance"],
                tensors.get("deviation"),
                about.get("scores", {}),
            )
        except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path} is not a directions file (safetensors written by Directions.save)") from error
