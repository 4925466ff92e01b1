"""Do orthogonal gradients, rates and weights help a whitened stem? ResNets on CIFAR-10, one protocol, several seeds.

    python benchmarks/decorrelated.py TRAIN TEST [--seeds 3] [--images 51200] [--out runs/decorrelated]

TRAIN and TEST are what `orthogen.Cifar10` reads. Two norms x seven settings; each run is a folder, so that the script
can be stopped and run again, and several of it can share the work. The table has the test error of the last step with
its standard error over seeds, and the condition of the stem's covariance: of the true spectrum, and of the ridge.
"""

import argparse
import json
import statistics
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path

import torch

from orthogen import recipes
from orthogen.core.kinds import Data, ImageSet
from orthogen.core.score_file import read
from orthogen.data.cifar import Cifar10
from orthogen.training.loop import train
from orthogen.training.recipe import ClassifierRecipe

SETTINGS = ("", "nog", "olr", "nog+olr", "ow", "nog+ow", "nog+ow+olr")
NORMS = ("batchnorm", "zca")
STEP = 128


@cache
def opened(data: Data) -> ImageSet:
    """The images, decoded once for all runs."""
    return data.open()


@dataclass(frozen=True)
class Opened(Data):
    """A set that is opened once in a process."""

    data: Data = field(default_factory=Cifar10)

    def open(self) -> ImageSet:
        """The images."""
        return opened(self.data)


def recipe(norm: str, setting: str, seed: int, paths: tuple[str, str], images: int) -> ClassifierRecipe:
    """A small ResNet: three blocks, 32 channels in the stem, the learning rate a tenth at 7/10 and 9/10."""
    switches = dict.fromkeys(filter(None, setting.split("+")), True)
    full = recipes.build("orthogonality.cifar10", norm=norm, **switches)
    assert isinstance(full, ClassifierRecipe)
    data = replace(full.data, path=paths[0])
    return replace(
        full,
        model=replace(full.model, width=32, blocks=(1, 1, 1)),
        data=Opened(data),
        test=Opened(replace(data, path=paths[1], split="test")),
        rules={**full.rules, "stem": replace(full.rules["stem"], every=20)},
        images=images,
        drops=(images * 7 // 10, images * 9 // 10),
        precision="bfloat16",
        seed=seed,
        checkpoint_every=0,
        test_every=0,
    )


def condition(folder: Path, key: str) -> tuple[float, float]:
    """The median of what was logged over the second half of a run, and the last."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    values = [line[f"stem/{key}"] for line in lines if f"stem/{key}" in line]
    return statistics.median(values[len(values) // 2 :]), values[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=400 * STEP)
    parser.add_argument("--out", type=Path, default=Path("runs/decorrelated"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    plan = [*product(range(given.seeds), NORMS, SETTINGS)]
    for seed, norm, setting in plan:
        folder = given.out / f"{norm}-{setting or 'plain'}-{seed}"
        if (folder / "scores.json").is_file():
            continue
        try:
            run = train(
                recipe(norm, setting, seed, (given.train, given.test), given.images),
                folder,
                device="cpu",
                log_every=20 * STEP,
                quiet=True,
            )
        except ValueError as error:  # another process is at it
            print(f"{folder}: {error}")
            continue
        for checkpoint in run.checkpoints:
            checkpoint.delete()
        print(folder.name, *read(folder), flush=True)
    print("| stem | test error, % | l_1 / l_rank | (l_1 + eps) / eps | effective rank | weight norm |")
    print("|---|---|---|---|---|---|")
    for norm, setting in product(NORMS, SETTINGS):
        folders = sorted(given.out.glob(f"{norm}-{setting or 'plain'}-[0-9]*"))
        done = [folder for folder in folders if (folder / "scores.json").is_file()]
        if not done:
            continue
        errors = [100 * read(folder)[0].value for folder in done]
        spread = statistics.stdev(errors) / len(errors) ** 0.5 if len(errors) > 1 else float("nan")
        cells = [f"{statistics.mean(errors):.2f} ± {spread:.2f}"]
        for key in ("condition", "ridge_condition", "effective_rank", "weight_norm"):
            cells.append(f"{statistics.median(condition(folder, key)[0] for folder in done):.3g}")
        print(f"| {norm}{' + ' if setting else ''}{setting.replace('+', ' + ')} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
