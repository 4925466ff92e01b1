"""Soft orthogonality of weights."""

import pytest
import torch
from torch import nn

import orthogen as og
from vectors import vectors


def generator(*weights):
    """A generator with these parameters, and a bias before them."""
    module = nn.ParameterDict({"bias": torch.ones(3)} | {f"U{i}": weight.clone() for i, weight in enumerate(weights)})
    return og.adapt(module, og.Normal(2))


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equals_the_regularizer_of_eigengan():
    known = {key: torch.from_numpy(value) for key, value in vectors("eigengan_orthreg").items()}
    value = og.SoftOrthogonality(layers=("U?",))(generator(known["U0"], known["U1"]))
    torch.testing.assert_close(value.detach(), known["reg"], rtol=1e-5, atol=0)


@pytest.mark.parametrize("shape", [(2, 5), (5, 2), (4, 4), (3, 2, 2, 2), (8, 1, 2, 2)])
def test_forms_in_terms_of_singular_values(shape):
    W = random(*shape)
    s = torch.linalg.svdvals(W.flatten(1))
    squares = (s.square() - 1).square().sum()
    G = generator(W)
    torch.testing.assert_close(og.SoftOrthogonality()(G).detach(), squares / len(s) ** 2)
    torch.testing.assert_close(og.SoftOrthogonality(form="frobenius")(G).detach(), squares)


@pytest.mark.parametrize("form", ["mean", "frobenius"])
def test_several_weights_are_averaged_or_summed(form):
    W, V = random(2, 3), random(4, 2, seed=1)
    penalty = og.SoftOrthogonality(form=form, layers=("U*",))
    both, alone = penalty(generator(W, V)), [og.SoftOrthogonality(form=form)(generator(each)) for each in (W, V)]
    torch.testing.assert_close(both, sum(alone) / (2 if form == "mean" else 1))


@pytest.mark.parametrize(("shape", "short"), [((2, 5), 2), ((5, 2), 2), ((3, 2, 2, 2), 3)])
@pytest.mark.parametrize("form", ["mean", "frobenius"])
def test_fixed_points(shape, short, form):
    U, _, V = torch.linalg.svd(random(*shape).flatten(1), full_matrices=False)
    G = generator((U @ V).view(shape))
    penalty = og.SoftOrthogonality(form=form)
    value = penalty(G)
    value.backward()
    assert value < 1e-28
    assert G.module["U0"].grad.abs().max() < 1e-13
    nothing = penalty(generator(torch.zeros(shape)))
    assert nothing.item() == pytest.approx(1 / short if form == "mean" else short)


@pytest.mark.parametrize("form", ["mean", "frobenius"])
def test_gradient_is_the_closed_one(form):
    W = random(3, 7)
    G = generator(W)
    og.SoftOrthogonality(form=form)(G).backward()
    expected = 4 * (W @ W.T - torch.eye(3, dtype=W.dtype)) @ W / (9 if form == "mean" else 1)
    torch.testing.assert_close(G.module["U0"].grad, expected)
    assert G.module["bias"].grad is None


def test_descent_ends_in_orthonormal_rows():
    G = generator(torch.eye(3, 6).double() + 0.3 * random(3, 6))
    optimizer = torch.optim.SGD(G.module.parameters(), lr=0.05)
    penalty = og.SoftOrthogonality(form="frobenius")
    for _ in range(200):
        optimizer.zero_grad()
        penalty(G).backward()
        optimizer.step()
    U = G.module["U0"].detach()
    torch.testing.assert_close(U @ U.T, torch.eye(3, dtype=U.dtype), rtol=0, atol=1e-6)


def test_autocast_does_not_round_it():
    G = generator(random(4, 9).float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = og.SoftOrthogonality()(G)
    assert torch.equal(value, og.SoftOrthogonality()(G))


def test_what_is_not_there_is_refused():
    with pytest.raises(
        ValueError, match=r"^SoftOrthogonality: no parameter or part of ParameterDict is named 'V'; near"
    ):
        og.SoftOrthogonality(layers=("V",))(generator(torch.eye(2)))


def test_a_misspelt_word_is_refused(unchecked):
    with pytest.raises(ValueError, match=r"^SoftOrthogonality\(form='l1'\): 'mean' or 'frobenius' is accepted$"):
        og.SoftOrthogonality(form="l1")
