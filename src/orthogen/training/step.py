"""Critic steps and a generator step. What the penalties do is theirs; here they are weighted and added."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from orthogen.core.kinds import CriticBatch, CriticPenalty, LatentPenalty, WeightPenalty
from orthogen.core.maps import given
from orthogen.core.shared_pass import SharedPass
from orthogen.layers.box import coarsen
from orthogen.training.board import Board
from orthogen.training.feed import Batch
from orthogen.training.latent_terms import latent_penalty, rows_of
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
        if self.recipe.growth is not None:
            values["growth/lod"] = self.lod
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
            early, late = _latent_terms(state)
            layers = dict.fromkeys(layer for name in early for layer in state.maps[name].layers)
            with state.autocast():
                own = SharedPass(state.generator, z, tuple(layers), **state.condition(labels))
                fake_logits = critic(*_labeled(own.images, labels)).float()
                real_logits = critic(*_labeled(share.images, its)).float() if loss.needs_real else None
            total = loss.generator(fake_logits, real_logits)
            tally(values, "loss/generator", total / parts)
            for name, penalty, weight in state.due(CriticPenalty, state.step):
                memory = state.memory(name)
                with _frozen(memory):
                    value = penalty.of_generator(
                        critic, own.images.float(), z, labels, state=memory, rng=state.rng(name)
                    )
                if value is not None:
                    tally(values, f"penalty/{name}/generator", value / parts)
                    total = total + weight * value
            (total / parts).backward()  # down to the images: the critic's graph is freed
            for terms in (early, late):
                for name, weight in terms.items():
                    (weight / parts * _latent_penalty(state, name, own, z, labels, values)).backward()
                own.backward()  # before the late ones: the generator's graph is freed
        for name, penalty, weight in state.due(WeightPenalty, state.step):
            value = penalty(state.generator, state=state.memory(name), rng=state.rng(name))
            tally(values, f"penalty/{name}", value)
            (weight * value).backward()
    return values | state.players["generator"].step(state.rate, state.processes, state.buffers)


def _latent_terms(state: Board) -> tuple[dict[str, float], dict[str, float]]:
    """The latent penalties of this step with weights: those that stand on its own pass, and the others."""
    due = [each for each in state.due(LatentPenalty, state.step) if state.shares[each[0]]]
    early = {name: weight for name, penalty, weight in due if penalty.shares_base}
    return early, {name: weight for name, _, weight in due if name not in early}


def _latent_penalty(
    state: Board, name: str, own: SharedPass, z: Tensor, labels: Tensor | None, values: Values
) -> Tensor:
    """The weighted sum over the layers that are there by now."""
    rows = rows_of(state.recipe.terms[name], state.parts)
    f = state.maps[name] if labels is None else given(state.maps[name], **state.condition(labels))
    return latent_penalty(state, name, own.known_by(f, rows), z[rows], values, state.shares[name])


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
