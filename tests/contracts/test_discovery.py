"""What every way to find directions keeps."""

import json

import pytest
import torch

import orthogen as og
from contracts.examples import Busiest
from contracts.members import members
from hosts import HOSTS, painted
from orthogen.core.kinds import Discovery
from traces import trace

every = pytest.mark.parametrize("member", members(Discovery, example=Busiest))


def fit(member, seed=0):
    generator, _ = painted(HOSTS["mlp"]).build()
    return member().fit(generator, rng=torch.Generator().manual_seed(seed))


@every
def test_directions_span_the_generators_latent(member):
    found = fit(member)
    assert found.basis.shape[1] == 4
    assert 1 <= len(found) == len(found.names)
    assert found.basis.isfinite().all()
    assert not found.basis.requires_grad
    assert (found.basis.norm(dim=1) > 1e-6).all()
    if found.strength is not None:
        assert (found.strength.diff() <= 0).all()
    assert found.provenance["method"]
    json.dumps(dict(found.provenance), allow_nan=False)


@every
def test_a_seed_fixes_the_directions_and_the_global_generator_is_not_touched(member):
    before = torch.get_rng_state()
    assert torch.equal(fit(member).basis, fit(member).basis)
    assert torch.equal(torch.get_rng_state(), before)


@every
def test_it_leaves_no_trace_in_the_generator(member):
    generator, _ = painted(HOSTS["batch norm, evaluation"]).build()
    before = trace(generator.module)
    member().fit(generator, rng=torch.Generator().manual_seed(0))
    assert trace(generator.module) == before
    assert all(p.grad is None for p in generator.module.parameters())


@every
def test_directions_survive_their_file(member, tmp_path):
    found = fit(member)
    found.save(tmp_path / "found.safetensors")
    read = og.Directions.load(tmp_path / "found.safetensors")
    assert torch.equal(read.basis, found.basis)
    assert (read.space, tuple(read.names)) == (found.space, tuple(found.names))
