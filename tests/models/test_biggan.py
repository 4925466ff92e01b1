import re

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core.latent import Blocks, Normal
from orthogen.core.record import from_json, to_json
from orthogen.layers.batch_norm import standing_statistics
from orthogen.layers.self_attention import SelfAttention
from orthogen.layers.spectral_norm import fold_spectral_norm
from orthogen.models.biggan import BigGan
from studio_nets import golden_net, load_golden, our_name

SMALL = BigGan(resolution=32, classes=10, dim=12, shared_dim=6, width=2, attention=(16,))
RELEASED = BigGan(  # the network of the golden file
    resolution=32, classes=10, dim=16, shared_dim=16, width=4, attention=(16,), statistics="batch", eps=1e-4
)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def on_meta(model):
    with torch.device("meta"):
        return model.build()


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def labeled(net, z, seed=0):
    return net(z, torch.randint(10, (len(z),), generator=torch.Generator().manual_seed(seed)))


# ---------------------------------------------------------------------------------------------- the released networks
@pytest.fixture(scope="module")
def golden():
    return golden_net("net_biggan32")


@pytest.fixture(scope="module")
def released(golden):
    nets = RELEASED.build()
    return {
        "generator": load_golden(nets["generator"], golden, "G.", attention=2),
        "critic": load_golden(nets["critic"], golden, "D.", attention=1),
    }


def test_images_and_gradients_equal_the_golden_file(golden, released):
    generator, critic = released["generator"], released["critic"]
    images = generator(golden["z"], golden["y"])
    torch.testing.assert_close(images[:2], golden["images"], rtol=1e-4, atol=1e-5)
    with_skip(critic, True)
    loss = -critic(images, golden["y"]).mean()
    torch.testing.assert_close(loss, golden["g_loss"], rtol=1e-5, atol=0)
    generator.zero_grad()
    loss.backward()
    norms = {name.removeprefix("gradnorm.G."): norm for name, norm in golden.items() if name.startswith("gradnorm.G.")}
    assert len(norms) == len(list(generator.parameters()))
    for name, norm in norms.items():  # biases before a batch norm have none but rounding
        gradient = generator.get_parameter(our_name(name, attention=2)).grad.norm()
        torch.testing.assert_close(gradient, norm, rtol=1e-4, atol=1e-5)


def with_skip(critic, on):
    for block in critic.blocks:
        block[0].skip_relu = on


@pytest.mark.parametrize(("skip_relu", "key"), [(True, "logits_fake"), (False, "logits_fake_no_inplace")])
@torch.no_grad()
def test_logits_equal_the_golden_file_in_both_readings_of_the_shortcut(golden, released, skip_relu, key):
    with_skip(released["critic"], skip_relu)
    images = released["generator"](golden["z"], golden["y"])
    torch.testing.assert_close(released["critic"](images, golden["y"]), golden[key], rtol=1e-4, atol=1e-5)
    assert (golden["logits_fake"] - golden["logits_fake_no_inplace"]).abs().max() > 0.1


def test_the_option_reaches_every_block():
    critic = BigGan(resolution=32, dim=4, width=1, attention=(), skip_relu=True).build()["critic"]
    assert all(block[0].skip_relu for block in critic.blocks)


