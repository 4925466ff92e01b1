"""Runs for test_validation.py, which starts this under torchrun. Usage: validation_in_two_processes.py FOLDER."""

import sys
from functools import partial
from pathlib import Path

import torch

import orthogen as og
from orthogen.evaluation.validating import Validate
from tiny_classes import SpotData, classes

train = partial(og.train, quiet=True, device="cpu")


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    validation = Validate("Kid", SpotData((20, 20, 20), seed=2), n=60, extractor="Pixels")
    made = classes(validation=validation, validate_every=32, ema=20, sample_every=0)
    train(made, folder / "two")
    try:
        train(classes(validation=Validate("Kid", og.Cifar10(), extractor="Pixels")), folder / "refused")
    except FileNotFoundError as error:
        (folder / f"refused{torch.distributed.get_rank()}").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
