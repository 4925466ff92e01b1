"""Files are whole or absent, whatever happens on the way."""

import os
import stat
import subprocess
import sys
import threading

import pytest

from orthogen.core.files import write_atomically


def test_writes_text_and_bytes_and_makes_the_folder(tmp_path):
    write_atomically(tmp_path / "a" / "b" / "x.txt", "grün ± 1")
    write_atomically(tmp_path / "x.bin", b"\x00\xff")
    assert (tmp_path / "a" / "b" / "x.txt").read_text(encoding="utf-8") == "grün ± 1"
    assert (tmp_path / "x.bin").read_bytes() == b"\x00\xff"
    assert stat.S_IMODE((tmp_path / "x.bin").stat().st_mode) == 0o644


def test_replaces_and_leaves_nothing_behind(tmp_path):
    for text in ("long " * 1000, "short"):
        write_atomically(tmp_path / "x", text)
    assert (tmp_path / "x").read_text() == "short"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_full_disk_keeps_the_old_file(tmp_path, monkeypatch, step):
    write_atomically(tmp_path / "x", "old")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left on device"):
        write_atomically(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_interrupt_keeps_the_old_file(tmp_path, monkeypatch):
    write_atomically(tmp_path / "x", "old")

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_readers_meet_only_whole_files(tmp_path):
    path = tmp_path / "x"
    contents = {letter * 200_000 for letter in "ab"}
    write_atomically(path, "a" * 200_000)
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        for content in contents:
            write_atomically(path, content)
    done.set()
    reader.join()
    assert seen <= contents


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    write_atomically(path, "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from orthogen.core import files\n"
        "files.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_atomically(Path(sys.argv[1]), 'new')"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert run.returncode == -9
    assert path.read_text() == "old"
