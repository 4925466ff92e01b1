"""One call of `train`: from where a run stands to its end, or to where it is told to stop."""

import errno
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

from orthogen.checkpoints.run_folder import Checkpoint, Run
from orthogen.core.interrupt import Interrupt
from orthogen.core.score_file import merge
from orthogen.training.checkpoint import not_finite, save
from orthogen.training.feed import Feed
from orthogen.training.folder import finish
from orthogen.training.log import Sink
from orthogen.training.progress import Reporter
from orthogen.training.schedule import due
from orthogen.training.state import State

__all__ = ["Session"]

ASK_EVERY = 16  # steps between asking the other processes whether one was told to stop
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Session:
    """A state, the folder it is written to, and those who watch.

    Attributes:
        state: what is trained.
        run: its folder.
        last: the newest whole checkpoint.
        feed: where real images come from.
        sinks: where lines of the log go, on process 0.
        reporter: the sink that also takes messages.
        log_every: images between lines.
        keep: how many checkpoints to keep.
    """

    state: State
    run: Run
    last: Checkpoint | None
    feed: Feed
    sinks: Sequence[Sink]
    reporter: Reporter
    log_every: int
    keep: int
    _began: float = field(init=False)  # on the monotonic clock, as if the run had never been interrupted
    _line: tuple[int, float] = field(init=False)  # images and seconds at the last line of the log

    def __post_init__(self) -> None:
        self._began = time.monotonic() - self.state.seconds
        self._line = self.state.images, self.state.seconds

    def go(self) -> Run:
        """Take steps; after each, log, draw samples and write a checkpoint where it is time. Returns the run."""
        state, end = self.state, self.state.recipe.images
        if state.images:
            what = "continues" if state.images < end else "is complete"
            self.reporter.say(f"{self.run.folder} {what} at image {state.images:,} of {end:,}")
        with Interrupt() as interrupt, self._room():
            while state.images < end:
                step, before = state.step, state.images
                state.meter.add(step, before, state.take_step(self.feed(before)))
                self.reporter.advance(state.images)
                stop = self._told_to_stop(interrupt)
                self._after_step(before, stop)
                if stop and state.images < end:
                    self.reporter.say(
                        f"stopped at image {state.images:,} of {end:,}, nothing is lost; to continue, "
                        f"train the same recipe in {self.run.folder} again"
                    )
                    return self.run
            if not self.run.finished and state.processes.rank == 0:
                if scores := state.scores():
                    merge(self.run.folder, scores)
                self.run = finish(self.run)
        return self.run

    def _after_step(self, before: int, stop: bool) -> None:
        """The order matters: what a checkpoint stands for is on the disk before the checkpoint is."""
        state, recipe = self.state, self.state.recipe

        def is_due(every: int) -> bool:
            return due(every, before, state.images, recipe.images)

        tested: dict[str, float] = {}
        better = False
        if state.test_every is not None and is_due(state.test_every):
            self._fold()  # what is not finite is said before it is tested
            value, tested = state.test()
            better = state.note(value)
        if tested or is_due(self.log_every):
            self._log(tested)
        if is_due(recipe.sample_every) and state.processes.rank == 0:
            state.sample(self.run.folder / "samples" / f"images_{state.images:09d}.png")
        if stop or better or is_due(recipe.checkpoint_every):
            self._checkpoint()

    def _told_to_stop(self, interrupt: Interrupt) -> bool:
        """Processes stop together, so they ask each other; now and then, as asking takes time."""
        processes = self.state.processes
        if processes.size == 1:
            return interrupt.asked
        return self.state.step % ASK_EVERY == 0 and processes.any(interrupt.asked)

    def _fold(self) -> None:
        """Bring the values over; the one place where a step is waited for."""
        fault = self.state.meter.fold()
        if fault is not None:
            self._fail(f"{fault.name} was not finite", fault.step, fault.images)
        self.state.seconds = time.monotonic() - self._began

    def _log(self, tested: Mapping[str, float]) -> None:
        self._fold()
        images, seconds = self.state.images, self.state.seconds
        speed = (images - self._line[0]) / max(seconds - self._line[1], 1e-9)
        self._line = images, seconds
        times: dict[str, int | float] = {"images": images, "seconds": round(seconds, 3)}
        values = {**times, **self.state.meter.means(), **tested, "speed/images_per_second": round(speed, 2)}
        for sink in self.sinks:
            sink.write(values)

    def _checkpoint(self) -> None:
        self._fold()
        broken = not_finite(self.state)
        if broken is not None:
            self._fail(f"the weights of {broken} were not finite", self.state.step, self.state.images)
        self.last = save(self.state, self.run, self.keep)

    def _fail(self, what: str, step: int, images: int) -> NoReturn:
        raise FloatingPointError(
            f"{what} at step {step:,} (image {images:,}); {self._good()}; lower the rates, or the weight of that term"
        )

    def _good(self) -> str:
        return f"the last good checkpoint is {self.last.path}" if self.last else "there is no checkpoint yet"

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Say in one line that the disk is full, and what is safe."""
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise OSError(
                f"the disk of {self.run.folder} is full at image {self.state.images:,}; {self._good()}; "
                "make room and train again to continue from there"
            ) from error
