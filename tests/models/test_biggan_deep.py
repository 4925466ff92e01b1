import re
from itertools import pairwise

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core.latent import Normal, TruncatedNormal
from orthogen.core.record import from_json, to_json
from orthogen.layers.batch_norm import BatchNorm2d, standing_statistics
from orthogen.layers.bottleneck_blocks import BottleneckDownBlock, BottleneckUpBlock
from orthogen.layers.recorded import Recorded
from orthogen.layers.spectral_norm import fold_spectral_norm
from orthogen.models.biggan_deep import BigGanDeep

SMALL = BigGanDeep(resolution=32, classes=10, dim=12, shared_dim=6, width=4, attention=(16,))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def labels(z):
    return torch.randint(10, (len(z),), generator=torch.Generator().manual_seed(0))


# ---------------------------------------------------------------------------------------------- size and names
COUNTS = {128: 50_244_484, 256: 55_736_708, 512: 56_019_780}
CRITIC = {128: (1, 2, 4, 8, 16, 16), 256: (1, 2, 4, 8, 8, 16, 16), 512: (1, 1, 2, 4, 8, 8, 16, 16)}


def bottleneck(inputs, outputs):
    """Parameters of a critic's block."""
    n, missing = outputs // 4, outputs - inputs
    return inputs * n + n + 2 * (9 * n * n + n) + n * outputs + outputs + missing * (inputs + 1)


@pytest.mark.parametrize("resolution", COUNTS)
def test_parameter_counts(resolution):
    """Of the generators as counted on pytorch-pretrained-biggan, less the channels that no image shows."""
    with torch.device("meta"):
        nets = BigGanDeep(resolution=resolution).build()
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    levels = [128 * level for level in CRITIC[resolution]]
    blocks = sum(bottleneck(a, b) + bottleneck(b, b) for a, b in pairwise(levels))
    c = levels[{128: 1, 256: 2, 512: 3}[resolution]]  # at 64 pixels
    attention = 1 + 2 * c * (c // 8) + c * c
    head = 128 * 28 + (levels[-1] + 1) + 1000 * levels[-1]
    assert counts == {"generator": COUNTS[resolution], "critic": blocks + attention + head}


def test_state_dict_of_the_128_pixel_generator():
    with torch.device("meta"):
        state = {name: tuple(x.shape) for name, x in BigGanDeep().build()["generator"].state_dict().items()}
    assert state["shared.weight"] == (1000, 128)
    assert state["linear.weight"] == (4 * 4 * 2048, 256)
    assert {re.sub(r"\.(weight|bias|u0|sv0|stored_\w+|gain\..*|bias\..*)$", "", n) for n in state if "s.9.0." in n} == {
        f"blocks.9.0.{part}{i}" for part in ("conv", "bn") for i in range(1, 5)
    }
    assert [state[f"blocks.3.0.conv{i}.weight"] for i in range(1, 5)] == [
        (512, 2048, 1, 1), (512, 512, 3, 3), (512, 512, 3, 3), (1024, 512, 1, 1)
    ]  # fmt: skip
    assert state["blocks.0.0.bn1.gain.weight"] == (2048, 256)
    assert {name.split(".")[1] for name in state if ".theta." in name} == {"7"}  # at 64 pixels
    assert state["output_layer.2.weight"] == (3, 128, 3, 3)


# ---------------------------------------------------------------------------------------------- blocks
class Plain(nn.Module):
    """A norm that adds its condition."""

    def forward(self, x, condition):
        return x + condition[:, :, None, None]


@pytest.mark.parametrize("enlarge", [False, True])
def test_an_up_block_drops_channels_and_enlarges(enlarge):
    block = BottleneckUpBlock(8, 4, lambda c: Plain(), enlarge).double()
    x, condition = torch.randn(2, 8, 3, 3).double(), torch.randn(2, 1).double()
    enlarged = (lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)) if enlarge else lambda x: x
    act = lambda x: (x + condition[:, :, None, None]).relu()  # noqa: E731
    h = block.conv1(act(x))
    h = block.conv4(act(block.conv3(act(block.conv2(enlarged(act(h)))))))
    torch.testing.assert_close(block(x, condition), h + enlarged(x[:, :4]))
    assert [block.conv2.in_channels, block.conv2.out_channels] == [2, 2]


