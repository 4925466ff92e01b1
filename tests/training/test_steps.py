from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.core.kinds import CriticBatch, CriticPenalty, LatentPenalty
from orthogen.training.distributed import Processes
from orthogen.training.feed import Feed
from orthogen.training.step import Game
from tiny_gan import Anchored, BarData, Bars, Flat, Guess, Half, Small, TinyGan, everything, recipe


def start(recipe: og.Recipe) -> tuple[Game, Feed]:
    images, processes = recipe.data.open(), Processes(torch.device("cpu"))
    with torch.random.fork_rng():
        return Game(recipe, images, processes), Feed(images, recipe.images_at, recipe.seed, processes)


def steps(recipe: og.Recipe, n: int = 3) -> tuple[Game, list[dict[str, Any]]]:
    state, feed = start(recipe)
    with feed:
        return state, [state.take_step(feed(state.images)) for _ in range(n)]


def same(a: nn.Module, b: nn.Module, tolerance: float) -> bool:
    theirs = b.state_dict()
    return all(torch.allclose(x, theirs[name], atol=tolerance, rtol=0) for name, x in a.state_dict().items())


MEANS = og.Objective(og.NonSaturating(), {"flat": og.Term(Flat(), 3.0, layers=("1",)), "small": og.Term(Small(), 2.0)})


def test_a_step_is_what_a_hand_written_loop_does() -> None:
    made = recipe(objective=MEANS, clip=0.5)
    state, feed = start(made)
    torch.manual_seed(0)
    built = TinyGan().build()
    G, D = built["generator"], built["critic"]
    z_stream = og.core.rng.Rngs(0)["latent"]
    g_opt, d_opt = (torch.optim.Adam(m.parameters(), 2e-4, betas=(0.5, 0.999)) for m in (G, D))
    average = {name: x.clone() for name, x in G.state_dict().items()}
    softplus = nn.functional.softplus
    with feed:
        for _ in range(4):
            batch = feed(state.images)
            x = batch.images
            d_opt.zero_grad()
            fake = G(torch.randn(8, 3, generator=z_stream)).detach()
            (softplus(-D(x)).mean() + softplus(D(fake)).mean()).backward()
            nn.utils.clip_grad_norm_(D.parameters(), 0.5)
            d_opt.step()
            g_opt.zero_grad()
            z = torch.randn(8, 3, generator=z_stream)
            loss = softplus(-D(G(z))).mean() + 3 * G[:2](z).square().mean() + 2 * G[0].weight.square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(G.parameters(), 0.5)
            g_opt.step()
            average = {n: w + (average[n] - w) * 0.5 ** (8 / 40) for n, w in G.state_dict().items()}
            state.take_step(batch)
    assert same(state.networks["generator"], G, 1e-6)
    assert same(state.critic, D, 1e-6)
    for name, x in state.average.module.state_dict().items():
        assert torch.allclose(x, average[name], atol=1e-6)


@pytest.mark.parametrize("loss", [og.NonSaturating(), og.Wasserstein(), og.Relativistic()])
def test_accumulated_parts_equal_one_batch(loss: Any) -> None:
    objective = replace(MEANS, loss=loss)
    whole, a = steps(recipe(objective=objective))
    parts, b = steps(recipe(objective=objective, accumulate=4))
    assert same(whole.networks, parts.networks, 1e-6)
    for one, other in zip(a, b, strict=True):
        assert one.keys() == other.keys()
        assert all(float(one[name]) == pytest.approx(float(other[name]), rel=1e-4) for name in one)


def test_each_player_learns_what_its_penalties_learn_and_nothing_else() -> None:
    state, _ = start(everything())
    names = {name: set(player.parameters) for name, player in state.players.items()}
    assert {name for name in names["generator"] if name.startswith("terms.")} == {
        "terms.guess.weight",
        "terms.guess.bias",
    }
    assert {name for name in names["critic"] if name.startswith("terms.")} == {"terms.anchored.offset"}
    assert list(state.memories) == ["guess", "anchored"]


@dataclass(frozen=True)
class Watching(LatentPenalty):
    """Notes what it is given."""

    seen: tuple[Any, ...] = ()

    def terms(self, f, z, *, state=None, rng=None, probes=None) -> dict[str, Tensor]:  # type: ignore[no-untyped-def, override]
        SEEN.append((f.layers, len(z), torch.is_autocast_enabled("cpu")))
        return {layer: x.mean() for layer, x in zip(f.layers, f(z), strict=True)}

    def layer_weight(self, layer: str) -> float:
        return 10.0 if layer == "0" else 1.0


SEEN: list[Any] = []


