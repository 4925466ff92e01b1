"""The residual classifier: torchvision's network behind another stem, and what that stem can be."""

import json

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

import orthogen as og
from orthogen.core import record
from orthogen.layers.skew_conv import SkewOrthogonalConv2d
from orthogen.layers.zca import ZcaNorm2d
from orthogen.models.decorrelated_resnet import DecorrelatedResNet

STEMS = ("plain", "skew", "orthogonal", "spectral")


def small(**fields) -> DecorrelatedResNet:
    return DecorrelatedResNet(**{"width": 8, "blocks": (1, 1, 1)} | fields)


def network(model: DecorrelatedResNet, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model.build()["classifier"]


def images(n: int = 8, side: int = 16) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(
    ("depth", "classes", "count"),
    [(18, 10, 11_173_962), (18, 100, 11_220_132), (34, 10, 21_282_122), (50, 10, 23_520_842), (50, 100, 23_705_252)],
)
def test_sizes_are_the_published_ones(depth, classes, count):
    with torch.device("meta"):
        net = DecorrelatedResNet(depth=depth, classes=classes, norm="batchnorm").build()["classifier"]
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_is_torchvisions_network_behind_a_small_stem(depth, rng):
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=7)
        theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        theirs.maxpool = nn.Identity()
        ours = DecorrelatedResNet(depth=depth, classes=7, norm="batchnorm").build()["classifier"]
    shapes, same = ({k: v.shape for k, v in net.state_dict().items()} for net in (theirs, ours))
    assert shapes == same
    if depth == 34:  # the blocks of 18, in the numbers of 50
        return
    ours = network(DecorrelatedResNet(depth=depth, classes=7, norm="batchnorm"))
    theirs.to_empty(device="cpu").load_state_dict(ours.state_dict())
    x = images(2, 8)
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.2010])
    standard = ((x + 1) / 2 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        for training in (True, False):
            torch.testing.assert_close(ours.train(training)(x), theirs.train(training)(standard), rtol=1e-4, atol=1e-4)


def test_convolutions_start_as_he_says_and_norms_at_one_and_zero():
    net = network(DecorrelatedResNet(norm="batchnorm"))
    for name, part in net.named_modules():
        if isinstance(part, nn.Conv2d):
            expected = (2 / (part.out_channels * part.kernel_size[0] ** 2)) ** 0.5
            n = part.weight.numel()
            assert part.weight.std().item() == pytest.approx(expected, rel=5 * (2 * n) ** -0.5), name
            assert part.bias is None
        elif isinstance(part, nn.BatchNorm2d):
            assert torch.equal(part.weight, torch.ones(part.num_features))
            assert torch.equal(part.bias, torch.zeros(part.num_features))


def test_stages_double_the_channels_and_halve_the_side_but_for_the_first():
    net, sizes = network(small(blocks=(2, 1, 3, 1))), []
    for i in range(1, 5):
        net.get_submodule(f"layer{i}").register_forward_hook(lambda m, i, out: sizes.append(tuple(out.shape[1:])))
    net(images(2, 32))
    assert sizes == [(8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4)]
    assert [len(net.get_submodule(f"layer{i}")) for i in range(1, 5)] == [2, 1, 3, 1]


def test_images_are_standardized_within():
    model = DecorrelatedResNet(channels=2, width=4, blocks=(1,), norm="batchnorm", mean=(0.25, 0.5), std=(0.5, 2.0))
    net, seen = network(model), []
    net.conv1.register_forward_pre_hook(lambda m, given: seen.append(given[0]))
    x = torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 1, 3).expand(1, 2, 2, 3)
    net(x)
    assert seen[0][0, 0, 0].tolist() == [-0.5, 0.5, 1.5]
    assert seen[0][0, 1, 0].tolist() == [-0.25, 0.0, 0.25]
    assert not any("standard" in name for name in net.state_dict())


# ---------------------------------------------------------------------------------------------- norm and stem
def test_the_stem_alone_is_whitened():
    model = small(groups=2, eps=1e-4, momentum=0.3, method="newton_schulz")
    net = network(model)
    norm = net.bn1
    assert [name for name, part in net.named_modules() if isinstance(part, ZcaNorm2d)] == ["bn1"]
    assert (norm.groups, norm.eps, norm.momentum, norm.method) == (2, 1e-4, 0.3, "newton_schulz")
    default = network(DecorrelatedResNet(blocks=(1,))).bn1
    assert (default.num_features, default.groups, default.eps, default.momentum) == (64, 1, 1e-2, 0.1)


