import functools
import json

import pytest
import torch
from torch import nn
from torch.nn import functional

import orthogen as og
from orthogen.core import record
from orthogen.core.images import to_float
from orthogen.extractors import as_extractor
from orthogen.extractors.custom import Custom
from orthogen.extractors.inception import Inception

CPU = torch.device("cpu")


def images(n=5, channels=3):
    return torch.randint(0, 256, (n, channels, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def load(given):
    return as_extractor(given).load(CPU)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(108), nn.Dropout(0.5), nn.Linear(108, 7))

    def forward(self, x):
        features = self.layers(x)
        return features, features[:, :4]

    def features(self, x):
        return self(x)[0]


@pytest.fixture
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def test_a_function_is_handed_images_between_minus_one_and_one():
    features, logits = load(lambda x: x.flatten(1)).see(images())
    assert torch.equal(features, to_float(images()).flatten(1))
    assert logits is None
    features, logits = load(lambda x: [x.flatten(1), x.mean(dim=(2, 3))]).see(images())
    assert torch.equal(logits, to_float(images()).mean(dim=(2, 3)))


def test_a_module_sees_in_evaluation_mode_and_is_left_as_it_was(net):
    net.train()
    net.layers[2].eval()
    before, random = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    features, logits = load(net).see(images())
    assert not features.requires_grad
    assert net.training
    assert net.layers[1].training
    assert not net.layers[2].training
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    with torch.no_grad():
        expected = net.eval()(to_float(images()))
    assert torch.equal(features, expected[0])
    assert torch.equal(logits, expected[1])


def test_features_are_float32_whatever_the_caller_does(net):
    plain = load(net).see(images())[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(load(net).see(images())[0], plain)


def test_the_protocol_of_a_module_knows_its_weights(net):
    first = dict(load(net).protocol)
    assert first["name"] == "Net"
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    with torch.no_grad():
        net.layers[3].bias[0] += 1
    second = load(net).protocol
    assert {key for key in first if first[key] != second[key]} == {"weights"}


def test_networks_in_a_closure_or_behind_a_method_count_as_the_functions_own(net):
    def see(x):
        return net.features(x) * 2

    for given in (see, net.features):
        net.train()
        eye = load(given)
        assert eye.protocol["weights"] == load(net).protocol["weights"]
        assert torch.equal(eye.see(images())[0], eye.see(images())[0])  # no dropout
        assert net.training
    assert load(see).protocol["name"].endswith("see")
    assert len(load(see).protocol["source"]) == 64
    assert load(torch.neg).protocol["source"] is None  # nowhere to be read


def test_other_source_other_protocol():
    def one(x):
        return x.flatten(1)

    def other(x):
        return x.flatten(1) + 1

    assert load(one).protocol["source"] != load(other).protocol["source"]


class Holder:
    """What a user may wrap a network in."""

    def __init__(self, net, size=4):
        self.parts, self.size, self.calls, self.sizes = {"net": [net]}, size, 0, []

    def __call__(self, x):
        self.calls += 1
        self.sizes.append(len(x))
        return self.parts["net"][0].features(x) * self.size


class Slotted:
    __slots__ = ("net",)

    def __init__(self, net):
        self.net = net

    def __call__(self, x):
        return self.net.features(x)


def _nested(net):
    inner = lambda x: net.features(x)  # noqa: E731
    return lambda x: inner(x)


WAYS = {
    "object": Holder,
    "slots": Slotted,
    "method": lambda net: Holder(net).__call__,
    "partial": lambda net: functools.partial(lambda held, x: held.features(x), net),
    "keyword": lambda net: functools.partial(lambda x, held: held.features(x), held=net),
    "default": lambda net: lambda x, held=net: held.features(x),
    "closure in a closure": _nested,
    "dictionary": lambda net: (lambda held: lambda x: held["net"].features(x))({"net": net}),
    "tuple in a list": lambda net: (lambda held: lambda x: held[0][1].features(x))([(0, net)]),
    "decorated": lambda net: torch.no_grad()(lambda x: net.features(x)),
    "cached": lambda net: functools.lru_cache(lambda x: net.features(x)),
    "unregistered": lambda net: Outer(net),
    "hook": lambda net: _hooked(net),
}


class Outer(nn.Module):
    """A module that holds a network where torch does not find it."""

    def __init__(self, net):
        super().__init__()
        self.held = [net]

    def forward(self, x):
        return self.held[0].features(x)


def _hooked(net):
    outer = nn.Identity()
    outer.register_forward_hook(lambda module, args, output: net.features(args[0]))
    return outer


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_a_network_is_found_wherever_it_is_held(net, way):
    net.train()
    given, before = way(net), {k: v.clone() for k, v in net.state_dict().items()}
    eye = load(given)
    assert torch.equal(eye.see(images())[0], eye.see(images())[0])  # no dropout
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())  # no running statistics
    assert net.training
    assert load(given).protocol == eye.protocol  # looking is no setting
    assert load(net).protocol["weights"][0] in eye.protocol["weights"]
    with torch.no_grad():
        net.layers[3].bias[0] += 1
    other = load(given).protocol
    assert {key for key in other if other[key] != eye.protocol[key]} == {"weights"}


_module_wide = nn.Sequential(nn.Flatten(), nn.Dropout(0.5))
_scale = 2.0


def _helper(x):
    return _module_wide(x) * _scale


def test_globals_are_followed_through_helpers(monkeypatch):
    eye = load(lambda x: _helper(x))
    assert torch.equal(eye.see(images())[0], eye.see(images())[0])
    assert _module_wide.training
    monkeypatch.setitem(globals(), "_scale", 3.0)
    assert load(lambda x: _helper(x)).protocol["settings"] != eye.protocol["settings"]


def _pooled(size):
    return lambda x: functional.avg_pool2d(x, size).flatten(1)


class Pooled(nn.Module):
    def __init__(self, size, how=functional.avg_pool2d):
        super().__init__()
        self.size, self.how = size, how

    def forward(self, x):
        return self.how(x, self.size).flatten(1)


OTHER = {
    "closure": (_pooled(2), _pooled(3)),
    "partial": tuple(functools.partial(lambda x, k: functional.avg_pool2d(x, k).flatten(1), k=k) for k in (2, 3)),
    "module": tuple(nn.Sequential(pool(2), nn.Flatten()) for pool in (nn.AvgPool2d, nn.MaxPool2d)),
    "module's field": (Pooled(2), Pooled(3)),
    "module's function": (Pooled(2), Pooled(2, functional.max_pool2d)),
    "object": (Holder(Pooled(2), 4), Holder(Pooled(2), 5)),
    "tensor": tuple((lambda t: lambda x: x.flatten(1) - t)(torch.full((1,), v)) for v in (0.0, 1.0)),
    "one line": (lambda x: x.mean(dim=(2, 3)), lambda x: x.amax(dim=(2, 3))),
}


@pytest.mark.parametrize(("a", "b"), OTHER.values(), ids=list(OTHER))
def test_another_extractor_has_another_protocol(a, b):
    assert load(a).protocol == load(a).protocol
    assert load(a).protocol != load(b).protocol


def test_classes_of_one_name_are_told_apart():
    def made(scale):
        class Same(nn.Module):
            if scale == 1:

                def forward(self, x):
                    return x.flatten(1)
            else:

                def forward(self, x):
                    return -x.flatten(1)

        return Same()

    one, other = (load(made(scale)).protocol for scale in (1, 2))
    assert one == load(made(1)).protocol
    assert {key for key in one if one[key] != other[key]} == {"source"}


def test_what_the_code_counts_is_no_setting():
    calls, seen = 0, []

    def see(x):
        nonlocal calls
        calls += 1
        seen.append(x)
        return x.flatten(1)

    before = load(see).protocol
    load(see).see(images())
    assert (calls, len(seen)) == (1, 1)
    assert load(see).protocol == before


def test_noise_of_its_own_leaves_the_global_state_and_is_the_same_each_time():
    random = torch.get_rng_state()
    eye = load(lambda x: x.flatten(1) @ torch.randn(108, 4))
    first = eye.see(images())[0]
    torch.rand(3)
    moved = torch.get_rng_state()
    assert torch.equal(eye.see(images())[0], first)
    assert torch.equal(torch.get_rng_state(), moved)
    torch.set_rng_state(random)


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x):
        self.calls += 1
        return x.flatten(1) + self.calls

    def get_extra_state(self):
        return {"a": 1}

    def set_extra_state(self, state):
        pass


