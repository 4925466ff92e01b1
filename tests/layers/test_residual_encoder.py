"""The residual encoder, in two of its uses; its values are tested as a critic's, with the model that has it."""

import pytest
import torch
from torch import Tensor, nn

from orthogen.layers.fir import FilteredDown, FilteredUp, downsample2d, filtered_up_conv2d, fir
from orthogen.layers.residual_encoder import ResidualEncoder


def encoder(side: int = 8, **options: bool) -> ResidualEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ResidualEncoder((2, side, side), width=3, hidden=4, outputs=2, **options).double()


def images(n: int = 4, side: int = 8) -> Tensor:
    return torch.randn(n, 2, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("side", "widths"), [(4, []), (16, [3, 6]), (64, [3, 6, 12, 24])])
def test_channels_double_while_the_side_halves(side: int, widths: list[int]) -> None:
    network = encoder(side)
    assert [block.conv0.weight.shape[1] for block in network.blocks] == widths
    assert network(images(2, side)).shape == (2, 2)


def test_channels_end_at_512() -> None:
    with torch.device("meta"):
        network = ResidualEncoder((3, 64, 64), width=200, hidden=8, outputs=1)
    assert [block.conv1.weight.shape[0] for block in network.blocks] == [400, 512, 512, 512]


def test_images_are_seen_one_by_one_without_the_standard_deviation() -> None:
    x = images()
    together = encoder(stddev=False)(x)
    torch.testing.assert_close(together, torch.cat([encoder(stddev=False)(one[None]) for one in x]))
    assert not torch.allclose(encoder()(x)[:1], encoder()(x[:1]))


def test_it_has_right_second_derivatives_as_a_penalty_of_gradients_needs() -> None:
    network, x = encoder(4, stddev=False), images(1, 4).requires_grad_()
    assert torch.autograd.gradgradcheck(network, (x,))


def test_halving_filters_first() -> None:
    x, weight = images(), torch.randn(5, 2, 1, 1, dtype=torch.float64)
    down, up = FilteredDown().double(), FilteredUp().double()
    expected = nn.functional.conv2d(downsample2d(x, fir().double()), weight)
    torch.testing.assert_close(down(x, weight), expected)
    # a constant stays what it is, inside: the filter and its sampling neither darken nor lighten it
    ones, plain = torch.ones(1, 1, 8, 8, dtype=torch.float64), torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    plain[0, 0, 1, 1] = 1
    torch.testing.assert_close(down(ones, plain)[..., 1:-1, 1:-1], ones[..., :2, :2])
    assert torch.equal(up(ones, plain), filtered_up_conv2d(ones, plain, fir().double()))
    torch.testing.assert_close(
        up(ones, plain)[..., 2:-2, 2:-2], ones.expand(1, 1, 8, 8).repeat(1, 1, 2, 2)[..., 2:-2, 2:-2]
    )


def test_mistakes_are_told_in_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"images of 24 x 24 pixels: a residual encoder takes squares of 4·2\^n; give 4"
    ):
        encoder(24)
    with pytest.raises(ValueError, match=r"images of 8 x 4 pixels: a residual encoder takes squares"):
        ResidualEncoder((2, 8, 4), width=3, hidden=4, outputs=1)
    with pytest.raises(ValueError, match=r"images of \(2, 16, 16\) were given; this encoder was built for \(2, 8, 8\)"):
        encoder()(images(2, 16))
