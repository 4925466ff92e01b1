"""ZCA batch normalization against the released layer, the definition of whitening, and a plain transcription."""

import copy

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core.maps import probe
from orthogen.layers.zca import DecorrelatedBatchNorm, ZcaNorm2d
from vectors import vectors


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def correlated(n, c, side, seed=0, dtype=torch.float64):
    """Images whose channels vary together, about a mean."""
    mix, x = random(c, c, seed=seed, dtype=dtype), random(n, c, side, side, seed=seed + 1, dtype=dtype)
    return torch.einsum("ij,njyx->niyx", mix, x) + 3 * random(c, 1, 1, seed=seed + 2, dtype=dtype)


def covariance(y):
    return torch.atleast_2d(y.detach().transpose(0, 1).flatten(1).cov(correction=0))


def made(*args, seed=3, **options):
    """A norm in float64 with a gain and a bias of its own."""
    norm = ZcaNorm2d(*args, **options).double()
    if norm.affine:
        nn.init.uniform_(norm.weight, 0.5, 1.5, generator=torch.Generator().manual_seed(seed))
        nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(seed + 1))
    return norm


def plain(norm, x):
    """The formula, group by group, by torch's eigendecomposition and autograd."""
    images = []
    for group in x.split(x.shape[1] // norm.groups, dim=1):
        X = group.transpose(0, 1).flatten(1)
        X = X - X.mean(1, keepdim=True)
        values, Q = torch.linalg.eigh(X @ X.T / X.shape[1])
        Y = Q @ torch.diag((values + norm.eps).rsqrt()) @ Q.T @ X
        images.append(Y.view(group.transpose(0, 1).shape).transpose(0, 1))
    return torch.cat(images, 1) * norm.weight[:, None, None] + norm.bias[:, None, None]


# ---------------------------------------------------------------------------------------------- as released
def test_equals_the_released_layer():
    known = {key: torch.from_numpy(value) for key, value in vectors("zca_mpa_g1").items()}
    norm = ZcaNorm2d(8, eps=known["eps"].item(), momentum=known["momentum"].item(), method="pade")
    with torch.no_grad():
        norm.weight.copy_(known["weight"].flatten())
        norm.bias.copy_(known["bias"].flatten())
    x = known["x"].requires_grad_()
    y = norm(x)
    (y * known["cot"]).sum().backward()
    pairs = [
        (y, "y_train"),
        (x.grad, "grad_x"),
        (norm.weight.grad, "grad_weight"),
        (norm.bias.grad, "grad_bias"),
        (norm.running_mean, "running_mean"),
        (norm.running_whitening, "running_subspace"),
        (norm.eval()(x), "y_eval"),
    ]
    for found, name in pairs:
        expected = known[name].view(found.shape)
        assert (found - expected).norm() < 5e-5 * expected.norm(), name  # both are float32


# ---------------------------------------------------------------------------------------------- whitening
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_output_is_white_within_groups(groups):
    x = correlated(4, 8, 6)
    y = ZcaNorm2d(8, eps=0.0, groups=groups).double()(x)
    c = 8 // groups
    for part in y.split(c, dim=1):
        torch.testing.assert_close(covariance(part), torch.eye(c, dtype=x.dtype), rtol=0, atol=1e-10)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(8, dtype=x.dtype), rtol=0, atol=1e-10)


def test_covariance_of_the_output_is_known_with_a_ridge():
    x = correlated(4, 5, 6)
    values, Q = torch.linalg.eigh(covariance(x))
    expected = Q @ torch.diag(values / (values + 0.3)) @ Q.T
    torch.testing.assert_close(covariance(ZcaNorm2d(5, eps=0.3).double()(x)), expected, rtol=0, atol=1e-10)


def test_of_all_whitenings_it_is_the_nearest_to_the_input():
    x = correlated(4, 5, 6)
    centered = x - x.mean((0, 2, 3), keepdim=True)
    y = ZcaNorm2d(5, eps=0.0).double()(x).detach()
    distance = (y - centered).norm()
    for seed in range(20):
        R = torch.linalg.qr(random(5, 5, seed=seed, dtype=torch.float64))[0]
        turned = torch.einsum("ij,njyx->niyx", R, y)  # every other one
        assert (turned - centered).norm() > distance


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("eps", [1e-2, 1e-5])
def test_values_and_gradients_equal_a_plain_transcription(groups, eps):
    norm = made(6, eps=eps, groups=groups)
    x = correlated(4, 6, 5).requires_grad_()
    inputs = (x, norm.weight, norm.bias)
    cotangent = random(*x.shape, seed=5, dtype=torch.float64)
    y, expected = norm(x), plain(norm, x)
    torch.testing.assert_close(y, expected, rtol=1e-8, atol=1e-8)
    for found, known in zip(*(torch.autograd.grad(v, inputs, cotangent) for v in (y, expected)), strict=True):
        torch.testing.assert_close(found, known, rtol=1e-6, atol=1e-8)


