import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core.chosen import chosen, chosen_layers


class Stem(nn.Module):
    """A convolution, its norm, and blocks with subspace bases."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, x):
        return self.bn1(self.conv1(x))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.U, self.L = nn.Parameter(torch.ones(2, 5)), nn.Parameter(torch.ones(2))


def names(module, *asked):
    return list(chosen(module, asked, "Rule", learned=True))


def test_a_name_is_that_of_a_parameter_or_of_a_layer_or_a_pattern():
    net = Stem()
    assert names(net) == ["conv1.weight"]
    assert names(net, "conv1") == names(net, "conv1.weight") == names(net, "conv?.*") == ["conv1.weight"]
    assert names(net, "blocks") == names(net, "blocks.*.U") == [f"blocks.{i}.U" for i in range(3)]
    assert names(net, "blocks.2", "conv1") == ["conv1.weight", "blocks.2.U"]
    found = chosen(net, ("blocks.1",), "Rule")
    assert found["blocks.1.U"] is net.blocks[1].U


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_wrappers_are_seen_through(wrap):
    # the released code looked for conv1.weight, which DataParallel calls module.conv1.weight, and found nothing
    net = Stem()
    wrapped = wrap(net)
    assert "conv1.weight" not in dict(wrapped.named_parameters())
    for module in (wrapped, nn.DataParallel(wrapped)):
        found = chosen(module, ("conv1",), "Rule")
        assert list(found) == ["conv1.weight"]
        assert found["conv1.weight"] is net.conv1.weight
        assert list(chosen_layers(module, ("conv1",), "Rule").values()) == [net.conv1]
    assert names(nn.Sequential(wrapped), "0.conv1") == ["0.conv1.weight"]


def test_a_module_of_the_users_that_is_called_module_is_none():
    net = nn.ModuleDict({"module": nn.Linear(2, 2)})
    assert names(net, "module.weight") == ["module.weight"]


def test_parametrized_layers_keep_their_name():
    net = Stem()
    nn.utils.parametrizations.orthogonal(net.blocks.append(nn.Linear(3, 3))[3])
    assert names(net, "blocks.3") == ["blocks.3.weight"]
    assert list(chosen_layers(net, ("blocks.3",), "Rule")) == ["blocks.3"]


def test_tied_weights_are_one_parameter_under_either_name():
    net = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False), "b": nn.Linear(3, 3, bias=False)})
    net["b"].weight = net["a"].weight
    assert names(net, "a") == ["a.weight"]
    assert names(net, "b") == ["b.weight"]
    assert names(net, "*") == ["a.weight"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        # the simple GAN's filter, which lacked ".weight" and matched no parameter, is a layer here
        (("blocks.0", "layers.0.conv"), "no parameter or part of Stem is named 'layers.0.conv'; near it are "),
        (("module.conv1",), "is named 'module.conv1'; near it are 'conv1"),
        (("conv1.bias",), "'conv1.bias' has no learned parameter of two or more dimensions; such are 'conv1.weight', "),
        (("bn1",), "'bn1' has no learned parameter of two or more dimensions"),
    ],
)
@pytest.mark.parametrize("rule", [og.NearestOrthogonalGradient, og.OptimalLearningRate])
def test_a_name_that_matches_nothing_is_an_error_in_one_line(rule, asked, said):
    with pytest.raises(ValueError, match=rule.__name__) as error:
        rule(layers=asked).bind(Stem())
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_frozen_and_missing_weights_are_errors():
    frozen = Stem()
    frozen.conv1.requires_grad_(False)
    assert list(chosen(frozen, ("conv1",), "it")) == ["conv1.weight"]
    with pytest.raises(
        ValueError, match=r"'conv1' has no learned parameter of two or more dimensions; such are 'block"
    ):
        og.OptimalLearningRate(("conv1",)).bind(frozen)
    with pytest.raises(ValueError, match="Rule: BatchNorm1d has no learned parameter of two or more dimensions"):
        chosen(nn.BatchNorm1d(3), (), "Rule", learned=True)
    with pytest.raises(ValueError, match=r"Rule: no layer with a weight of two or more .* 'bn1'; near it are .*conv1"):
        chosen_layers(Stem(), ("bn1",), "Rule")
    with pytest.raises(ValueError, match="Rule: ReLU has no layer with a weight"):
        chosen_layers(nn.ReLU(), (), "Rule")
    with pytest.raises(TypeError, match=r"Rule: 'conv1' is one string; give a tuple of names, such as \('conv1',\)"):
        chosen_layers(Stem(), "conv1", "Rule")
