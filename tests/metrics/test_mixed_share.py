import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.metrics.mixed_share import MixedShare
from orthogen.metrics.penalty_value import PenaltyValue


def linear(weight: torch.Tensor) -> og.Generator:
    return og.adapt(nn.Identity(), og.Normal(weight.shape[1]), call=lambda m, z: (z @ weight.T)[:, None, None, :])


def test_rows_of_the_gram_matrix_of_a_linear_map():
    weight = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    square = (weight.T @ weight).double().square()
    score = MixedShare(samples=3)(linear(weight))
    share = 1 - square.diagonal() / square.sum(dim=1)
    assert score.parts["share"] == pytest.approx(share.tolist(), rel=1e-3)
    assert score.value == pytest.approx(share.mean().item(), rel=1e-3)
    assert score.parts["stderr"] == pytest.approx([0.0] * 4, abs=1e-4)
    assert score.name == "OroJaR share"
    # the terms add up to the penalty, per squared pixel count
    whole = 2 * (square.sum() - square.diagonal().sum()) / 7**2
    assert sum(score.parts["penalty"]) == pytest.approx(whole.item(), rel=1e-3)


def test_the_terms_add_up_to_the_penalties():
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 18), nn.Unflatten(1, (2, 3, 3)))
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(i)))
    G = og.adapt(net, og.Normal(4))
    for order, penalty in (
        (1, og.OroJaR(reduction="mean", normalize="numel")),
        (2, og.HessianPenalty(reduction="mean")),
    ):
        seed = torch.Generator().manual_seed(0)
        ours = MixedShare(order, samples=400)(G, rng=seed)
        theirs = PenaltyValue(penalty, samples=400)(G, rng=torch.Generator().manual_seed(1))
        error = (theirs.stderr**2 + sum(e**2 for e in ours.parts["penalty_stderr"])) ** 0.5
        # a step along all of four directions is twice as long as along one: a few percent of higher order
        assert sum(ours.parts["penalty"]) == pytest.approx(theirs.value, abs=4 * error + 0.1 * theirs.value)


def test_rows_of_the_hessians_of_a_quadratic_map():
    # pixels z0 z1 and z2²: rows (0, 1, 0), (1, 0, 0), (0, 0, 2), each in one of two pixels
    G = og.adapt(
        nn.Identity(), og.Normal(3), call=lambda m, z: torch.stack([z[:, 0] * z[:, 1], z[:, 2] ** 2], 1)[:, None, None]
    )
    score = MixedShare(2, samples=4)(G)
    assert score.parts["share"] == pytest.approx([1.0, 1.0, 0.0], abs=1e-4)
    assert score.parts["penalty"] == pytest.approx([1.0, 1.0, 0.0], abs=1e-3)
    assert (score.name, score.protocol["order"]) == ("Hessian Penalty share", 2)


def test_random_signs_give_the_row_on_average():
    # one pixel with H = [[0, 1, 2], [1, 0, 0], [2, 0, 0]]: (v1 + 2 v2)² is 9 or 1, on average 5
    G = og.adapt(
        nn.Identity(), og.Normal(3), call=lambda m, z: (z[:, 0] * (z[:, 1] + 2 * z[:, 2]))[:, None, None, None]
    )
    score = MixedShare(2, samples=600)(G, rng=torch.Generator().manual_seed(0))
    first, error = score.parts["penalty"][0], score.parts["penalty_stderr"][0]
    assert first == pytest.approx(2 * 5, abs=3 * error)
    assert error == pytest.approx(2 * 4 * 600**-0.5, rel=0.05)


def test_shares_do_not_depend_on_scale():
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    small, large = (MixedShare(samples=2)(linear(s * weight)) for s in (1e-2, 1e2))
    assert small.parts["share"] == pytest.approx(large.parts["share"], rel=1e-2)


def test_orthogonal_columns_share_nothing_and_idle_ones_are_dead():
    score = MixedShare(samples=3)(linear(torch.diag(torch.tensor([1.0, 2.0, 0.0]))))
    assert score.parts["share"] == [pytest.approx(0.0, abs=1e-6)] * 2 + [None]
    assert score.parts["dead"] == ["2"]
    # no curvature but rounding: nothing to share
    flat = MixedShare(2, samples=3)(linear(torch.randn(5, 3, generator=torch.Generator().manual_seed(0))))
    assert (flat.value, flat.stderr, flat.parts["share"]) == (0.0, 0.0, [None] * 3)


def test_what_rounding_can_feign_depends_on_the_precision():
    def faint(m, z):
        return (1 + 1e-5 * z[:, 0] * z[:, 1] + 1e-5 * z[:, 1] ** 2)[:, None, None, None]

    assert MixedShare(2, samples=4)(og.adapt(nn.Linear(1, 1), og.Normal(2), call=faint)).parts["dead"] == ["0", "1"]
    precise = MixedShare(2, samples=4)(og.adapt(nn.Linear(1, 1).double(), og.Normal(2), call=faint))
    assert precise.parts["share"] == pytest.approx([1.0, 0.2], rel=1e-4)  # H = 1e-5 [[0, 1], [1, 2]]


def test_mistakes(unchecked):
    with pytest.raises(ValueError, match="at least 2 samples"):
        MixedShare(samples=1)
    with pytest.raises(ValueError, match=r"the step must be positive; the papers use 0\.1"):
        MixedShare(step=0.0)
    with pytest.raises(ValueError, match=r"give a share of the largest, such as 0\.01"):
        MixedShare(cut=1.0)
    with pytest.raises(ValueError, match="order"):
        MixedShare(order=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nothing off the diagonal below two"):
        MixedShare()(linear(torch.ones(2, 1)))
