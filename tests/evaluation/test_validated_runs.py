"""A run that was validated while it trained is measured by the validation's protocol."""

from pathlib import Path

import pytest

import orthogen as og
from orthogen.cli import main
from orthogen.core.score_file import read


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = og.FactorClasses(og.Shapes3d(resolution=32), "shape", part="train")
    recipe = og.Recipe(
        "tiny",
        og.Sngan(classes=4, width=2),
        og.LongTailed(source, rho=100.0, largest=300),
        og.Objective(og.Hinge()),
        images=64,
        batch=32,
        checkpoint_every=0,
        sample_every=0,
        validation=og.Validate(
            "Kid", og.FactorClasses(og.Shapes3d(resolution=32), "shape", part="test"), n=64, reference_n=200,
            extractor="Pixels",
        ),
        validate_every=64,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORTHOGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        return og.train(recipe, tmp_path_factory.mktemp("runs") / "run", quiet=True, device="cpu").folder


def test_settings_are_the_validations_where_none_are_given(run: Path) -> None:
    last = read(run)[0]
    (same,) = og.measure(run, ["Kid"], quiet=True, save=False)
    assert (same.value, same.stderr) == (last.value, last.stderr)
    assert {**same.protocol, "selection": last.protocol["selection"]} == last.protocol
    (more,) = og.measure(run, ["Kid"], n=80, quiet=True, save=False)
    assert more.n == 80
    assert more.protocol["reference"] == same.protocol["reference"]
    test = og.FactorClasses(og.Shapes3d(resolution=32), "shape", part="test")
    (other,) = og.measure(run, ["Kid"], data=test, reference_n=100, extractor="Pixels", n=64, quiet=True, save=False)
    assert other.protocol["reference"] != same.protocol["reference"]


def test_classes_are_grouped_by_their_counts_in_training(run: Path) -> None:
    (score,) = og.measure(run, [og.PerClass("Kid", bins=(10, 100))], quiet=True, save=False)
    assert score.protocol["counts"] == [300, 64, 13, 3]
    assert score.parts["tail_classes"] == [3]
    assert score.parts["head_classes"] == [0]


def test_on_the_command_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", str(run), "Kid", "PerClass.group_spectral"]) == 0
    printed = capsys.readouterr().out
    assert "(n=64)" in printed
    assert len(read(run)) == 4  # two of training, and two now
