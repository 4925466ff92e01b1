import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core.kinds import FactorSet
from orthogen.evaluation import factors

CPU = torch.device("cpu")


class Shades(FactorSet):
    """Plain gray images: the factor is the shade, and is read off the first pixel."""

    channels, resolution = 1, 2
    factor_names, factor_sizes = ("shade",), (16,)

    def __init__(self):
        self.batches = []

    def images(self, index, *, rng=None):
        return (17 * index).to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)

    def read_factors(self, images):
        self.batches.append(len(images))
        shade = ((images[:, 0, 0, 0] + 1) * 7.5).round().clamp(0, 15).long()
        return shade[:, None], torch.ones(len(images), 1)


class Shading(nn.Module):
    """Draws one shade per latent, with every habit there is."""

    def __init__(self, together=False):
        super().__init__()
        self.norm = nn.BatchNorm1d(1, track_running_stats=not together)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, z):
        self.calls += 1
        return torch.tanh(self.drop(self.norm(z)))[:, :, None, None].expand(-1, 1, 2, 2)


def read(module, n=200):
    data, G = Shades(), og.adapt(module, og.Normal(1))
    z = G.latent.sample(n, rng=torch.Generator().manual_seed(0))
    values, protocol, _ = factors.read(G, z, data, torch.Generator().manual_seed(1))
    return values, protocol, data.batches[:-1]  # the last batch is of true frames


def test_a_generator_is_read_in_evaluation_mode_and_left_as_it_was():
    module = Shading().train()
    before, buffer = {k: v.clone() for k, v in module.state_dict().items()}, module.calls
    values, protocol, _ = read(module)
    assert torch.equal(values, read(module)[0])  # no dropout
    assert torch.equal(values, read(Shading().eval())[0])
    assert module.training
    assert module.calls is buffer
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert "batch" not in protocol


def test_samples_that_see_each_other_have_a_batch_of_the_same_size_on_every_device(monkeypatch):
    found = []
    for few in (32, 512):
        monkeypatch.setattr(factors, "_few", lambda device, few=few: few)
        found.append(read(Shading(together=True)))
        assert found[-1][2] == [64, 64, 64, 8]
        assert found[-1][1]["batch"] == 64
        assert found[-1][1]["samples see each other"] is True
        assert read(Shading())[2][0] == min(few, 200)
    assert torch.equal(found[0][0], found[1][0])


def test_a_generator_that_needs_labels_is_refused():
    class Conditional(nn.Module):
        def forward(self, z, label):
            return z

    with pytest.raises(ValueError, match="take images of latents alone, and the generator needs 'label' too; fix"):
        read(Conditional())


def test_an_encoder_is_left_as_it_was():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return x.flatten(1)

    encoder = Encoder()
    buffer = encoder.calls
    codes, true, _ = factors.encoded(encoder, Shades(), 16, torch.Generator().manual_seed(0), CPU)
    assert codes.shape == (16, 4)
    assert sorted(true[:, 0].tolist()) == list(range(16))
    assert encoder.calls is buffer
    assert buffer.item() == 0
