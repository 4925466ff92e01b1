"""Both probe penalties as OrthoImproveCond's simple GAN computes them: finite differences of two layers."""

import numpy as np
import pytest
import torch
from torch import nn

import orthogen as og
from vectors import vectors


class Square(nn.Module):
    def forward(self, x):
        return x.square()


@pytest.mark.parametrize(("method", "name"), [(og.HessianPenalty, "hp"), (og.OroJaR, "orojar")])
def test_equals_the_golden_values_layer_by_layer(method, name):
    golden = {key: torch.from_numpy(np.asarray(value)) for key, value in vectors("hp_orojar").items()}
    module = nn.ModuleDict({"A": nn.Linear(4, 7, bias=False), "tanh": nn.Tanh(), "B": nn.Linear(7, 6, bias=False)})
    module["square"] = Square()
    for layer in "AB":
        module[layer].weight.data = golden[layer]

    def call(module, z):
        for layer in module.values():
            z = layer(z)
        return z

    f = og.probe(og.adapt(module, og.Normal(4), call=call), ("tanh", "square"))
    penalty = method(derivative=og.FiniteDifference(golden["epsilon"].item()))
    assert (penalty.k, penalty.reduction) == (2, "max")
    terms = penalty.terms(f, golden["z"], probes=golden["rademacher"])
    # a second difference of float32 has five digits
    torch.testing.assert_close(torch.stack(list(terms.values())), golden[f"{name}_sep"], rtol=1e-4, atol=0)
    total = penalty(f, golden["z"], probes=golden["rademacher"])
    torch.testing.assert_close(total, golden[name], rtol=1e-4, atol=0)
