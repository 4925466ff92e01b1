"""Orthogonal weights as products of reflections: torch's, and where a released initialization goes wrong."""

import pytest
import torch
from torch import Tensor, nn

from orthogen.layers.constrain import constrain


def product(V: Tensor) -> Tensor:
    """(I - 2 v v^T) of the first column, times that of the second, ..., for columns of any length."""
    Q = torch.eye(len(V), dtype=V.dtype)
    for v in (V / V.norm(dim=0)).unbind(1):
        Q = Q - 2 * torch.outer(Q @ v, v)
    return Q


def in_blocks(V: Tensor, size: int = 4) -> Tensor:
    """The same, a few reflections at a time, each block as I - 2 V T V^T with a triangular T."""
    Q = torch.eye(len(V), dtype=V.dtype)
    for W in (V / V.norm(dim=0)).split(size, dim=1):
        inverse = torch.eye(W.shape[1], dtype=W.dtype) + 2 * (W.T @ W).triu(1)
        Q = Q - 2 * Q @ W @ torch.linalg.solve_triangular(inverse, W.T, upper=True)
    return Q


def orthogonal(rows: int, columns: int) -> Tensor:
    """Orthonormal columns of either sign (a QR gives some of one sign only)."""
    rng = torch.Generator().manual_seed(0)
    Q, R = torch.linalg.qr(torch.randn(rows, columns, dtype=torch.float64, generator=rng))
    return Q * R.diagonal().sign()


@pytest.mark.parametrize(("n", "k"), [(8, 8), (12, 5), (16, 10)])
def test_a_product_of_reflections_is_orthogonal_one_by_one_and_in_blocks(n, k, rng):
    V = torch.randn(n, k, dtype=torch.float64, generator=rng)
    Q = product(V)
    torch.testing.assert_close(Q @ Q.T, torch.eye(n).double(), rtol=0, atol=1e-13)
    assert torch.linalg.det(Q).item() == pytest.approx((-1) ** k)
    torch.testing.assert_close(in_blocks(V), Q, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("n", "k"), [(8, 8), (12, 5), (64, 64)])
def test_reflections_of_a_qr_give_the_matrix_back_and_its_packed_columns_do_not(n, k):
    U = orthogonal(n, k)
    packed, tau = torch.geqrf(U)  # vectors below the diagonal, where they have 1; R on and above it
    vectors = packed.tril(-1) + torch.eye(n, k, dtype=U.dtype)
    found = product(vectors)[:, :k]
    signs = (found * U).sum(0).sign()
    # a last reflection of one number is left out of LAPACK's, whose tau is 0 then: it only turns a sign
    torch.testing.assert_close(found * signs, U, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.linalg.householder_product(packed, tau).abs(), U.abs(), rtol=0, atol=1e-12)
    # HouseholderGAN takes packed columns for the vectors: where R has -1 on its diagonal, another orthogonal matrix
    assert (packed.diagonal() < 0).any()
    released = product(packed)
    torch.testing.assert_close(released @ released.T, torch.eye(n).double(), rtol=0, atol=1e-12)
    assert (released[:, :k].abs() - U.abs()).norm() > 0.1


@pytest.mark.parametrize("shape", [(6, 10), (10, 6), (8, 8)])
def test_torchs_parametrization_begins_at_the_given_matrix_and_stays_orthogonal(shape, rng):
    U = orthogonal(max(shape), min(shape)).float()
    layer = nn.Linear(shape[1], shape[0], bias=False)
    layer.weight.data = U if shape[0] > shape[1] else U.T.contiguous()
    start = layer.weight.detach().clone()
    nn.utils.parametrizations.orthogonal(layer, orthogonal_map="householder")
    torch.testing.assert_close(layer.weight, start, rtol=0, atol=1e-5)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    x = torch.randn(4, shape[1], generator=rng)
    for _ in range(3):
        optimizer.zero_grad()
        layer(x).square().mul(torch.arange(shape[0])).mean().backward()
        optimizer.step()
    W = layer.weight.detach()
    torch.testing.assert_close(torch.linalg.svdvals(W), torch.ones(min(shape)), rtol=0, atol=1e-5)
    assert (W - start).norm() > 0.1


def test_a_modulated_layer_of_more_inputs_than_outputs_can_be_orthogonal():
    layer = nn.Conv2d(8, 4, 3)  # released layers of this kind fail on their shapes
    layer = constrain(layer, (), "orthogonal")
    torch.testing.assert_close(torch.linalg.svdvals(layer.weight.flatten(1)), torch.ones(4), rtol=0, atol=1e-5)
