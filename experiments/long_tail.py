"""Does group spectral regularization help the tail? SNGAN on CIFAR-10 with rho = 100, with and without it.

    python experiments/long_tail.py TRAIN TEST FEATURES [--seeds 2] [--n 10000] [--out runs/long_tail]

TRAIN and TEST are what `orthogen.Cifar10` reads, FEATURES a function in a file that makes an extractor,
``my_file.py:make``. Trains the runs of ``examples/cifar10_tail.py``; each is a folder, so that the script can be
stopped and run again, and several of it can share the work. Then it measures them class by class, with equally many
images of each class, against all test images, and draws distances, diversity, spectral norms, and images of each class.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib import rc_context
from PIL import Image, ImageDraw, ImageFont

import orthogen as og
from orthogen import recipes
from orthogen.core.images import to_uint8
from orthogen.core.kinds import Extractor
from orthogen.core.score import Score
from orthogen.core.score_file import read
from orthogen.evaluation import measure
from orthogen.extractors.custom import Custom
from orthogen.metrics.intra_class_diversity import IntraClassDiversity
from orthogen.metrics.kid import Kid
from orthogen.metrics.per_class import PerClass
from orthogen.reporting.figures import PALETTE, STYLE, brief
from orthogen.training.loop import train

EXAMPLE = Path(__file__).parents[1] / "examples" / "cifar10_tail.py"
SETTINGS = {"without gSR": False, "with gSR": True}
GROUPS = {"head": (1000, 5000), "medium": (100, 1000), "tail": (0, 100)}  # by training images of a class
PIXELS, COLUMNS, LABEL = 32, 10, 110


def recipe(gsr: bool, seed: int, path: str) -> og.Recipe:
    """The example's, of a seed, on the images at the path."""
    made = recipes.build(f"{EXAMPLE}:sngan", gsr=gsr)
    assert isinstance(made, og.Recipe)
    return replace(made, seed=seed, data=replace(made.data, data=replace(made.data.data, path=path)))


def folder_of(out: Path, setting: str, seed: int) -> Path:
    """Where a run is."""
    return out / f"{'gsr' if SETTINGS[setting] else 'plain'}-{seed}"


def scores_of(folder: Path, test: og.Cifar10, features: Extractor, n: int) -> Mapping[str, Score]:
    """Of the last checkpoint, measured once: by distance of all, by distance class by class, by diversity."""
    metrics = ("Fid", PerClass(), PerClass(Kid()), IntraClassDiversity())
    keys = ("all", "by class", "KID by class", "diversity")
    done = [score for score in read(folder) if score.n == n] if (folder / "scores.json").is_file() else []
    if len(done) < len(keys):
        done = measure(folder, metrics, data=test, extractor=features, n=n, balanced=True)
    return dict(zip(keys, done, strict=True))


