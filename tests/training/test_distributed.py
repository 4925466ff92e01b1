import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import orthogen as og
from orthogen.checkpoints import open_run
from orthogen.training.distributed import Processes, pick_device
from tiny_gan import digest, lines, means, recipe

TESTS = Path(__file__).parents[1]


def test_two_processes_make_the_run_of_one(tmp_path: Path) -> None:
    script = str(TESTS / "training" / "two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", script]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, str(tmp_path)], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr

    one, two = og.train(means(), tmp_path / "one", quiet=True, log_every=24), open_run(tmp_path / "means")
    assert two.about["processes"] == 2
    a, b = (run.checkpoints[-1].tensors() for run in (one, two))
    for name, value in a.items():
        if not name.startswith("random/"):
            assert torch.allclose(value.float(), b[name].float(), atol=1e-6), name
    assert torch.equal(a["random/shared/latent"], b["random/shared/latent"])
    for mine, theirs in zip(lines(one.folder), lines(two.folder), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)

    # with dropout, batch norm, draws and memories in each process: told to stop, crashed, resumed, it is the same run
    whole = digest(open_run(tmp_path / "whole"))
    assert digest(open_run(tmp_path / "interrupted")) == whole
    assert whole["random/0/torch"] != whole["random/1/torch"]
    assert lines(tmp_path / "interrupted") == lines(tmp_path / "whole")
    # one process was told to stop at step 3; both did, when next they asked each other
    assert {(tmp_path / f"stopped{rank}").read_text() for rank in (0, 1)} == {"256"}

    for rank in (0, 1):
        refusal = (tmp_path / f"refused{rank}").read_text()
        assert "means holds a run of another recipe: data is StillBarData there and BarData here" in refusal


def test_alone_there_is_nothing_to_do() -> None:
    alone = Processes(torch.device("cpu"))
    x = torch.arange(4.0)
    alone.average([x])
    alone.agree([x])
    assert torch.equal(alone.part(x), torch.arange(4.0))
    assert alone.gather(3) == [3]
    assert alone.first(lambda: 5) == 5
    assert alone.any(True) is True
    assert alone.any(False) is False


def test_a_batch_that_cannot_be_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 3)
    said = "a batch of {} cannot be shared out to 3 processes with accumulate=2; give a multiple of 6"
    with pytest.raises(ValueError, match=said.format(8)):
        og.train(recipe(accumulate=2), tmp_path, quiet=True)
    model = og.ProGan(og.Normal(3), channels=1, resolution=8, channel_base=64)
    growing = recipe(model=model, accumulate=2, batch=6, growth=og.Growth(batches=(12, 8)))
    with pytest.raises(ValueError, match=said.format(8)):
        og.train(growing, tmp_path, quiet=True)


def test_the_best_device_there_is() -> None:
    assert pick_device(None).type == pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
