"""Directions by gradient descent on a matrix: the fields that such methods share, and a search that can be interrupted.

Letters: ``n`` directions, ``w`` columns of the latent that are searched, ``dim`` columns of the latent.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core import rng as randomness
from orthogen.core.choices import check_choices
from orthogen.core.directions import Directions
from orthogen.core.generator import Generator
from orthogen.core.linalg import orthonormalize
from orthogen.core.maps import LatentMap, probe
from orthogen.core.progress import track
from orthogen.core.shapes import Float
from orthogen.core.untouched import seeded
from orthogen.discovery._found import checked_count, columns_of, found, frozen, latents
from orthogen.discovery._labels import Labeled

__all__ = ["Descent", "Search"]

_POINTS = 200  # of the log that go into the provenance


@dataclass(frozen=True, kw_only=True)
class Descent(Labeled):
    """A discovery that descends on a matrix A, whose rows become directions.

    Attributes:
        count: how many directions; as many as the searched space has dimensions if None.
        search_space: where: a named block of the latent (BigGAN's are coarse, mid and fine), or its first column and
            the one after its last; "all" or None for the whole latent. Directions are zero elsewhere.
        orthogonal: "qr": the directions are the Gram-Schmidt of A's rows. "retract": so they are, and A is set to them
            after each step, which keeps the angle of a step from shrinking as A grows. "unit": A's rows at unit length.
            "none": A as it is.
        lr: learning rate of Adam, with betas 0.9 and 0.999.
        batch: latents per step.
        steps: how many; the released tools of both papers count epochs of 1000.
    """

    count: int | None = None
    search_space: str | tuple[int, int] | None = None
    orthogonal: Literal["qr", "retract", "unit", "none"] = "qr"
    lr: float = 0.01
    batch: int = 32
    steps: int = 50_000

    def __post_init__(self) -> None:
        check_choices(self)
        name = type(self).__name__
        if not self.lr > 0:
            raise ValueError(f"{name}(lr={self.lr}): the learning rate must be positive")
        if self.batch < 1 or self.steps < 1:
            raise ValueError(f"{name}(batch={self.batch}, steps={self.steps}): give at least 1 of each")

    @property
    def watched(self) -> tuple[str, ...]:
        """The layers that the loss looks at; the image if empty."""
        return ()

    def start(self, n: int, w: int, rng: torch.Generator) -> Float[Tensor, "n w"]:
        """The matrix at the start."""
        return torch.randn(n, w, generator=rng, device=rng.device) / math.sqrt(w)

    @abstractmethod
    def beside(self, generator: Generator, n: int, rng: torch.Generator) -> nn.Module | None:
        """The network that is trained beside the matrix, if any. Here a method refuses what it cannot search in."""

    @abstractmethod
    def losses(self, search: "Search", basis: Float[Tensor, "n dim"]) -> Iterator[dict[str, Tensor]]:
        """The loss of a fresh batch under ``"loss"``, beside other numbers to log, as terms that add up.

        Each term is differentiated before the next one is made.
        """

    def search(self, generator: Generator, *, rng: torch.Generator | None = None) -> "Search":
        """The search before its first step."""
        return Search(self, generator, randomness.private() if rng is None else rng)

    def fit(
        self,
        generator: Generator,
        *,
        rng: torch.Generator | None = None,
        each: "Callable[[Search], None] | None" = None,
    ) -> Directions:
        """The directions after all steps.

        Args:
            generator: which; it stays as it is.
            rng: draws everything.
            each: called with the search after each step, to save it, to show its log or pictures along its directions.
        """
        return self.search(generator, rng=rng).run(each)


class Search:
    """A search under way: `step` takes a step, `run` those that are left; `directions` may be asked for at any time.

    ``state_dict`` holds everything that the rest of the search depends on as plain tensors, the random state included:
    save it in a safetensors file, load it in a new search on the same generator, and the steps that follow are the
    same to the last bit.

    Attributes:
        method: the fields.
        f: the generator as a map of its latent.
        A: the matrix, on the generator's device and in its precision.
        network: what is trained beside it, or None.
        rng: draws latents, labels and probes.
        log: of each step taken, the loss, the root mean square of A's entries (``norm``) and what else there is.
    """

    def __init__(self, method: Descent, generator: Generator, rng: torch.Generator) -> None:
        self.method, self.rng = method, rng
        self.f: LatentMap = probe(generator, method.watched)
        self.log: list[dict[str, Tensor]] = []
        self._generator = generator
        space = None if method.search_space == "all" else method.search_space
        self._columns = columns_of(method, generator.latent, space)
        width = self._columns[1] - self._columns[0]
        n = checked_count(method, method.count, width)
        self.A = method.start(n, width, rng).to(latents(generator, 1, torch.Generator())).requires_grad_()
        self.network = method.beside(generator, n, rng)
        self._learned = [self.A, *(() if self.network is None else self.network.parameters())]
        self._optimizer = torch.optim.Adam(self._learned, lr=method.lr)

    def draw(self, n: int) -> tuple[Float[Tensor, "n dim"], dict[str, Tensor]]:
        """Fresh latents and what the generator takes beside them."""
        z = latents(self._generator, n, self.rng)
        return z, self.method.conditions(self._generator, n, self.rng, z.device)

    def basis(self) -> Float[Tensor, "n dim"]:
        """The directions as a differentiable function of A."""
        if self.method.orthogonal in ("qr", "retract"):
            rows = orthonormalize(self.A)
        else:
            rows = F.normalize(self.A, dim=1) if self.method.orthogonal == "unit" else self.A
        start, stop = self._columns
        return F.pad(rows, (start, self._generator.latent.dim - stop))

    def run(self, each: "Callable[[Search], None] | None" = None) -> Directions:
        """Take the steps that are left, with ``each`` called after each of them; the directions then."""
        name = f"{type(self.method).__name__}, {len(self.A)} directions"
        for _ in track(range(len(self.log), self.method.steps), name):
            self.step()
            if each is not None:
                each(self)
        return self.directions()

    @torch.enable_grad()
    def step(self) -> None:
        """One step of Adam on a fresh batch."""
        self._optimizer.zero_grad(set_to_none=True)
        basis = self.basis()
        # the losses are differentiated to this leaf, which all parts of the batch share, and the Gram-Schmidt once
        leaf = basis.detach().requires_grad_()
        total: dict[str, Tensor] = {}
        # noise inside the generator: of the seed and the step alone, so that a search can go on from its state
        noise = randomness.generator(self.rng.initial_seed(), "noise", len(self.log))
        with seeded(noise, self.A.device), self.f.session(), frozen(self._generator.module):
            for terms in self.method.losses(self, leaf):
                terms["loss"].backward(inputs=[leaf, *self._learned[1:]])
                for name, value in terms.items():
                    total[name] = total.get(name, 0.0) + value.detach()
        basis.backward(leaf.grad, inputs=[self.A])
        self._optimizer.step()
        with torch.no_grad():
            if self.method.orthogonal == "retract":
                self.A.copy_(orthonormalize(self.A))
            entry = {**total, "norm": self.A.square().mean().sqrt()}
            self.log.append(dict(sorted(entry.items())))  # the order in which a state's file gives them back

    @torch.no_grad()
    def directions(self) -> Directions:
        """The directions so far."""
        basis = self.basis().float().cpu()
        where = sorted({round(i * (len(self.log) - 1) / (_POINTS - 1)) for i in range(_POINTS)}) if self.log else []
        log: dict[str, Any] = {"step": [i + 1 for i in where]}
        for name in self.log[0] if self.log else ():
            log[name] = [_plain(self.log[i][name]) for i in where]
        return found(self.method, self._generator, basis, taken=len(self.log), log=log)

    def state_dict(self) -> dict[str, Tensor]:
        """Plain tensors; copies, which later steps do not change."""
        state = {"A": self.A.detach(), "rng": self.rng.get_state()}
        for i, learned in enumerate(self._learned):
            state |= {f"adam/{i}/{name}": value for name, value in self._optimizer.state[learned].items()}
        if self.network is not None:
            state |= {f"network/{name}": value for name, value in self.network.state_dict().items()}
        if self.log:
            state |= {f"log/{name}": torch.stack([entry[name] for entry in self.log]) for name in self.log[0]}
        return {name: value.clone() for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from where ``state`` was taken.

        Raises:
            ValueError: it is the state of another search.
        """

        def under(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

        steps = [len(values) if values.ndim == 1 else -1 for values in under("log/").values()] or [0]
        expected = {name: value for name, value in self.state_dict().items() if not name.startswith(("adam/", "log/"))}
        if max(steps) > 0:  # Adam counts its steps on the CPU
            for i, learned in enumerate(self._learned):
                moments = {"exp_avg": learned, "exp_avg_sq": learned, "step": torch.zeros(())}
                expected |= {f"adam/{i}/{name}": value for name, value in moments.items()}
        ours, theirs = (
            {name: (value.shape, value.dtype) for name, value in each.items() if not name.startswith("log/")}
            for each in (expected, state)
        )
        if ours != theirs or min(steps) != max(steps) or min(steps) < 0:
            raise ValueError(
                f"the state is not that of this search ({type(self.method).__name__}, {len(self.A)} directions in "
                f"{self.A.shape[1]} dimensions), or damaged; make the search with the same fields"
            )
        try:
            self.rng.set_state(state["rng"].cpu())
        except RuntimeError as error:
            raise ValueError("the state is damaged: its random state is none") from error
        with torch.no_grad():
            self.A.copy_(state["A"])
        if self.network is not None:
            self.network.load_state_dict(under("network/"))
        for i, learned in enumerate(self._learned):
            self._optimizer.state[learned] = {
                name: value.clone().to("cpu" if name == "step" else learned.device)
                for name, value in under(f"adam/{i}/").items()
            }
        columns = {name: values.to(self.A.device).unbind() for name, values in under("log/").items()}
        self.log = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(value: Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None  # JSON has no NaN
