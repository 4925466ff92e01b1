import pytest
import torch
from torch import nn

from orthogen.layers.block import Block
from orthogen.layers.conv_encoder import ConvEncoder


def test_a_block_normalizes_then_activates(rng):
    block = Block(nn.Conv2d(2, 3, 3, bias=False), norm=3, activation=nn.ReLU())
    x = torch.randn(4, 2, 8, 8, generator=rng)
    inner = block.layers
    assert torch.equal(block(x), torch.relu(inner.instancenorm(inner.conv(x))))


def test_each_convolution_halves_the_image():
    encoder = ConvEncoder((3, 32, 16), (4, 5, 6), hidden=7, outputs=2)
    assert encoder.fc[0].layers.conv.in_features == 6 * 4 * 2
    assert encoder(torch.zeros(5, 3, 32, 16)).shape == (5, 2)


def test_norms_and_hidden_layer_can_be_left_out():
    encoder = ConvEncoder((3, 16, 16), (4, 5), hidden=0, outputs=1, norm=False)
    assert list(encoder.state_dict()) == [
        f"{part}.layers.conv.{name}" for part in ("encoder.0", "encoder.1", "fc.0") for name in ("weight", "bias")
    ]


def test_another_image_shape_is_refused_in_one_line():
    encoder = ConvEncoder((3, 16, 16), (4,), hidden=0, outputs=1)
    with pytest.raises(
        ValueError, match=r"images of \(3, 32, 32\) were given; this encoder was built for \(3, 16, 16\)"
    ):
        encoder(torch.zeros(1, 3, 32, 32))