def test_a_buffer_that_is_changed_in_place_is_put_back():
    counter = Counter()
    eye, buffer = load(counter), counter.calls
    first = eye.see(images())[0]
    assert torch.equal(eye.see(images())[0], first)
    assert counter.calls is buffer
    assert buffer.item() == 0
    assert len(eye.protocol["weights"]) == 1  # its extra state is no tensor


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda x: undefined_name, "NameError: name 'undefined_name' is not defined"),
        (lambda x: x.foo(), "AttributeError: 'Tensor' object has no attribute 'foo'"),
        (nn.Conv2d(1, 4, 3), r"RuntimeError: Given groups=1, weight of size \[4, 1, 3, 3\]"),
        (nn.Sequential(nn.Flatten(), nn.Linear(108, 4)).half(), "RuntimeError: "),
    ],
)
def test_one_that_fails_says_so_in_one_line(function, what):
    with pytest.raises(
        ValueError, match=rf"^the extractor .* failed on images \(5, 3, 6, 6\) in \[-1, 1\]: {what}"
    ) as caught:
        load(function).see(images())
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_weights_without_a_shape_are_refused():
    with pytest.raises(ValueError, match="the extractor LazyLinear has weights that have no shape yet; show it an"):
        load(nn.LazyLinear(3))


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda x: x, r"returned a tensor of shape \(5, 3, 6, 6\) for 5 images; features \(5, d\), or a pair"),
        (lambda x: x[:2].flatten(1), r"returned a tensor of shape \(2, 108\) for 5 images"),
        (lambda x: {"features": x}, "returned dict for 5 images"),
        (lambda x: (x.flatten(1), None, 3), "returned 3 values for 5 images"),
        (lambda x: (x.flatten(1), x), r"returned a tensor of shape \(5, 3, 6, 6\)"),
    ],
)
def test_what_is_no_feature_is_refused(function, what):
    with pytest.raises(ValueError, match=what) as caught:
        load(function).see(images())
    assert "\n" not in str(caught.value)