# parameters as measured on the originals; their critics hold one more class embedding, which nothing reads
COUNTS = {
    "ImageNet 128": (BigGan(), 70_433_988, None),
    "CIFAR-10": (BigGan(resolution=32, classes=10, dim=80, attention=(16,)), 9_416_196, 2_416_450),
    "LSUN 64": (BigGan(resolution=64, classes=5, width=80, attention=(32,)), 17_420_964, 30_547_762),
    "LSUN 128": (
        BigGan(resolution=128, classes=5, width=80, attention=(32,), critic_attention=(64,)),
        49_297_444,
        60_041_522,
    ),
    "iNaturalist 64": (BigGan(resolution=64, classes=1010, dim=100, width=80, attention=(32,)), 17_438_884, 31_962_802),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    model, generator, critic = COUNTS[name]
    nets = on_meta(model)
    assert parameters(nets["generator"]) == generator
    if critic is not None:
        assert parameters(nets["critic"]) + model.classes * model.shared_dim == critic


@pytest.mark.parametrize(
    ("name", "generator", "critic"),
    [
        ("CIFAR-10", (2, 16, 384), (1, 16, 192)),
        ("LSUN 64", (3, 32, 160), (1, 32, 80)),
        ("LSUN 128", (3, 32, 320), (1, 64, 80)),
        ("iNaturalist 64", (3, 32, 160), (1, 32, 80)),
    ],
)
def test_places_of_self_attention(name, generator, critic):
    """After which block, counted from 1, at how many pixels, on how many channels."""
    model, *_ = COUNTS[name]
    nets, label = on_meta(model), torch.zeros(1, dtype=torch.long, device="meta")
    seen = []
    for net in nets.values():
        for i, block in enumerate(net.blocks):
            for layer in block:
                if isinstance(layer, SelfAttention):
                    layer.register_forward_hook(
                        lambda m, args, out, i=i: seen.append((i + 1, out.shape[2], out.shape[1]))
                    )
    nets["critic"](nets["generator"](torch.zeros(1, model.dim, device="meta"), label), label)
    assert seen == [generator, critic]


def test_state_dict_of_the_released_128_pixel_generator():
    state = {name: tuple(x.shape) for name, x in on_meta(BigGan())["generator"].state_dict().items()}
    assert len(state) == 166
    assert sum(name.endswith("u0") for name in state) == 41
    assert state["shared.weight"] == (1000, 128)
    assert state["linear.weight"] == (4 * 4 * 1536, 20)
    assert state["linear.u0"] == (1, 4 * 4 * 1536)
    assert state["linear.sv0"] == (1,)
    assert {re.sub(r"\.(weight|bias|u0|sv0|stored_\w+|gain\..*|bias\..*)$", "", n) for n in state if "s.0.0." in n} == {
        f"blocks.0.0.{part}" for part in ("conv1", "conv2", "conv_sc", "bn1", "bn2")
    }
    assert state["blocks.2.0.bn1.gain.weight"] == (768, 148)
    assert "blocks.2.0.bn1.gain.bias" not in state
    assert state["blocks.4.0.bn2.stored_var"] == (96,)
    assert [state[f"blocks.3.1.{part}.weight"][:2] for part in ("theta", "phi", "g", "o")] == [
        (24, 192), (24, 192), (96, 192), (192, 96)
    ]  # fmt: skip
    assert state["blocks.3.1.gamma"] == ()
    assert state["output_layer.0.gain"] == state["output_layer.0.stored_mean"] == (96,)
    assert state["output_layer.2.weight"] == (3, 96, 3, 3)


def test_folding_all_41_spectral_norms_leaves_images_as_they_are():
    net = SMALL.build()["generator"].eval()
    z = torch.randn(3, 12)
    before = labeled(net, z)
    folded = fold_spectral_norm(net)
    assert torch.equal(labeled(folded, z), before)
    plain = BigGan(**{**vars(SMALL), "spectral": False}).build()["generator"]
    assert folded.state_dict().keys() == plain.state_dict().keys()


# ---------------------------------------------------------------------------------------------- latent, labels, options
def test_the_latent_has_the_named_slices_of_the_direction_searches():
    latent = BigGan().latent
    assert isinstance(latent, Blocks)
    assert latent.slices == {"coarse": slice(0, 40), "mid": slice(40, 80), "fine": slice(80, 120)}
    uneven = BigGan(resolution=64, dim=100, attention=(32,))
    assert uneven.latent.slices == {"coarse": slice(0, 40), "mid": slice(40, 80), "fine": slice(80, 100)}
    assert BigGan(hierarchical=False, dim=128).latent == Normal(128)


@torch.no_grad()
def test_each_slice_reaches_its_blocks_only():
    net = SMALL.build()["generator"].eval()
    heard = {}
    for i, (block, *_) in enumerate(net.blocks):
        block.bn1.register_forward_hook(lambda m, args, out, i=i: heard.__setitem__(i, args[1]))
    z = torch.randn(2, 12)
    labeled(net, z)
    y = heard[0][:, :6]
    for i in range(3):
        assert torch.equal(heard[i], torch.cat([y, z[:, 3 + 3 * i : 6 + 3 * i]], dim=1))


@torch.no_grad()
def test_without_hierarchy_the_first_layer_gets_all_of_the_latent():
    model = BigGan(**{**vars(SMALL), "hierarchical": False})
    net = model.build()["generator"]
    assert net.linear.weight.shape[1] == 12
    assert net.blocks[0][0].bn1.gain.weight.shape[1] == 6
    assert labeled(net, torch.randn(2, 12)).shape == (2, 3, 32, 32)


@torch.no_grad()
def test_an_image_does_not_depend_on_its_batch_unless_asked():
    z, label = torch.randn(4, 12), torch.tensor([1, 2, 3, 4])
    for statistics, alone in (("running", True), ("standing", True), ("batch", False)):
        net = BigGan(**{**vars(SMALL), "statistics": statistics}).build()["generator"].eval()
        if statistics == "standing":
            with standing_statistics(net):
                labeled(net, torch.randn(8, 12))
        assert torch.allclose(net(z, label)[:1], net(z[:1], label[:1]), atol=1e-5) is alone


@torch.no_grad()
def test_labels_matter_and_are_checked(unchecked):
    G = SMALL.adapt(SMALL.build()["generator"].eval())
    z = torch.randn(1, 12).expand(2, -1)
    one, other = G(z, label=torch.tensor([0, 9]))
    assert not torch.equal(one, other)
    with pytest.raises(ValueError, match="this generator takes class labels: hand it label=, integers from 0 to 9"):
        G(z)
    with pytest.raises(ValueError, match="labels from 0 to 10 were given; 0 to 9 are known"):
        G(z, label=torch.tensor([0, 10]))
    with pytest.raises(ValueError, match="this critic takes class labels"):
        SMALL.build()["critic"](torch.zeros(1, 3, 32, 32))


def test_truncated_latents_have_the_distribution_of_drawing_again(rng):
    latent = BigGan(truncation=0.7).latent
    z = latent.sample(2000, rng=rng)
    assert z.abs().max() <= 0.7
    assert latent.slices == BigGan().latent.slices
    raw = torch.randn(2_000_000, generator=rng)
    again = raw[raw.abs() <= 0.7]
    torch.testing.assert_close(z.std(), again.std(), rtol=5e-3, atol=0)
    quantiles = torch.linspace(0, 1, 9)
    torch.testing.assert_close(
        z.flatten()[:200_000].quantile(quantiles), again[:200_000].quantile(quantiles), atol=0.01, rtol=0
    )
    assert latent.span == (-0.7, 0.7)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:FutureWarning")  # torch's forward mode
def test_penalties_and_directions_run_on_it_under_labels(rng):
    G = SMALL.adapt(SMALL.build()["generator"].eval())
    label = torch.tensor([3, 3])
    z = G.latent.sample(2, rng=rng)
    f = og.given(og.probe(G, layers=("blocks.0.0.conv1", "blocks.1.1")), label=label)
    for penalty in (og.HessianPenalty(), og.OroJaR(), og.OroJaR(derivative=og.Exact())):
        value = penalty(f, z, rng=rng)
        assert value.isfinite()
        assert value > 0
    found = og.SeFa().fit(G, rng=rng)
    assert found.basis.shape == (12, 12)
    search = og.PenaltyDescent("OroJaR", search_space="mid", steps=2, batch=2, fix_class=3)
    directions = search.fit(G, rng=rng)
    slices = G.latent.slices
    assert directions.basis[:, slices["coarse"]].abs().max() == 0
    assert directions.basis[:, slices["mid"]].abs().max() > 0


def test_orthogonal_weights_and_zero_biases_at_the_start():
    net = SMALL.build()["generator"]
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Linear | nn.Embedding):
            rows = part.weight.detach().flatten(1)
            gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
            torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)
            if getattr(part, "bias", None) is not None:
                assert not part.bias.any()


