import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles

from orthogen.core.linalg import orthonormalize, principal_angles
from vectors import vectors


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gram_schmidt(A):
    """The plain loop."""
    rows = []
    for row in A:
        for other in rows:
            row = row - (row @ other) * other
        rows.append(row / row.norm())
    return torch.stack(rows)


# ---------------------------------------------------------------------------------------------- orthonormalize
@pytest.mark.parametrize(
    ("given", "expected", "atol"),
    [
        ("A5", "Q5", 1e-12),
        ("A_goldens_mid", "Q_goldens_mid_f64", 1e-12),
        ("A_church_fine", "Q_church_fine_f64", 1e-12),  # condition number 238
    ],
)
def test_equals_the_golden_gram_schmidt(given, expected, atol):
    golden = vectors("gram_schmidt")
    Q = orthonormalize(torch.from_numpy(golden[given]).double())
    torch.testing.assert_close(Q, torch.from_numpy(golden[expected]), rtol=0, atol=atol)


def test_is_more_orthogonal_in_float32_than_the_published_loop():
    golden = vectors("gram_schmidt")

    def error(Q):
        return (Q @ Q.T - torch.eye(40)).abs().max().item()

    ours = error(orthonormalize(torch.from_numpy(golden["A_church_fine"])))
    assert ours < 1e-6
    assert ours < error(torch.from_numpy(golden["Q_church_fine_f32"])) / 3


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(0, 4), st.integers(0, 1000))
def test_is_gram_schmidt_and_does_not_see_lengths(n, more, seed):
    A = random(n, n + more, seed=seed)
    Q = orthonormalize(A)
    torch.testing.assert_close(Q @ Q.T, torch.eye(n, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(Q, gram_schmidt(A), atol=1e-7, rtol=0)
    lengths = torch.logspace(-3, 3, n, dtype=torch.float64)[:, None]
    torch.testing.assert_close(orthonormalize(A * lengths), Q, atol=1e-9, rtol=0)
    torch.testing.assert_close(orthonormalize(Q), Q, atol=1e-12, rtol=0)


def test_gradient_is_that_of_the_loop_and_orthogonal_to_the_rows():
    A, weight = random(5, 8).requires_grad_(), random(5, 8, seed=1)
    (ours,) = torch.autograd.grad((orthonormalize(A) * weight).sum(), A)
    (plain,) = torch.autograd.grad((gram_schmidt(A) * weight).sum(), A)
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)
    assert (ours * A).sum(1).abs().max() < 1e-12


def test_batches_are_taken_row_by_row():
    A = random(2, 3, 4, 6)
    torch.testing.assert_close(orthonormalize(A)[1, 2], orthonormalize(A[1, 2]))


@pytest.mark.parametrize(
    ("A", "message"),
    [
        (torch.ones(3, 2), "3 directions in 2 dimensions cannot be orthonormal; give at most 2"),
        (torch.tensor([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0]]), "direction 1 is zero, not finite, or a combination"),
        (torch.tensor([[0.0, 0.0], [1.0, 0.0]]), "direction 0 is zero"),
        (torch.tensor([[1.0, 0.0], [torch.nan, 0.0]]), "not finite"),
    ],
)
def test_rows_without_an_orthonormal_basis_are_refused(A, message):
    with pytest.raises(ValueError, match=message) as error:
        orthonormalize(A)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------------------------------------- principal_angles
@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (6, 6)])
def test_angles_equal_scipys(shape):
    A, B = random(shape[0], 7), random(shape[1], 7, seed=1)
    expected = torch.from_numpy(subspace_angles(A.T.numpy(), B.T.numpy()).copy()).flip(0)
    torch.testing.assert_close(principal_angles(A, B), expected, atol=1e-11, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_known_angles_are_found_at_both_ends(dtype):
    angles = torch.tensor([1e-6, 1e-3, 0.5, 1.2, torch.pi / 2 - 1e-6], dtype=torch.float64)
    turn, n = orthonormalize(random(10, 10)), len(angles)
    A = torch.cat([torch.eye(n), torch.zeros(n, n)], dim=1).double() @ turn
    B = torch.cat([angles.cos().diag(), angles.sin().diag()], dim=1) @ turn
    mixed = random(n, n, seed=3) @ B  # another basis of the same space
    found = principal_angles(A.to(dtype), mixed.to(dtype))
    torch.testing.assert_close(found.double(), angles, rtol=0, atol=3e-6 if dtype == torch.float32 else 1e-13)
    tiny = principal_angles(A, mixed)[0]
    assert tiny == pytest.approx(1e-6, rel=1e-7)  # its cosine differs from 1 by 5e-13


def test_angles_are_symmetric_and_batched():
    A, B = random(3, 2, 6), random(3, 4, 6, seed=1)
    both = principal_angles(A, B)
    assert both.shape == (3, 2)
    torch.testing.assert_close(both, principal_angles(B, A))
    torch.testing.assert_close(both[1], principal_angles(A[1], B[1]))
    assert principal_angles(A[0], A[0]).max() < 1e-12
