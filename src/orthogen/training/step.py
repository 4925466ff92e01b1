"""Critic steps and a generator step. What the penalties do is theirs; here they are weighted and added."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from orthogen.core.kinds import CriticBatch, CriticPenalty, LatentPenalty, WeightPenalty
from orthogen.core.maps import given
from orthogen.layers.box import coarsen
from orthogen.training.board import Board
from orthogen.training.feed import Batch
from orthogen.training.state import AUGMENTATION, Values, tally

__all__ = ["Game"]


class Game(Board):
    """A generator and a critic that learn from each other."""

    def take_step(self, batch: Batch) -> Values:
        """The critic's steps, each on its share of a process's part of the images, and one of the generator.

        A batch in several parts (processes, accumulation) gives the gradients of one batch where losses and penalties
        are means over samples and nothing draws; a maximum is one per part. A term's ``batch`` is shared out to the
        parts.
        """
        self.grow()
        if self.lod:
            batch = replace(batch, images=coarsen(batch.images, self.lod))
        steps = self.recipe.critic_steps
        found: dict[str, list[Tensor | float]] = {}
        for i, share in enumerate(batch.chunk(steps)):
            for name, value in _critic_step(self, share, self.step * steps + i).items():
                found.setdefault(name, []).append(value)
        # means over the critic's steps, of a lazy penalty over those that it took part in
        values: Values = {name: sum(each) / len(each) for name, each in found.items()}
        values |= _generator_step(self, share)
        self.count()
        return values


def _labeled(images: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
    """What a critic is called with."""
    return (images,) if labels is None else (images, labels)


def _draws(state: Board) -> list[tuple[Tensor, Tensor | None]]:
    """Fresh latents, and class labels where the generator takes them, in the parts of an accumulated batch."""
    parts, labels = state.recipe.accumulate, state.labels()
    shares = [None] * parts if labels is None else labels.chunk(parts)
    return list(zip(state.latents().chunk(parts), shares, strict=True))


def _critic_step(state: Board, real: Batch, step: int) -> Values:
    loss, parts, critic = state.recipe.objective.loss, state.recipe.accumulate, state.judge
    values: Values = {}
    seen = []
    for share, (z, labels) in zip(real.chunk(parts), _draws(state), strict=True):
        its = share.labels if state.recipe.model.classes else None
        with torch.no_grad(), state.autocast():
            fake = state.generator(z, **state.condition(labels))
        with state.autocast():
            real_logits, fake_logits = critic(*_labeled(share.images, its)), critic(*_labeled(fake, labels))
        batch = CriticBatch(share.images, fake.float(), real_logits.float(), fake_logits.float(), its, labels, z)
        total = loss.critic(batch.real_logits, batch.fake_logits)
        tally(values, "loss/critic", total / parts)
        for name, penalty, weight in state.due(CriticPenalty, step):
            value = penalty(critic, batch, state=state.memory(name), rng=state.rng(name))
            tally(values, f"penalty/{name}", value / parts)
            total = total + weight * value
        (total / parts).backward()
        seen.append(batch.real_logits.detach())
    values |= state.players["critic"].step(state.rate, state.processes, state.buffers)
    if state.augmentation is not None:
        noted = state.augmentation.observe(state.memory(AUGMENTATION), torch.cat(seen))
        values |= {f"augment/{name}": value for name, value in noted.items()}
    return values


def _generator_step(state: Board, real: Batch) -> Values:
    loss, parts, critic = state.recipe.objective.loss, state.recipe.accumulate, state.judge
    values: Values = {}
    with _frozen(critic):
        for share, (z, labels) in zip(real.chunk(parts), _draws(state), strict=True):
            its = share.labels if state.recipe.model.classes else None
            with state.autocast():
                fake = state.generator(z, **state.condition(labels))
                fake_logits = critic(*_labeled(fake, labels)).float()
                real_logits = critic(*_labeled(share.images, its)).float() if loss.needs_real else None
            total = loss.generator(fake_logits, real_logits)
            tally(values, "loss/generator", total / parts)
            for name, penalty, weight in state.due(CriticPenalty, state.step):
                memory = state.memory(name)
                with _frozen(memory):
                    value = penalty.of_generator(critic, fake.float(), z, labels, state=memory, rng=state.rng(name))
                if value is not None:
                    tally(values, f"penalty/{name}/generator", value / parts)
                    total = total + weight * value
            (total / parts).backward()  # before the penalties: its graph is freed
            for name, penalty, weight in state.due(LatentPenalty, state.step):
                value = _latent_penalty(state, name, penalty, z, labels, values)
                if value is not None:
                    (weight / parts * value).backward()
        for name, penalty, weight in state.due(WeightPenalty, state.step):
            value = penalty(state.generator, state=state.memory(name), rng=state.rng(name))
            tally(values, f"penalty/{name}", value)
            (weight * value).backward()
    return values | state.players["generator"].step(state.rate, state.processes, state.buffers)


def _latent_penalty(
    state: Board, name: str, penalty: LatentPenalty, z: Tensor, labels: Tensor | None, values: Values
) -> Tensor | None:
    """The weighted sum over the layers that are there by now, logged with its summands; None where none is."""
    term, shares = state.recipe.terms[name], state.shares[name]
    if not shares:
        return None
    rows = slice(None) if term.batch is None else slice(max(1, term.batch // state.parts))
    f = state.maps[name] if labels is None else given(state.maps[name], **state.condition(labels[rows]))
    terms = penalty.terms(f, z[rows], state=state.memory(name), rng=state.rng(name))
    total = penalty.total({layer: shares.get(layer, 1.0) * value for layer, value in terms.items()})
    tally(values, f"penalty/{name}", total / state.recipe.accumulate)
    if len(terms) > 1:
        for layer, value in terms.items():
            tally(values, f"penalty/{name}/{layer}", value / state.recipe.accumulate)
    return total


@contextmanager
def _frozen(module: nn.Module | None) -> Iterator[None]:
    """No gradients for the module's own parameters inside the block; flags return to what they were."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad] if module is not None else []
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
