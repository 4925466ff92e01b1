import hashlib
import os
import pickle
import socket
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from orthogen.core import catalogue
from orthogen.core.features import Features
from orthogen.extractors.inception import Inception, _unloaded

torch_fidelity = pytest.importorskip("torch_fidelity")
CPU = torch.device("cpu")


def random_weights() -> dict[str, torch.Tensor]:
    """Weights that keep the scale of activations from layer to layer."""
    rng, state = torch.Generator().manual_seed(0), {}
    for name, blank in _unloaded().state_dict().items():
        value = torch.zeros(blank.shape, dtype=blank.dtype)
        if name.endswith(("conv.weight", "fc.weight")):
            value = torch.empty(blank.shape).normal_(std=(2 / blank[0].numel()) ** 0.5, generator=rng)
        elif name.endswith(("bn.weight", "running_var")):
            value = torch.rand(blank.shape, generator=rng) + 0.5
        elif name.endswith("bias"):
            value = 0.1 * torch.randn(blank.shape, generator=rng)
        state[name] = value
    return state


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(random_weights(), path)
    return path


@pytest.fixture(scope="module")
def pictures():
    """Two sets of tiny images: noise, and smoother noise."""
    rng = torch.Generator().manual_seed(2)
    real = torch.randint(0, 256, (10, 3, 16, 16), dtype=torch.uint8, generator=rng)
    fake = torch.rand(10, 3, 4, 4, generator=rng).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    return real, (200 * fake).to(torch.uint8)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*arguments, **settings):
        raise AssertionError("a network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("ORTHOGEN_INCEPTION", raising=False)


@pytest.fixture(scope="module")
def seen(weights, pictures):
    """Both sets through our eye, once."""
    eye = Inception(str(weights)).load(CPU)
    return tuple(Features(10, *eye.see(images)) for images in pictures)


class Tensors(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i]


@pytest.fixture(scope="module")
def theirs(weights, pictures):
    """torch-fidelity's scores of the same images with the same file."""
    real, fake = (Tensors(images) for images in pictures)
    settings = {
        "isc": True,
        "fid": True,
        "kid": True,
        "prc": True,
        "kid_subsets": 1,
        "kid_subset_size": 10,
        "isc_splits": 1,
    }
    return torch_fidelity.calculate_metrics(
        feature_extractor="inception-v3-compat",  # precision and recall would be VGG's
        input1=fake, input2=real, feature_extractor_weights_path=str(weights), **settings,
        cuda=False, batch_size=16, save_cpu_ram=True, cache=False, verbose=False,
    )  # fmt: skip


def metric(name: str, **fields):
    """A metric by name; the test is skipped where there is none."""
    try:
        return catalogue.find(name, "metrics").load()(**fields)
    except KeyError:
        pytest.skip(f"there is no metric {name}")


def test_the_features_are_those_of_torch_fidelity(weights, pictures):
    network = torch_fidelity.feature_extractor_inceptionv3.FeatureExtractorInceptionV3(
        "theirs", ["2048", "logits_unbiased"], feature_extractor_weights_path=weights
    )
    images = pictures[0][:3]
    expected, random = network(images), torch.get_rng_state()
    eye = Inception(str(weights)).load(CPU)
    features, logits = eye.see(images)
    assert torch.equal(features, expected[0])
    assert torch.equal(logits, expected[1])
    assert features.shape == (3, 2048)
    assert features.std(dim=0).mean() > 0.01  # the images are told apart
    assert logits.shape == (3, 1008)
    assert not features.requires_grad
    assert torch.equal(torch.get_rng_state(), random)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(eye.see(images)[0], features)
    gray = images[:, :1]
    assert torch.equal(eye.see(gray)[0], eye.see(gray.repeat(1, 3, 1, 1))[0])


def test_the_protocol_names_the_tensors_not_the_file(weights, tmp_path):
    state = torch.load(weights)
    protocol = Inception(str(weights)).load(CPU).protocol
    assert protocol["resize"] == "bilinear as in TensorFlow 1, 299 px"
    assert protocol["input"] == "uint8, gray as RGB"
    assert protocol["torch-fidelity"] == torch_fidelity.__version__
    save_file(state, tmp_path / "copy.safetensors")
    bare = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(bare, tmp_path / "bare.pth")
    for copy in ("copy.safetensors", "bare.pth"):
        assert Inception(str(tmp_path / copy)).load(CPU).protocol == protocol
    state["fc.weight"][0, 0] += 1
    torch.save(state, tmp_path / "other.pth")
    assert Inception(str(tmp_path / "other.pth")).load(CPU).protocol["weights"] != protocol["weights"]


def test_the_published_file_is_known_by_the_hash_in_its_name(weights, tmp_path, monkeypatch):
    assert Inception(str(weights)).load(CPU).protocol["published_weights"] is False
    start = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(
        torch_fidelity.feature_extractor_inceptionv3, "URL_INCEPTION_V3", f"https://host/weights-2015-12-05-{start}.pth"
    )
    renamed = tmp_path / "mine.pth"
    renamed.symlink_to(weights)
    assert Inception(str(renamed)).load(CPU).protocol["published_weights"] is True


def test_where_the_weights_are_looked_for(weights, tmp_path, monkeypatch):
    name = "weights-inception-2015-12-05-6726825d.pth"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        Inception().load(CPU)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/hub/checkpoints/{name} does not exist; Inception's weights are at https://")
    assert "(--inception FILE, Inception(FILE) or $ORTHOGEN_INCEPTION), or use another extractor" in message
    assert "\n" not in message
    hub = tmp_path / "hub" / "checkpoints" / name
    hub.parent.mkdir(parents=True)
    hub.symlink_to(weights)
    assert Inception().file() == hub
    monkeypatch.setenv("ORTHOGEN_INCEPTION", str(weights))
    assert Inception().file() == weights
    with pytest.raises(FileNotFoundError, match=r"mine\.pth does not exist; Inception's weights are at"):
        Inception("mine.pth").file()


class Trap:
    """Pickled, it runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_code_in_a_weights_file_is_run(tmp_path):
    for name, write in (("torch.pth", torch.save), ("plain.pth", lambda x, path: path.write_bytes(pickle.dumps(x)))):
        write({"weight": Trap(tmp_path / "sprung")}, tmp_path / name)
        with pytest.raises(ValueError, match="is no whole file of weights") as caught:
            Inception(str(tmp_path / name)).load(CPU)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "sprung").exists()


def test_damaged_and_wrong_files(weights, tmp_path):
    whole, path = weights.read_bytes(), tmp_path / "damaged.pth"
    for content in (whole[: len(whole) // 2], whole[:100], b"", b"<html>not found</html>"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged.pth is no whole file of weights \(.*\); get it again") as caught:
            Inception(str(path)).load(CPU)
        assert "\n" not in str(caught.value)
    (tmp_path / "damaged.safetensors").write_bytes(whole[:1000])
    with pytest.raises(ValueError, match=r"damaged\.safetensors is no whole file of weights"):
        Inception(str(tmp_path / "damaged.safetensors")).load(CPU)
    torch.save([torch.zeros(2)], path)
    with pytest.raises(ValueError, match=r"damaged\.pth holds a list; Inception's weights are tensors by name"):
        Inception(str(path)).load(CPU)
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(
        ValueError, match=r"is not Inception's file of weights: 474 of 472 tensors are .*Conv2d_1a_3x3.bn"
    ):
        Inception(str(path)).load(CPU)
    torch.save({**torch.load(weights), "fc.weight": torch.zeros(10, 2048)}, path)
    with pytest.raises(
        ValueError, match=r"1 of 472 tensors are missing, unknown or of another shape, such as fc.weight"
    ):
        Inception(str(path)).load(CPU)


def test_without_torch_fidelity(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"Inception needs torch-fidelity .*; pip install orthogen\[fidelity\], or"
    ):
        Inception("w.pth").load(CPU)


# ---------------------------------------------------------------------------------------------- the same scores
def test_fid_is_torch_fidelitys(seen, theirs):
    assert metric("Fid")(*seen).value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)


def test_kid_is_torch_fidelitys(seen, theirs):
    score = metric("Kid", size=10)(*seen)  # all there are: nothing is drawn
    assert score.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)


def test_inception_score_is_torch_fidelitys(seen, theirs):
    assert metric("InceptionScore", splits=1)(*seen).value == pytest.approx(theirs["inception_score_mean"], rel=1e-4)


def test_precision_and_recall_are_torch_fidelitys(seen, theirs):
    parts = metric("PrecisionRecall")(*seen).parts
    assert parts["precision"] == pytest.approx(theirs["precision"], rel=1e-4)
    assert parts["recall"] == pytest.approx(theirs["recall"], rel=1e-4)
