import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthogen.core.groups import group_correlation, group_shape, grouped


@given(st.integers(1, 4096))
def test_groups_are_the_largest_number_that_is_no_more_than_channels_in_each(channels):
    groups, each = group_shape(channels)
    assert groups * each == channels
    assert groups <= each
    assert all(channels % n or n * n > channels for n in range(groups + 1, each + 1))


def test_rows_are_neighboring_channels():
    x = torch.arange(48).view(2, 24)
    assert torch.equal(grouped(x.float()).long()[1, 2], x[1, 12:18])


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"24 channels cannot be cut into 5 equal groups; give one of 1, 2, 3, 4"):
        group_shape(24, 5)
    with pytest.raises(ValueError, match=r"there is at least 1 channel"):
        group_shape(0)


def test_correlation_of_groups(rng):
    x = 3 + torch.randn(5, 36, generator=rng, dtype=torch.float64)
    R = group_correlation(x)
    torch.testing.assert_close(R, group_correlation(7 * x - 2))  # whatever its size and mean
    torch.testing.assert_close(R.diagonal(dim1=1, dim2=2), torch.full((5, 6), 1 / 6, dtype=torch.float64))
    M = (x[2] - x[2].mean()).view(6, 6)
    assert R[2, 1, 4].item() == pytest.approx(torch.cosine_similarity(M[1], M[4], dim=0).item() / 6)
    assert not group_correlation(torch.ones(1, 16)).any()
