"""What penalties on the latent do to ProGAN, VP-GAN and a simple GAN at 32 px: factors, predictability, activeness.

    python experiments/latent_penalties.py scenes [--seeds 3] [--out runs/latent_penalties]
    python experiments/latent_penalties.py vp_gan-sprites simple_gan-sprites
    python experiments/latent_penalties.py vp_gan-heads simple_gan-heads --heads heads.zip

Trains the runs of ``examples/growing_scenes.py`` and ``examples/predictable_variation.py``; each is a folder, so that
the script can be stopped and run again, and several of it can share the work. Then it measures them, prints a table of
means over seeds, and draws traversals of the same latents side by side. With ``--features FILE.py:FUNCTION``, which
makes an extractor, it measures the distance to the training images too.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib import rc_context
from torchvision.utils import make_grid

import orthogen as og
from orthogen import recipes
from orthogen.core.score import Score
from orthogen.core.score_file import read
from orthogen.data.image_archive import ImageArchive
from orthogen.extractors.custom import Custom
from orthogen.reporting.drawing import traversal
from orthogen.reporting.figures import STYLE
from orthogen.training.loop import train

EXAMPLES = Path(__file__).parents[1] / "examples"
VP: dict[str, dict[str, Any]] = {"plain": {"vp": False}, "vp": {"vp": True}}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "scenes": {name: {"penalty": name} for name in ("none", "orojar", "hessian_penalty")},
    **{f"{network}-{of}": VP for network, of in product(("vp_gan", "simple_gan"), ("sprites", "heads"))},
}
TITLES = {
    "none": "plain",
    "orojar": "with OroJaR",
    "hessian_penalty": "with the Hessian Penalty",
    "plain": "plain",
    "vp": "with Variation Predictability",
}

# a thousand pairs to learn from, and a rate that falls to nothing, so that nothing is selected on the test pairs
PREDICTED = og.VariationScore(pairs=4000, train_share=0.25, epochs=30, lr=1e-3, predictors=2, readout="cosine")
ALWAYS = (og.Activeness(), PREDICTED)
FACTORS = (*ALWAYS, og.Leakage(), og.Mig(), og.FactorVaeScore())


def recipe(group: str, setting: str, seed: int, heads: str) -> og.Recipe:
    """The example's, of a seed."""
    network, _, of = group.partition("-")
    chosen = SETTINGS[group][setting]
    if of:
        made = recipes.build(f"{EXAMPLES}/predictable_variation.py:{network}", of=of, **chosen)
    else:
        made = recipes.build(f"{EXAMPLES}/growing_scenes.py:{network}", **chosen)
    assert isinstance(made, og.Recipe)
    data = replace(made.data, path=heads) if isinstance(made.data, ImageArchive) else made.data
    return replace(made, seed=seed, data=data)


def scores_of(folder: Path, features: Custom | None, n: int) -> Sequence[Score]:
    """Of the last checkpoint, measured once."""
    has_factors = not folder.name.partition("-")[2].startswith("heads")
    metrics = [*(FACTORS if has_factors else ALWAYS), *(["Fid"] if features else [])]
    done = read(folder) if (folder / "scores.json").is_file() else []
    return done if len(done) >= len(metrics) else og.measure(folder, metrics, extractor=features, n=n)


def told(scores: Sequence[Score]) -> dict[str, float]:
    """The numbers of a run."""
    found = {}
    for score in scores:
        found[score.name] = score.value
        if score.name == "Activeness":
            found["coordinates in use"] = score.parts["effective"]
        if "read_with_confidence_below_half" in score.about:
            found["factors in doubt"] = statistics.mean(score.about["read_with_confidence_below_half"])
    return found


def over_seeds(values: Sequence[float]) -> str:
    """Mean, and standard error of the mean where there are several."""
    error = f" ± {statistics.stdev(values) / len(values) ** 0.5:.2g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{error}"


def table(found: Mapping[str, Sequence[Sequence[Score]]]) -> None:
    """Print means over seeds with their standard errors; then what each measurement says, with its own error."""
    runs = {setting: [told(scores) for scores in each] for setting, each in found.items()}
    print("| |", " | ".join(TITLES[setting] for setting in found), "|")
    print("|---|" + "---|" * len(found))
    for name in next(iter(runs.values()))[0]:
        print(f"| {name} |", " | ".join(over_seeds([each[name] for each in of]) for of in runs.values()), "|")
    for setting, of_seeds in found.items():
        for seed, scores in enumerate(of_seeds):
            print(f"{setting}, seed {seed}:", ", ".join(str(each) for each in scores))


def figure(folders: Mapping[str, Path], to: Path, seed: int = 1) -> None:
    """A row per coordinate, most active first, from the same two base latents, of runs side by side."""
    high = 0.7 + 0.36 * max(og.load(folder).latent.dim for folder in folders.values())
    with rc_context(STYLE):
        picture, panels = plt.subplots(1, len(folders), figsize=(5.6 * len(folders), high), layout="constrained")
        for (setting, folder), panel in zip(folders.items(), panels, strict=True):
            active = next(score for score in read(folder) if score.name == "Activeness").parts["activeness"]
            order = torch.tensor(active).argsort(descending=True)
            images = traversal(og.load(folder), n=2, steps=7, rng=torch.Generator().manual_seed(seed))[order]
            blocks = [
                make_grid(images[:, i].flatten(0, 1), nrow=images.shape[2], padding=2, pad_value=255)
                for i in range(images.shape[1])
            ]
            gap = torch.full_like(blocks[0][..., :6], 255)
            panel.imshow(torch.cat([blocks[0], gap, blocks[1]], dim=2).permute(1, 2, 0))
            side = images.shape[-1] + 2
            names = [f"z{i}: {active[i]:.3f}" for i in order.tolist()]
            panel.set_yticks([side * (i + 0.5) for i in range(len(names))], names, fontsize=9)
            panel.set_xticks([])
            panel.tick_params(length=0)
            panel.set_frame_on(False)
            panel.set_title(TITLES[setting], fontsize=12)
        picture.savefig(to, dpi=110)


def main() -> None:
    """Train what is not trained, measure what is not measured, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="+", choices=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--images", type=int, default=0, help="of a run, in place of the example's")
    parser.add_argument("--n", type=int, default=5_000, help="generated images to measure")
    parser.add_argument("--heads", default="heads.zip")
    parser.add_argument("--features", metavar="FILE.py:FUNCTION")
    parser.add_argument("--out", type=Path, default=Path("runs/latent_penalties"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    features = Custom(given.features) if given.features else None
    for group in given.groups:
        folders = {
            setting: [given.out / f"{group}-{setting}-{i}" for i in range(given.seeds)] for setting in SETTINGS[group]
        }
        for setting, of_seeds in folders.items():
            for seed, folder in enumerate(of_seeds):
                made = recipe(group, setting, seed, given.heads)
                train(replace(made, images=given.images or made.images), folder, device="cpu")
        found = {
            setting: [scores_of(folder, features, given.n) for folder in of_seeds]
            for setting, of_seeds in folders.items()
        }
        table(found)
        figure({setting: of_seeds[0] for setting, of_seeds in folders.items()}, given.out / f"{group}.png")


if __name__ == "__main__":
    main()
