"""Scores of networks that others trained, against what is known of them. Skipped where the networks are absent."""

import numpy as np
import pytest
import torch

import orthogen as og
import real
from orthogen.core.images import to_float
from orthogen.evaluation import measure, measure_codes
from orthogen.metrics.mig import Mig

VAES = ("VAE", "btcvae", "betaH", "factor")
KNOWN = {"VAE": 0.101, "btcvae": 0.131, "betaH": 0.153, "factor": 0.179}  # MIG, measured elsewhere on 6,000 images


@pytest.fixture(scope="module")
def dsprites(shared_data):
    return real.RedrawnDSprites(shared_data)


@pytest.mark.parametrize("name", VAES)
def test_mig_of_vaes_equals_what_was_measured_elsewhere(shared_data, dsprites, name):
    index = torch.from_numpy(np.random.default_rng(0).integers(0, len(dsprites), 6000))  # the same images
    encoder, _ = real.vae(shared_data, f"dvae_{name}_dsprites")
    with torch.no_grad():
        codes = torch.cat([encoder(to_float(dsprites.images(part))) for part in index.split(64)])
    score = Mig()(codes, dsprites.factors(index))
    assert score.value == pytest.approx(KNOWN[name], abs=0.02)
    assert abs(score.value - KNOWN[name]) < 0.002  # to the last digit that is known, in fact


def test_the_error_of_mig_covers_fresh_images(shared_data, dsprites):
    """Where two factors share a code, equal bins move with its extremes, and the score with them."""
    encoder, _ = real.vae(shared_data, "dvae_betaH_dsprites")
    scores = [measure_codes(encoder, ["Mig"], data=dsprites, n=3000, seed=seed, quiet=True)[0] for seed in range(5)]
    spread = float(np.std([score.value for score in scores], ddof=1))
    assert np.mean([score.stderr for score in scores]) > 0.4 * spread


def test_a_third_of_what_a_collapsed_gan_makes_are_ones(shared_data):
    G = real.generator(shared_data, "mlpgan_mnist_28")
    digits = real.digits(shared_data, 2000)
    modes, both = measure(
        G, ["ModeCoverage", "PrecisionRecall"], data=digits, extractor=real.lenet(shared_data), n=2000, quiet=True
    )
    shares = modes.parts["share"]
    assert np.argmax(shares) == 1
    assert shares[1] == pytest.approx(1 / 3, abs=0.05)
    assert modes.value < 10 or min(shares) < 0.05
    assert both.parts["precision"] > both.parts["recall"]


def test_distances_on_real_features_are_ordered_as_the_damage(shared_data):
    cifar = real.pictures(shared_data, "cifar10_jpeg_test", 800)
    extractor, pixels = real.efficientnet(shared_data, 96), to_float(cifar.pixels)
    rng = torch.Generator().manual_seed(0)
    other = pixels[400:]
    noisy = (other + 0.3 * torch.randn(other.shape, generator=rng)).clamp(-1, 1)
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(other, (1, 1, 1, 1), "reflect"), 3, 1)
    with torch.no_grad():
        see = [torch.cat([extractor(part)[0] for part in x.split(50)]) for x in (pixels[:400], other, blurred, noisy)]
    real_real, real_blurred, real_noisy = (og.Kid()(see[0], x, rng=rng).value for x in see[1:])
    assert real_real < real_blurred < real_noisy
