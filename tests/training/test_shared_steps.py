"""A generator step whose penalties stand on its own pass learns what one with passes of their own does."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core.kinds import LatentPenalty
from orthogen.core.probing import ProbePenalty
from orthogen.training.distributed import Processes
from orthogen.training.feed import Batch
from orthogen.training.step import Game
from tiny_gan import TinyGan, recipe

LOOKERS = (og.VariationPredictability, og.InfoGan)  # which see the image


def learned(monkeypatch: pytest.MonkeyPatch, share: bool, **fields: Any) -> tuple[list[Tensor], int, dict[str, Any]]:
    """The generator's weights after two steps, rows that its first layer saw in the second, and what was logged."""
    if not share:
        monkeypatch.setattr(ProbePenalty, "shares_base", False)
        for kind in LOOKERS:
            monkeypatch.setattr(kind, "shares_base", False)
    made = recipe(clip=None, **fields)
    images = made.data.open()
    with torch.random.fork_rng():
        state = Game(made, images, Processes(torch.device("cpu")))
    batch, rows = Batch(torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(3)) * 2 - 1), 0

    def count(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal rows
        rows += len(output)

    with torch.random.fork_rng():
        torch.manual_seed(0)  # of dropout
        state.take_step(batch)
        state.generator.module[0].register_forward_hook(count)
        values = state.take_step(batch)
    monkeypatch.undo()
    return [p.detach() for p in state.generator.module.parameters()], rows, values


@pytest.mark.parametrize(
    ("penalty", "batch", "saved"),
    [
        (og.OroJaR(), None, 8),
        (og.OroJaR(reduction="mean"), 4, 4),
        (og.HessianPenalty(), None, 0),
        (og.VariationPredictability(), None, 8),
        (og.InfoGan(), 4, 4),
    ],
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_sharing_changes_passes_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, penalty: LatentPenalty, batch: int | None, saved: int, accumulate: int
) -> None:
    layers = () if isinstance(penalty, LOOKERS) else ("1", "4")
    terms = {
        "first": og.Term(penalty, 0.01, layers=layers, batch=batch),
        "second": og.Term(og.HessianPenalty(), 0.01),
    }
    fields = {"objective": og.Objective(og.NonSaturating(), terms), "accumulate": accumulate}
    shared, few, values = learned(monkeypatch, True, **fields)
    plain, many, expected = learned(monkeypatch, False, **fields)
    for a, b in zip(shared, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert list(values) == list(expected)
    for name, value in values.items():
        assert float(value) == pytest.approx(float(expected[name]), rel=1e-3, abs=1e-6)
    # a maximum also saves the base passes of the samples that hold one, which are not always as many
    assert many - few == saved or (saved == 8 and saved < many - few <= saved + 2 * accumulate)


@pytest.mark.parametrize(
    "fields", [{"precision": "bfloat16"}, {"model": TinyGan(dropout=0.2)}, {"model": TinyGan(norm=True)}]
)
def test_what_cannot_be_shared_is_made_as_before(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> None:
    terms = {"one": og.Term(og.OroJaR(reduction="mean"), 0.01, layers=("1",))}
    fields = {"objective": og.Objective(og.NonSaturating(), terms), **fields}
    shared, few, _ = learned(monkeypatch, True, **fields)
    plain, many, _ = learned(monkeypatch, False, **fields)
    assert few == many
    for a, b in zip(shared, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
