"""`og.convert`: a file of ours out of any other, with JSON beside it, and the same images to the bit."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.checkpoints import save_generator

MODEL = og.StyleGan2(resolution=8, dim_z=6, dim_w=6, mapping_layers=2, channel_base=32, noise="random")


@pytest.fixture
def style(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    module = MODEL.build()["generator"]
    for parameter in module.parameters():  # strengths of the noise begin at 0
        nn.init.normal_(parameter)
    save_generator(tmp_path / "style.safetensors", MODEL, module)
    return tmp_path / "style.safetensors"


def test_writes_the_same_generator_and_says_so(style: Path, tmp_path: Path) -> None:
    found = og.convert(style, tmp_path / "sub" / "copy.safetensors", truncation=0.5, space="w")
    assert (found.equal, found.difference, found.images) == (True, 0.0, 4)
    assert str(found).endswith("a file of orthogen; 4 images before and after are bit-equal")
    G, again = og.load(style, truncation=0.5, space="w", noise="none"), og.load(found.path, noise="none")
    z = G.latent.sample(3, rng=torch.Generator().manual_seed(0))
    assert z.shape == (3, 6)
    assert torch.equal(G(z), again(z))
    about = json.loads(found.about.read_text())
    assert about["model"]["truncation"] == 0.5
    assert about["weights"] == G.digest == again.digest
    assert about["source"] == {"file": style.name, "format": "a file of orthogen", "sha256": about["source"]["sha256"]}
    assert about["images"] == {"compared": 4, "bit_equal": True, "largest_difference": 0.0}
    assert len(about["source"]["sha256"]) == 64


def test_labels_are_drawn_for_generators_with_classes(tmp_path: Path) -> None:
    model = og.Sngan(resolution=32, width=2, classes=3)
    save_generator(tmp_path / "g.safetensors", model, model.build()["generator"])
    assert og.convert(tmp_path / "g.safetensors", tmp_path / "h.safetensors").equal


def test_what_is_different_is_called_so(style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orthogen.checkpoints import _convert

    drawn = iter([torch.zeros(4, 3), torch.full((4, 3), 0.25)])
    monkeypatch.setattr(_convert, "_images", lambda generator: next(drawn))
    found = og.convert(style, tmp_path / "copy.safetensors")
    assert (found.equal, found.difference) == (False, 0.25)
    assert "NOT equal, by up to 0.25" in str(found)
    assert not json.loads(found.about.read_text())["images"]["bit_equal"]


def test_the_source_is_not_written_over(style: Path) -> None:
    before = style.read_bytes()
    with pytest.raises(ValueError, match=r"style\.safetensors is the file itself; name another one to write"):
        og.convert(style)
    assert style.read_bytes() == before


def test_settings_are_fields_of_the_model(style: Path) -> None:
    z = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    plain, truncated = og.load(style, noise="none"), og.load(style, noise="none", truncation=0.2)
    assert not torch.equal(plain(z), truncated(z))
    with pytest.raises(
        ValueError, match=r"holds a StyleGan2, which has no setting 'trunctation'; nearest: truncation, resolution$"
    ):
        og.load(style, trunctation=0.2)
    with pytest.raises(ValueError, match="give one of z, w, w"):
        og.load(style, space="x")
    with pytest.raises(ValueError, match=r"the weights in .* do not fit StyleGan2\(.*"):
        og.load(style, resolution=16)


def test_the_record_does_not_take_the_weights_place(style: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.json is where the record of the model goes; name a file for the weights"):
        og.convert(style, tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()
    named = tmp_path / "named.json"
    style.rename(named)  # whatever it is called, it is a file of ours
    with pytest.raises(ValueError, match=r"named\.json is the file itself"):
        og.convert(named)


def test_a_folder_without_a_name_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gan"
    folder.mkdir()
    model = og.SimpleGan(og.Normal(4), resolution=8, width=0.02)
    torch.save(model.build()["generator"].state_dict(), folder / "latest_netG.pth")
    monkeypatch.chdir(folder)
    assert og.convert(".").path == tmp_path / "gan.safetensors"
