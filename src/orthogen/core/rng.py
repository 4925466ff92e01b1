"""Randomness: one seed, many named streams.

Nothing in the library draws from torch's global generator. Training uses an `Rngs`, whose streams do not disturb each
other: drawing one more latent does not change the order of the data. Everything else takes ``rng=`` and falls back to
one private generator of the process.
"""

import hashlib
from functools import cache

import torch

__all__ = ["Rngs", "generator", "private"]


def _mix(*words: str | int) -> int:
    digest = hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1  # manual_seed takes 63 bits


def generator(*words: str | int) -> torch.Generator:
    """A CPU generator seeded by the words alone, e.g. ``generator(seed, "data", epoch)``.

    Example:
        >>> a, b, c = generator(0, "data", 3), generator(0, "data", 3), generator(0, "data", 4)
        >>> draw = lambda g: torch.rand(1, generator=g).item()
        >>> draw(a) == draw(b) != draw(c)
        True
    """
    return torch.Generator().manual_seed(_mix(*words))


@cache
def private() -> torch.Generator:
    """The generator behind every ``rng=None``: one per process, seeded with 0, recorded in checkpoints."""
    return generator(0, "private")


class Rngs:
    """Named streams of one seed, made when first asked for; ``rank`` sets the processes of a group apart.

    Example:
        >>> rngs = Rngs(seed=0)
        >>> rngs["latent"] is rngs["latent"]
        True
        >>> state = rngs.state_dict()
        >>> first = torch.rand(1, generator=rngs["latent"])
        >>> rngs.load_state_dict(state)
        >>> bool(first == torch.rand(1, generator=rngs["latent"]))
        True
    """

    def __init__(self, seed: int = 0, rank: int = 0) -> None:
        self.seed, self.rank = seed, rank
        self._streams: dict[str, torch.Generator] = {}

    def __getitem__(self, name: str) -> torch.Generator:
        if name not in self._streams:
            self._streams[name] = generator(self.seed, name, self.rank)
        return self._streams[name]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The state of every stream used so far, as byte tensors."""
        return {name: stream.get_state() for name, stream in self._streams.items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Put every stream where ``state`` left it; streams it does not name start afresh."""
        self._streams.clear()
        for name, value in state.items():
            self[name].set_state(value.cpu())
