import pytest
import torch
from torch import nn

from orthogen.layers.batch_norm import BatchNorm2d, ConditionalBatchNorm2d, standing_statistics


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def conditional(statistics="running", channels=3, classes=5):
    norm = ConditionalBatchNorm2d(
        nn.Embedding(classes, channels), nn.Embedding(classes, channels), channels, statistics=statistics
    )
    return norm.double()


def batches(n, rng, channels=3):
    return [2 + 3 * torch.randn(4, channels, 5, 5, generator=rng, dtype=torch.float64) for _ in range(n)]


def test_the_plain_one_is_torchs_in_training_and_evaluation(rng):
    ours, torchs = BatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    for norm in (ours, torchs):
        (norm.gain if norm is ours else norm.weight).data = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
        norm.bias.data = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)
    for x in batches(3, rng):
        torch.testing.assert_close(ours(x), torchs(x))
    torch.testing.assert_close(ours.stored_mean, torchs.running_mean)
    torch.testing.assert_close(ours.stored_var, torchs.running_var)
    x = batches(1, rng)[0]
    torch.testing.assert_close(ours.eval()(x), torchs.eval()(x))


def test_each_sample_has_the_gain_and_bias_of_its_class(rng):
    norm = conditional().eval()
    x, label = batches(1, rng)[0], torch.tensor([0, 4, 4, 2])
    torchs = nn.BatchNorm2d(3, affine=False).double().eval()
    expected = torchs(x) * (1 + norm.gain.weight[label])[..., None, None] + norm.bias.weight[label][..., None, None]
    torch.testing.assert_close(norm(x, label), expected)


@pytest.mark.parametrize(("statistics", "alone"), [("running", True), ("standing", True), ("batch", False)])
def test_outputs_in_evaluation_depend_on_the_batch_only_if_so_named(rng, statistics, alone):
    norm = conditional(statistics)
    label = torch.tensor([0, 4, 4, 2])
    if statistics == "standing":
        with standing_statistics(norm):
            norm(batches(1, rng)[0], label)
    norm.eval()
    x = batches(1, rng)[0]
    assert torch.allclose(norm(x, label)[:1], norm(x[:1], label[:1])) is alone


def test_running_statistics_are_the_default():
    assert BatchNorm2d(1).statistics == conditional().statistics == "running"


@pytest.mark.parametrize("statistics", ["running", "standing", "batch"])
def test_only_training_with_running_statistics_moves_them(rng, statistics):
    norm = BatchNorm2d(3, statistics=statistics).double()
    x = batches(1, rng)[0]
    norm.eval()(x)
    before = norm.stored_mean.clone()
    norm.train()(x)
    moved = not torch.equal(norm.stored_mean.nan_to_num(), before.nan_to_num())
    assert moved is (statistics == "running")


def test_standing_statistics_are_plain_averages_over_the_passes(rng):
    norm = BatchNorm2d(3, statistics="standing").double().eval()
    assert norm(batches(1, rng)[0]).isnan().all()  # not measured yet
    passes = batches(4, rng)
    with standing_statistics(norm):
        for x in passes:
            norm(x)
    torch.testing.assert_close(norm.stored_mean, torch.stack([x.mean((0, 2, 3)) for x in passes]).mean(0))
    torch.testing.assert_close(norm.stored_var, torch.stack([x.var((0, 2, 3)) for x in passes]).mean(0))
    before = norm.stored_mean.clone()
    norm.train()(passes[0])
    assert torch.equal(norm.stored_mean, before)


def test_a_network_trained_on_running_statistics_can_stand(rng):
    net = nn.Sequential(nn.Conv2d(3, 3, 1), BatchNorm2d(3)).double().eval()
    x = batches(1, rng)[0]
    with standing_statistics(net):
        inside = net(x)
    assert net[1].statistics == "standing"
    torch.testing.assert_close(net(x), inside, rtol=0.02, atol=0.02)  # biased in the batch, unbiased as kept


def test_standing_statistics_of_nothing_are_refused():
    with (
        pytest.raises(ValueError, match="standing_statistics: Linear has no batch norm of orthogen"),
        standing_statistics(nn.Linear(1, 1)),
    ):
        pass
    with pytest.raises(ValueError, match="no pass was made inside the block"), standing_statistics(BatchNorm2d(1)):
        pass


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:FutureWarning")  # torch's forward mode
@pytest.mark.parametrize("training", [True, False])
def test_backward_through_a_forward_derivative_is_right(rng, training):
    norm = BatchNorm2d(2, statistics="batch").double().train(training)
    layer = nn.Conv2d(2, 2, 1).double()
    x, v = (torch.randn(3, 2, 3, 3, generator=rng, dtype=torch.float64) for _ in range(2))

    def squared(jacobian_product):
        (gradient,) = torch.autograd.grad(jacobian_product.pow(3).sum(), [layer.weight])
        return gradient

    def f(x):
        return norm(layer(x)).pow(2)

    forward = squared(torch.func.jvp(f, (x,), (v,))[1])
    x = x.requires_grad_()
    weights = torch.ones_like(x, requires_grad=True)  # the product by two backward passes
    (back,) = torch.autograd.grad(f(x), x, weights, create_graph=True)
    twice = squared(torch.autograd.grad(back, weights, v, create_graph=True)[0])
    torch.testing.assert_close(forward, twice)
