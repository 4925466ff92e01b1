import os
import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchvision.models import vgg16

import orthogen as og
from orthogen.metrics._lpips import HEADS, VGG, Lpips
from orthogen.metrics.path_length import PathLengthScore

CHANNELS = (64, 128, 256, 512, 512)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights in files of the published names and layouts (of VGG16 without its classifier)."""
    folder, rng = tmp_path_factory.mktemp("lpips"), torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {f"features.{name}": x.shape for name, x in vgg16().features.state_dict().items()}
    state = {
        name: 0.1 * torch.randn(shape, generator=rng)
        if len(shape) == 1
        else torch.randn(shape, generator=rng) * (2 / shape[1:].numel()) ** 0.5
        for name, shape in shapes.items()
    }
    torch.save(state, folder / VGG)
    heads = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1, generator=rng) for i, c in enumerate(CHANNELS)}
    torch.save(heads, folder / HEADS)
    return folder


def images(rng: torch.Generator, channels: int = 3, side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    a = torch.rand(2, channels, side, side, generator=rng) * 2 - 1
    return a, (a + 0.2 * torch.randn(a.shape, generator=rng)).clamp(-1, 1)


def test_equals_torch_fidelity(weights, rng, monkeypatch):
    library = pytest.importorskip("torch_fidelity.sample_similarity_lpips")
    monkeypatch.setattr(library, "load_state_dict_from_url", lambda url, **_: torch.load(weights / url.split("/")[-1]))

    def backbone():
        with torch.device("meta"):
            features = vgg16().features
        state = {name.removeprefix("features."): x for name, x in torch.load(weights / VGG).items()}
        features.load_state_dict(state, assign=True)
        return SimpleNamespace(features=features)

    monkeypatch.setattr(library, "torchvision_load_pretrained_vgg16", backbone)
    with torch.random.fork_rng():
        theirs = library.SampleSimilarityLPIPS("lpips-vgg16")
    a, b = images(rng)
    expected = theirs((a + 1) * 127.5, (b + 1) * 127.5).flatten()
    ours = Lpips(weights)
    torch.testing.assert_close(ours(a, b), expected, rtol=1e-4, atol=0)
    assert ours(a, a).abs().max() == 0
    gray = images(rng, channels=1)
    torch.testing.assert_close(ours(*gray), ours(*(x.expand(-1, 3, -1, -1) for x in gray)))


def test_loading_is_frozen_draws_nothing_and_downloads_nothing(weights, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    before = torch.get_rng_state()
    lpips = Lpips(weights)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(p.requires_grad for p in lpips.parameters())
    assert not lpips.training
    assert lpips.digest == Lpips(str(weights)).digest
    with pytest.raises(FileNotFoundError):
        Lpips("nowhere")


def test_torch_hubs_folder_is_where_weights_are_looked_for(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "checkpoints"))):
        Lpips()
    (tmp_path / "checkpoints").mkdir()
    for name in (HEADS, VGG):
        os.link(weights / name, tmp_path / "checkpoints" / name)
    Lpips()


def test_a_path_length_on_lpips_is_ppl(weights):
    G = og.adapt(nn.Linear(4, 3 * 16 * 16), og.Normal(4), call=lambda m, z: m(z).tanh().view(-1, 3, 16, 16))
    score = PathLengthScore(samples=4, distance="lpips", weights=str(weights))(G)
    assert score.name == "PPL"
    assert score.value > 0
    assert score.protocol["distance"] == "LPIPS"
    assert score.protocol["weights"] == Lpips(weights).digest


def test_mistakes(weights, tmp_path, rng):
    with pytest.raises(FileNotFoundError) as error:
        PathLengthScore(samples=2, distance="lpips", weights=str(tmp_path))(og.adapt(nn.Identity(), og.Normal(2)))
    for part in (VGG, HEADS, str(tmp_path), "https://", "weights=", "distance='pixels'"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)

    (tmp_path / VGG).write_bytes(b"no weights")
    os.link(weights / HEADS, tmp_path / HEADS)
    with pytest.raises(ValueError, match=r"is no file of weights .*; download it again"):
        Lpips(tmp_path)
    (tmp_path / VGG).unlink()
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / VGG)
    with pytest.raises(ValueError, match="the files are not VGG16 and its LPIPS weights"):
        Lpips(tmp_path)
    with pytest.raises(ValueError, match=r"LPIPS was given images of 3 x 8 x 8; .* at least 16 x 16 pixels"):
        Lpips(weights)(*images(rng, side=8))
