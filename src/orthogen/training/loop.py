"""`train`: a recipe and a folder become a run, from the start or from where it was stopped."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from orthogen.checkpoints.run_folder import Checkpoint, Run
from orthogen.core.kinds import ImageSet
from orthogen.core.rng import private
from orthogen.training.checkpoint import begin_with, restore
from orthogen.training.distributed import Processes, join
from orthogen.training.feed import Feed
from orthogen.training.folder import changes, claimed, create, found
from orthogen.training.lesson import Lesson
from orthogen.training.log import SINKS, Caller, JsonLines, Line, Sink, check_sinks
from orthogen.training.progress import Reporter
from orthogen.training.recipe import ClassifierRecipe, Recipe, TrainingRecipe
from orthogen.training.session import Session
from orthogen.training.state import State
from orthogen.training.step import Game
from orthogen.training.vae import Autoencoder
from orthogen.training.vae_recipe import VaeRecipe

__all__ = ["train"]

LINES = 500  # in the log of a run, if that makes neither fewer nor more steps a line than these
FEW, MANY = 10, 100
KINDS: dict[type[TrainingRecipe], type[State]] = {Recipe: Game, ClassifierRecipe: Lesson, VaeRecipe: Autoencoder}


def train(
    recipe: TrainingRecipe,
    folder: str | Path,
    *,
    device: str | torch.device | None = None,
    log_every: int | None = None,
    log_to: Sequence[str] = (),
    keep: int = 3,
    quiet: bool = False,
    on_log: Callable[[Line], None] | None = None,
) -> Run:
    """Train a recipe. In a folder that holds a part of its run, go on from the newest whole checkpoint, bit by bit.

    Ctrl-C or SIGTERM end the run after the step under way, with a checkpoint. Under ``torchrun``, each process takes
    its part of every batch, and all must see the folder. Random states of the calling process are left as they were.
    Device, number of processes and number of threads change the last bits of a run.

    Args:
        recipe: what to train.
        folder: the run folder, by custom ``runs/NAME``.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``; None or ``"auto"`` is the GPU where there is one.
        log_every: images between lines of ``log.jsonl``; None for 500 lines a run, 10 to 100 steps apart.
        log_to: where the lines go besides: ``"tensorboard"``, ``"wandb"``.
        keep: how many checkpoints to keep, the newest ones.
        quiet: show no progress.
        on_log: called with each line of the log.

    Raises:
        ValueError: the folder holds something else, or the recipe does not fit together, or not this machine.
        FloatingPointError: a loss, penalty, gradient or weight is not finite; the message says which, and since when.
        OSError: the disk is full; earlier checkpoints are whole.
    """
    if not isinstance(recipe, tuple(KINDS)):
        raise TypeError(f"train was given a {type(recipe).__name__}; it takes a Recipe, ClassifierRecipe or VaeRecipe")
    folder = Path(folder)
    check_sinks(log_to)
    processes = join(device)
    _check_parts(recipe, processes)
    with _own_randomness(processes.device), ExitStack() as stack:

        def claim(run: Run) -> Run:
            stack.enter_context(claimed(folder))
            return run

        def look() -> tuple[Run | None, Checkpoint | None]:
            run = found(folder, recipe)
            return (claim(run), run.newest) if run else (None, None)

        run, start = processes.first(look)
        images = recipe.data.open()
        turns = recipe.images_at(0) // recipe.batch_at(0)
        feed = stack.enter_context(Feed(images, recipe.images_at, recipe.seed, processes, recipe.sampling, turns))
        state = _begin(recipe, images, processes)
        if start is not None:
            restore(state, start)
        elif recipe.initial:
            begin_with(state, recipe.initial)
        reporter = Reporter(recipe.name, state.images, recipe.images, quiet=quiet or processes.rank > 0)
        sinks: list[Sink] = [reporter]
        stack.callback(lambda: [sink.close() for sink in sinks])
        if run is None:
            run = processes.first(lambda: claim(create(folder, recipe, processes)))
        elif moved := changes(run, processes):
            reporter.say(f"{folder} was begun with {moved}: its numbers may differ in the last digits from here on")
        if processes.rank == 0:
            sinks.append(JsonLines(folder / "log.jsonl", state.images))
            sinks += [SINKS[name](folder, state.images, run.about) for name in log_to]
            sinks += [Caller(on_log)] if on_log else []
        if log_every is None:
            log_every = min(max(recipe.images // LINES, FEW * recipe.images_per_step), MANY * recipe.images_per_step)
        return Session(state, run, start, feed, sinks, reporter, log_every, keep).go()


def _begin(recipe: TrainingRecipe, images: ImageSet, processes: Processes) -> State:
    state = next(state for kind, state in KINDS.items() if isinstance(recipe, kind))
    return state(recipe, images, processes)


def _check_parts(recipe: TrainingRecipe, processes: Processes) -> None:
    parts = processes.size * recipe.accumulate
    for batch in recipe.batches:
        if batch % parts:
            raise ValueError(
                f"a batch of {batch} cannot be shared out to {processes.size} processes with "
                f"accumulate={recipe.accumulate}; give a multiple of {parts}"
            )


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Global random states and switches as they were, after the block; convolutions that repeat exactly, inside it."""
    before, cudnn = private().get_state(), torch.backends.cudnn
    switches = cudnn.deterministic, cudnn.benchmark
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            cudnn.deterministic, cudnn.benchmark = True, False
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark = switches
            private().set_state(before)
