"""Generators: class labels, one class for all samples, and the hash that names the weights."""

import copy

import pytest
import torch
from torch import nn

import orthogen as og


class Painter(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.linear = nn.Embedding(3, 4), nn.Linear(2, 4)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, z, y):
        return (self.linear(z) + self.table(y)).view(-1, 1, 2, 2)


def painter(classes=3):
    return og.adapt(Painter(), og.Normal(2), classes=classes, condition="y")


def test_one_class_for_any_number_of_samples():
    G, z = painter(), torch.randn(5, 2)
    one = G.of_class(2)
    assert torch.equal(one(z), G(z, y=torch.full((5,), 2)))
    assert torch.equal(one(z[:1]), G(z[:1], y=torch.tensor([2])))
    assert (one.classes, one.module, one.latent) == (0, G.module, G.latent)
    assert one.sample(3).shape == (3, 1, 2, 2)


def test_penalties_and_probes_see_the_class():
    G, z = painter(), torch.randn(4, 2)
    f = og.probe(G.of_class(1), ("linear", "output"))
    assert torch.equal(f(z)[1], G(z, y=torch.ones(4, dtype=torch.long)))
    assert og.OroJaR()(f, z, rng=torch.Generator().manual_seed(0)).isfinite()


@pytest.mark.parametrize("label", [-1, 3])
def test_a_class_that_is_not_there(label):
    with pytest.raises(ValueError, match=f"^class {label} was asked for; this generator has the classes 0 to 2$"):
        painter().of_class(label)


def test_classes_where_there_are_none():
    with pytest.raises(ValueError, match=r"^class 0 was asked for, and this generator takes no class labels"):
        painter(0).of_class(0)
    with pytest.raises(ValueError, match=r"adapt was given classes=-1; give how many there are, 0 for none"):
        painter(-1)


def test_the_digest_is_that_of_weights_and_buffers():
    G = painter()
    again = og.adapt(copy.deepcopy(G.module), og.Normal(2))
    assert G.digest == again.digest
    again.module.seen += 1
    assert G.digest != again.digest


def test_models_with_classes_make_generators_that_say_so():
    model = og.Sngan(resolution=32, width=2, classes=7)
    assert model.adapt(model.build()["generator"]).classes == 7
    plain = og.SimpleGan(og.Normal(2), resolution=16, width=0.05)
    assert plain.adapt(plain.build()["generator"]).classes == 0


def test_outputs_of_other_libraries_begin_with_the_image():
    from collections import OrderedDict

    module, z = nn.Linear(2, 4), torch.zeros(3, 2)
    G = og.adapt(module, og.Normal(2), call=lambda m, z: OrderedDict(sample=(m(z), None), loss=0))
    assert torch.equal(G(z), module(z))
    with pytest.raises(TypeError, match=r"the generator returned NoneType; .*: take it out in adapt\(\.\.\., call="):
        og.adapt(module, og.Normal(2), call=lambda m, z: None)(z)