def test_float32_is_exact_to_1e_5_at_the_size_of_a_stem():
    norm = made(64)
    Q = torch.linalg.qr(random(64, 64, dtype=torch.float64))[0]
    x = torch.einsum("ij,j,njyx->niyx", Q, torch.logspace(0, -2, 64).double(), random(16, 64, 16, 16).double())
    x = (x + random(64, 1, 1)).float().double()
    cotangent = random(*x.shape, seed=5, dtype=torch.float64)
    results = []
    for dtype in (torch.float32, torch.float64):
        copied, given = copy.deepcopy(norm).to(dtype), x.to(dtype).requires_grad_()
        y = copied(given)
        y.backward(cotangent.to(dtype))
        results.append([y.detach(), given.grad, copied.weight.grad, copied.bias.grad])
    for single, double in zip(*results, strict=True):
        assert single.dtype == torch.float32
        assert (single - double).norm() < 1e-5 * double.norm()


# ---------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("track", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_gradient_is_exact(groups, track, training):
    norm = made(4, groups=groups, track_running_stats=track)
    norm(correlated(3, 4, 3))
    norm.train(training)
    x = correlated(3, 4, 2, seed=9).requires_grad_()

    def f(x, weight, bias):
        return torch.func.functional_call(copy.deepcopy(norm), {"weight": weight, "bias": bias}, x)

    assert torch.autograd.gradcheck(f, (x, norm.weight, norm.bias))


def test_second_gradient_is_exact_where_the_root_has_one_and_refused_where_not():
    norm = made(2, method="newton_schulz", iterations=8)
    x = correlated(2, 2, 2).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x, *_: norm(x), (x, norm.weight, norm.bias))
    norm = made(2)
    (slope,) = torch.autograd.grad(norm(x).sin().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"first derivative only; .* take newton_schulz"):
        slope.square().sum().backward()
    frozen = made(2).requires_grad_(False)
    (slope,) = torch.autograd.grad(frozen.eval()(x).sin().sum(), x, create_graph=True)
    assert torch.autograd.grad(slope.square().sum(), x)[0].isfinite().all()


def test_gradient_reaches_what_asks_for_it_only_and_twice():
    x = correlated(3, 4, 3)
    norm = made(4)
    loss = norm(x).square().sum()
    loss.backward(retain_graph=True)
    once = norm.weight.grad.clone()
    loss.backward()
    torch.testing.assert_close(norm.weight.grad, 2 * once)
    frozen = made(4).requires_grad_(False)
    x.requires_grad_()
    frozen(x).pow(3).sum().backward()
    expected = x.grad.clone()
    x.grad = None
    norm(x).pow(3).sum().backward()
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["white", "constant channels", "copied channels", "fewer values than channels"])
@pytest.mark.parametrize("eps", [1e-2, 0.0])
def test_degenerate_input_stays_finite(kind, eps, dtype):
    x = random(4, 8, 4, 4, dtype=torch.float64)
    if kind == "white":  # covariance exactly I: one eigenvalue, 8 times
        signs = torch.tensor([[(-1.0) ** bin(i & j).count("1") for j in range(64)] for i in range(1, 9)])
        x = signs.view(8, 4, 4, 4).transpose(0, 1)
    elif kind == "constant channels":
        x[:, :3] = 7
    elif kind == "copied channels":
        x[:, 4:] = x[:, :4]
    else:
        x = x[:1, :, :2, :2]
    x = x.to(dtype).requires_grad_()
    norm = made(8, eps=eps).to(dtype)
    y = norm(x)
    y.pow(3).sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert norm.running_whitening.isfinite().all()
    if kind == "white":
        bare = ((y - norm.bias[:, None, None]) / norm.weight[:, None, None]).detach()
        torch.testing.assert_close(bare, x.detach() / (1 + eps) ** 0.5)
    if kind == "constant channels":
        torch.testing.assert_close(y[:, :3], norm.bias[:3, None, None].expand(4, 3, 4, 4))


@pytest.mark.parametrize("method", ["eigh", "newton_schulz", "pade", "taylor", "svd_trunc", "svd_taylor"])
def test_methods_are_chosen_by_name(method):
    x = correlated(4, 3, 8)
    options = {"iterations": 20} if method == "newton_schulz" else {}
    y = ZcaNorm2d(3, method=method, **options).double()(x)
    gap = (y - ZcaNorm2d(3).double()(x)).norm() / y.norm()
    assert (gap < 1e-9) == (method not in ("pade", "taylor"))
    assert gap < 0.5