def test_round_trip_through_json():
    model = BigGan(
        resolution=16, dim=30, attention=(8,), generator_levels=(4, 2, 1), critic_levels=(1, 2), truncation=0.5
    )
    assert from_json(to_json(model)) == model
    nets = on_meta(model)
    assert parameters(nets["generator"]) > 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resolution": 96}, r"BigGan\(resolution=96\): the side is 4·2\^n pixels; give 8, 16, 32, 64, 128, ..."),
        ({"resolution": 16}, r"the papers' tables have 32, 64, 128, 256 and 512 pixels; for others give"),
        ({"generator_levels": (1, 2)}, r"give 6 entries, for 4, 8, ..., 128 pixels"),
        ({"critic_levels": (1,) * 9}, r"give 1 to 6 entries at 128 pixels"),
        ({"dim": 128}, r"at 128 pixels the latent is cut into 6 chunks; give a multiple of 6, or hierarchical=False"),
        ({"width": 0}, r"widths and levels are 1 at least"),
        ({"classes": 0}, r"channels, classes, dim and shared_dim are 1 at least"),
        ({"statistics": "moving"}, r"statistics='moving'.*'running' or 'standing' or 'batch' is accepted"),
        ({"attention": (64, 128, 256)}, r"attention=.*no block ends at 256; give some of \[8, 16, 32, 64, 128\], or"),
        ({"critic_attention": (2,)}, r"critic_attention=\(2,\)\): at 128 pixels no block ends at 2;"),
        ({"truncation": 0.0}, r"BigGan\(truncation=0.0\): give a positive bound, or None for none"),
    ],
)  # fmt: skip
def test_impossible_networks_are_refused_in_one_line(unchecked, fields, message):
    with pytest.raises(ValueError, match=message) as error:
        BigGan(**fields)
    assert "\n" not in str(error.value)
