"""The recipes of the lab book's runs, shortened."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import orthogen as og
from orthogen import recipes

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("penalty", ["none", "hessian_penalty", "orojar"])
def test_growing_scenes(tmp_path: Path, penalty: str) -> None:
    made = recipes.build(f"{EXAMPLES / 'growing_scenes.py'}:scenes", penalty=penalty)
    assert isinstance(made, og.Recipe)
    assert set(made.terms) == {"gradient_penalty", "drift"} | ({penalty} - {"none"})
    model = replace(made.model, channel_max=4)
    growth = og.Growth(stable=8, fade=8, batches=(8,))
    short = replace(made, model=model, growth=growth, images=56, batch=8, ema=40, sample_every=0)
    run = og.train(short, tmp_path / "run", quiet=True, log_every=8)
    assert run.generator().module.lod.item() == 0
    layers = {key.rpartition("/")[2] for key in run.log()[-1] if key.startswith(f"penalty/{penalty}/")}
    assert len(layers) == (0 if penalty == "none" else 8)


@pytest.mark.parametrize("gsr", [True, False])
def test_a_long_tail(tmp_path: Path, gsr: bool) -> None:
    made = recipes.build(f"{EXAMPLES / 'cifar10_tail.py'}:sngan", gsr=gsr)
    assert isinstance(made, og.Recipe)
    assert set(made.terms) == ({"gsr", "lecam"} if gsr else {"lecam"})
    scenes = og.FactorClasses(og.Shapes3d(resolution=32), "shape", part="train")
    short = replace(
        made,
        model=replace(made.model, width=4, classes=4),
        data=og.LongTailed(scenes, rho=10, largest=50),
        objective=replace(made.objective, rules={"spectral": og.SpectralMonitor(every=1)}),
        images=80,
        batch=8,
    )
    run = og.train(short, tmp_path / "run", quiet=True, log_every=40)
    assert ("penalty/gsr" in run.log()[-1]) is gsr
    assert "spectral/gain/blocks.0.0.bn1/3" in run.log()[-1]


@pytest.mark.parametrize("of", ["sprites", "scenes", "heads"])
@pytest.mark.parametrize("name", ["vp_gan", "simple_gan"])
def test_predictable_variation(tmp_path: Path, name: str, of: str) -> None:
    example = f"{EXAMPLES / 'predictable_variation.py'}:{name}"
    plain, made = (recipes.build(example, of=of, vp=vp) for vp in (False, True))
    assert set(made.terms) - set(plain.terms) == {"variation_predictability"}
    assert made.name != plain.name
    if of == "heads":
        with zipfile.ZipFile(tmp_path / "heads.zip", "w") as archive:
            for i in range(4):
                file = io.BytesIO()
                Image.new("RGB", (32, 32), (60 * i, 0, 255)).save(file, "webp")
                archive.writestr(f"{i}.webp", file.getvalue())
        made = replace(made, data=replace(made.data, path=str(tmp_path / "heads.zip")))
    run = og.train(replace(made, images=8, batch=4, sample_every=0), tmp_path / "run", quiet=True, log_every=4)
    assert run.log()[-1]["penalty/variation_predictability"] > 0
    assert run.generator()(made.model.latent.sample(2)).shape == (2, 1 if of == "sprites" else 3, 32, 32)