def test_a_file_makes_an_extractor(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.AvgPool2d(6), nn.Flatten())\nother = 3\n"
    )
    eye = load(f"{path}:make")
    assert eye.see(images())[0].shape == (5, 3)
    assert eye.protocol["name"] == "mine.py:make"  # wherever the file lies
    first = eye.protocol["source"]
    path.write_text(path.read_text() + "\n")
    assert load(f"{path}:make").protocol["source"] != first
    assert not Custom.inception
    assert record.from_json(json.loads(json.dumps(record.to_json(Custom(f"{path}:make"))))) == Custom(f"{path}:make")


def test_mistakes(tmp_path, unchecked):
    path = tmp_path / "mine.py"
    path.write_text("other = 3\ndef make():\n    return 4\n")
    with pytest.raises(ValueError, match=r"^'' was given; give a file and the function in it, such as my_file.py:make"):
        Custom().load(CPU)
    with pytest.raises(FileNotFoundError, match="does not exist; give a Python file"):
        load(f"{tmp_path}/none.py:make")
    with pytest.raises(ValueError, match="has no function 'other' that makes an extractor"):
        load(f"{path}:other")
    with pytest.raises(TypeError, match="an extractor was given as int; an Extractor or a function is needed"):
        load(f"{path}:make")
    path.write_text("def make(:\n")
    with pytest.raises(ValueError, match=r"mine\.py cannot be imported: SyntaxError: invalid syntax"):
        load(f"{path}:make")
    path.write_text("def make():\n    return undefined_name\n")
    with pytest.raises(
        ValueError, match=r"^make\(\) in .*mine\.py makes no extractor: NameError: name 'undefined_name' is not"
    ):
        load(f"{path}:make")


def test_as_extractor(unchecked):
    assert as_extractor(None) == Inception()
    assert as_extractor("Inception") == as_extractor(Inception) == og.Inception()
    assert as_extractor(Inception("w.pth")) == Inception("w.pth")
    with pytest.raises(
        ValueError, match="no extractor is called 'resnet'; there are Custom, Inception, Pixels, or give my_file"
    ):
        as_extractor("resnet")
    for wrong in (3, nn.Linear):
        with pytest.raises(
            TypeError, match=r"an extractor was given as .*; an Extractor, a function of images, or my_file"
        ):
            as_extractor(wrong)
