"""One critic step and one generator step. What the penalties do is theirs; here they are weighted and added."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from orthogen.core.kinds import CriticBatch, CriticPenalty, LatentPenalty, WeightPenalty
from orthogen.core.shapes import Float
from orthogen.training.schedule import rate_factor
from orthogen.training.state import State

__all__ = ["take_step"]

Values = dict[str, Tensor | float]


def take_step(state: State, real: Float[Tensor, "part c h w"]) -> Values:
    """One step of both players on this process's part of a batch of real images; returns what to log, on its device.

    A batch in several parts (processes, accumulation) gives the gradients of one batch where losses and penalties are
    means over samples and nothing draws; a maximum is one per part. A term's ``batch`` is shared out to the parts.
    """
    values = {**_critic_step(state, real), **_generator_step(state, real)}
    state.average.update(state.recipe.batch)
    state.images += state.recipe.batch
    return values


def _critic_step(state: State, real: Tensor) -> Values:
    loss, parts, critic = state.recipe.objective.loss, state.recipe.accumulate, state.judge
    values: Values = {}
    for x, z in zip(real.chunk(parts), state.latents().chunk(parts), strict=True):
        with torch.no_grad(), state.autocast():
            fake = state.generator(z)
        with state.autocast():
            real_logits, fake_logits = critic(x), critic(fake)
        batch = CriticBatch(x, fake.float(), real_logits.float(), fake_logits.float())
        total = loss.critic(batch.real_logits, batch.fake_logits)
        _tally(values, "loss/critic", total / parts)
        for name, penalty, weight in _due(state, CriticPenalty):
            value = penalty(critic, batch, state=state.memory(name), rng=_rng(state, name))
            _tally(values, f"penalty/{name}", value / parts)
            total = total + weight * value
        (total / parts).backward()
    return values | state.players["critic"].step(_rate(state), state.processes, state.buffers)


def _generator_step(state: State, real: Tensor) -> Values:
    loss, parts, critic = state.recipe.objective.loss, state.recipe.accumulate, state.judge
    values: Values = {}
    with _frozen(critic):
        for x, z in zip(real.chunk(parts), state.latents().chunk(parts), strict=True):
            with state.autocast():
                fake_logits = critic(state.generator(z)).float()
                real_logits = critic(x).float() if loss.needs_real else None
            total = loss.generator(fake_logits, real_logits)
            _tally(values, "loss/generator", total / parts)
            (total / parts).backward()  # before the penalties: its graph is freed
            for name, penalty, weight in _due(state, LatentPenalty):
                (weight / parts * _latent_penalty(state, name, penalty, z, values)).backward()
        for name, penalty, weight in _due(state, WeightPenalty):
            value = penalty(state.generator, state=state.memory(name), rng=_rng(state, name))
            _tally(values, f"penalty/{name}", value)
            (weight * value).backward()
    return values | state.players["generator"].step(_rate(state), state.processes, state.buffers)


def _latent_penalty(state: State, name: str, penalty: LatentPenalty, z: Tensor, values: Values) -> Tensor:
    """The weighted sum over layers, logged with its summands."""
    batch = state.recipe.objective.terms[name].batch
    rows = z if batch is None else z[: max(1, batch // state.parts)]
    terms = penalty.terms(state.maps[name], rows, state=state.memory(name), rng=_rng(state, name))
    total = penalty.total(terms)
    _tally(values, f"penalty/{name}", total / state.recipe.accumulate)
    if len(terms) > 1:
        for layer, value in terms.items():
            _tally(values, f"penalty/{name}/{layer}", value / state.recipe.accumulate)
    return total


def _due(state: State, kind: type) -> Iterator[tuple[str, Any, float]]:
    """The penalties of a kind that this step applies, with their weights; laziness multiplies those by its interval."""
    for name, term in state.recipe.objective.terms.items():
        if isinstance(term.penalty, kind) and state.step % term.every == 0:
            weight = term.weight_at(state.images) * term.every
            if weight:
                yield name, term.penalty, weight


def _tally(values: Values, name: str, value: Tensor) -> None:
    values[name] = values[name] + value.detach() if name in values else value.detach()


def _rng(state: State, term: str) -> torch.Generator:
    return state.own[f"penalty/{term}"]


def _rate(state: State) -> float:
    return rate_factor(state.images, state.recipe.decay_from, state.recipe.images)


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """No gradients for the module's own parameters inside the block; flags return to what they were."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
