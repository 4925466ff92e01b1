"""Trains a run in children that kill themselves at random moments, until one reaches the end. Run by test_resume.py.

Usage: killed.py FOLDER SEED. Prints how many children were killed. The moment is a little after a random one
of the operations on files: within the writing of a checkpoint, or in a step after it, however fast the machine is.
"""

import os
import random
import signal
import sys
import threading
import warnings
from pathlib import Path

import torch

import orthogen as og
import tiny_gan

OPERATIONS = ("tempfile.mkstemp", "os.rename", "os.mkdir", "os.remove", "os.rmdir")


def kill_later(draw: random.Random) -> None:
    left = draw.randint(4, 70)
    delay = draw.choice([0.0, 0.001, 0.01, 0.03])

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def count(event: str, arguments: object) -> None:
        nonlocal left
        left -= event in OPERATIONS
        if left == 0 and event in OPERATIONS:
            threading.Timer(delay, die).start() if delay else die()

    sys.addaudithook(count)


def train(folder: Path) -> None:
    warnings.simplefilter("ignore")  # checkpoints that were cut short are named; here that is expected
    og.train(tiny_gan.everything(checkpoint_every=16, images=320), folder, log_every=24, device="cpu", quiet=True)


def main(folder: Path, seed: int) -> None:
    torch.set_num_threads(1)
    og.train(tiny_gan.recipe(images=8), folder.with_name("warm"), quiet=True)  # so that children start at once
    kills = 0
    while True:
        child = os.fork()
        if child == 0:
            kill_later(random.Random(1000 * seed + kills))
            train(folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code != -signal.SIGKILL:
            print(kills)
            sys.exit(code)
        kills += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
