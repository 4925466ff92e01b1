"""Several short trainings at once, each in a process with its share of the cores.

Small networks leave a second core half idle: on two cores, two runs of one thread each take less time together than one
after the other with two threads.
"""

import multiprocessing
import os
import queue
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["train_together"]

LINE_EVERY = 30.0  # seconds between lines where there is no terminal


def _train(name: str, recipe: Any, folder: Path, device: str | None, threads: int, lines: Any) -> None:
    import torch

    from orthogen.training.loop import train

    torch.set_num_threads(threads)
    try:
        run = train(recipe, folder, device=device, quiet=True, on_log=lambda line: lines.put((name, dict(line))))
        lines.put((name, "done" if run.finished else "stopped"))
    except Exception as error:  # the parent says it, in the words of the mistake
        lines.put((name, error))


def train_together(runs: Sequence[tuple[Any, Path]], device: str | None = None) -> None:
    """Train each recipe in its folder, all at the same time, and show how far they are.

    Args:
        runs: recipes with their folders.
        device: of all; the best there is if None.

    Raises:
        KeyboardInterrupt: it was told to stop; each run has a checkpoint then.
        Exception: what the first run that failed raised; the others are stopped, with a checkpoint.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    spawn = multiprocessing.get_context("spawn")
    lines = spawn.Queue()
    threads = max(1, (os.cpu_count() or 1) // len(runs))
    workers = {}
    for recipe, folder in runs:
        arguments = (recipe.name, recipe, folder, device, threads, lines)
        workers[recipe.name] = spawn.Process(target=_train, args=arguments, daemon=True)
    columns = (
        TextColumn("     {task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console, disable=not console.is_terminal) as bar:
        tasks = {recipe.name: bar.add_task(recipe.name, total=recipe.images, note="") for recipe, _ in runs}
        ends = {recipe.name: recipe.images for recipe, _ in runs}
        for worker in workers.values():
            worker.start()
        try:
            _follow(workers, lines, bar, tasks, ends)
        finally:
            for worker in workers.values():
                if worker.is_alive():
                    worker.terminate()  # the run finishes its step and writes a checkpoint
                worker.join()


def _follow(
    workers: Mapping[str, Any], lines: Any, bar: Any, tasks: Mapping[str, Any], ends: Mapping[str, int]
) -> None:
    """Show what the workers say until all are done."""
    done: set[str] = set()
    next_line = time.monotonic() + LINE_EVERY
    while len(done) < len(workers):
        try:
            name, said = lines.get(timeout=1.0)
        except queue.Empty:
            for name, worker in workers.items():
                if name not in done and worker.exitcode:
                    raise RuntimeError(f"the process that trained {name} ended with code {worker.exitcode}") from None
            continue
        if isinstance(said, Exception):
            raise said
        if said == "stopped":
            raise KeyboardInterrupt
        if said == "done":
            done.add(name)
            bar.update(tasks[name], completed=ends[name])
            continue
        speed = f"{said['speed/images_per_second']:,.0f} images/s"
        losses = [f"{key.partition('/')[2]} {value:.2f}" for key, value in said.items() if key.startswith("loss/")]
        bar.update(tasks[name], completed=said["images"], note=" · ".join([speed, *losses]))
        if bar.disable and time.monotonic() >= next_line:
            next_line = time.monotonic() + LINE_EVERY
            bar.console.print(f"     {name}: {said['images']:,} of {ends[name]:,} images · {speed}")
