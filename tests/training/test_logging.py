import json
import math
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import orthogen as og
from orthogen.training.distributed import Processes
from orthogen.training.log import JsonLines
from orthogen.training.meter import Meter
from orthogen.training.progress import Reporter
from tiny_gan import everything, recipe

ALONE = Processes(torch.device("cpu"))


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), st.integers(0, 20))
def test_means_do_not_depend_on_when_values_are_folded(values: list[float], cut: int) -> None:
    one, two = Meter(ALONE), Meter(ALONE)
    for number, value in enumerate(values):
        for meter in (one, two):
            meter.add(number, 8 * number, {"loss": torch.tensor(value), **({"rate": 1.0} if number % 2 else {})})
        if number == cut:
            assert two.fold() is None
            moved = Meter(ALONE)
            moved.load_state_dict(json.loads(json.dumps(two.state_dict())))
            two = moved
    assert one.fold() is two.fold() is None
    means = one.means()
    assert means == two.means()
    assert means["loss"] == pytest.approx(math.fsum(values) / len(values), rel=1e-6, abs=1e-9)
    assert one.means() == {}


def test_the_first_value_that_is_not_finite_is_found() -> None:
    meter = Meter(ALONE)
    meter.add(0, 0, {"loss": torch.tensor(1.0), "norm/g": torch.tensor(1.0)})
    meter.add(1, 8, {"norm/g": torch.tensor(torch.nan), "penalty/p": torch.tensor(torch.inf)})
    meter.add(2, 16, {"loss": torch.tensor(torch.nan)})
    fault = meter.fold()
    assert fault is not None
    assert (fault.name, fault.step, fault.images) == ("penalty/p", 1, 8)


def test_lines_after_the_checkpoint_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    whole = "".join(json.dumps({"images": images, "loss": 1.0}) + "\n" for images in (8, 16, 24))
    path.write_text(whole + '{"images": 32, "lo')
    log = JsonLines(path, 16)
    log.write({"images": 24, "loss": 2.0})
    log.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"images": 8, "loss": 1.0},
        {"images": 16, "loss": 1.0},
        {"images": 24, "loss": 2.0},
    ]


def test_a_line_holds_means_rates_norms_and_speed(tmp_path: Path) -> None:
    run = og.train(everything(images=80), tmp_path, log_every=40, quiet=True)
    first, last = run.log()
    assert set(first) == {
        *("images", "seconds", "speed/images_per_second", "loss/critic", "loss/generator"),
        *("penalty/flat", "penalty/flat/1", "penalty/flat/7", "penalty/guess", "penalty/small", "penalty/anchored"),
        *("rate/generator", "rate/critic", "norm/generator", "norm/critic", "half/norm", "half/done"),
    }
    assert (first["images"], last["images"]) == (40, 80)
    assert last["seconds"] > first["seconds"] > 0
    assert first["rate/critic"] == pytest.approx(2e-4)


def test_tensorboard_gets_every_line(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = og.train(recipe(images=80), tmp_path, log_every=40, log_to=("tensorboard",), quiet=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    written = [(event.step, event.value) for event in events.Scalars("loss/critic")]
    assert written == [(line["images"], pytest.approx(line["loss/critic"])) for line in run.log()]


def test_wandb_gets_every_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    session = types.SimpleNamespace(
        log=lambda values, step: calls.append((step, values["loss/critic"])), finish=lambda: calls.append("finished")
    )
    fake = types.ModuleType("wandb")
    fake.init = lambda **given: calls.append(given["config"]["recipe"]["name"]) or session  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    run = og.train(recipe(images=80), tmp_path, log_every=40, log_to=("wandb",), quiet=True)
    assert calls == ["tiny", *((line["images"], line["loss/critic"]) for line in run.log()), "finished"]


VALUES = {"images": 1280, "seconds": 2.0, "loss/critic": 0.5, "penalty/oj": 0.25, "penalty/oj/a": 1.0}


def test_without_a_terminal_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orthogen.training.progress.LINE_EVERY", 0.0)
    reporter = Reporter("tiny", 0, 128_000)
    reporter.advance(1280)
    reporter.write({**VALUES, "speed/images_per_second": 640.0})
    reporter.close()
    said = "tiny: 1,280 of 128,000 images · 3 min left · 640 images/s · critic 0.5 · oj 0.25\n"
    assert capsys.readouterr() == ("", said)


def test_quiet_and_soon_after_the_last_line_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        reporter = Reporter("tiny", 0, 128_000, quiet=quiet)
        reporter.write({**VALUES, "speed/images_per_second": 640.0})
        reporter.close()
    assert capsys.readouterr() == ("", "")


def test_in_a_terminal_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")
    reporter = Reporter("tiny", 0, 128_000)
    reporter.advance(64_000)
    reporter.write({**VALUES, "speed/images_per_second": 640.0})
    reporter.close()
    shown = capsys.readouterr().err
    assert "50%" in shown
    assert "640 images/s · critic 0.5 · oj 0.25" in shown
