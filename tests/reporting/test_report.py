import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import orthogen as og
from orthogen.reporting import html
from orthogen.reporting.embed import data_uri, file_uri
from orthogen.reporting.strips import GAP, SAMPLES, STEPS


class Page(HTMLParser):
    """Every element with its attributes, and the text outside of scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.source = path.read_text()
        self._inside: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._inside.pop()

    def handle_data(self, data):
        if not self._inside:
            self.text += data

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.elements)


def generator(dim: int = 3) -> og.Generator:
    torch.manual_seed(0)
    return og.adapt(nn.Sequential(nn.Linear(dim, 3 * 64), nn.Tanh(), nn.Unflatten(1, (3, 8, 8))), og.Normal(dim))


def make_run(folder: Path, name: str, **changes) -> Path:
    run = folder / name
    (run / "samples").mkdir(parents=True)
    recipe = {
        "name": f"{name}.sprites",
        "model": {"type": "m:SimpleGan"},
        "data": {"type": "d:Sprites"},
        "images": 1000,
        "seed": 0,
    }
    about = {"versions": {"torch": "2.15"}, "device": "cpu", "seed": 0}
    (run / "run.json").write_text(json.dumps({"recipe": {**recipe, **changes}, **about}))
    keys = ("loss/critic", "loss/generator", "penalty/orojar", "penalty/orojar/a", "penalty/orojar/b", "rate/generator")
    lines = [{"images": i, "seconds": i / 10, **{key: 1.0 + i for key in keys}} for i in range(1, 1001, 50)]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for images in range(0, 1001, 100):
        Image.new("RGB", (40, 40), (images // 5, 0, 0)).save(run / "samples" / f"images_{images:09d}.png")
    scores = [{"name": "MIG", "value": 0.31, "stderr": 0.013, "n": 2000, "protocol": {"bins": 20}, "parts": {"x": 0.5}}]
    (run / "scores.json").write_text(json.dumps({"scores": scores}))
    return run


@pytest.fixture
def drawable(monkeypatch):
    monkeypatch.setattr(html, "load", lambda path: generator())


@pytest.fixture
def two(tmp_path, drawable) -> Page:
    runs = [make_run(tmp_path, "plain"), make_run(tmp_path, "orojar", batch=64)]
    path = og.report(runs, note="Fine-tuned from small weights.")
    assert path == tmp_path / "report.html"
    return Page(path)


def test_one_run_gets_its_report_in_its_folder(tmp_path, drawable):
    run = make_run(tmp_path, "plain")
    path = og.report(run)
    assert path == run / "report.html"
    page = Page(path)
    for heading in ("Samples", "Traversals", "Scores", "Curves", "Settings", "Environment"):
        assert heading in page.text
    assert "0.310 ± 0.013" in page.text
    assert "n = 2,000" in page.text
    assert "951 of 1,000 images" in page.text
    assert "bins" in page.text


def test_the_page_loads_nothing(two):
    for tag, attributes in two.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), f"{tag} {name}={value[:60]}"
    policies = [a["content"] for t, a in two.elements if t == "meta" and "http-equiv" in a]
    assert any("default-src 'none'" in (policy or "") for policy in policies)
    style = re.search(r"<style>(.*?)</style>", two.source, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"https?://", two.source)
    assert "fetch(" not in two.source


def test_runs_stand_side_by_side(two):
    assert "Fine-tuned from small weights." in two.text
    assert two.text.count("plain.sprites") == two.text.count("orojar.sprites") == 1
    assert two.count("svg") == 2 + 2 + 1 + 1 + 1  # losses, penalty, by layer of each, rate, score
    assert re.search(r"batch\s*differs", two.text)
    assert "--runs:2" in two.source


def test_every_sheet_has_its_samples_and_steps(two):
    sheets = [a for t, a in two.elements if t == "img" and "direction" in (a["alt"] or "")]
    assert len(sheets) == 2 * 3
    encoded = sheets[0]["src"].split(",", 1)[1]
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as sheet:
        assert sheet.size == (STEPS * (8 + GAP) - GAP, SAMPLES * (8 + GAP) - GAP)
    # one seed, one network: the same base latents in both runs
    assert sheets[0]["src"] == sheets[1]["src"]
    assert sheets[0]["src"] != sheets[2]["src"]


def test_the_latest_samples_are_shown_and_earlier_ones_wait(two):
    images = [a for t, a in two.elements if t == "img" and "samples of" in (a["alt"] or "")]
    assert len(images) == 2 * 8
    assert [a["data-images"] for a in images if "hidden" not in a] == ["1,000"] * 2
    assert [a["data-images"] for a in images[:2]] == ["0", "100"]


def test_directions_of_other_weights_are_called_so(tmp_path, drawable):
    run = make_run(tmp_path, "plain")
    axes = torch.eye(3)
    og.Directions(axes, provenance={"method": "SeFa", "generator": "0" * 64}).save(
        run / "directions" / "old.safetensors"
    )
    og.Directions(axes, provenance={"generator": generator().digest}).save(run / "directions" / "own.safetensors")
    text = Page(html.report(run)).text
    assert "The directions old were found in other weights than the latest." in text
    assert "The directions own" not in text


def test_directions_files_of_a_run_are_traversed_too(tmp_path, drawable):
    run = make_run(tmp_path, "plain")
    og.Directions(torch.eye(3)[:2], names=("turn", "grow")).save(run / "directions" / "sefa.safetensors")
    page = Page(og.report(run))
    assert "along sefa" in page.text
    assert "turn" in page.text


def test_strings_from_files_cannot_become_markup(tmp_path, drawable):
    evil = '"><script>alert(1)</script><img src=http://example.invalid/x onerror=alert(1)>'
    run = make_run(tmp_path, "a<b>&amp;", departures=[evil], note=evil, **{evil: evil})
    (run / "scores.json").write_text(json.dumps({"scores": [{"name": evil, "value": 1, "protocol": {evil: [evil]}}]}))
    (run / "log.jsonl").write_text(json.dumps({"images": 1, f"loss/{evil}": 1.0, f"penalty/{evil}/{evil}": 2.0}))
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**about, "device": evil, evil: {"x": evil}}))
    page = Page(og.report([run, make_run(tmp_path, "b")], title=evil, note=evil))
    assert page.count("script") == 1
    assert all("onerror" not in attributes for _, attributes in page.elements)
    assert all((a["src"] or "").startswith("data:") for t, a in page.elements if t == "img")
    assert page.text.count("alert(1)") > 10  # shown, as text
    assert "a<b>&amp;" in page.text


def test_a_run_with_nothing_but_a_log(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"images": 64, "loss/critic": NaN}\n{"images": 128, "loss/cri')
    page = Page(og.report(tmp_path))
    for line in (
        "There is no run.json.",
        "There are no sample grids.",
        "Nothing has been measured yet",
        "Some values are not finite and leave gaps: loss/critic.",
        "Traversals could not be drawn:",
    ):
        assert line in page.text
    for heading in ("Samples", "Scores", "Settings", "Environment"):
        assert heading not in page.text


def test_a_checkpoint_that_cannot_be_drawn_from_leaves_the_rest(tmp_path, monkeypatch):
    def broken(path):
        raise ValueError("the checkpoint is\ncut short")

    monkeypatch.setattr(html, "load", broken)
    run = make_run(tmp_path, "plain")
    (run / "traversals").mkdir()
    Image.new("RGB", (8, 8)).save(run / "traversals" / "coordinates.gif")
    page = Page(og.report(run))
    assert "Traversals could not be drawn: the checkpoint is cut short" in page.text
    assert any((a["src"] or "").startswith("data:image/gif") for t, a in page.elements if t == "img")
    assert "Scores" in page.text


def test_samples_that_are_no_pictures_are_named(tmp_path, drawable):
    run = make_run(tmp_path, "plain")
    (run / "samples" / "images_000001000.png").write_bytes(b"no picture")
    assert "images_000001000.png is no readable picture." in Page(og.report(run)).text


def test_runs_of_other_widths_leave_rows_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(html, "load", lambda path: generator(3 if path.name == "a" else 2))
    page = Page(og.report([make_run(tmp_path, "a"), make_run(tmp_path, "b")]))
    assert page.text.count("no such direction") == 1


def test_a_score_that_only_one_run_has(tmp_path, drawable):
    runs = [make_run(tmp_path, "a"), make_run(tmp_path, "b")]
    (runs[1] / "scores.json").write_text('{"scores": [{"name": "FID", "value": NaN}, {"name": "FID", "value": 3}]}')
    text = " ".join(Page(og.report(runs)).text.split())
    assert text.count("not measured") == 3
    assert "not a number" in text
    assert "FID (2)" in text


def test_claims_stand_beside_what_was_measured(tmp_path, drawable):
    claims = [
        {"metric": "MIG", "value": 0.3, "tolerance": 0.02, "source": "table 2"},
        {"metric": "FID", "value": 7, "source": "t3"},
    ]
    text = " ".join(Page(og.report(make_run(tmp_path, "a", claims=claims))).text.split())
    assert "MIG 0.3 ± 0.02 0.310 ± 0.013 table 2".replace(" ", "") in text.replace(" ", "")
    assert "FID7notmeasuredt3" in text.replace(" ", "")


@pytest.mark.parametrize(
    ("runs", "error", "text"),
    [
        ([], ValueError, "report was given no run; give the folder of a run, or several to compare"),
        (["nowhere"], FileNotFoundError, "nowhere does not exist; give the folder of a run, such as runs/NAME"),
    ],
)
def test_mistakes_are_said_in_one_line(runs, error, text):
    with pytest.raises(error) as caught:
        og.report(runs)
    assert str(caught.value) == text


def test_pictures_keep_to_their_budget(rng, tmp_path):
    noise = Image.fromarray(torch.randint(0, 256, (128, 128, 3), generator=rng, dtype=torch.uint8).numpy())
    exact, coarse = data_uri(noise, 10**6), data_uri(noise, 12_000)
    assert len(coarse) * 3 / 4 <= 12_100 < len(exact) * 3 / 4
    with Image.open(io.BytesIO(base64.b64decode(exact.split(",")[1]))) as back:
        assert back.convert("RGB").tobytes() == noise.tobytes()
    assert file_uri(tmp_path / "absent.png", 100) is None


def test_a_page_of_large_pictures_stays_small(tmp_path, monkeypatch, rng):
    big = og.adapt(nn.Sequential(nn.Linear(20, 3 * 64 * 64), nn.Tanh(), nn.Unflatten(1, (3, 64, 64))), og.Normal(20))
    monkeypatch.setattr(html, "load", lambda path: big)
    run = make_run(tmp_path, "noise")
    for file in (run / "samples").iterdir():
        Image.fromarray(torch.randint(0, 256, (512, 512, 3), generator=rng, dtype=torch.uint8).numpy()).save(file)
    assert og.report(run, rows=3).stat().st_size < 6e6
