import json

import pytest
import torch
from torch import nn

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
    with pytest.raises(
        ValueError, match=r"Custom\(make=''\): give a file and the function in it, such as my_file.py:make"
    ):
        Custom().load(CPU)
    with pytest.raises(FileNotFoundError, match="does not exist; give a Python file"):
        load(f"{tmp_path}/none.py:make")
    with pytest.raises(ValueError, match="has no function 'other' that makes an extractor"):
        load(f"{path}:other")
    with pytest.raises(TypeError, match="an extractor was given as int; an Extractor or a function is needed"):
        load(f"{path}:make")


def test_as_extractor(unchecked):
    assert as_extractor(None) == Inception()
    assert as_extractor("Inception") == as_extractor(Inception) == og.Inception()
    assert as_extractor(Inception("w.pth")) == Inception("w.pth")
    with pytest.raises(
        ValueError, match="no extractor is called 'resnet'; there are Custom, Inception, or give my_file"
    ):
        as_extractor("resnet")
    for wrong in (3, nn.Linear):
        with pytest.raises(
            TypeError, match=r"an extractor was given as .*; an Extractor, a function of images, or my_file"
        ):
            as_extractor(wrong)
