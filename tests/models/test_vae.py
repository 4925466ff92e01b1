"""The published layers, and the weights of others in them."""

import json

import pytest
import torch
from torch import nn

import orthogen as og
import real
from orthogen.core.images import to_float
from orthogen.core.record import from_json, to_json

DVAES = ("dvae_VAE_dsprites", "dvae_btcvae_dsprites", "dvae_factor_celeba")


def weights(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(x.shape) for name, x in network.named_parameters() if name.endswith("weight")]


def test_the_study_has_the_published_layers():
    networks = og.Vae().build()
    # convolutions are (out, in, side, side), transposed ones (in, out, side, side), linear layers (out, in)
    assert weights(networks["encoder"]) == [
        (32, 1, 4, 4), (32, 32, 4, 4), (64, 32, 2, 2), (64, 64, 2, 2), (256, 1024), (20, 256),
    ]  # fmt: skip
    assert weights(networks["generator"]) == [
        (256, 10), (1024, 256), (64, 64, 4, 4), (64, 32, 4, 4), (32, 32, 4, 4), (32, 1, 4, 4),
    ]  # fmt: skip


def test_the_other_architecture_has_its_published_layers():
    networks = og.Vae(channels=3, architecture="burgess").build()
    assert weights(networks["encoder"]) == [
        (32, 3, 4, 4), *[(32, 32, 4, 4)] * 3, (256, 512), (256, 256), (20, 256),
    ]  # fmt: skip
    assert weights(networks["generator"]) == [
        (256, 10), (256, 256), (512, 256), *[(32, 32, 4, 4)] * 3, (32, 3, 4, 4),
    ]  # fmt: skip


@pytest.mark.parametrize("architecture", ["study", "burgess"])
@pytest.mark.parametrize("resolution", [16, 32, 64, 128])
def test_other_sides_have_fewer_or_more_of_the_same_layers(architecture, resolution, rng):
    model = og.Vae(og.Normal(4), 3, resolution, architecture)
    networks = model.build()
    images = model.adapt(networks["generator"]).sample(2, rng=rng)
    assert images.shape == (2, 3, resolution, resolution)
    mean, log_variance = networks["encoder"](images)
    assert mean.shape == log_variance.shape == (2, 4)
    inside = og.probe(model.adapt(networks["generator"]), model.regularized_layers)(torch.zeros(2, 4))
    assert [x.shape[-1] for x in inside] == [8 * 2**i for i in range(len(inside))]
    assert inside[-1].shape[-1] == resolution // 2
    if resolution == 32:
        twice = og.Vae(og.Normal(4), 3, 64, architecture).build()
        assert len(weights(twice["encoder"])) == len(weights(networks["encoder"])) + 1
        assert len(weights(twice["generator"])) == len(weights(networks["generator"])) + 1


def test_images_are_logits_brought_to_the_range_of_images(rng):
    model = og.Vae(resolution=16)
    decoder = model.build()["generator"]
    z = torch.randn(3, 10, generator=rng)
    image, logits = og.probe(model.adapt(decoder), ("output", "layers.1"))(z)
    torch.testing.assert_close(logits, decoder(z))
    torch.testing.assert_close(image, 2 * logits.sigmoid() - 1, atol=1e-6, rtol=0)


def test_the_encoder_sees_black_as_zero():
    encoder = og.Vae(resolution=16).build()["encoder"]
    seen = []
    encoder.layers.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    encoder(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(-1, -1, 16, 16))
    assert seen[0][:, 0, 0, 0].tolist() == [0.0, 1.0]


# ---------------------------------------------------------------------------------------------- weights of others
def renamed(theirs: dict[str, torch.Tensor], names: dict[str, str]) -> dict[str, torch.Tensor]:
    """The state of a network with other names, in their order; every tensor is asked for once."""
    pairs = {
        f"{mine}.layers.conv.{kind}": f"{its}.{kind}" for its, mine in names.items() for kind in ("weight", "bias")
    }
    assert sorted(pairs.values()) == sorted(theirs)
    return {mine: theirs[its] for mine, its in pairs.items()}


def loaded(net: nn.Module, channels: int) -> tuple[og.Generator, nn.Module]:
    """Our networks with the weights of a trained one, whose code has a mean and a log variance by turns."""
    model = og.Vae(og.Normal(net.nz), channels, architecture="burgess")
    networks = model.build()
    convolutions = ("conv1", "conv2", "conv3", "conv_64")
    state = {
        "layers." + name: value
        for name, value in renamed(
            net.encoder.state_dict(),
            {name: f"encoder.{i}" for i, name in enumerate(convolutions)}
            | {"lin1": "fc.0", "lin2": "fc.1", "mu_logvar_gen": "fc.2"},
        ).items()
    }
    for kind in ("weight", "bias"):
        last = state[f"layers.fc.2.layers.conv.{kind}"]
        state[f"layers.fc.2.layers.conv.{kind}"] = torch.cat([last[0::2], last[1::2]])
    networks["encoder"].load_state_dict(state)
    doublings = ("convT_64", "convT1", "convT2", "convT3")
    names = {f"lin{i + 1}": f"linear.{i}" for i in range(3)} | {n: f"layers.{i}" for i, n in enumerate(doublings)}
    networks["generator"].load_state_dict(renamed(net.decoder.state_dict(), names))
    return model.adapt(networks["generator"]), networks["encoder"]


@pytest.mark.parametrize("name", DVAES)
@torch.no_grad()
def test_trained_weights_of_others_give_their_images_and_codes(shared_data, name, rng):
    encoder, decoder = real.vae(shared_data, name)
    generator, ours = loaded(encoder.net, channels=3 if name.endswith("celeba") else 1)
    z = generator.latent.sample(8, rng=rng)
    torch.testing.assert_close(generator(z), decoder(z), atol=2e-6, rtol=0)
    images = generator(z)
    mean, log_variance = encoder.net.encode((images + 1) / 2)
    torch.testing.assert_close(ours(images), (mean, log_variance), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_their_autoencoder_reconstructs_in_our_networks_and_the_bound_is_low(shared_data, rng):
    encoder, _ = real.vae(shared_data, "dvae_VAE_dsprites")
    generator, ours = loaded(encoder.net, channels=1)
    sprites = real.RedrawnDSprites(shared_data)
    images = to_float(sprites.images(torch.randint(len(sprites), (64,), generator=rng)))
    mean, log_variance = ours(images)
    z = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=rng)
    parts = og.Elbo().parts(generator.module(z), images, z, mean, log_variance)
    assert 5 < parts.error < 40  # of 64 x 64 pixels; a black sheet is wrong by hundreds
    assert 10 < parts.divergence.sum() < 40
    assert (generator(mean) - images).abs().mean() < 0.02


# ---------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize("resolution", [8, 48, 63, 0])
def test_a_side_that_does_not_fit_is_refused(resolution):
    with pytest.raises(ValueError, match=rf"Vae\(resolution={resolution}\): the side is 4·2\^n pixels, from 16 on"):
        og.Vae(resolution=resolution)


def test_other_words_and_no_channels_are_refused(unchecked):
    with pytest.raises(ValueError, match=r"Vae\(architecture='mlp'\): 'study' or 'burgess' is accepted"):
        og.Vae(architecture="mlp")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Vae\(channels=0\): images have at least 1 channel"):
        og.Vae(channels=0)


def test_it_survives_json():
    model = og.Vae(og.Normal(6), 3, 32, "burgess")
    assert from_json(json.loads(json.dumps(to_json(model)))) == model
