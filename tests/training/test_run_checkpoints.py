import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

import orthogen as og
from orthogen.checkpoints import open_run
from orthogen.core import files
from tiny_gan import digest, everything, recipe


def test_the_newest_are_kept_and_hold_every_state(tmp_path: Path) -> None:
    run = og.train(everything(), tmp_path, keep=2, quiet=True)
    assert [each.images for each in run.checkpoints] == [120, 160]
    tensors = run.checkpoints[-1].tensors()
    assert {name.split("/")[0] for name in tensors} == {"network", "term", "optimizer", "random"}
    assert {name for name in tensors if name.startswith("random/")} == {
        "random/0/torch",
        "random/0/private",
        "random/0/own/penalty/flat",
        "random/0/own/penalty/guess",
        "random/0/own/penalty/small",
        "random/0/own/penalty/anchored",
        "random/shared/latent",
    }
    assert tensors["term/anchored/mean"].item() != 0
    assert tensors["optimizer/critic/terms.anchored.offset/exp_avg"].abs() > 0
    assert tensors["optimizer/generator/terms.guess.weight/exp_avg"].abs().sum() > 0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: os.truncate(path / "training.safetensors", 100), "training.safetensors is not what was written"),
        (lambda path: (path / "generator.safetensors").unlink(), "generator.safetensors is missing"),
        (lambda path: (path / "checkpoint.json").unlink(), "checkpoint.json is missing"),
        (lambda path: os.truncate(path / "checkpoint.json", 10), "checkpoint.json cannot be read (JSONDecodeError)"),
        (lambda path: (path / "checkpoint.json").write_text("{}"), "checkpoint.json cannot be read (KeyError)"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path: Path, damage, said: str) -> None:  # type: ignore[no-untyped-def]
    run = og.train(recipe(), tmp_path, quiet=True)
    whole = digest(run)
    newest = run.checkpoints[-1].path
    damage(newest)
    with pytest.warns(UserWarning, match=f"^{re.escape(f'{newest} is damaged and skipped: {said}')}$"):
        again = og.train(recipe(), tmp_path, quiet=True)
    assert digest(again) == whole


def test_without_a_whole_checkpoint_the_run_begins_anew(tmp_path: Path) -> None:
    run = og.train(recipe(images=80), tmp_path, quiet=True)
    whole = digest(run)
    for checkpoint in run.checkpoints:
        (checkpoint.path / "checkpoint.json").unlink()
    with pytest.warns(UserWarning, match="damaged"):
        assert digest(og.train(recipe(images=80), tmp_path, quiet=True)) == whole


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_said_in_one_line_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fill(values: Mapping[str, float]) -> None:
        if values["images"] >= 80:
            monkeypatch.setattr(files.os, call, full)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="is full") as caught:
        og.train(recipe(sample_every=0), tmp_path, quiet=True, log_every=8, on_log=fill)
    last = tmp_path / "checkpoints" / "images_000000040"
    assert str(caught.value) == (
        f"the disk of {tmp_path} is full at image 80; the last good checkpoint is {last}; "
        "make room and train again to continue from there"
    )
    assert sorted(path.name for path in last.parent.iterdir()) == ["images_000000040"]
    monkeypatch.undo()
    again = og.train(recipe(sample_every=0), tmp_path, quiet=True)
    assert digest(again) == digest(og.train(recipe(sample_every=0), tmp_path / "other", quiet=True))


def test_another_error_of_the_system_is_not_called_a_full_disk(tmp_path: Path) -> None:
    def deny(values: Mapping[str, float]) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(PermissionError, match="Permission denied"):
        og.train(recipe(), tmp_path, quiet=True, on_log=deny)


def test_checkpoints_are_exact(tmp_path: Path) -> None:
    run = og.train(recipe(images=40), tmp_path, quiet=True)
    raw, averaged = run.checkpoints[-1].tensors("network/generator/"), run.checkpoints[-1].generator_tensors()
    assert raw.keys() == averaged.keys()
    assert any(not torch.equal(raw[name], averaged[name]) for name in raw)
    assert all(value.dtype == torch.float32 for value in raw.values())


def test_a_run_writes_what_the_plan_says(tmp_path: Path) -> None:
    run = og.train(recipe(), tmp_path / "run", quiet=True, log_every=80)
    assert sorted(path.name for path in run.folder.iterdir()) == ["checkpoints", "log.jsonl", "run.json", "samples"]
    assert [path.name for path in run.samples] == ["images_000000080.png", "images_000000160.png"]
    about = open_run(run.folder).about
    assert about == run.about
    assert set(about) == {
        *("recipe", "seed", "processes", "versions", "git", "platform", "device", "gpu", "threads", "argv", "files"),
        *("started", "finished"),
    }
    assert about["files"] == {"tiny_gan": str(Path(__file__).parents[1] / "tiny_gan.py")}
    assert [line["images"] for line in run.log()] == [80, 160]
