"""Runs for test_distributed.py, which starts this under torchrun. Usage: two_processes.py FOLDER."""

import sys
from pathlib import Path
from typing import Any

import torch

import orthogen as og
import tiny_gan
from orthogen.training import session


class Crash(Exception):
    pass


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    og.train(tiny_gan.means(), folder / "means", quiet=True, log_every=24, device="cpu")
    og.train(tiny_gan.everything(batch=16), folder / "whole", quiet=True, log_every=24, device="cpu")
    step, left = session.take_step, 13

    def crashing(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash
        return step(*arguments)

    session.take_step = crashing
    for _ in range(2):
        try:
            og.train(tiny_gan.everything(batch=16), folder / "crashed", quiet=True, log_every=24, device="cpu")
        except Crash:
            pass
    try:
        og.train(tiny_gan.recipe(), folder / "means", quiet=True, device="cpu")
    except ValueError as error:  # found by process 0, raised by both
        (folder / f"refused{torch.distributed.get_rank()}").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
