import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from orthogen.core.digest import digest


def test_copies_agree_and_every_change_shows():
    tensors = {"weight": torch.randn(3, 2), "count": torch.tensor(4), "empty": torch.zeros(0, 5)}
    plain = digest(tensors)
    assert (
        digest({name: value.clone().requires_grad_(value.is_floating_point()) for name, value in tensors.items()})
        == plain
    )
    assert digest({**tensors, "weight": tensors["weight"].t().contiguous().t()}) == plain  # how it lies in memory
    changed = tensors["weight"].clone()
    changed[2, 1] += 1e-6
    others = [
        {**tensors, "weight": changed},
        {**tensors, "weight": tensors["weight"].reshape(2, 3)},
        {**tensors, "count": torch.tensor(4, dtype=torch.int32)},
        {"weights": tensors["weight"], "count": tensors["count"], "empty": tensors["empty"]},
        {**tensors, "empty": torch.zeros(5, 0)},
    ]
    assert len({plain, *map(digest, others)}) == len(others) + 1


def test_every_dtype_of_a_module():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    found = {digest(net.to(dtype).state_dict()) for dtype in (torch.float32, torch.float64, torch.bfloat16)}
    assert len(found) == 3


@given(st.permutations(["a", "b", "c", "d"]))
def test_the_order_of_names_does_not_matter(names):
    tensors = {name: torch.full((2,), ord(name)) for name in names}
    assert digest(tensors) == digest({name: torch.full((2,), ord(name)) for name in "abcd"})
