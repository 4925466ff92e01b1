import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

import orthogen as og
from orthogen.checkpoints import open_run
from orthogen.core.rng import private
from tiny_gan import digest, everything, lines, recipe

TESTS = Path(__file__).parents[1]


class Crash(Exception):
    pass


def crash_at(images: int) -> Callable[[Mapping[str, float]], None]:
    def call(values: Mapping[str, float]) -> None:
        if values["images"] >= images:
            raise Crash

    return call


def test_killed_at_random_moments_it_ends_where_an_uninterrupted_run_ends(tmp_path: Path) -> None:
    whole = og.train(
        everything(checkpoint_every=16, images=320), tmp_path / "whole", log_every=24, device="cpu", quiet=True
    )
    command = [sys.executable, str(TESTS / "training" / "killed.py"), str(tmp_path / "killed"), "1"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 3
    assert digest(open_run(tmp_path / "killed")) == digest(whole)
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    assert [p.read_bytes() for p in open_run(tmp_path / "killed").samples] == [p.read_bytes() for p in whole.samples]


@pytest.mark.parametrize("make", [recipe, everything])
@pytest.mark.parametrize("crash", [16, 48, 104])
def test_a_crash_between_checkpoints_leaves_no_trace(
    tmp_path: Path, make: Callable[..., og.Recipe], crash: int
) -> None:
    whole = og.train(make(), tmp_path / "whole", log_every=16, quiet=True)
    with pytest.raises(Crash):
        og.train(make(), tmp_path / "broken", log_every=16, quiet=True, on_log=crash_at(crash))
    again = og.train(make(), tmp_path / "broken", log_every=16, quiet=True)
    assert digest(again) == digest(whole)
    assert lines(tmp_path / "broken") == lines(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(
    tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(values: Mapping[str, float]) -> None:
        if values["images"] == 48:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    stopped = og.train(recipe(), tmp_path / "run", log_every=24, on_log=interrupt)
    assert signal.getsignal(number) is before
    # the signal came while the line of image 48 was written, so the step after it was the last
    assert [each.images for each in stopped.checkpoints] == [40, 56]
    assert not stopped.finished
    assert (
        f"stopped at image 56 of 160, nothing is lost; to continue, train the same recipe in {tmp_path}/run again"
        in (capsys.readouterr().err.replace("\n", ""))
    )
    # the interval of the log that was under way goes on too
    finished = og.train(recipe(), tmp_path / "run", log_every=24)
    assert "run continues at image 56 of 160" in capsys.readouterr().err.replace("\n", "")
    whole = og.train(recipe(), tmp_path / "whole", log_every=24, quiet=True)
    assert digest(finished) == digest(whole)
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    assert finished.finished


def test_a_complete_run_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = og.train(recipe(), tmp_path, quiet=True)
    capsys.readouterr()
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = og.train(recipe(), tmp_path)
    assert again.about == first.about
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    assert "is complete at image 160 of 160" in capsys.readouterr().err


def test_a_run_depends_on_its_seed_alone_and_leaves_the_callers_randomness_alone(tmp_path: Path) -> None:
    torch.manual_seed(1)
    state, own = torch.get_rng_state(), private().get_state()
    first = digest(og.train(everything(), tmp_path / "a", quiet=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(private().get_state(), own)
    torch.rand(7)
    torch.rand(3, generator=private())
    assert digest(og.train(everything(), tmp_path / "b", quiet=True)) == first
    assert digest(og.train(everything(seed=1), tmp_path / "c", quiet=True)) != first


def test_other_threads_are_mentioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Crash):
        og.train(recipe(), tmp_path, quiet=True, log_every=48, on_log=crash_at(48))
    try:
        torch.set_num_threads(2)
        og.train(recipe(), tmp_path)
    finally:
        torch.set_num_threads(1)
    message = f"{tmp_path} was begun with 1 threads: its numbers may differ in the last digits from here on"
    assert message in capsys.readouterr().err.replace("\n", "")
