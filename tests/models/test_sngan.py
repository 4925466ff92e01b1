import pytest
import torch

import orthogen as og
from orthogen.layers.batch_norm import BatchNorm2d, ConditionalBatchNorm2d, standing_statistics
from orthogen.models.sngan import Sngan
from studio_nets import golden_net, load_golden, our_name

# the network of the golden file
RELEASED = Sngan(og.Normal(8), width=2, critic_width=4, statistics="batch", skip_relu=True)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def golden():
    return golden_net("net_sngan32")


def test_images_logits_and_gradients_equal_the_golden_file(golden):
    nets = RELEASED.build()
    generator, critic = (load_golden(nets[n], golden, p) for n, p in (("generator", "G."), ("critic", "D.")))
    images = generator(golden["z"], golden["y"])
    torch.testing.assert_close(images[:2], golden["images"], rtol=1e-4, atol=1e-5)
    logits = critic(images, golden["y"])
    torch.testing.assert_close(logits[:, 0], golden["logits_fake"], rtol=1e-4, atol=1e-5)
    loss = -logits.mean()
    torch.testing.assert_close(loss, golden["g_loss"], rtol=1e-5, atol=0)
    loss.backward()
    norms = {name.removeprefix("gradnorm.G."): norm for name, norm in golden.items() if name.startswith("gradnorm.G.")}
    assert len(norms) == len(list(generator.parameters()))
    for name, norm in norms.items():  # biases before a batch norm have none but rounding
        gradient = generator.get_parameter(our_name(name, None)).grad.norm()
        torch.testing.assert_close(gradient, norm, rtol=1e-4, atol=1e-5)
    for block in critic.blocks:
        block[0].skip_relu = False
    torch.testing.assert_close(
        critic(images, golden["y"])[:, 0], golden["logits_fake_no_inplace"], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("resolution", "classes", "generator", "critic"),
    [(32, 10, 4_304_387, 1_055_105), (64, 5, 12_243_715, 19_547_841), (128, 5, 32_190_211, 38_424_257)],
)
def test_parameter_counts(resolution, classes, generator, critic):
    with torch.device("meta"):
        nets = Sngan(resolution=resolution, classes=classes).build()
    assert [sum(p.numel() for p in net.parameters()) for net in nets.values()] == [generator, critic]


@pytest.mark.parametrize(
    ("resolution", "channels"),
    [
        (32, (256, 256, 256, 256, 256, 256)),
        (64, (1024, 512, 512, 256, 256, 128, 128, 64)),
        (128, (1024, 1024, 1024, 512, 512, 256, 256, 128, 128, 64)),
    ],
)
def test_channels_of_the_conditional_norms(resolution, channels):
    """Those that group spectral regularization looks at; the last, unconditional norm is not among them."""
    with torch.device("meta"):
        net = Sngan(resolution=resolution, classes=5).build()["generator"]
    norms = [part for part in net.modules() if isinstance(part, ConditionalBatchNorm2d)]
    for table in ("gain", "bias"):
        assert [getattr(norm, table).weight.shape for norm in norms] == [(5, c) for c in channels]
    assert isinstance(net.output_layer[0], BatchNorm2d)


def test_batch_norm_has_the_released_eps_and_momentum():
    net = Sngan(width=1).build()["generator"]
    norms = [part for part in net.modules() if isinstance(part, BatchNorm2d | ConditionalBatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-4, 0.1)}


@pytest.mark.parametrize("resolution", [256, 512])
def test_the_larger_tables_fit_together(resolution):
    with torch.device("meta"):
        nets = Sngan(resolution=resolution, width=2).build()
        images = nets["generator"](torch.zeros(1, 128), torch.zeros(1, dtype=torch.long))
        assert images.shape == (1, 3, resolution, resolution)
        h = images
        for block in nets["critic"].blocks:
            h = block[0](h)
    assert h.shape[2:] == (4, 4)


@torch.no_grad()
def test_every_class_has_a_row_in_each_table():
    model = Sngan(og.Normal(4), width=1, classes=3)
    net = model.build()["generator"].eval()
    z = torch.randn(1, 4).expand(3, -1)
    before = net(z, torch.arange(3))
    net.blocks[0][0].bn1.gain.weight[1] += 1
    after = net(z, torch.arange(3))
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize(("statistics", "alone"), [("running", True), ("standing", True), ("batch", False)])
@torch.no_grad()
def test_an_image_depends_on_its_batch_only_where_that_is_asked_for(statistics, alone):
    model = Sngan(og.Normal(4), width=2, statistics=statistics)
    net = model.build()["generator"]
    z, label = torch.randn(6, 4), torch.tensor([1, 2, 3, 4, 5, 6])
    if statistics == "standing":
        with standing_statistics(net):
            net(torch.randn(8, 4), torch.arange(8))
    else:
        net(torch.randn(8, 4), torch.arange(8))  # a training pass, which leaves running statistics
    net.eval()
    assert Sngan().statistics == "running"
    images = net(z, label)
    assert torch.allclose(images[:1], net(z[:1], label[:1]), atol=1e-5) is alone
    assert torch.allclose(images[[3, 0]], net(z[[3, 0]], label[[3, 0]]), atol=1e-5) is alone


def test_other_sides_take_levels_of_their_own():
    model = Sngan(resolution=16, generator_levels=(4, 2, 1), critic_levels=(1, 2, 2), width=2)
    nets = model.build()
    images = model.adapt(nets["generator"]).sample(2, label=torch.tensor([0, 1]))
    assert images.shape == (2, 3, 16, 16)
    assert nets["critic"](images, torch.tensor([0, 1])).shape == (2, 1)
    with pytest.raises(ValueError, match=r"Sngan\(resolution=16\): the papers' tables have 32"):
        Sngan(resolution=16)
    with pytest.raises(ValueError, match="channels and classes are 1 at least"):
        Sngan(classes=0)