@pytest.mark.parametrize("halve", [False, True])
def test_a_down_block_adds_channels_and_shrinks(halve):
    block = BottleneckDownBlock(4, 8, halve).eval()
    x = torch.randn(2, 4, 4, 4)
    pooled = (lambda x: x.unflatten(2, (2, 2)).unflatten(4, (2, 2)).mean((3, 5))) if halve else lambda x: x
    h = block.conv3(block.conv2(block.conv1(x.relu()).relu()).relu()).relu()
    skip = torch.cat([pooled(x), block.conv_sc(pooled(x))], dim=1)
    torch.testing.assert_close(block(x), block.conv4(pooled(h)) + skip)
    assert BottleneckDownBlock(8, 8, halve).conv_sc is None


# ---------------------------------------------------------------------------------------------- latent and condition
@torch.no_grad()
def test_the_whole_latent_reaches_every_block():
    net = SMALL.build()["generator"].eval()
    heard = []
    for block, *_ in net.blocks:
        block.bn4.register_forward_hook(lambda m, args, out: heard.append(args[1]))
    z = torch.randn(2, 12)
    net(z, labels(z))
    assert len(heard) == 6
    expected = torch.cat([net.shared(labels(z)), z], dim=1)
    assert all(torch.equal(each, expected) for each in heard)


def test_the_truncation_scales_a_latent_that_is_cut_off_at_two(rng):
    assert SMALL.latent == Normal(12)
    latent = BigGanDeep(**{**vars(SMALL), "truncation": 0.4}).latent
    assert latent.span == (-0.8, 0.8)
    z = latent.sample(20_000, rng=rng)
    assert 0.79 < z.abs().max() <= 0.8
    spread = latent.spread(torch.eye(12))
    torch.testing.assert_close(z.std(dim=0), spread, rtol=0.03, atol=0)
    torch.testing.assert_close(spread, 0.4 * TruncatedNormal(12, 2.0).spread(torch.eye(12)))


def test_it_takes_its_labels():
    G = SMALL.adapt(SMALL.build()["generator"].eval())
    assert G.classes == 10
    z = torch.randn(2, 12)
    with torch.no_grad():
        assert torch.equal(G.of_class(3)(z), G(z, label=torch.tensor([3, 3])))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:FutureWarning")  # torch's forward mode
def test_penalties_and_directions_run_on_it(rng):
    G = SMALL.adapt(SMALL.build()["generator"].eval())
    z = G.latent.sample(2, rng=rng)
    f = og.given(og.probe(G, layers=("blocks.0.0.conv1", "blocks.3.1")), label=torch.tensor([3, 3]))
    for penalty in (og.HessianPenalty(), og.OroJaR(), og.OroJaR(derivative=og.Exact())):
        assert 0 < penalty(f, z, rng=rng) < torch.inf
    assert og.SeFa().fit(G, rng=rng).basis.shape == (12, 12)


# ---------------------------------------------------------------------------------------------- statistics
def test_recorded_statistics_are_interpolated_and_exact_where_recorded():
    values = torch.arange(51.0)[:, None] ** 2
    for step in range(51):
        assert Recorded(51, step / 50).at(values).item() == step**2
    assert Recorded(51, 0.405).at(values).item() == pytest.approx(0.75 * 20**2 + 0.25 * 21**2)


@torch.no_grad()
def test_a_norm_uses_the_statistics_of_its_truncation_until_others_are_measured():
    norm = BatchNorm2d(1, eps=0.0, statistics=Recorded(3, 0.25)).eval()
    norm.stored_mean.copy_(torch.tensor([[0.0], [2.0], [8.0]]))
    norm.stored_var.copy_(torch.tensor([[1.0], [7.0], [9.0]]))
    assert norm(torch.full((1, 1, 1, 1), 5.0)).item() == 2.0  # (5 - 1) / sqrt(4)
    assert "1, eps=0.0, statistics=Recorded(steps=3, truncation=0.25)" in repr(norm)
    before = norm.stored_mean.clone()
    norm.train()(torch.randn(4, 1, 2, 2))
    assert torch.equal(norm.stored_mean, before)
    with standing_statistics(norm.eval()):
        norm(torch.tensor([3.0, 5.0]).view(2, 1, 1, 1))
    assert norm.stored_mean.flatten().tolist() == [4.0, 4.0, 4.0]
    assert norm(torch.full((1, 1, 1, 1), 4.0)).item() == 0.0