def stem_covariance(net: nn.Module) -> torch.Tensor:
    found = []
    handle = net.conv1.register_forward_hook(lambda m, given, out: found.append(out))
    with torch.no_grad():
        net(images(32).double())
    handle.remove()
    return found[0].transpose(0, 1).flatten(1).cov(correction=0)


@pytest.mark.parametrize(("stem", "rank"), [("plain", 27), ("orthogonal", 27), ("spectral", 27), ("skew", 40)])
def test_a_stem_of_three_channels_has_rank_27_unless_it_is_skew(stem, rank):
    net = network(small(width=40, stem=stem)).double()
    values = torch.linalg.eigvalsh(stem_covariance(net)).flip(0)
    assert (values > 1e-10 * values[0]).sum() == rank


def test_what_leaves_the_norm_is_white_where_the_stem_has_full_rank():
    net = network(small(width=16, eps=1e-12)).double()  # 16 channels of 27 inputs
    found = []
    net.bn1.register_forward_hook(lambda m, given, out: found.append(out))
    net(images(32).double())
    covariance = found[0].transpose(0, 1).flatten(1).cov(correction=0)
    torch.testing.assert_close(covariance, torch.eye(16).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", ["zca", "batchnorm"])
@pytest.mark.parametrize("stem", STEMS)
def test_every_stem_trains_and_is_what_it_is_called(stem, norm):
    net = network(small(stem=stem, norm=norm))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    x, y = images(), torch.arange(8)
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    if stem == "skew":
        conv = net.eval().conv1
        assert isinstance(conv, SkewOrthogonalConv2d)
        assert conv.bias is None
        with torch.no_grad():
            assert conv(x).norm().item() == pytest.approx(x.norm().item(), rel=1e-4)
        return
    singular = torch.linalg.svdvals(net.eval().conv1.weight.detach().flatten(1))
    if stem == "orthogonal":
        torch.testing.assert_close(singular, torch.ones(8), rtol=0, atol=1e-5)
    if stem == "spectral":
        assert singular[0].item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("stem", STEMS)
def test_rules_monitors_and_penalties_find_the_stem_by_one_name(stem):
    model = small(stem=stem, norm="batchnorm")
    net = network(model)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    layers = (model.stem_layer,)
    rules = [
        rule(layers=layers).bind(net).attach(optimizer)
        for rule in (og.NearestOrthogonalGradient, og.OptimalLearningRate, og.ConditioningMonitor)
    ]
    loss = nn.functional.cross_entropy(net(images()), torch.arange(8)) + og.SoftOrthogonality(layers)(net)
    loss.backward()
    optimizer.step()
    nog, olr, monitor = (rule.log for rule in rules)
    assert 0 < nog["cosine"] <= 1
    assert 0 < max(value for name, value in olr.items() if name.startswith("rate")) <= 0.1
    assert monitor["condition"] >= 1


def test_the_monitor_sees_what_the_whitening_gets():
    model = small(width=40)
    net = network(model)
    monitor = og.ConditioningMonitor((model.stem_layer,)).bind(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    monitor.attach(optimizer)
    x = images(32)
    net(x).sum().backward()
    optimizer.zero_grad()
    optimizer.step()
    covariance = stem_covariance(net.double())
    expected = torch.linalg.eigvalsh(covariance).flip(0)
    assert monitor.log["condition"] == pytest.approx((expected[0] / expected[26]).item(), rel=1e-2)


def test_the_released_batch_norm_of_its_own_averages_the_wrong_way(shared_golden):
    golden = dict(np.load(shared_golden / "orthogonality" / "mybatchnorm_quirk.npz"))
    x, weight, bias = (torch.from_numpy(golden[name]) for name in ("x", "weight", "bias"))
    norm = nn.BatchNorm2d(8, eps=1e-10)
    norm.weight.data, norm.bias.data = weight.flatten(), bias.flatten()
    y = norm(x).detach()
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    n = x.numel() // 8
    # its variance in training is the unbiased one
    assert torch.from_numpy(golden["y_train"]).flatten() == pytest.approx(
        ((y - bias[..., None]) * ((n - 1) / n) ** 0.5 + bias[..., None]).flatten(), abs=1e-5
    )
    # the newest batch has nine tenths, and the average of variances goes on from that of means, which came first
    released_mean, released_var = (torch.from_numpy(golden[f"running_{name}"]).flatten() for name in ("mean", "var"))
    assert released_mean == pytest.approx(0.9 * mean, rel=1e-5)
    assert released_var == pytest.approx(0.9 * var + 0.1 * released_mean, rel=1e-5)
    assert norm.running_mean == pytest.approx(0.1 * mean, rel=1e-5)
    assert norm.running_var == pytest.approx(0.9 + 0.1 * var, rel=1e-5)


# ---------------------------------------------------------------------------------------------- head
def test_a_head_of_second_order():
    model = small(head="covariance", reduce_to=5)
    net = network(model)
    assert net.fc.in_features == 15
    assert net.pool.reduction[0].weight.shape == (5, 32, 1, 1)
    assert net(images()).shape == (8, 10)
    with torch.device("meta"):
        default = DecorrelatedResNet(depth=50, head="covariance").build()["classifier"]
    assert default.fc.in_features == 32_896
    assert default.pool.reduction[0].weight.shape == (256, 2048, 1, 1)


# ---------------------------------------------------------------------------------------------- types and formats
@pytest.mark.parametrize("stem", ["orthogonal", "spectral"])
def test_names_and_shapes_of_other_stems_are_known_without_memory(stem):
    with torch.device("meta"):
        planned = small(stem=stem).build()["classifier"].state_dict()
    real = network(small(stem=stem)).state_dict()
    assert {name: x.shape for name, x in planned.items()} == {name: x.shape for name, x in real.items()}


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("head", ["average", "covariance"])
def test_memory_format_does_not_matter(stem, head):
    model = small(stem=stem, head=head, reduce_to=6)
    plain, last = network(model), network(model).to(memory_format=torch.channels_last)
    x = images()
    for training in (True, False):
        plain.train(training), last.train(training)
        torch.testing.assert_close(last(x.to(memory_format=torch.channels_last)), plain(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("stem", STEMS)
def test_under_autocast_the_stem_is_whitened_in_full_precision(stem):
    net, types = network(small(stem=stem)), []
    method = net.bn1._root
    net.bn1._root = lambda S: types.append(S.dtype) or method(S)
    x = images()
    with torch.no_grad():
        expected = net.eval()(x)
    with torch.autocast("cpu", torch.bfloat16):
        evaluated, logits = net(x), net.train()(x)
    nn.functional.cross_entropy(logits.float(), torch.arange(8)).backward()
    assert logits.dtype == evaluated.dtype == torch.bfloat16
    assert types == [torch.float32]
    assert all(p.grad.isfinite().all() for p in net.parameters())
    assert (evaluated - expected).norm() < 0.05 * expected.norm()


def test_in_float64_it_is_the_same_function():
    net = network(small(stem="skew")).eval()
    x = images()
    with torch.no_grad():
        expected = net(x)
        found = net.double()(x.double())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-5)


def test_it_is_a_value_that_json_keeps():
    model = small(stem="skew", mean=(0.1, 0.2, 0.3), method="pade")
    written = json.loads(json.dumps(record.to_json(model)))
    assert record.from_json(written) == model
    assert hash(record.from_json(written)) == hash(model)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": 20}, "DecorrelatedResNet(depth=20): 18 or 34 or 50 is accepted"),
        ({"norm": "zcanormbatch"}, "DecorrelatedResNet(norm='zcanormbatch'): 'zca' or 'batchnorm' is accepted"),
        ({"stem": "soc"}, "(stem='soc'): 'plain' or 'skew' or 'orthogonal' or 'spectral' is accepted"),
        ({"head": "gcp"}, "(head='gcp'): 'average' or 'covariance' is accepted"),
        ({"width": 0}, "DecorrelatedResNet(width=0): it must be positive"),
        ({"classes": 0}, "DecorrelatedResNet(classes=0): it must be positive"),
        ({"groups": 3}, "DecorrelatedResNet(width=64, groups=3): give groups that divide the channels"),
        ({"blocks": (2, 0)}, "(blocks=(2, 0)): give one stage or more, each of one block or more"),
        ({"blocks": ()}, "(blocks=()): give one stage or more, each of one block or more"),
        ({"channels": 1}, "std=(0.2023, 0.1994, 0.201)): give one number per channel, 1 of each"),
        ({"std": (0.2, 0.0, 0.2)}, "(std=(0.2, 0.0, 0.2)): deviations must be positive"),
    ],
)
def test_what_cannot_be_built_is_refused(fields, message, unchecked):
    with pytest.raises(ValueError, match="DecorrelatedResNet") as error:
        DecorrelatedResNet(**fields)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
