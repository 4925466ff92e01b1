"""What every score of a generator along its latent keeps."""

import dataclasses

import pytest
import torch

import orthogen as og
from contracts import scores
from contracts.members import members
from hosts import HOSTS, painted
from orthogen.core.kinds import LatentMetric
from traces import trace

every = pytest.mark.parametrize("member", members(LatentMetric))

# what a member has of these is turned down, since the contract is about behavior, not about the value
QUICK = {"samples": 32, "pairs": 64, "distances": 64, "epochs": 2, "predictors": 2}
READER = {"reader": lambda images: 5 * images[:, 0, 0]}  # a classifier, for those that need to be told what changes


def generator(name="mlp", dtype=torch.float32):
    return painted(HOSTS[name]).build(dtype)[0]


def measure(member, G, directions=None, seed=0):
    known = QUICK | READER
    quick = {field.name: known[field.name] for field in dataclasses.fields(member) if field.name in known}
    return member(**quick)(G, directions, rng=torch.Generator().manual_seed(seed))


def attempt(member, G):
    """The score, or None: a generator whose samples see each other may be refused, in words."""
    try:
        return measure(member, G)
    except ValueError as error:
        if "samples see each other" not in str(error):
            raise
        return None


@every
def test_gives_a_score(member):
    scores.check(measure(member, generator()))


@every
@pytest.mark.parametrize("name", ["mlp", "noise"])
def test_a_seed_fixes_the_score_and_the_global_generator_is_not_touched(member, name):
    G, found = generator(name), []
    with torch.random.fork_rng():
        for i in range(2):
            torch.manual_seed(i)  # which has no part in it
            before = torch.get_rng_state()
            found.append(attempt(member, G))
            assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1]


@every
@pytest.mark.parametrize("name", ["batch norm, training", "dropout", "spectral norm, training"])
def test_a_generator_in_training_is_measured_in_evaluation_mode(member, name):
    training, evaluation = generator(name), generator(name)
    training.module[0].eval()
    modes = [part.training for part in training.module.modules()]
    evaluation.module.eval()
    assert measure(member, training) == measure(member, evaluation)
    assert [part.training for part in training.module.modules()] == modes
    assert len(set(modes)) == 2


@every
@pytest.mark.parametrize("name", ["mlp", "weight norm", "spectral norm, training", "noise", "batch norm, training"])
def test_it_leaves_no_trace_in_the_generator(member, name):
    G = generator(name)
    before = trace(G.module)
    attempt(member, G)
    assert trace(G.module) == before
    assert all(p.grad is None for p in G.module.parameters())


@every
def test_no_directions_are_the_coordinates(member):
    G = generator()
    axes = measure(member, G, og.Directions.coordinates(4))
    scores.check(axes)
    assert axes.value == pytest.approx(measure(member, G).value, rel=1e-4)


@every
def test_directions_of_any_number_are_taken(member):
    basis = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(5))).Q[:2]
    scores.check(measure(member, generator(), og.Directions(basis)))


@every
def test_directions_of_another_width_are_refused_in_one_line(unchecked, member):
    with pytest.raises(ValueError, match=r"\b4\b") as error:
        measure(member, generator(), og.Directions.coordinates(3))
    assert "\n" not in str(error.value)


@every
def test_a_generator_in_double_precision_is_measured(member):
    score = measure(member, generator(dtype=torch.float64))
    scores.check(score)
    assert score.value == pytest.approx(measure(member, generator()).value, rel=0.02, abs=0.02)


@every
@pytest.mark.parametrize(
    ("name", "dtype", "kind", "message"),
    [
        ("mlp", torch.float16, TypeError, r"generator is in torch\.float16 .* call generator\.module\.float\(\) first"),
        (
            "mlp",
            torch.bfloat16,
            TypeError,
            r"generator is in torch\.bfloat16 .* call generator\.module\.float\(\) first",
        ),
        ("conditional", torch.float32, ValueError, r"argument: 'label'\); fix the rest, as in orthogen\.adapt\("),
    ],
)
def test_a_generator_that_cannot_be_called_is_refused_in_one_line(unchecked, member, name, dtype, kind, message):
    with pytest.raises(kind, match=message) as error:
        measure(member, generator(name, dtype))
    assert "\n" not in str(error.value)