def over_seeds(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard error of the mean where there are several."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return statistics.mean(values), error


def told(scores: Mapping[str, Score], counts: Sequence[int]) -> dict[str, float]:
    """The numbers of a run, means over the classes of each group."""
    values = {
        "distance": scores["by class"].parts["value"],
        "KID": scores["KID by class"].parts["value"],
        "diversity": scores["diversity"].parts["ratio"],
    }
    found = {"distance of all": scores["all"].value}
    for (what, each), (group, (low, high)) in product(values.items(), GROUPS.items()):
        found[f"{what}, {group}"] = statistics.mean(
            value for value, count in zip(each, counts, strict=True) if low < count <= high
        )
    return found


def table(found: Mapping[str, Sequence[Mapping[str, Score]]], counts: Sequence[int]) -> None:
    """Print means over seeds with their standard errors; then what each measurement says, with its own error."""
    runs = {setting: [told(scores, counts) for scores in each] for setting, each in found.items()}
    print("| |", " | ".join(found), "|")
    print("|---|" + "---|" * len(found))
    for name in runs[next(iter(runs))][0]:
        cells = ["{:.4g} ± {:.2g}".format(*over_seeds([each[name] for each in of])) for of in runs.values()]
        print(f"| {name} |", " | ".join(cells), "|")
    for setting, of_seeds in found.items():
        for i, scores in enumerate(of_seeds):
            print(f"{setting}, seed {i}:", ", ".join(str(each) for each in scores.values()))


# ------------------------------------------------------------------------------------------------------- pictures
def norms(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images shown, and the largest spectral norm over layers of the gains of each class."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    found = []
    for line in lines:
        gains: dict[int, list[float]] = {}
        for key, value in line.items():
            name, _, label = key.rpartition("/")
            if name.startswith("spectral/gain/") and label.isdigit():
                gains.setdefault(int(label), []).append(value)
        if gains:
            found.append((line["images"], [max(gains[label]) for label in sorted(gains)]))
    return np.array([images for images, _ in found]), np.array([values for _, values in found])


def figure(out: Path, found: Mapping[str, Sequence[Mapping[str, Score]]], counts: Sequence[int], to: Path) -> None:
    """Distance, diversity and norms by class."""
    with rc_context(STYLE):
        picture, axes = plt.subplots(2, 2, figsize=(10, 6.4), layout="constrained")
        (distance, diversity), below = axes
        parts: dict[str, tuple[Any, Callable[[Mapping[str, Score]], Sequence[float]]]] = {
            "Fréchet distance of a class": (distance, lambda scores: scores["by class"].parts["value"]),
            "diversity, as a share of real images'": (diversity, lambda scores: scores["diversity"].parts["ratio"]),
        }
        for title, (panel, values) in parts.items():
            for (setting, runs), color in zip(found.items(), PALETTE, strict=False):
                rows = np.array([values(scores) for scores in runs])
                panel.plot(rows.mean(axis=0), color=color, label=setting, marker="o", ms=4, lw=1.6)
                for row in rows:
                    panel.plot(row, color=color, lw=0, marker="_", ms=9, alpha=0.6)
            panel.set_title(title, fontsize=10)
            panel.set_xticks(range(len(counts)), [f"{count:,}" for count in counts], fontsize=8)
            panel.set_xlabel("training images of the class")
        distance.legend(fontsize=9, frameon=False, loc="upper left")
        highest = 0.0
        for panel, setting in zip(below, found, strict=True):
            images, values = norms(folder_of(out, setting, 0))
            colors = plt.get_cmap("viridis_r")(np.linspace(0.05, 0.95, values.shape[1]))
            for label, color in enumerate(colors):
                panel.plot(images, values[:, label], color=color, lw=1.3, label=f"{counts[label]:,}")
            highest = max(highest, float(values.max()))
            panel.set_title(f"largest spectral norm of a class's gains, {setting}", fontsize=10)
            panel.xaxis.set_major_formatter(lambda value, _: brief(value))
            panel.set_xlabel("images shown")
        for panel in below:
            panel.set_ylim(0, 1.05 * highest)
        below[-1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), title="images")
        picture.savefig(to, dpi=110)


@torch.no_grad()
def sheet(out: Path, settings: Sequence[str], classes: Sequence[str], counts: Sequence[int], to: Path) -> None:
    """Images of each class, a row each, of the runs of seed 0 side by side; the latents are the same."""
    gap, head = 14, 22
    block = COLUMNS * (PIXELS + 2)
    canvas = Image.new("RGB", (LABEL + len(settings) * (block + gap), head + len(classes) * (PIXELS + 2)), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for column, setting in enumerate(settings):
        generator = og.load(folder_of(out, setting, 0))
        generator.module.eval()
        left = LABEL + column * (block + gap)
        draw.text((left, 4), setting, fill="black", font=font)
        z = generator.latent.sample(COLUMNS, rng=torch.Generator().manual_seed(0))
        for row, (name, count) in enumerate(zip(classes, counts, strict=True)):
            top = head + row * (PIXELS + 2)
            if not column:
                draw.text((4, top + 8), f"{name}, {count:,}", fill="black", font=font)
            images = to_uint8(generator(z, label=torch.full((COLUMNS,), row)))
            for i, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
                canvas.paste(Image.fromarray(image), (left + i * (PIXELS + 2), top))
    canvas.resize((2 * canvas.width, 2 * canvas.height), Image.Resampling.LANCZOS).save(to)


def main() -> None:
    """Train what is not trained, measure what is not measured, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("features", metavar="FILE.py:FUNCTION")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--images", type=int, default=0, help="of a run, in place of the example's")
    parser.add_argument("--n", type=int, default=10_000, help="generated images to measure")
    parser.add_argument("--out", type=Path, default=Path("runs/long_tail"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    test, features = og.Cifar10(given.test, split="test"), Custom(given.features)
    for seed, setting in product(range(given.seeds), SETTINGS):
        made = recipe(SETTINGS[setting], seed, given.train)
        train(replace(made, images=given.images or made.images), folder_of(given.out, setting, seed), device="cpu")
    found = {
        setting: [
            scores_of(folder_of(given.out, setting, seed), test, features, given.n) for seed in range(given.seeds)
        ]
        for setting in SETTINGS
    }
    images = recipe(True, 0, given.train).data.open()
    counts = images.class_counts()
    assert counts is not None
    table(found, counts.tolist())
    figure(given.out, found, counts.tolist(), given.out / "long_tail.png")
    sheet(given.out, list(SETTINGS), images.classes, counts.tolist(), given.out / "classes.png")


if __name__ == "__main__":
    main()
