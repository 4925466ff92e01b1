"""A run's state to a checkpoint and back, so that it goes on as if it had never stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.checkpoints.run_folder import Checkpoint, Run, open_run
from orthogen.core.rng import private
from orthogen.training.state import State, Tests

__all__ = ["begin_with", "not_finite", "restore", "save"]


def save(state: State, run: Run, keep: int) -> Checkpoint:
    """Write the state down; of the checkpoints the newest ``keep`` stay, and the best tested. Process 0 writes.

    Tensors: ``network/NAME/...``, ``term/NAME/...`` (what penalties carry), ``rule/NAME/...`` (what rules do),
    ``optimizer/PLAYER/PARAMETER/MOMENT``, ``random/shared/...`` and ``random/RANK/...``. The averaged weights are the
    generator file.

    Raises:
        OSError: the disk is full, or the folder cannot be written; earlier checkpoints are as they were.
    """
    random = state.processes.gather(_random_states(state))
    return state.processes.first(lambda: _write(state, run, keep, random))


def _write(state: State, run: Run, keep: int, random: Sequence[Mapping[str, Tensor]]) -> Checkpoint:
    tensors = _prefixed("random/shared", state.shared.state_dict())
    for rank, states in enumerate(random):
        tensors |= _prefixed(f"random/{rank}", states)
    for prefix, module in state.modules():
        tensors |= _prefixed(prefix, module.state_dict())
    for name, player in state.players.items():
        tensors |= _prefixed(f"optimizer/{name}", player.tensors())
    numbers = {
        "images": state.images,
        "step": state.step,
        "seconds": state.seconds,
        "steps": {name: player.steps for name, player in state.players.items()},
        "meter": state.meter.state_dict(),
        "tests": None if state.tests is None else asdict(state.tests),
        "told": state.told(),
    }
    written = run.write_checkpoint(state.images, state.average.module, tensors, numbers, network=state.shown)
    so_far = [checkpoint for checkpoint in run.checkpoints if checkpoint.images <= state.images]
    for checkpoint in so_far[: -max(1, keep)]:
        if state.tests is None or checkpoint.images != state.tests.images:
            checkpoint.delete()
    return written


def restore(state: State, checkpoint: Checkpoint) -> None:
    """Put the state where `save` left it. Further processes than had been saved start their own random streams."""
    for prefix, module in state.modules():
        module.load_state_dict(checkpoint.tensors(f"{prefix}/"))
    if state.average.module is not state.average.network:
        state.average.module.load_state_dict(checkpoint.generator_tensors())
    for name, player in state.players.items():
        player.load_tensors(checkpoint.tensors(f"optimizer/{name}/"))
    state.shared.load_state_dict(checkpoint.tensors("random/shared/"))
    _set_random_states(state, checkpoint.tensors(f"random/{state.processes.rank}/"))
    numbers = checkpoint.numbers()
    state.images, state.step, state.seconds = numbers["images"], numbers["step"], numbers["seconds"]
    for name, player in state.players.items():
        player.steps = numbers["steps"][name]
    state.meter.load_state_dict(numbers["meter"])
    state.tests = Tests(**numbers["tests"]) if numbers.get("tests") else None
    state.recall(numbers["told"])


def begin_with(state: State, folder: str) -> None:
    """Give a state at image 0 the weights of another run's newest checkpoint; networks that grow stay at their level.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no run, or none with a whole checkpoint; its networks are others, or have grown less far.
    """
    try:
        newest = open_run(folder).newest
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"initial: {error}") from error
    if newest is None:
        raise ValueError(f"initial: {folder} has no whole checkpoint; train it first")
    for name, network in state.networks.items():
        _give(network, newest.tensors(f"network/{name}/"), f"the {name}", folder)
    if state.average.module is not state.average.network:
        _give(state.average.module, newest.generator_tensors(), "the average", folder)
    try:
        state.take_over(newest.numbers()["told"])
    except ValueError as error:
        raise ValueError(f"initial: {folder} {error}") from error


def _give(network: nn.Module, tensors: Mapping[str, Tensor], what: str, folder: str) -> None:
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = shorten(str(error).split("\n", 1)[-1], 200, placeholder=" ...")
        raise ValueError(f"initial: {what} of {folder} is another network ({reason}); give the same model") from error


def not_finite(state: State) -> str | None:
    """The first network, average or memory with a weight that is not finite."""
    for name, module in (*state.modules(), ("average", state.average.module)):
        floats = [x for x in module.state_dict().values() if x.is_floating_point()]
        if floats and not torch.stack([x.isfinite().all() for x in floats]).all():
            return name
    return None


def _prefixed(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def _random_states(state: State) -> dict[str, Tensor]:
    """Every generator this process draws from alone: torch's global ones, the private one, and its named streams."""
    states = {"torch": torch.get_rng_state(), "private": private().get_state()}
    if state.processes.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(state.processes.device)
    return states | _prefixed("own", state.own.state_dict())


def _set_random_states(state: State, states: Mapping[str, Tensor]) -> None:
    if not states:  # a process that was not there before
        return
    torch.set_rng_state(states["torch"])
    private().set_state(states["private"])
    if state.processes.device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], state.processes.device)
    own = {name.removeprefix("own/"): value for name, value in states.items() if name.startswith("own/")}
    state.own.load_state_dict(own)
