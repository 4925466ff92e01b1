import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn

import orthogen as og
from orthogen.core.conditioning import conditioning, matrix_of, rows_of, true_rank


def spectrum(values, rng):
    Q = torch.linalg.qr(torch.randn(len(values), len(values), generator=rng, dtype=torch.float64)).Q
    return Q @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ Q.T


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


# ---------------------------------------------------------------------------------------------- the function
@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=6), st.floats(1e-3, 10))
def test_closed_forms(values, eps):
    rng = torch.Generator().manual_seed(0)
    values = sorted(values, reverse=True)
    found = conditioning(None, spectrum(values, rng), eps, rank=2)
    share = np.array(values) / sum(values)
    assert found == {
        "condition": pytest.approx(values[0] / values[1], rel=1e-6),
        "rank": 2,
        "effective_rank": pytest.approx(math.exp(-(share * np.log(share)).sum()), rel=1e-6),
        "ridge_condition": pytest.approx((values[0] + eps) / eps, rel=1e-6),
    }


def test_identity_zero_and_one_direction():
    one = conditioning(torch.eye(3), 5 * torch.eye(3))
    assert one == {
        "condition": 1.0,
        "rank": 3,
        "effective_rank": pytest.approx(3.0),
        "ridge_condition": pytest.approx(501.0),
        "weight_norm": pytest.approx(3**0.5),
        "defect": 0.0,
    }
    ones = conditioning(None, torch.ones(4, 4))
    assert ones["effective_rank"] == pytest.approx(1.0, abs=1e-6)
    assert ones["condition"] == pytest.approx(1 / (4 * 2.0**-52))  # where float64 ends
    nothing = conditioning(None, torch.zeros(4, 4))
    assert nothing["condition"] == pytest.approx(1 / (4 * 2.0**-52))
    assert nothing["ridge_condition"] == 1.0
    assert nothing["effective_rank"] == pytest.approx(1.0)


def test_the_defect_sees_angles_and_lengths_but_no_scale(rng):
    Q = torch.linalg.qr(torch.randn(9, 4, generator=rng, dtype=torch.float64)).Q
    cov = torch.eye(4)
    for W in (Q, Q.T, 7 * Q.T, Q.T.reshape(4, 3, 3, 1)):
        assert conditioning(W, cov, rank=4)["defect"] == pytest.approx(0.0, abs=1e-10)
    W = torch.tensor([[1.0, 0.0], [0.0, 3.0]])  # W W^T = diag(1, 9), mean 5
    assert conditioning(W, cov[:2, :2])["defect"] == pytest.approx(math.hypot(0.8, 0.8))
    W = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    assert conditioning(W, cov[:2, :2])["defect"] == pytest.approx(0.6 * 2**0.5, rel=1e-6)
    assert conditioning(0 * W, cov[:2, :2])["defect"] == pytest.approx(2**0.5)


def test_a_stem_convolution_has_rank_27_however_many_channels_it_puts_out(rng):
    conv = seeded(lambda: nn.Conv2d(3, 64, 3, bias=False))
    rows = rows_of(conv, conv(torch.randn(32, 3, 32, 32, generator=rng))).detach()
    S = rows.double().T.cov()
    found, values = conditioning(conv.weight, S), np.linalg.eigvalsh(S.numpy())[::-1]
    assert found["rank"] == true_rank(conv.weight, 64) == 27
    assert values[27] < 1e-12 * values[0]
    assert found["condition"] == pytest.approx(values[0] / values[26], rel=1e-6)
    assert found["condition"] < 100 < 1e10 < conditioning(conv.weight, S, rank=64)["condition"]


@pytest.mark.parametrize(
    ("layer", "shape", "rank"),
    [
        (lambda: nn.Conv2d(6, 8, 3, groups=2), (6, 9, 9), 8),
        (lambda: nn.Conv2d(4, 12, 1, groups=4), (4, 9, 9), 4),
        (lambda: nn.ConvTranspose2d(2, 40, 4), (2, 1, 1), 32),
        (lambda: nn.ConvTranspose2d(4, 8, 1, groups=2), (4, 5, 5), 4),
        (lambda: nn.Linear(5, 9), (5,), 5),
        (lambda: nn.Linear(5, 3), (7, 5), 3),
    ],
)
def test_the_true_rank_is_that_of_the_covariance(rng, layer, shape, rank):
    made = seeded(layer).double()
    nn.init.zeros_(made.bias)
    rows = rows_of(made, made(torch.randn(400, *shape, generator=rng, dtype=torch.float64)))
    assert true_rank(matrix_of(made), rows.shape[1], getattr(made, "groups", 1)) == rank
    uncentered = rows.T @ rows
    assert torch.linalg.matrix_rank(uncentered, hermitian=True) == rank


