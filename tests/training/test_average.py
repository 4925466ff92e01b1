import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from orthogen.training.ema import Average


@given(st.integers(1, 500), st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_one_half_life_halves_the_distance_in_any_number_of_updates(half_life: int, updates: list[int]) -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = Average(network, half_life)
    nn.init.ones_(network.weight)
    for images in updates:
        average.update(images)
    expected = 1 - 0.5 ** (sum(updates) / half_life)
    assert abs(average.module.weight.item() - expected) < 1e-5


def test_buffers_are_copied_and_nothing_requires_gradients() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = Average(network, 10)
    network(torch.randn(8, 2))
    average.update(8)
    assert torch.equal(average.module[1].running_mean, network[1].running_mean)
    assert average.module[1].num_batches_tracked == 1
    assert not any(p.requires_grad for p in average.module.parameters())
    assert all(p.requires_grad for p in network.parameters())


def test_without_a_half_life_it_is_the_network() -> None:
    network = nn.Linear(1, 1)
    average = Average(network, 0)
    average.update(8)
    assert average.module is network
    assert network.weight.requires_grad