@torch.no_grad()
def test_the_generator_keeps_statistics_of_every_truncation():
    model = BigGanDeep(**{**vars(SMALL), "recorded": 51, "truncation": 0.5})
    nets = [BigGanDeep(**{**vars(model), "truncation": t}).build()["generator"].eval() for t in (0.5, None)]
    state = nets[0].state_dict()
    assert state["blocks.1.0.bn2.stored_mean"].shape == (51, 4)
    for name in [name for name in state if name.endswith("stored_mean")]:
        state[name][25] = 1.0
    nets[1].load_state_dict(state)
    z = torch.randn(2, 12)
    assert not torch.equal(nets[0](z, labels(z)), nets[1](z, labels(z)))
    for name in [name for name in state if name.endswith("stored_mean")]:
        state[name][50] = 1.0
    nets[1].load_state_dict(state)
    assert torch.equal(nets[0](z, labels(z)), nets[1](z, labels(z)))


@torch.no_grad()
def test_folding_spectral_norms_leaves_images_as_they_are():
    net = SMALL.build()["generator"].eval()
    z = torch.randn(3, 12)
    before = net(z, labels(z))
    assert torch.equal(fold_spectral_norm(net)(z, labels(z)), before)
    plain = BigGanDeep(**{**vars(SMALL), "spectral": False}).build()["generator"]
    assert net.state_dict().keys() == plain.state_dict().keys()


# ---------------------------------------------------------------------------------------------- options
@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 3])
def test_depth_is_the_number_of_blocks_per_side(depth):
    nets = BigGanDeep(**{**vars(SMALL), "depth": depth}).build()
    assert len(nets["generator"].blocks) == len(nets["critic"].blocks) == 3 * depth
    z = torch.randn(2, 12)
    images = nets["generator"](z, labels(z))
    assert images.shape == (2, 3, 32, 32)
    assert nets["critic"](images, labels(z)).shape == (2, 1)


def test_round_trip_through_json():
    model = BigGanDeep(resolution=16, attention=(8,), generator_levels=(4, 2, 1), critic_levels=(1, 2), recorded=51)
    assert from_json(to_json(model)) == model


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resolution": 96}, r"BigGanDeep\(resolution=96\): the side is 4·2\^n pixels"),
        ({"depth": 0}, r"channels, classes, dim, shared_dim and depth are 1 at least"),
        (
            {"resolution": 8, "generator_levels": (1, 2), "critic_levels": (1,), "attention": ()},
            r"generator_levels=\(1, 2\)\): its blocks only drop channels",
        ),
        (
            {"resolution": 8, "generator_levels": (2, 1), "critic_levels": (2, 1), "attention": ()},
            r"critic_levels=\(2, 1\)\): its blocks only add channels",
        ),
        ({"attention": (63,)}, r"BigGanDeep\(attention=.*no block ends at 63; give some of \[8, 16, 32, 64, 128\], or"),
        ({"critic_attention": (128,)}, r"critic_attention=\(128,\)\): at 128 pixels no block ends at 128;"),
        ({"truncation": -1.0}, r"BigGanDeep\(truncation=-1.0\): give a positive factor, or None for none"),
        ({"recorded": 1}, r"recorded=1, statistics='running'\): give 0, or for running statistics 2 truncations"),
        ({"recorded": 51, "statistics": "batch"}, r"recorded=51, statistics='batch'\): give 0, or for running"),
        ({"recorded": 51, "truncation": 1.5}, r"truncation=1.5\): its statistics are recorded for truncations up to 1"),
    ],
)
def test_impossible_networks_are_refused_in_one_line(unchecked, fields, message):
    with pytest.raises(ValueError, match=message) as error:
        BigGanDeep(**fields)
    assert "\n" not in str(error.value)


def test_impossible_records_are_refused():
    for fields in ((1, 0.5), (51, 1.1), (51, -0.1)):
        with pytest.raises(ValueError, match=r"give two steps at least and a truncation from 0 to 1"):
            Recorded(*fields)