def test_a_lazy_term_is_applied_and_weighted_every_so_many_steps() -> None:
    SEEN.clear()
    term = og.Term(Watching(), 0.5, every=2, layers=("0", "4"), batch=6)
    _, values = steps(recipe(objective=og.Objective(terms={"w": term}), accumulate=2, precision="bfloat16"), 3)
    # steps 0 and 2, in two parts, three latents each; penalties outside autocast
    assert SEEN == [(("0", "4"), 3, False)] * 4
    assert ["penalty/w" in each for each in values] == [True, False, True]
    assert values[0]["penalty/w"] == pytest.approx(10 * values[0]["penalty/w/0"] + values[0]["penalty/w/4"])


def test_laziness_multiplies_the_gradient() -> None:
    changed: dict[int, Tensor] = {}
    for every in (1, 5):
        term = og.Term(Small(), 0.0001, every=every)
        made = recipe(objective=og.Objective(Silent(), {"small": term}), clip=None)
        state, feed = start(made)
        gradients: list[Tensor] = []
        weight = state.networks["generator"][0].weight
        weight.register_post_accumulate_grad_hook(lambda p, kept=gradients: kept.append(p.grad.clone()))
        with feed:
            state.take_step(feed(0))
        changed[every] = gradients[-1]
    assert torch.allclose(changed[5], 5 * changed[1], rtol=1e-5)


@dataclass(frozen=True)
class Silent(type(og.NonSaturating())):  # type: ignore[misc]
    """Losses without gradients."""

    def critic(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return 0 * real_logits.mean()

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        return 0 * fake_logits.mean()


@dataclass(frozen=True)
class Strict(CriticPenalty):
    """Checks what a critic step hands over."""

    def __call__(self, critic: nn.Module, batch: CriticBatch, *, state=None, rng=None) -> Tensor:  # type: ignore[no-untyped-def, override]
        assert not batch.fake.requires_grad
        assert batch.real_logits.requires_grad
        assert batch.real.dtype == batch.fake.dtype == batch.real_logits.dtype == torch.float32
        assert not torch.is_autocast_enabled("cpu")
        assert -1 <= batch.real.min() <= batch.real.max() <= 1
        return batch.fake_logits.square().mean()


def test_the_critic_sees_fakes_without_graph_and_its_flags_and_gradients_are_left_alone() -> None:
    made = recipe(objective=og.Objective(terms={"strict": og.Term(Strict())}), precision="bfloat16")
    state, feed = start(made)
    frozen = state.critic[0].bias.requires_grad_(False)
    flags = [p.requires_grad for p in state.networks.parameters()]
    seen: list[tuple[bool, ...]] = []
    rule = state.players["generator"]
    inner = rule.step

    def spy(*arguments: Any) -> Any:
        seen.append(tuple(p.grad is None for p in state.critic.parameters()))
        return inner(*arguments)

    rule.step = spy  # type: ignore[method-assign]
    with feed:
        state.take_step(feed(0))
    assert seen == [(True,) * 4]
    assert [p.requires_grad for p in state.networks.parameters()] == flags
    assert not frozen.requires_grad


def test_a_rule_acts_between_backward_and_step() -> None:
    plain, a = steps(recipe(), 1)
    ruled, b = steps(recipe(objective=og.Objective(og.NonSaturating(), rules={"half": Half()})), 1)
    assert b[0]["half/done"] == 1.0
    assert b[0]["half/norm"] > 0
    moments = [state.players["generator"].tensors()["network.0.weight/exp_avg"] for state in (plain, ruled)]
    assert torch.allclose(moments[0], 2 * moments[1])
    assert a[0]["norm/generator"] == b[0]["norm/generator"]


def test_rates_fall_as_the_recipe_says() -> None:
    _, values = steps(recipe(images=32, decay_from=8, objective=og.Objective(og.Hinge())), 4)
    assert [each["rate/generator"] / 2e-4 for each in values] == pytest.approx([1, 1, 2 / 3, 1 / 3])


def test_bfloat16_changes_the_adversarial_part_a_little() -> None:
    a, _ = steps(recipe(), 3)
    b, _ = steps(recipe(precision="bfloat16"), 3)
    assert not same(a.networks, b.networks, 0.0)
    assert same(a.networks, b.networks, 3e-3)
    assert all(p.dtype == torch.float32 for p in b.networks.parameters())


def test_terms_before_their_start_cost_nothing() -> None:
    SEEN.clear()
    term = og.Term(Watching(), 1.0, start=16, ramp=8)
    _, values = steps(recipe(objective=og.Objective(terms={"w": term})), 4)
    assert len(SEEN) == 1
    assert ["penalty/w" in each for each in values] == [False, False, False, True]


@pytest.mark.parametrize("make", [lambda: Guess(), lambda: Anchored()])
def test_memories_are_there_before_the_first_step(make: Callable[[], Any]) -> None:
    state, _ = start(recipe(objective=og.Objective(terms={"late": og.Term(make(), start=10_000)})))
    assert state.memory("late") is not None
    assert state.memory("other") is None


def test_the_data_helper_is_what_it_says() -> None:
    assert len(BarData(7).open()) == 7
    assert Bars(3).images(torch.tensor([0, 2])).shape == (2, 1, 8, 8)
