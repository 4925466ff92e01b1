"""Weights chosen by name."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from orthogen.core.chosen import chosen


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))
        self.conv = nn.Conv2d(3, 4, 3)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)) for _ in range(2))
        self.basis = nn.Parameter(torch.eye(4))


ALL = ["basis", "conv.weight", "blocks.0.0.weight", "blocks.1.0.weight"]


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ((), ["basis"]),
        (("conv",), ["conv.weight"]),
        (("conv.weight", "basis"), ["basis", "conv.weight"]),
        (("conv*",), ["conv.weight"]),
        (("blocks",), ["blocks.0.0.weight", "blocks.1.0.weight"]),
        (("blocks.?",), ["blocks.0.0.weight", "blocks.1.0.weight"]),
        (("blocks.[1]", "blocks.1.0"), ["blocks.1.0.weight"]),
        (("*.weight",), ["conv.weight", "blocks.0.0.weight", "blocks.1.0.weight"]),
        (("*",), ALL),
    ],
)
def test_names_and_patterns_of_parameters_and_parts(patterns, names):
    net = Net()
    found = chosen(net, patterns, "it")
    assert list(found) == names
    assert all(parameter is dict(net.named_parameters())[name] for name, parameter in found.items())


@pytest.mark.parametrize("patterns", [("conv",), ("conv.weight",), ("con?", "blocks.0.0.weight"), ()])
@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        torch.compile,
        lambda net: torch.compile(nn.DataParallel(net)),
        lambda net: nn.DataParallel(torch.compile(net)),
    ],
    ids=["parallel", "compiled", "compiled-parallel", "parallel-compiled"],
)
def test_names_are_those_without_the_wrapping(wrap, patterns):
    net = Net()
    plain, wrapped = chosen(net, patterns, "it"), chosen(wrap(net), patterns, "it")
    assert list(plain) == list(wrapped)
    assert all(map(lambda a, b: a is b, plain.values(), wrapped.values()))


def test_names_with_the_wrapping_are_understood_too():
    assert list(chosen(nn.DataParallel(Net()), ("module.conv.weight",), "it")) == ["conv.weight"]
    net = Net()
    net.conv = torch.compile(net.conv)
    assert list(chosen(net, ("conv.weight",), "it")) == ["conv.weight"]


def test_a_part_that_is_called_module_keeps_its_name():
    net = Net()
    net.module = nn.Linear(2, 2)
    assert list(chosen(net, ("module.weight",), "it")) == ["module.weight"]


def test_of_a_parametrized_weight_the_original_is_found():
    net = Net()
    parametrizations.spectral_norm(net.conv)
    found = chosen(net, ("conv.weight",), "it")
    assert list(found) == ["conv.weight"]
    assert found["conv.weight"] is net.conv.parametrizations.weight.original


def test_a_weight_that_stands_at_two_places_is_one():
    net = Net()
    net.tied = net.conv
    assert list(chosen(net, ("*",), "it")) == ALL
    assert list(chosen(net, ("tied",), "it")) == ["tied.weight"]


def test_what_is_not_there_is_an_error_with_near_names():
    with pytest.raises(ValueError, match=r"^it: no parameter or part of Net is named 'con'; near it are 'conv'$"):
        chosen(Net(), ("basis", "con"), "it")
    with pytest.raises(ValueError, match=r"is named 'xyz'; near it are 'basis', 'conv.weight', 'blocks.0.0.weight'$"):
        chosen(Net(), ("xyz",), "it")
    with pytest.raises(ValueError, match=r"^it: 'conv.bias' has no parameter of two or more dimensions; such are 'bas"):
        chosen(Net(), ("conv.bias",), "it")
    with pytest.raises(ValueError, match=r"^it: Identity has no parameter of two or more dimensions$"):
        chosen(nn.Identity(), (), "it")
    with pytest.raises(TypeError, match=r"^it: 'conv' is one string; give a tuple of names, such as \('conv',\)$"):
        chosen(Net(), "conv", "it")
