"""What a step of a VAE is, who learns of what, and what does not change a run."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.checkpoints import open_run
from orthogen.core.rng import Rngs
from orthogen.training.distributed import Processes
from orthogen.training.feed import Feed
from orthogen.training.recipe import Adam
from orthogen.training.vae import Autoencoder
from tiny_gan import digest, lines
from tiny_vae import TinyVae, Wide, everything, means, recipe

TESTS = Path(__file__).parents[1]


def start(made: og.VaeRecipe) -> tuple[Autoencoder, Feed]:
    images, processes = made.data.open(), Processes(torch.device("cpu"))
    with torch.random.fork_rng():
        return Autoencoder(made, images, processes), Feed(images, made.images_at, made.seed, processes)


def stepped(made: og.VaeRecipe, steps: int = 1) -> tuple[Autoencoder, list[dict[str, float]]]:
    state, feed = start(made)
    with feed:
        values = [state.take_step(feed(state.images)) for _ in range(steps)]
    return state, [{name: float(value) for name, value in each.items()} for each in values]


def weights(module: nn.Module) -> Tensor:
    return torch.cat([x.detach().flatten() for x in module.state_dict().values()])


def codes(network: nn.Module, images: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    mean, log_variance = network(images)
    return mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=rng), mean, log_variance


# ---------------------------------------------------------------------------------------------- what a step is
def test_a_step_is_what_a_hand_written_loop_does():
    made = recipe(elbo=og.Elbo(4.0), clip=5.0, ema=40)
    state, feed = start(made)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = TinyVae().build()
    decoder, encoder = networks["generator"], networks["encoder"]
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-4, (0.9, 0.999))
    rng, average = Rngs(0)["posterior"], weights(decoder)
    with feed:
        for _ in range(4):
            batch = feed(state.images)
            z, mean, log_variance = codes(encoder, batch.images, rng)
            brightness = (batch.images + 1) / 2
            error = nn.functional.binary_cross_entropy_with_logits(decoder(z), brightness, reduction="sum") / 8
            normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
            kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum() / 8
            adam.zero_grad()
            (error + 4 * kl).backward()
            nn.utils.clip_grad_norm_(adam.param_groups[0]["params"], 5.0)
            adam.step()
            average = weights(decoder) + (average - weights(decoder)) * 0.5 ** (8 / 40)
            values = state.take_step(batch)
            assert float(values["loss/reconstruction"]) == pytest.approx(error.item(), rel=1e-5)
            assert float(values["loss/divergence"]) == pytest.approx(kl.item(), rel=1e-4)
            assert float(values["loss/vae"]) == pytest.approx((error + 4 * kl).item(), rel=1e-5)
            assert values["rate/vae"] == 1e-4
    torch.testing.assert_close(weights(state.encoder), weights(encoder), atol=1e-6, rtol=0)
    torch.testing.assert_close(weights(state.generator.module), weights(decoder), atol=1e-6, rtol=0)
    torch.testing.assert_close(weights(state.average.module), average, atol=1e-6, rtol=0)


def test_the_divergence_is_logged_with_what_it_is_made_of():
    _, (values,) = stepped(recipe())
    latents = sum(values[f"divergence/latent/{i}"] for i in range(3))
    assert latents == pytest.approx(values["loss/divergence"], rel=1e-5)
    assert {"divergence/index_code", "divergence/total_correlation", "divergence/dimension_wise"} < set(values)
    assert values["loss/vae"] == pytest.approx(values["loss/reconstruction"] + values["loss/divergence"], rel=1e-5)
    _, (other,) = stepped(recipe(elbo=og.Elbo(1.0, total_correlation=3.0)))
    added = 3 * other["divergence/total_correlation"]
    assert other["loss/vae"] == pytest.approx(values["loss/vae"] + added, rel=1e-5)
    assert abs(added) > 1e-4


def test_losses_are_float32_where_networks_are_not():
    made = recipe(precision="bfloat16")
    state, feed = start(made)
    seen: list[torch.dtype] = []
    state.encoder.register_forward_hook(lambda module, args, output: seen.append(output[0].dtype))
    with feed:
        values = state.take_step(feed(0))
    assert seen == [torch.bfloat16]
    assert values["loss/vae"].dtype == torch.float32
    _, (exact,) = stepped(recipe())
    assert float(values["loss/vae"]) != exact["loss/vae"]
    assert float(values["loss/vae"]) == pytest.approx(exact["loss/vae"], rel=0.01)


def test_it_learns():
    made = recipe(optimizer=Adam(1e-2, (0.9, 0.999)))
    state, feed = start(made)
    with feed:
        batch = feed(0)
        losses = [float(state.take_step(batch)["loss/vae"]) for _ in range(60)]
    assert losses[-1] < losses[0] - 3


# ---------------------------------------------------------------------------------------------- who learns of what
VP = {"vp": og.Term(og.VariationPredictability(), weight=100.0)}


@pytest.mark.parametrize("source", ["prior", "posterior"])
def test_latent_penalties_teach_the_decoder_and_the_recognizer_alone(source):
    plain, _ = stepped(recipe(pair_source=source))
    state, feed = start(recipe(pair_source=source, penalties=VP))
    before = weights(state.memories["vp"])
    with feed:
        values = state.take_step(feed(0))
    assert torch.equal(weights(state.encoder), weights(plain.encoder))
    assert not torch.equal(weights(state.generator.module), weights(plain.generator.module))
    assert not torch.equal(weights(state.memories["vp"]), before)
    assert float(values["penalty/vp"]) == pytest.approx(math.log(3), abs=0.3)  # one that knows nothing


def seen_by_penalties(monkeypatch: pytest.MonkeyPatch, made: og.VaeRecipe) -> tuple[list[Tensor], Autoencoder, Tensor]:
    seen: list[Tensor] = []
    terms = Wide.terms

    def watched(self, f, z, **others):  # type: ignore[no-untyped-def]
        seen.append(z)
        return terms(self, f, z, **others)

    monkeypatch.setattr(Wide, "terms", watched)
    state, feed = start(made)
    with feed:
        batch = feed(0)
        with torch.no_grad():
            expected = codes(state.encoder, batch.images, Rngs(0)["posterior"])[0]
        state.take_step(batch)
    return seen, state, expected


def test_penalties_see_fresh_latents_of_the_prior(monkeypatch):
    made = recipe(penalties={"wide": og.Term(Wide())}, accumulate=2)
    seen, state, _ = seen_by_penalties(monkeypatch, made)
    assert [len(z) for z in seen] == [4, 4]
    torch.testing.assert_close(torch.cat(seen), state.generator.latent.sample(8, rng=Rngs(0)["latent"]))


def test_penalties_see_codes_of_the_batch(monkeypatch):
    made = recipe(penalties={"wide": og.Term(Wide())}, accumulate=2, pair_source="posterior")
    seen, _, expected = seen_by_penalties(monkeypatch, made)
    assert not any(z.requires_grad for z in seen)
    torch.testing.assert_close(torch.cat(seen), expected)


def test_a_terms_batch_is_shared_out_to_the_parts(monkeypatch):
    made = recipe(penalties={"wide": og.Term(Wide(), batch=4)}, accumulate=2)
    seen, _, _ = seen_by_penalties(monkeypatch, made)
    assert [len(z) for z in seen] == [2, 2]


@pytest.mark.parametrize(
    "penalty", [og.OroJaR(), og.HessianPenalty(), og.InfoGan(), og.VariationPredictability(pair="concat")]
)
def test_penalties_of_the_library_attach_to_the_decoder(penalty):
    layers = () if isinstance(penalty, og.InfoGan | og.VariationPredictability) else ("0", "2")
    _, (values,) = stepped(recipe(penalties={"it": og.Term(penalty, 0.1, layers=layers)}))
    assert values["penalty/it"] >= 0
    assert all(f"penalty/it/{layer}" in values for layer in layers)


def test_rules_and_weight_penalties_act_on_the_decoder():
    state, (values,) = stepped(everything())
    first, before = state.generator.module[0].weight, start(everything())[0].generator.module[0].weight
    assert values["half/done"] == 1.0
    assert values["penalty/small"] == pytest.approx(before.square().mean().item())
    assert state.players["vae"].rules["half"].weight is first


# ---------------------------------------------------------------------------------------------- what changes nothing
def test_accumulated_parts_are_one_batch_where_nothing_mixes_it():
    (one, first), (four, second) = (stepped(means(accumulate=parts), 3) for parts in (1, 4))
    for name in one.networks:
        torch.testing.assert_close(weights(one.networks[name]), weights(four.networks[name]), atol=1e-6, rtol=0)
    estimated = {"divergence/index_code", "divergence/total_correlation", "divergence/dimension_wise"}
    for a, b in zip(first, second, strict=True):
        assert set(a) == set(b)
        for name in set(a) - estimated:
            assert a[name] == pytest.approx(b[name], rel=1e-4), name
        assert all(a[name] != b[name] for name in estimated)  # of the parts, as documented


class Crash(Exception):
    pass


@pytest.mark.parametrize("source", ["prior", "posterior"])
@pytest.mark.parametrize("crash", [16, 104])
def test_a_crash_between_checkpoints_leaves_no_trace(tmp_path, crash, source):
    def call(values):
        if values["images"] >= crash:
            raise Crash

    made = everything(pair_source=source)
    whole = og.train(made, tmp_path / "whole", log_every=16, quiet=True)
    with pytest.raises(Crash):
        og.train(made, tmp_path / "broken", log_every=16, quiet=True, on_log=call)
    again = og.train(made, tmp_path / "broken", log_every=16, quiet=True)
    assert digest(again) == digest(whole)
    assert lines(tmp_path / "broken") == lines(tmp_path / "whole")
    assert [p.read_bytes() for p in again.samples] == [p.read_bytes() for p in whole.samples]
    assert digest(og.train(everything(pair_source=source, seed=1), tmp_path / "other", quiet=True)) != digest(whole)


def test_two_processes_make_the_run_of_one(tmp_path):
    script = str(TESTS / "training" / "vae_in_two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", script]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, str(tmp_path)], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    one, two = og.train(means(), tmp_path / "one", quiet=True, device="cpu"), open_run(tmp_path / "means")
    assert two.about["processes"] == 2
    a, b = (run.checkpoints[-1].tensors() for run in (one, two))
    for name, value in a.items():
        if not name.startswith("random/"):
            assert torch.allclose(value.float(), b[name].float(), atol=1e-6), name
    assert torch.equal(a["random/shared/posterior"], b["random/shared/posterior"])
