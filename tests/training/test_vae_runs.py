"""Runs of VAEs as folders: what is drawn, what can be had back, what is measured, and what is refused."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from PIL import Image

import orthogen as og
from orthogen.checkpoints import open_run
from orthogen.core.images import to_uint8
from orthogen.core.kinds import Model
from orthogen.core.latent import Latent
from orthogen.core.score_file import read
from orthogen.evaluation.encoders import encoder_of
from orthogen.training.reconstructions import BETWEEN, COLUMNS, GAP, sheet, write_reconstructions
from tiny_classes import TinyClassifier
from tiny_gan import Anchored, BarData, TinyGan
from tiny_gan import recipe as gan
from tiny_vae import TinyEncoder, TinyVae, recipe


# ---------------------------------------------------------------------------------------------- pictures
def test_a_sheet_has_its_rows_apart_on_white():
    rows = [torch.full((2, 3, 4, 5), value) for value in (-1.0, 0.0, -1.0)]
    pixels = sheet(rows, gaps=[3, 1])
    assert pixels.shape == (4 + 3 + 4 + 1 + 4, 5 + GAP + 5, 3)
    assert pixels[:, 0, 0].tolist() == [0] * 4 + [255] * 3 + [128] * 4 + [255] + [0] * 4
    assert pixels[0, :, 0].tolist() == [0] * 5 + [255] * GAP + [0] * 5


@pytest.fixture
def networks():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TinyVae(dropout=0.5).build()


def test_pictures_show_images_their_reconstructions_and_draws(tmp_path, networks):
    model, images = TinyVae(), BarData().open()
    adapted, encoder = model.adapt(networks["generator"]), networks["encoder"]
    before = torch.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_reconstructions(tmp_path / f"{name}.png", adapted, encoder, images, seed)
    a, b, c = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in "abc")
    assert (a == b).all()
    assert (a != c).any()
    assert torch.equal(torch.get_rng_state(), before)
    assert encoder.training
    assert a.shape[1] == COLUMNS * (8 + GAP) - GAP
    # the first pair: an image of the data, and below it what comes of the mean code without dropout
    original, below = (torch.tensor(a[top : top + 8, :8].copy())[None, None] for top in (0, 8 + GAP))
    assert any(torch.equal(original[0], images.images(torch.tensor([i]))[0]) for i in range(50))
    with torch.no_grad():
        expected = adapted(encoder.eval()(original / 127.5 - 1)[0])
    assert torch.equal(below, to_uint8(expected))
    assert (a[2 * (8 + GAP) - GAP : 2 * (8 + GAP) - GAP + BETWEEN] == 255).all()


# ---------------------------------------------------------------------------------------------- what is had back
@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of classes that are in the package, as those of a file must be."""
    model, data = og.Vae(og.Normal(3), resolution=16), og.Sprites(resolution=16)
    made = recipe(model=model, data=data, metrics=("Mig",), ema=40)
    return og.train(made, tmp_path_factory.mktemp("vae") / "run", quiet=True)


def test_the_run_gives_its_averaged_decoder_and_its_encoder(trained):
    assert [path.name for path in trained.samples] == ["images_000000080.png", "images_000000160.png"]
    G, raw = og.load(trained.folder), og.load(trained.folder, ema=False)
    z = G.latent.sample(2, rng=torch.Generator().manual_seed(0))
    assert G(z).abs().max() < 1
    assert not torch.equal(G(z), raw(z))
    encoder = open_run(trained.folder).network("encoder")
    assert not encoder.training
    mean, log_variance = encoder(G(z))
    assert mean.shape == log_variance.shape == (2, 3)
    with pytest.raises(ValueError, match="has no critic; its model builds encoder, generator"):
        trained.network("critic")
    page = og.report(trained.folder, rows=2).read_text(encoding="utf-8")
    assert "Traversals could not be drawn" not in page
    assert "There are no sample grids" not in page


