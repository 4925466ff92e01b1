import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core.digest import digest
from orthogen.discovery.coordinates import Coordinates
from orthogen.discovery.random import Random


def generator(dim=6):
    return og.adapt(nn.Linear(dim, 3), og.Normal(dim))


def test_coordinates_are_the_axes():
    found = Coordinates().fit(generator())
    assert torch.equal(found.basis, torch.eye(6))
    assert found.names == tuple("012345")


def test_the_file_says_which_generator_it_is_for():
    G = generator()
    found = Random(count=2).fit(G, rng=torch.Generator().manual_seed(0))
    assert found.provenance["method"] == "Random"
    assert found.provenance["settings"]["count"] == 2
    assert found.provenance["generator"] == digest(G.module.state_dict())
    assert Coordinates().fit(generator()).provenance["generator"] != found.provenance["generator"]


@pytest.mark.parametrize("count", [None, 1, 4])
def test_random_directions_are_orthonormal(count, rng):
    Q = Random(count).fit(generator(), rng=rng).basis
    assert Q.shape == (count or 6, 6)
    torch.testing.assert_close(Q @ Q.T, torch.eye(len(Q)), atol=1e-6, rtol=0)


def test_random_directions_are_uniform(rng):
    # the first and second moments of Haar, and no preferred sign
    Q = torch.stack([Random(count=2).fit(generator(3), rng=rng).basis for _ in range(2000)])
    assert Q.mean(0).abs().max() < 0.06
    torch.testing.assert_close(Q.square().mean(0), torch.full((2, 3), 1 / 3), atol=0.03, rtol=0)


def test_random_directions_leave_the_global_generator_alone():
    G, before = generator(), torch.get_rng_state()
    Random().fit(G)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("count", [0, 7])
def test_more_directions_than_there_are_is_refused(count):
    with pytest.raises(ValueError, match=rf"Random\(count={count}\): this generator has 1 to 6 directions to give"):
        Random(count).fit(generator())
