"""Do orthogonal gradients, rates and weights help a whitened stem? ResNets on CIFAR-10, one protocol, several seeds.

    python experiments/decorrelated.py TRAIN TEST [--seeds 3] [--images 51200] [--out runs/decorrelated]

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

import matplotlib.pyplot as plt
import torch
from matplotlib import rc_context
from matplotlib.ticker import NullFormatter

from orthogen import recipes
from orthogen.core.kinds import Data, ImageSet
from orthogen.core.score_file import read
from orthogen.data.cifar import Cifar10
from orthogen.reporting.figures import PALETTE, STYLE, brief
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


def logged(folder: Path, key: str) -> tuple[list[int], list[float]]:
    """Images and values of a curve of a run."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    found = [(line["images"], line[f"stem/{key}"]) for line in lines if f"stem/{key}" in line]
    return [images for images, _ in found], [value for _, value in found]


def plateau(folder: Path, key: str) -> float:
    """The median over the second half of a run."""
    values = logged(folder, key)[1]
    return statistics.median(values[len(values) // 2 :])


def finished(out: Path, norm: str, setting: str) -> list[Path]:
    """The runs of a row that are done."""
    folders = sorted(out.glob(f"{norm}-{setting or 'plain'}-[0-9]*"))
    return [folder for folder in folders if (folder / "scores.json").is_file()]


def table(out: Path) -> None:
    """Print what is done, a row for each stem."""
    print("| stem | test error, % | seeds | l_1 / l_rank | (l_1 + eps) / eps | effective rank | weight norm |")
    print("|---|---|---|---|---|---|---|")
    for norm, setting in product(NORMS, SETTINGS):
        done = finished(out, norm, setting)
        if not done:
            continue
        errors = [100 * read(folder)[0].value for folder in done]
        spread = f" ± {statistics.stdev(errors) / len(errors) ** 0.5:.2f}" if len(errors) > 1 else ""
        keys = ("condition", "ridge_condition", "effective_rank", "weight_norm")
        cells = [f"{statistics.median(plateau(folder, key) for folder in done):.3g}" for key in keys]
        name = " + ".join(filter(None, (norm, setting.replace("+", " + "))))
        print(f"| {name} | {statistics.mean(errors):.2f}{spread} | {len(done)} |", " | ".join(cells), "|")


def figure(out: Path, to: Path) -> None:
    """Draw both condition numbers over training, the median over seeds."""
    titles = {"condition": "l_1 / l_rank, the true spectrum", "ridge_condition": "(l_1 + eps) / eps, with the ridge"}
    with rc_context(STYLE):
        picture, axes = plt.subplots(len(NORMS), len(titles), figsize=(9, 6), sharex=True, layout="constrained")
        for (row, norm), (column, (key, title)) in product(enumerate(NORMS), enumerate(titles.items())):
            panel = axes[row, column]
            for setting, color in zip(SETTINGS, PALETTE, strict=False):
                curves = [logged(folder, key) for folder in finished(out, norm, setting)]
                if curves:
                    middle = [statistics.median(values) for values in zip(*(curve[1] for curve in curves), strict=True)]
                    panel.plot(curves[0][0], middle, color=color, label=setting.replace("+", " + ") or "plain", lw=1.4)
            panel.set_yscale("log")
            panel.yaxis.set_major_formatter(lambda value, _: brief(value))
            panel.yaxis.set_minor_formatter(NullFormatter())
            panel.xaxis.set_major_formatter(lambda value, _: brief(value))
            panel.set_title(f"{norm}: {title}", fontsize=10)
            if row == len(NORMS) - 1:
                panel.set_xlabel("images")
        axes[0, -1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
        picture.savefig(to, dpi=110)


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
    table(given.out)
    figure(given.out, given.out / "conditioning.png")


if __name__ == "__main__":
    main()