def test_which_weight_a_layer_has():
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 3))
    assert torch.equal(matrix_of(conv), conv.weight)
    assert matrix_of(nn.BatchNorm2d(3)) is matrix_of(nn.Sequential(conv)) is None
    block = nn.Module()
    block.U = nn.Parameter(torch.ones(6, 12))
    assert matrix_of(block) is block.U
    assert true_rank(None, 7) == 7


@pytest.mark.parametrize("wrong", [{"rank": 4}, {"rank": 0}, {"eps": 0.0}])
def test_mistakes_of_the_function(wrong):
    with pytest.raises(ValueError, match="give a ridge above 0, and a rank from 1 to 3"):
        conditioning(None, torch.eye(3), **wrong)
    with pytest.raises(ValueError, match="conditioning: the covariance is not finite"):
        conditioning(None, torch.full((3, 3), math.nan))


# ---------------------------------------------------------------------------------------------- the metric
def generator(*layers, dim=4):
    return og.adapt(seeded(lambda: nn.Sequential(*(layer() for layer in layers))), og.Normal(dim))


def test_is_what_numpy_says_of_all_activations_at_once():
    G = generator(
        lambda: nn.Linear(4, 2 * 9), nn.Tanh, lambda: nn.Unflatten(1, (2, 3, 3)), lambda: nn.ConvTranspose2d(2, 24, 3)
    )
    score = og.Conditioning("3", eps=0.5, samples=301, batches=7)(G, rng=torch.Generator().manual_seed(3))
    z = G.latent.sample(301, rng=torch.Generator().manual_seed(3))
    rows = G(z).detach().double().movedim(1, -1).flatten(0, -2)
    values = np.linalg.eigvalsh(np.cov(rows.numpy().T))[::-1]
    assert score.parts["rank"] == 18
    assert score.value == pytest.approx(values[0] / values[17], rel=1e-6)
    assert score.parts["eigenvalues"] == pytest.approx(values.tolist(), rel=1e-6, abs=1e-9)
    assert score.parts["ridge_condition"] == pytest.approx((values[0] + 0.5) / 0.5)
    assert score.parts["weight_norm"] == pytest.approx(G.module[3].weight.norm().item(), rel=1e-6)
    assert score.protocol["eps"] == 0.5
    assert score.n == 301


def test_the_jackknife_covers_fresh_latents():
    G = generator(lambda: nn.Linear(4, 6), nn.Tanh, lambda: nn.Linear(6, 5))
    metric = og.Conditioning("2", samples=512)
    scores = [metric(G, rng=torch.Generator().manual_seed(seed)) for seed in range(40)]
    values, errors = (torch.tensor([getattr(s, name) for s in scores]) for name in ("value", "stderr"))
    assert 0.7 < (errors.square().mean().sqrt() / values.std()).item() < 1.4
    ranks = torch.tensor([s.parts["effective_rank"] for s in scores])
    assert 0.6 < (scores[0].parts["effective_rank_stderr"] / ranks.std()).item() < 1.6


def test_the_first_layer_with_a_weight_by_default():
    G = generator(nn.Identity, lambda: nn.Linear(4, 3), nn.ReLU)
    score = og.Conditioning(samples=64)(G)
    assert score.protocol["layer"] == "1"
    assert score.parts["rank"] == 3
    bare = og.Conditioning("2", samples=64)(G)  # a layer without a weight: of its output alone
    assert "defect" not in bare.parts
    assert bare.parts["rank"] == 3


def test_mistakes_of_the_metric():
    with pytest.raises(ValueError, match=r"give at least 2 batches, two samples for each, and a ridge above 0"):
        og.Conditioning(samples=20, batches=11)
    with pytest.raises(ValueError, match="ridge above 0"):
        og.Conditioning(eps=0.0)
    with pytest.raises(ValueError, match=r"no layer is called 'x'; nearest: "):
        og.Conditioning("x")(generator(lambda: nn.Linear(4, 3)))
    with pytest.raises(ValueError, match="the generator has no layer with a weight of two or more dimensions"):
        og.Conditioning()(generator(nn.Tanh))
    broken = generator(lambda: nn.Linear(4, 3))
    nn.init.constant_(broken.module[0].weight, math.inf)
    with pytest.raises(ValueError, match="not finite"):
        og.Conditioning()(broken)
