import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthogen.metrics import _neighbors
from orthogen.metrics.precision_recall import PrecisionRecall
from vectors import vectors


def normal(n, d, seed=0, scale=1.0, shift=0.0):
    rng = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, d, generator=rng, dtype=torch.float64) + shift


def by_hand(x, y, k):
    """Precision, recall, density and coverage with all distances at once."""

    def reach(z):
        return torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist").sort(dim=1).values[:, k]

    apart = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    near = apart < reach(x)[:, None]
    return [
        near.any(dim=0).double().mean().item(),
        (apart < reach(y)).any(dim=1).double().mean().item(),
        near.double().sum(dim=0).mean().item() / k,
        near.any(dim=1).double().mean().item(),
    ]


def test_equals_the_golden_values():
    golden = vectors("image_metrics")
    score = PrecisionRecall(k=5)(torch.tensor(golden["real"]), torch.tensor(golden["fake"]))
    precision, recall = golden["precision"].item(), golden["recall"].item()
    assert score.parts["precision"] == pytest.approx(precision, abs=1e-9)
    assert score.parts["recall"] == pytest.approx(recall, abs=1e-9)
    assert score.value == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-9)


def test_equals_torch_fidelity():
    fidelity = pytest.importorskip("torch_fidelity.metric_prc")
    x, y = normal(300, 6).float(), normal(250, 6, seed=1, scale=0.9, shift=0.2).float()
    theirs = fidelity.calculate_precision_recall_full(y, x)
    ours = PrecisionRecall()(x, y)
    assert (ours.parts["precision"], ours.parts["recall"]) == pytest.approx(theirs, rel=1e-4)


@given(
    st.integers(0, 1000), st.integers(1, 5), st.integers(6, 60), st.integers(6, 60), st.sampled_from([7, 100, 2**23])
)
@settings(max_examples=60)
def test_blocks_give_what_all_distances_at_once_give(seed, k, n, m, entries):
    x, y = normal(n, 3, seed), normal(m, 3, seed + 1, shift=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_neighbors, "ENTRIES", entries)
        found = _neighbors.inside(x, y, k)
    expected = by_hand(x, y, k)
    assert [
        (found.balls > 0).double().mean().item(),
        found.held.double().mean().item(),
        found.balls.double().mean().item() / k,
        found.holds.double().mean().item(),
    ] == pytest.approx(expected, abs=1e-12)


def test_a_block_is_never_larger_than_allowed(monkeypatch):
    monkeypatch.setattr(_neighbors, "ENTRIES", 1000)
    x, y = normal(90, 4), normal(70, 4, seed=1)
    blocks = [block for _, block in _neighbors.distances(x, y)]
    assert max(block.numel() for block in blocks) <= 1000
    torch.testing.assert_close(torch.cat(blocks), torch.cdist(x, y).square())


def test_fixed_points():
    x = normal(200, 4)
    same = PrecisionRecall()(x, x.clone())
    assert (same.value, same.parts["precision"], same.parts["recall"]) == (1.0, 1.0, 1.0)
    apart = PrecisionRecall()(x, x + 1000)
    assert (apart.value, apart.parts["precision"], apart.parts["recall"]) == (0.0, 0.0, 0.0)
    half = torch.cat([normal(100, 4, seed=1), normal(100, 4, seed=2, shift=1000.0)])
    # one wide and empty mode of the real images is missed; nothing unreal is made
    missed = PrecisionRecall()(half, normal(200, 4, seed=3))
    assert missed.parts["precision"] > 0.8
    assert missed.parts["recall"] == pytest.approx(0.5, abs=0.05)


def test_invariances():
    x, y = normal(200, 4), normal(150, 4, seed=1, scale=0.8)
    plain = PrecisionRecall()(x, y).value
    turn = torch.linalg.qr(normal(4, 4, seed=5))[0]
    assert PrecisionRecall()(3 * x @ turn + 1, 3 * y @ turn + 1).value == pytest.approx(plain, abs=1e-12)
    swapped = PrecisionRecall()(y, x).parts
    assert (swapped["recall"], swapped["precision"]) == tuple(
        PrecisionRecall()(x, y).parts[name] for name in ("precision", "recall")
    )


def test_far_from_the_origin_single_precision_is_enough():
    x, y = normal(300, 16), normal(250, 16, seed=1, scale=0.9)
    expected = PrecisionRecall()(x, y).value
    assert PrecisionRecall()((x + 100).float(), (y + 100).float()).value == pytest.approx(expected, abs=0.01)


def test_the_standard_error_is_the_spread_over_fresh_samples():
    rng, rows = torch.Generator().manual_seed(0), []
    for seed in range(50):
        score = PrecisionRecall()(normal(300, 8, 2 * seed), normal(300, 8, 2 * seed + 1, 0.9, 0.2), rng=rng)
        rows.append([(part.value, part.stderr) for part in (score, *(part for _, part in score.named_parts()))])
    values, errors = np.moveaxis(np.array(rows), 2, 0)
    ratio = errors.mean(axis=0) / values.std(axis=0, ddof=1)
    assert ratio.shape == (3,)
    assert ((ratio > 1 / 1.5) & (ratio < 1.5)).all()


def test_shares_at_the_border_are_not_certain():
    x, least = normal(200, 4), (0.5 / 201 * 200.5 / 201 / 202) ** 0.5
    apart = PrecisionRecall()(x, x + 1000)
    assert (apart.parts["precision_stderr"], apart.parts["recall_stderr"]) == pytest.approx((least, least))
    assert apart.stderr == pytest.approx(least / 2**0.5)
    line = torch.arange(200, dtype=torch.float64)[:, None]
    same = PrecisionRecall(k=60)(line, line)  # also in parts
    assert (same.value, same.parts["precision_stderr"]) == (1.0, pytest.approx(least))


def test_too_few_images_for_an_error():
    score = PrecisionRecall()(normal(7, 2), normal(7, 2, seed=1))
    assert score.stderr is None
    assert score.parts["precision_stderr"] is None
    assert PrecisionRecall()(normal(8, 2), normal(8, 2, seed=1)).stderr is not None


def test_mistakes():
    x = normal(10, 3)
    with pytest.raises(ValueError, match=r"^PrecisionRecall was given 10 real and 3 generated images; at least 4 of"):
        PrecisionRecall()(x, x[:3])
    with pytest.raises(ValueError, match=r"^PrecisionRecall\(k=0\): the nearest neighbor is k=1$"):
        PrecisionRecall(k=0)