# ---------------------------------------------------------------------------------------------- what is measured
def test_code_metrics_of_a_run_with_an_encoder_are_of_its_codes(trained):
    (score,) = og.measure(trained.folder, n=200, quiet=True)
    assert score.protocol["codes"] == "means of the run's own encoder, in the weights of the optimizer"
    assert score.protocol["images"] == "drawn evenly over the factors"
    assert score.protocol["factors"] == ["shape", "scale", "posX", "posY"]
    assert "reader" not in score.protocol
    assert score.about["trained_images"] == 160
    assert [each.value for each in read(trained.folder)] == [score.value]
    data = og.Sprites(resolution=16)
    (alone,) = og.measure_codes(trained.network("encoder"), ["Mig"], data=data, n=200, quiet=True)
    assert (alone.value, alone.n) == (score.value, score.n)
    (other,) = og.measure(trained.folder, ["Activeness"], quiet=True, save=False)
    assert "codes" not in other.protocol


def test_a_checkpoint_is_measured_by_the_encoder_in_it(trained):
    older, newest = trained.checkpoints[0], trained.checkpoints[-1]
    assert older.images < newest.images
    old, new = (
        og.measure(each.path, ["Mig"], n=200, quiet=True, save=False)[0].parts["mutual_information"]
        for each in (older, newest)
    )
    encoder = trained.network("encoder", checkpoint=older)
    (alone,) = og.measure_codes(encoder, ["Mig"], data=og.Sprites(resolution=16), n=200, quiet=True)
    assert alone.parts["mutual_information"] == old != new


def test_a_generator_file_alone_is_measured_by_its_latents(trained):
    for source in (trained.checkpoints[-1].generator, trained.generator()):
        (score,) = og.measure(source, ["Mig"], data=og.Sprites(resolution=16), n=50, quiet=True)
        assert score.protocol["reader"] == "SpriteSet.read_factors"
        assert "codes" not in score.protocol


def test_a_gan_has_no_encoder_to_be_measured_by(tmp_path):
    run = og.train(gan(), tmp_path / "run", quiet=True)
    assert encoder_of(run.newest) is encoder_of(None) is None


# ---------------------------------------------------------------------------------------------- what is refused
@dataclass(frozen=True)
class Uneven(TinyVae):
    """Its encoder has codes of another width."""

    def build(self):
        return {**super().build(), "encoder": TinyEncoder(4, 0.0)}


@dataclass(frozen=True)
class Elsewhere(Model):
    latent: Latent = field(default_factory=lambda: og.Uniform(3))

    def build(self):
        return TinyVae().build()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"model": TinyGan()},
            "TinyGan builds critic, generator; a VaeRecipe takes a model that builds an enc",
        ),
        (
            {"model": TinyClassifier()},
            "TinyClassifier builds classifier; a VaeRecipe takes a model that builds an",
        ),
        (
            {"model": Elsewhere()},
            r"Elsewhere has the latent Uniform\(.*\); the divergence of a VaeRecipe is fr",
        ),
        ({"model": Uneven()}, r"Uneven: the encoder made \[\(2, 4\), \(2, 4\)\] of two images; .* each \(2, 3\)"),
        ({"model": og.Vae(resolution=16)}, "Vae makes images of 1x16x16 and BarData has images of 1x8x8"),
        ({"penalties": {"it": og.Term(og.OroJaR(), layers=("7",))}}, "no layer is called '7'; nearest: 0, 1, 2"),
        ({"rules": {"nog": og.NearestOrthogonalGradient(("7",))}}, "no parameter or part of Sequential is named '7'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        og.train(recipe(**changes), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_penalty_of_a_critic_is_refused():
    with pytest.raises(ValueError, match="anchored: Anchored sees a critic, which a VAE does not have; give a pen"):
        recipe(penalties={"anchored": og.Term(Anchored())})


def test_what_is_no_source_of_pairs_is_refused(unchecked):
    with pytest.raises(ValueError, match=r"pair_source='both'\): 'prior' or 'posterior' is accepted"):
        replace(recipe(), pair_source="both")


def test_the_defaults_are_the_settings_of_the_study():
    made = og.VaeRecipe("study", og.Vae(), og.Sprites())
    assert (made.images // made.batch, made.batch, made.ema) == (300_000, 64, 0)
    assert (made.optimizer.lr, made.optimizer.betas, made.rate_factor(10**7)) == (1e-4, (0.9, 0.999), 1.0)
    assert made.elbo == og.Elbo(1.0, 0.0, "bernoulli")
