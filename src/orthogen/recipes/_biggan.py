"""What the direction searches of both papers in BigGAN share: generator, optimizer, initialization, length."""

from dataclasses import replace

from orthogen.core.claim import Claim
from orthogen.discovery.penalty_descent import PenaltyDescent
from orthogen.evaluation.published import PUBLISHED
from orthogen.evaluation.search_recipe import SearchRecipe
from orthogen.models.biggan import BigGan

__all__ = ["curve", "search", "small"]

LENGTH = (
    "The released loop runs from the epoch that the generator's checkpoint stores to epoch 50, of 1000 steps each, and "
    "goes on counting from its iteration, about 138,000; here a search has 50,000 steps of its own."
)
GATHERED = (
    "The released code averages the penalty over GPUs and keeps neither the optimizer nor the random state; here one "
    "process takes the batch, in parts where micro_batch says so, and a search that was stopped goes on."
)


def search(name: str, penalty: str, *departures: str) -> SearchRecipe:
    """A row of the released presets; space, class and count are those of the directions published under its name."""
    published = PUBLISHED[name]
    whole = published.search_space == "all"
    hessian = penalty == "HessianPenalty"
    return SearchRecipe(
        name=name,
        model=BigGan(),
        checkpoint="BigGAN-PyTorch, ImageNet at 128 pixels: G_ema.pth of iteration 137,500 (IS 91.5, FID 9.77)",
        method=PenaltyDescent(
            penalty,
            base="random" if hessian else "origin",
            path_size=5.0,
            search_space=published.search_space,
            count=120 if whole else 40,
            fix_class=published.fix_class,
            orthogonal="qr",
            lr=0.01,
            batch=96 if hessian else 32,
            steps=50_000,
        ),
        published=published,
        departures=(*departures, LENGTH, GATHERED),
    )


def curve(start: float, end: float, tolerance: float, steps: str) -> tuple[Claim, Claim]:
    """First and last points of a released curve of the penalty; the tolerance, a share of the value, is ours."""
    source = f"training_loss.svg of the release, mean of 50 points; {steps} steps"
    near = [float(f"{tolerance * value:.1g}") for value in (start, end)]
    return (
        Claim("HessianPenalty at the start", start, near[0], source),
        Claim("HessianPenalty at the end", end, near[1], source),
    )


def small(recipe: SearchRecipe) -> SearchRecipe:
    """The same search in a BigGAN of 32 pixels and 2 channels, for seconds."""
    assert isinstance(recipe.method, PenaltyDescent)
    return replace(
        recipe,
        name=f"{recipe.name}_small",
        model=BigGan(resolution=32, dim=16, shared_dim=8, width=2, attention=(16,)),
        checkpoint="any, or random weights",
        method=replace(recipe.method, count=None, batch=4, steps=20),
        published=None,
        claims=(),
        departures=(
            *recipe.departures,
            "A twin that shows the way in seconds: a BigGAN of 32 pixels and 2 channels, 20 steps of 4 samples.",
        ),
    )
