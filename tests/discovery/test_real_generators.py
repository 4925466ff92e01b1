"""Every way to find directions, on generators that others trained: faces, sketches by class, a VAE's decoder."""

import math
from pathlib import Path

import pytest
import torch

import orthogen as og
import real
from orthogen.core import catalogue

ROOT = Path(__file__).resolve().parents[2]

SHORT = {  # seconds in place of minutes; the path is the same
    "GanSpace": {"samples": 300},
    "JacobianSvd": {"samples": 2},
    "LatentRegressor": {"steps": 2, "batch": 4},
    "PenaltyDescent": {"steps": 2, "batch": 4},
    "VariationDirections": {"steps": 2, "batch": 4},
}
METHODS = [entry.name for entry in catalogue.entries("discovery")]
GENERATORS = {
    "faces": lambda shared: real.generator(shared, "dcgan_digiface_64_fp16"),
    "sketches": lambda shared: real.generator(shared, "cvae_quickdraw_28"),
    "decoder": lambda shared: real.vae(shared, "dvae_btcvae_dsprites")[1],
}


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_on_it(shared_data, rng, name, method):
    G = GENERATORS[name](shared_data)
    found = getattr(og, method)(**SHORT.get(method, {})).fit(G, rng=rng)
    assert found.basis.shape[1] == G.latent.dim
    assert found.basis.isfinite().all()
    torch.testing.assert_close(found.basis.norm(dim=1), torch.ones(len(found)), rtol=1e-4, atol=0)
    torch.testing.assert_close(found.deviation, torch.ones(len(found)), rtol=1e-3, atol=0)  # the latents are normal
    assert not found.of_another(G)


def test_one_class_of_sketches(shared_data, rng):
    """The first layer reads latent and class side by side; its directions do not depend on the class, images do."""
    G = GENERATORS["sketches"](shared_data)
    seen, fixed = og.SeFa().fit(G, rng=rng), og.SeFa(fix_class=7).fit(G, rng=rng)
    torch.testing.assert_close(seen.basis, fixed.basis)
    weight = G.module.net.fc.weight[:, : G.latent.dim]
    torch.testing.assert_close(seen.strength, torch.linalg.svdvals(weight), rtol=1e-4, atol=1e-5)
    z = G.latent.sample(4, rng=rng)
    assert not torch.equal(G.of_class(7)(z), G.of_class(8)(z))


def test_the_first_direction_of_faces_turns_the_head(shared_data):
    """Which a person sees at once: the difference of left and right changes sign along it, for most faces."""
    G = GENERATORS["faces"](shared_data)
    q = og.SeFa(count=1).fit(G).basis[0]
    z = G.latent.sample(64, rng=torch.Generator().manual_seed(0))
    z = z - (z @ q)[:, None] * q
    with torch.no_grad():
        left, right = (G(z + a * q) for a in (-3.0, 3.0))
    mirrored = (left - right.flip(-1)).square().mean().item()
    plain = (left - right).square().mean().item()
    assert math.isfinite(mirrored)
    assert mirrored < 0.8 * plain, "one end looks like the other in a mirror"


def test_the_named_directions_in_the_docs_are_those_of_this_generator(shared_data):
    G = GENERATORS["faces"](shared_data)
    named = og.Directions.load(ROOT / "docs" / "directions" / "digiface_sefa.safetensors")
    assert not named.of_another(G)
    assert {"yaw", "pitch", "exposure", "warmth"} <= set(named.names)
    found = og.SeFa(count=len(named)).fit(G)
    torch.testing.assert_close((found.basis * named.basis).sum(dim=1).abs(), torch.ones(12), rtol=1e-4, atol=0)
