"""What every way to find directions keeps."""

import dataclasses
import json

import pytest
import torch

import orthogen as og
from contracts.members import members
from hosts import HOSTS, painted
from orthogen.core import record
from orthogen.core.kinds import Discovery
from traces import trace

every = pytest.mark.parametrize("member", members(Discovery))

# what a member has of these is turned down, since the contract is about behavior, not about what is found
QUICK = {"steps": 3, "batch": 4, "samples": 64}


def quick(member):
    return member(**{field.name: QUICK[field.name] for field in dataclasses.fields(member) if field.name in QUICK})


def fit(member, seed=0, dtype=torch.float32):
    generator, _ = painted(HOSTS["mlp"]).build(dtype)
    return quick(member).fit(generator, rng=torch.Generator().manual_seed(seed))


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
    quick(member).fit(generator, rng=torch.Generator().manual_seed(0))
    assert trace(generator.module) == before
    assert all(p.grad is None for p in generator.module.parameters())


@every
def test_a_generator_in_double_precision_is_taken(member):
    double = fit(member, dtype=torch.float64)
    assert double.basis.dtype == torch.float32
    assert double.basis.isfinite().all()


@every
def test_what_made_them_can_be_read_back(member):
    found = fit(member)
    assert found.provenance["method"] == member.__name__
    assert record.from_json(found.provenance["settings"]) == quick(member)
    assert fit(member).provenance["generator"] == found.provenance["generator"]


@every
def test_directions_survive_their_file(member, tmp_path):
    found = fit(member)
    found.save(tmp_path / "found.safetensors")
    read = og.Directions.load(tmp_path / "found.safetensors")
    assert torch.equal(read.basis, found.basis)
    assert (read.space, tuple(read.names)) == (found.space, tuple(found.names))
