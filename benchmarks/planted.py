"""Which methods find directions that were planted: a table of recovery, over seeds.

Two generators with a known answer. In PlantedLinear the planted directions are the singular vectors of a linear map, of
distinct strengths; as many as the latent has dimensions. In PlantedShapes six of ten directions each do one thing to a
drawn bar (x, y, size, angle, color, background), the other four nothing; its first layer is a rotation. Every seed
plants anew, and every method has the same number of latents to put through the generator, where it has steps or samples
to spend them on. Recovery is the mean |cos| between planted directions and the found ones assigned to them one to one;
"chance" is what random orthonormal directions give. Searches have a larger learning rate than the papers', to suit few
steps: 0.03 for the penalties, 0.001 for the others.

    python benchmarks/planted.py [--seeds 3] [--budget 100000] [--threads 1] [--quick]
"""

import argparse
import sys

import torch

import orthogen as og
from orthogen.core.kinds import Discovery, Model
from orthogen.evaluation.fitting import fitted
from orthogen.evaluation.recovery import recovery
from orthogen.models.planted import PlantedLinear, PlantedShapes

SIDE = 16  # pixels

SETTINGS: dict[str, tuple[Model, int]] = {
    "linear, 8 of 8": (PlantedLinear(og.Normal(8), resolution=SIDE), 8),
    "shapes, 10 of 10": (PlantedShapes(og.Normal(10), resolution=SIDE), 10),
    "shapes, 6 of 10": (PlantedShapes(og.Normal(10), resolution=SIDE), 6),
}
METHODS: dict[str, Discovery] = {
    "Coordinates": og.Coordinates(),
    "Random": og.Random(),
    "SeFa": og.SeFa(),
    "GanSpace": og.GanSpace(),
    "JacobianSvd": og.JacobianSvd(),
    "PenaltyDescent(HessianPenalty)": og.PenaltyDescent("HessianPenalty", lr=0.03),
    "PenaltyDescent(OroJaR)": og.PenaltyDescent("OroJaR", lr=0.03),
    "LatentRegressor": og.LatentRegressor(reach=2.0, lr=0.001),
    "VariationDirections": og.VariationDirections(lr=0.001),
}


def planted(model: Model, seed: int) -> tuple[og.Generator, og.Directions]:
    """A generator and its answer."""
    with torch.random.fork_rng():
        torch.manual_seed(1000 + seed)  # not the seed of the methods
        module = model.build()["generator"]
    return model.adapt(module), model.planted(module)  # type: ignore[attr-defined]


def run(method: Discovery, model: Model, count: int, seeds: int, budget: int) -> tuple[og.Score, float, int]:
    """Recovery over seeds, seconds and latents of a fit."""
    found, answers, seconds, images = [], [], 0.0, 0
    for seed in range(seeds):
        G, answer = planted(model, seed)
        (directions,), spent = fitted(G, method, count, [seed], budget)
        found.append(directions)
        answers.append(answer)
        seconds, images = seconds + spent.value / seeds, spent.parts["images"]
    return recovery(found, answers), seconds, images


def main() -> None:
    """Print the table, and by factor what was found of the shapes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=100_000, help="latents that a fit may put through the generator")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="2 seeds and 3000 latents: does it run?")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    seeds, budget = (2, 3000) if given.quick else (given.seeds, given.budget)

    print(f"{seeds} seeds, {budget:,} latents per fit, torch {torch.__version__}, {given.threads} threads\n")
    print("| method | " + " | ".join(SETTINGS) + " | seconds | latents |")
    print("|---|" + "---|" * (len(SETTINGS) + 2))
    chance, parts = [], {}
    for name, method in METHODS.items():
        results = [run(method, model, count, seeds, budget) for model, count in SETTINGS.values()]
        cells = [str(og.Score(score.value, score.stderr)) for score, _, _ in results]
        chance = [f"{score.parts['chance']:.3f}" for score, _, _ in results]
        seconds, images = results[-1][1:]
        print(f"| {name} | {' | '.join(cells)} | {seconds:.2f} | {images:,} |")
        sys.stdout.flush()
        parts[name] = results[1][0].parts
    print(f"| chance | {' | '.join(chance)} | | |")

    names = next(iter(parts.values()))["directions"]
    print("\nBy factor, shapes, 10 of 10:\n\n| method | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for name, part in parts.items():
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in part["recovery"]) + " |")


if __name__ == "__main__":
    main()
