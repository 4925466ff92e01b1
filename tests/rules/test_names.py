import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.rules._names import layers, parameters


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
    return list(parameters("Rule", module, asked))


def test_a_name_is_that_of_a_parameter_or_of_a_layer_or_a_pattern():
    net = Stem()
    assert names(net) == ["conv1.weight"]
    assert names(net, "conv1") == names(net, "conv1.weight") == names(net, "conv?.*") == ["conv1.weight"]
    assert names(net, "blocks") == names(net, "blocks.*.U") == [f"blocks.{i}.U" for i in range(3)]
    assert names(net, "blocks.2", "conv1") == ["conv1.weight", "blocks.2.U"]
    assert list(parameters("Rule", net, "conv1")) == ["conv1.weight"]  # a bare string is one name
    found = parameters("Rule", net, ("blocks.1",))
    assert found["blocks.1.U"] is net.blocks[1].U


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_wrappers_are_seen_through(wrap):
    # the released code looked for conv1.weight, which DataParallel calls module.conv1.weight, and found nothing
    net = Stem()
    wrapped = wrap(net)
    assert "conv1.weight" not in dict(wrapped.named_parameters())
    for module in (wrapped, nn.DataParallel(wrapped)):
        found = parameters("Rule", module, ("conv1",))
        assert list(found) == ["conv1.weight"]
        assert found["conv1.weight"] is net.conv1.weight
        assert list(layers("Rule", module, ("conv1",)).values()) == [net.conv1]
    assert names(nn.Sequential(wrapped), "0.conv1") == ["0.conv1.weight"]


def test_a_module_of_the_users_that_is_called_module_is_none():
    net = nn.ModuleDict({"module": nn.Linear(2, 2)})
    assert names(net, "module.weight") == ["module.weight"]


def test_parametrized_layers_keep_their_name():
    net = Stem()
    nn.utils.parametrizations.orthogonal(net.blocks.append(nn.Linear(3, 3))[3])
    assert names(net, "blocks.3") == ["blocks.3.parametrizations.weight.original"]
    assert list(layers("Rule", net, ("blocks.3",))) == ["blocks.3"]


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
        (("blocks.0", "layers.0.conv"), "no parameter, or layer with parameters, is called 'layers.0.conv'; nearest: "),
        (("module.conv1",), "is called 'module.conv1'; nearest: conv1"),
        (("conv1.bias",), "'conv1.bias' means conv1.bias, and nothing there is learned and has two or more dimensions"),
        (("bn1",), "'bn1' means bn1.bias, bn1.weight, and nothing there is learned"),
    ],
)
@pytest.mark.parametrize("rule", [og.NearestOrthogonalGradient, og.OptimalLearningRate])
def test_a_name_that_matches_nothing_is_an_error_in_one_line(rule, asked, said):
    with pytest.raises(ValueError, match=rule.__name__) as error:
        rule(layers=asked).bind(Stem())
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_frozen_and_missing_weights_are_errors():
    with pytest.raises(ValueError, match="nothing there is learned"):
        og.OptimalLearningRate(("conv1",)).bind(Stem().requires_grad_(False))
    with pytest.raises(ValueError, match="Rule: BatchNorm1d has no learned parameter of two or more dimensions"):
        parameters("Rule", nn.BatchNorm1d(3), ())
    with pytest.raises(ValueError, match="is called 'x'; there are none"):
        parameters("Rule", nn.ReLU(), ("x",))
    with pytest.raises(ValueError, match=r"Rule: no layer with a weight of two or more .* 'bn1'; nearest: .*conv1"):
        layers("Rule", Stem(), ("bn1",))
    with pytest.raises(ValueError, match="Rule: ReLU has no layer with a weight"):
        layers("Rule", nn.ReLU(), ())
