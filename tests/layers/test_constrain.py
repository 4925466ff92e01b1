"""Constraints on weights of a network that is there."""

import copy

import pytest
import torch
from torch import nn

from orthogen import NearestOrthogonalGradient, OptimalLearningRate
from orthogen.layers.constrain import constrain
from orthogen.layers.skew_conv import SkewOrthogonalConv2d


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 6, 4)
        self.basis = nn.Parameter(torch.randn(2, 5))

    def forward(self, x):
        return self.up(self.conv2(self.bn1(self.conv1(x))))


@pytest.fixture
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Stem()


def sizes(weight):
    return torch.linalg.svdvals(weight.detach().flatten(1))


@pytest.mark.parametrize("wrap", [lambda net: net, nn.DataParallel])
def test_skew_replaces_convolutions_and_keeps_shapes_and_biases(net, wrap):
    x = torch.randn(2, 3, 8, 8)
    before, bias = net(x).shape, net.conv2.bias.detach().clone()
    wrapped = wrap(net.eval().double())
    assert constrain(wrapped, ("conv*",), "skew") is wrapped
    assert isinstance(net.conv1, SkewOrthogonalConv2d)
    assert (net.conv1.bias, net.conv1.training, net.conv1.weight.dtype) == (None, False, torch.float64)
    assert (net.conv2.in_channels, net.conv2.out_channels, net.conv2.stride) == (8, 4, 2)
    assert torch.equal(net.conv2.bias, bias.double())
    assert net(x.double()).shape == before
    torch.testing.assert_close(net.conv1(x.double()).norm(), x.double().norm(), rtol=1e-5, atol=0)


def test_skew_replaces_the_module_itself_and_one_that_stands_twice():
    assert isinstance(constrain(nn.Conv2d(2, 3, 1)), SkewOrthogonalConv2d)
    conv = nn.Conv2d(3, 3, 3, padding="same")
    net = constrain(nn.Sequential(conv, nn.ReLU(), conv))
    assert isinstance(net[0], SkewOrthogonalConv2d)
    assert net[2] is net[0]


@pytest.mark.parametrize("how", ["polar", "orthogonal"])
@pytest.mark.parametrize("name", ["conv1", "conv2", "up", "basis"])
def test_orthogonal_weights_have_singular_values_1_and_stay_so(net, name, how):
    constrain(net, (name,), how)
    weight = net.basis if name == "basis" else getattr(net, name).weight
    torch.testing.assert_close(sizes(weight), torch.ones(min(weight.flatten(1).shape)))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, weight_decay=1e-3)
    loss = net(torch.randn(2, 3, 8, 8)).sum() + weight.pow(3).sum()
    loss.backward()
    optimizer.step()
    after = net.basis if name == "basis" else getattr(net, name).weight
    assert not torch.equal(after, weight)
    torch.testing.assert_close(sizes(after), torch.ones(min(weight.flatten(1).shape)))
    other = constrain(Stem(), (name,), how)
    other.load_state_dict(net.state_dict())
    again = other.basis if name == "basis" else getattr(other, name).weight
    assert torch.equal(again, after)


def test_torchs_own_parametrization_loses_the_weight_to_weight_decay_and_ours_does_not():
    """What its diagonal holds is rounded towards 0, whatever else becomes of it."""
    plain, ours = nn.Linear(4, 3, bias=False), constrain(nn.Linear(4, 3, bias=False), (), "orthogonal")
    nn.utils.parametrizations.orthogonal(plain)
    for net in (plain, ours):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=5e-4)
        net(torch.ones(1, 4)).sum().backward()
        optimizer.step()
    assert not plain.weight.any()
    torch.testing.assert_close(sizes(ours.weight), torch.ones(3))


def test_a_polar_weight_is_the_nearest_with_orthonormal_rows_and_starts_where_it_was(net):
    before = net.conv2.weight.detach().clone()
    U, _, Vh = torch.linalg.svd(before.flatten(1), full_matrices=False)
    constrain(net, ("conv2",), "polar")
    torch.testing.assert_close(net.conv2.weight.flatten(1), U @ Vh)
    assert torch.equal(net.conv2.parametrizations.weight.original, before)
    net.conv2.weight = (U @ Vh).view_as(before)
    torch.testing.assert_close(net.conv2.weight.flatten(1), U @ Vh)
    torch.testing.assert_close(net.conv2.parametrizations.weight.original.flatten(1), U @ Vh)


def test_a_polar_weight_takes_any_step_rule_and_no_more_memory(net):
    constrain(net, ("up",), "polar")
    assert net.state_dict()["up.parametrizations.weight.original"].shape == (4, 6, 4, 4)
    assert not any("up.parametrizations.weight.0" in name for name in net.state_dict())
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    for rule in (NearestOrthogonalGradient(("up",)), OptimalLearningRate(("up",))):
        rule.bind(net).attach(optimizer)
    for _ in range(5):
        optimizer.zero_grad()
        (net(torch.randn(2, 3, 8, 8)) - 1).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(sizes(net.up.weight), torch.ones(4))
    broken = net.up.parametrizations.weight.original
    broken.data[0, 0, 0, 0] = torch.nan
    assert net.up.weight.isnan().any()  # for the training loop to find


def test_spectral_norm_is_torchs(net):
    expected = copy.deepcopy(net)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        nn.utils.parametrizations.spectral_norm(expected.conv1)
        torch.manual_seed(1)
        constrain(net, ("conv1.weight",), "spectral")
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(net(x), expected(x))


def test_what_does_not_fit_is_refused_before_anything_is_changed(net):
    before = copy.deepcopy(net.state_dict())
    cases = [
        (
            (("conv1", "up"), "skew"),
            r"^constrain: up.weight is of ConvTranspose2d\(4, 6, .*; 'skew' takes the weight",
        ),
        ((("basis",), "skew"), r"^constrain: basis is of Stem\(\); 'skew' takes"),
        ((("conv3",), "skew"), r"^constrain: no parameter or part of Stem is named 'conv3'; near it are 'conv"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            constrain(net, *arguments)
    assert list(net.state_dict()) == list(before)
    constrain(net, ("conv1",), "orthogonal")
    with pytest.raises(ValueError, match=r"^constrain: conv1.weight is parametrized already; remove that first"):
        constrain(net, ("conv1",), "spectral")


@pytest.mark.parametrize(
    "options", [{"padding": 0}, {"stride": 3}, {"kernel_size": 2}, {"groups": 3}, {"dilation": 2}, {"stride": (1, 2)}]
)
def test_only_ordinary_convolutions_become_skew(options):
    with pytest.raises(ValueError, match="'skew' takes"):
        constrain(nn.Conv2d(3, 3, **{"kernel_size": 3, "padding": 1, **options}))


def test_a_misspelt_word_is_refused(unchecked):
    with pytest.raises(ValueError, match=r"^constrain\(how='cayley'\): 'skew' or 'polar' or 'orthogonal' or 's"):
        constrain(nn.Conv2d(3, 3, 3), (), "cayley")
