"""Runs for test_distributed.py, which starts this under torchrun. Usage: two_processes.py FOLDER."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

import orthogen as og
import tiny_gan
from orthogen.training import step

train = partial(og.train, quiet=True, log_every=24, device="cpu")


class Crash(Exception):
    pass


def at_step(number: int, act: Callable[[], None]) -> None:
    """Do something before the step that is taken after so many others."""

    take_step = step.Game.take_step

    def acting(*arguments: Any) -> Any:
        nonlocal number
        number -= 1
        if number == -1:
            act()
        return take_step(*arguments)

    step.Game.take_step = acting  # type: ignore[method-assign]


def crash() -> None:
    raise Crash


def terminate() -> None:
    if torch.distributed.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGTERM)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    train(tiny_gan.means(), folder / "means")
    whole, again = tiny_gan.everything(batch=16, images=480), folder / "interrupted"
    train(whole, folder / "whole")
    at_step(3, terminate)
    (folder / f"stopped{torch.distributed.get_rank()}").write_text(str(train(whole, again).checkpoints[-1].images))
    at_step(8, crash)
    try:
        train(whole, again)
    except Crash:
        train(whole, again)
    try:
        train(tiny_gan.recipe(), folder / "means")
    except ValueError as error:  # found by process 0, raised by both
        (folder / f"refused{torch.distributed.get_rank()}").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
