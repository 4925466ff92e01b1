"""What the critic sees is augmented, real and generated alike, in both players' steps."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import orthogen as og
from orthogen.core.kinds import Augmentation
from tiny_gan import digest, everything, lines, recipe
from training.test_steps import same, start


@dataclass(frozen=True)
class Dim(Augmentation):
    """Images times a number that is drawn anew for every call."""

    seen: ClassVar[list[tuple[bool, float]]] = []

    def __call__(self, images: Tensor, *, state: Any = None, rng: torch.Generator | None = None) -> Tensor:
        factor = torch.rand((), generator=rng)
        self.seen.append((images.requires_grad, factor.item()))
        return images * factor


def augmented(made: og.Recipe, augmentation: Augmentation | None) -> og.Recipe:
    return replace(made, objective=replace(made.objective, augmentation=augmentation))


def test_all_that_the_critic_sees_goes_through_it_with_draws_of_its_own() -> None:
    made = augmented(recipe(objective=og.Objective(og.Hinge(), {"r1": og.Term(og.R1())})), Dim())
    state, feed = start(made)
    Dim.seen.clear()
    with feed:
        state.take_step(feed(0))
    # the critic's step: real and fake, then real once more, to be differentiated by R1; the generator's: fake
    assert [learns for learns, _ in Dim.seen] == [False, False, True, True]
    assert len({factor for _, factor in Dim.seen}) == 4


def test_the_identity_changes_nothing() -> None:
    @dataclass(frozen=True)
    class Same(Augmentation):
        def __call__(self, images: Tensor, *, state: Any = None, rng: torch.Generator | None = None) -> Tensor:
            return images

    ends = []
    for augmentation in (None, Same()):
        state, feed = start(augmented(recipe(), augmentation))
        with feed:
            for step in range(3):
                state.take_step(feed(step))
        ends.append(state.networks)
    assert same(*ends, 0.0)


def test_a_step_by_hand() -> None:
    """The critic's gradient is that of the loss on D(T(x)), with the factors that were drawn."""
    made = augmented(recipe(objective=og.Objective(og.NonSaturating())), Dim())
    state, feed = start(made)
    twin, _ = start(made)
    Dim.seen.clear()
    with feed:
        batch = feed(0)
        state.take_step(batch)
    real, fake, again = (factor for _, factor in Dim.seen)
    softplus, D, G = torch.nn.functional.softplus, twin.critic, twin.generator
    x = batch.images
    with torch.no_grad():
        images = G(twin.latents())
    (softplus(-D(x * real)).mean() + softplus(D(images * fake)).mean()).backward()
    torch.optim.Adam(D.parameters(), made.critic_optimizer.lr, betas=made.critic_optimizer.betas).step()
    assert same(D, state.critic, 1e-7)
    softplus(-D(G(twin.latents()) * again)).mean().backward()
    torch.optim.Adam(G.module.parameters(), made.generator_optimizer.lr, betas=made.generator_optimizer.betas).step()
    assert same(G.module, state.generator.module, 1e-7)


@pytest.mark.parametrize("make", [recipe, everything])
def test_an_interrupted_run_goes_on_to_the_last_bit(tmp_path, make) -> None:
    made = augmented(make(), og.DiffAugment())
    whole = og.train(made, tmp_path / "whole", log_every=16, quiet=True)

    class Stop(Exception):
        pass

    def crash(values: dict[str, float]) -> None:
        if values["images"] >= 48:
            raise Stop

    with pytest.raises(Stop):
        og.train(made, tmp_path / "broken", log_every=16, quiet=True, on_log=crash)
    again = og.train(made, tmp_path / "broken", log_every=16, quiet=True)
    assert digest(again) == digest(whole)
    assert lines(tmp_path / "broken") == lines(tmp_path / "whole")
    assert whole.about["recipe"]["objective"]["augmentation"]["type"].endswith(":DiffAugment")
