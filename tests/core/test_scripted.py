"""Generators in TorchScript: what of them cannot be watched is refused, and the rest is as in Python."""

import warnings

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core.kinds import LatentPenalty


def pair() -> tuple[og.Generator, og.Generator]:
    """A generator, and the same in TorchScript."""
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 6)).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated; its files stay
        return og.adapt(module, og.Normal(4)), og.adapt(torch.jit.script(module), og.Normal(4))


def latents() -> torch.Tensor:
    return torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("penalty", [og.HessianPenalty(), og.OroJaR()], ids=lambda p: type(p).__name__)
def test_it_has_the_values_and_gradients_of_its_source_in_either_mode(penalty: LatentPenalty):
    plain, scripted = pair()
    z, buffers = latents(), {name: b.clone() for name, b in scripted.module.named_buffers()}
    for training in (True, False, True):
        values = []
        for G in (plain, scripted):
            G.module.train(training)
            assert og.probe(G).separable(z) is not training
            values.append(penalty(og.probe(G), z, rng=torch.Generator().manual_seed(0)))
            G.module.zero_grad()
            values[-1].backward()
        assert values[0].item() == pytest.approx(values[1].item(), rel=1e-9)
        assert plain.digest == scripted.digest
        for a, b in zip(plain.module.parameters(), scripted.module.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-9)
    assert all(torch.equal(b, buffers[name]) for name, b in scripted.module.named_buffers())


def test_its_layers_cannot_be_watched():
    _, scripted = pair()
    with pytest.raises(ValueError, match="layer '2' is TorchScript, where layers cannot be watched; look at the image"):
        og.probe(scripted, ("2",))


def test_exact_refuses_what_it_cannot_look_into():
    _, scripted = pair()
    with pytest.raises(ValueError, match=r"Exact\(\): parts of the generator are TorchScript.*; use FiniteDifference"):
        og.OroJaR(derivative=og.Exact())(og.probe(scripted), latents())


def test_a_frozen_one_is_taken():
    plain, scripted = pair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = og.adapt(torch.jit.freeze(scripted.module.eval()), og.Normal(4))
    plain.module.eval()
    z = latents()
    values = [og.OroJaR()(og.probe(G), z, rng=torch.Generator().manual_seed(0)).item() for G in (plain, frozen)]
    assert values[0] == pytest.approx(values[1], rel=1e-9)
