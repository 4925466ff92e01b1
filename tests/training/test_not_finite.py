from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core.kinds import LatentPenalty
from tiny_gan import TinyGan, recipe


@dataclass(frozen=True)
class Bursting(LatentPenalty):
    """Not a number from the n-th call on."""

    calls: int = 7

    def init(self, generator, data=None) -> nn.Module:  # type: ignore[no-untyped-def, override]
        return Count()

    def terms(self, f, z, *, state=None, rng=None, probes=None) -> dict[str, Tensor]:  # type: ignore[no-untyped-def, override]
        state.calls += 1
        return {"output": f(z)[0].mean() * torch.where(state.calls >= self.calls, torch.nan, 1.0)}


class Count(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Tensor
        self.register_buffer("calls", torch.tensor(0))


def test_the_term_the_step_and_the_last_good_checkpoint_are_named(tmp_path: Path) -> None:
    objective = og.Objective(og.NonSaturating(), {"bursting": og.Term(Bursting())})
    with pytest.raises(FloatingPointError) as caught:
        og.train(recipe(objective=objective), tmp_path, log_every=80, quiet=True)
    last = tmp_path / "checkpoints" / "images_000000040"
    assert str(caught.value) == (
        f"penalty/bursting was not finite at step 6 (image 48); the last good checkpoint is {last}; "
        "lower the rates, or the weight of that term"
    )
    assert [path.name for path in last.parent.iterdir()] == [last.name]
    assert (tmp_path / "log.jsonl").read_text() == ""


def test_before_the_first_checkpoint(tmp_path: Path) -> None:
    objective = og.Objective(og.NonSaturating(), {"bursting": og.Term(Bursting(1))})
    with pytest.raises(FloatingPointError, match=r"at step 0 \(image 0\); there is no checkpoint yet; lower"):
        og.train(recipe(objective=objective), tmp_path, quiet=True)


@dataclass(frozen=True)
class Overflowing(TinyGan):
    """Its critic's last weight leaves the numbers with the first step."""

    def build(self) -> dict[str, nn.Module]:
        built = super().build()
        built["critic"][-1].register_buffer("spoiled", torch.tensor(torch.inf))
        return built


def test_weights_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    with pytest.raises(
        FloatingPointError, match=r"the weights of network/critic were not finite at step 5 \(image 40\)"
    ):
        og.train(recipe(model=Overflowing()), tmp_path, quiet=True)
    assert not (tmp_path / "checkpoints").exists()