# ---------------------------------------------------------------------------------------------- statistics
def test_averages_are_of_mean_and_whitening_matrix_and_are_used_in_evaluation():
    norm = made(3, eps=0.1, momentum=0.2)
    mean, whitening = torch.zeros(3).double(), torch.eye(3).double()
    for seed in range(3):
        x = correlated(4, 3, 5, seed=10 * seed)
        norm(x)
        values, Q = torch.linalg.eigh(covariance(x))
        mean = 0.8 * mean + 0.2 * x.mean((0, 2, 3))
        whitening = 0.8 * whitening + 0.2 * Q @ torch.diag((values + 0.1).rsqrt()) @ Q.T
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_whitening[0], whitening)
    assert norm.num_batches_tracked == 3
    before = copy.deepcopy(norm.state_dict())
    y = norm.eval()(x)
    expected = torch.einsum("ij,njyx->niyx", whitening, x - mean[:, None, None])
    torch.testing.assert_close(y, expected * norm.weight[:, None, None] + norm.bias[:, None, None])
    torch.testing.assert_close(norm(x[:1, :, :1, :1]), y[:1, :, :1, :1])  # alone, one pixel
    assert norm(x[:0]).shape == (0, 3, 5, 5)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_without_momentum_averages_are_plain():
    norm = made(3, momentum=None)
    batches = [correlated(4, 3, 5, seed=seed) for seed in range(4)]
    for x in batches:
        norm(x)
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean((0, 2, 3)) for x in batches]).mean(0))


def test_without_averages_evaluation_uses_the_batch():
    norm = made(3, track_running_stats=False)
    x = correlated(4, 3, 5)
    torch.testing.assert_close(norm.eval()(x), norm.train()(x))
    assert list(norm.state_dict()) == ["weight", "bias"]


def test_gradients_or_not_the_pass_is_the_same():
    norm, x = made(3), correlated(4, 3, 5)
    other = copy.deepcopy(norm)
    with torch.no_grad():
        y = other(x)
    torch.testing.assert_close(norm(x).detach(), y)
    torch.testing.assert_close(norm.state_dict(), other.state_dict())


# ---------------------------------------------------------------------------------------------- in other hands
def test_takes_the_place_of_batch_norm():
    for args in ((4,), (4, 1e-3, 0.2, False, True), (4, 1e-5, None, True, False)):
        theirs, ours = nn.BatchNorm2d(*args), ZcaNorm2d(*args)
        assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
        for name in ("num_features", "momentum", "affine", "track_running_stats"):
            assert getattr(ours, name) == getattr(theirs, name)
    one = ZcaNorm2d(6, eps=1e-5, groups=6)  # groups of one channel: batch norm itself
    x = correlated(4, 6, 5).float()
    torch.testing.assert_close(one(x), nn.BatchNorm2d(6)(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.running_mean, 0.1 * x.mean((0, 2, 3)))
    assert DecorrelatedBatchNorm is ZcaNorm2d


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_computed_in_float32(dtype):
    x = correlated(4, 4, 8).float()
    norm = ZcaNorm2d(4)
    expected = norm(x.to(dtype).float())
    y = norm(x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), expected, rtol=1e-2, atol=1e-2)
    x = x.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = norm(x)
        y.pow(3).sum().backward()
    inside, x.grad = x.grad, None
    norm(x).pow(3).sum().backward()
    assert torch.equal(y, norm(x))
    assert torch.equal(inside, x.grad)


def test_memory_format_does_not_matter():
    x = correlated(4, 4, 6).requires_grad_()
    norm = made(4)
    results = []
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        y = norm(given)
        results.append((y, *torch.autograd.grad(y.contiguous(memory_format=torch.channels_last).pow(3).sum(), x)))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("training", [True, False])
def test_a_generator_in_training_is_seen_to_depend_on_its_batch(training):
    net = nn.Sequential(nn.Linear(4, 48), nn.Unflatten(1, (3, 4, 4)), ZcaNorm2d(3), nn.Tanh()).train(training)
    before = copy.deepcopy(net.state_dict())
    f = probe(og.adapt(net, og.Normal(4)))
    assert f.separable(random(6, 4)) == (not training)
    value = og.HessianPenalty()(f, random(6, 4), rng=torch.Generator().manual_seed(0))
    value.backward()
    assert value.isfinite()
    assert value > 0
    assert net[0].weight.grad.isfinite().all()
    assert all(torch.equal(v, before[name]) for name, v in net.state_dict().items())


def test_a_small_network_learns_with_it():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), ZcaNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    x, target = random(16, 3, 8, 8), torch.arange(16) % 2
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(net(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_mistakes_are_named_in_one_line():
    with pytest.raises(ValueError, match=r"^ZcaNorm2d: 6 channels do not make 4 groups; give a divisor of them$"):
        ZcaNorm2d(6, groups=4)
    with pytest.raises(ValueError, match=r"^ZcaNorm2d: images of 3 channels were given; 4 are accepted$"):
        ZcaNorm2d(4)(torch.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match=r"^ZcaNorm2d: 1 samples of 1 pixels have no covariance; give more of either"):
        ZcaNorm2d(4)(torch.zeros(1, 4, 1, 1))
