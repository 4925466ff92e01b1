"""Skew orthogonal convolutions against their definition, the released layer, and what orthogonal means."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import forward_ad
from torch.nn.utils import parametrize

import orthogen as og
from orthogen.core.maps import probe
from orthogen.layers.skew_conv import SkewOrthogonalConv2d
from orthogen.layers.skew_symmetric import SkewSymmetric
from vectors import vectors

GOLDEN = {
    "soc_c3o8k3s1": dict(in_channels=3, out_channels=8, kernel_size=3, stride=1),
    "soc_c4o8k3s2": dict(in_channels=4, out_channels=8, kernel_size=3, stride=2),
    "soc_c8o4k1s1": dict(in_channels=8, out_channels=4, kernel_size=1, stride=1),
}
PAIRS = ("u12", "v12", "u34", "v34")  # of the released buffers
VECTORS = ("u_sides", "v_sides", "u_blocks", "v_blocks")


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def released(name):
    """The golden arrays, and our layer in the state they begin with."""
    arrays = {key: torch.from_numpy(value) for key, value in vectors(name).items()}
    layer = make(**GOLDEN[name])
    with torch.no_grad():
        layer.weight.copy_(arrays["p.random_conv_filter"])
        layer.bias.copy_(arrays["p.bias"])
    put(layer.skew, arrays, "p.")
    return arrays, layer


def stacked(arrays, prefix):
    pair = {letters: [arrays[f"{prefix}{letters[0]}{n}"].flatten() for n in letters[1:]] for letters in PAIRS}
    return [torch.stack(pair[letters]) for letters in PAIRS]


def put(skew, arrays, prefix):
    for name, value in zip(VECTORS, stacked(arrays, prefix), strict=True):
        getattr(skew, name).copy_(value)


def make(*args, seed=0, dtype=torch.float32, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SkewOrthogonalConv2d(*args, **options).to(dtype)


def term_by_term(layer, K, x, terms):
    """The series as it is defined, without any of the layer's savings."""
    x = F.pad(F.pixel_unshuffle(x, layer.stride), (0, 0, 0, 0, 0, len(K) - x.shape[1] * layer.stride**2))
    y = term = x
    for t in range(1, terms + 1):
        term = F.conv2d(term, K, padding=layer.kernel_size // 2) / t
        y = y + term
    return y[:, : layer.out_channels]


def dense(f, *shape, dtype=torch.float64):
    """The matrix of a linear map of maps of that shape."""
    basis = torch.eye(math.prod(shape), dtype=dtype).view(-1, *shape)
    with torch.no_grad():
        return f(basis).flatten(1).T


# ---------------------------------------------------------------------------------------------- as released
@pytest.mark.parametrize("name", GOLDEN)
def test_a_training_pass_equals_the_released_one(name):
    arrays, layer = released(name)
    y = layer(arrays["x"])
    torch.testing.assert_close(y, arrays["y_train"], rtol=1e-5, atol=1e-5)
    (y * arrays["cot"]).sum().backward()
    torch.testing.assert_close(layer.weight.grad, arrays["grad_filter"], rtol=1e-4, atol=1e-4)
    for buffer, expected in zip(VECTORS, stacked(arrays, "q."), strict=True):
        torch.testing.assert_close(getattr(layer.skew, buffer), expected, rtol=1e-5, atol=1e-6)
    skew = arrays["skew"]
    sigma = layer.skew.factor * skew.norm() / layer.eval().skew(layer.weight).norm()
    torch.testing.assert_close(sigma, arrays["sigma_after"], rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("grad", [True, False], ids=["with gradients", "kept kernels"])
def test_an_evaluation_pass_equals_the_released_one(name, grad):
    arrays, layer = released(name)
    put(layer.skew, arrays, "q.")
    with torch.set_grad_enabled(grad):
        for _ in range(2):
            torch.testing.assert_close(layer.eval()(arrays["x"]), arrays["y_eval"], rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------------------------------------- the map
CASES = [(3, 8, 3, 1), (3, 8, 3, 2), (6, 4, 3, 1), (2, 5, 3, 2), (4, 4, 3, 1), (4, 6, 1, 1), (8, 4, 1, 2), (2, 2, 5, 1)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("side", [2, 4, 24])  # smaller and larger than what the kernels reach
def test_equals_the_series_term_by_term_at_borders_too(case, side):
    layer = make(*case, dtype=torch.float64)
    x = random(2, case[0], side, side, dtype=torch.float64).requires_grad_()
    for terms in (5, 10):
        layer.train(terms == 5)
        state = copy.deepcopy(layer.skew)
        y = layer(x)
        expected = term_by_term(layer, state(layer.weight), x, terms) + layer.bias[:, None, None]
        torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
        inputs = (x, layer.weight, layer.bias)
        cotangent = random(*y.shape, seed=1, dtype=torch.float64)
        for found, known in zip(*(torch.autograd.grad(v, inputs, cotangent) for v in (y, expected)), strict=True):
            torch.testing.assert_close(found, known, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(layer(x), expected, rtol=1e-9, atol=1e-9)


def test_one_composed_kernel_would_be_another_map_at_borders():
    layer = make(2, 2, bias=False, dtype=torch.float64).eval()
    K = layer.skew(layer.weight).detach()
    impulse = torch.zeros(2, 2, 41, 41, dtype=torch.float64)
    impulse[0, 0, 20, 20] = impulse[1, 1, 20, 20] = 1
    response = term_by_term(layer, K, impulse, 10)  # (in, out, y, x)
    composed = response.transpose(0, 1).flip(2, 3)[:, :, 10:31, 10:31]
    x = random(1, 2, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        gap = (F.conv2d(x, composed, padding=10) - layer(x)).abs().amax((0, 1))
    assert gap[9:23, 9:23].max() < 1e-12
    assert gap[8].max() > 1e-12
    assert gap[0].max() > 0.05


@pytest.mark.parametrize(("terms", "low", "high"), [(5, 1 - 1e-4, 1.0021), (10, 1 - 1e-6, 1 + 1e-6)])
def test_singular_values_of_the_stem_are_one(terms, low, high):
    layer = make(3, 64, bias=False, terms=terms, dtype=torch.float64)
    values = torch.linalg.svdvals(dense(layer, 3, 8, 8))
    assert low < values.min() <= values.max() < high


@pytest.mark.parametrize("case", [(8, 8, 3, 1), (2, 8, 3, 2), (8, 3, 3, 1), (4, 4, 1, 1)])
def test_orthogonal_as_far_as_the_channels_allow(case):
    layer = make(*case, bias=False, dtype=torch.float64).eval()
    M = dense(layer, case[0], 6, 6)
    product = M @ M.T if M.shape[0] <= M.shape[1] else M.T @ M
    torch.testing.assert_close(product, torch.eye(len(product), dtype=M.dtype), rtol=0, atol=5e-6)


def test_its_output_has_a_covariance_of_full_rank_where_a_plain_stem_has_not():
    images = random(64, 3, 16, 16, dtype=torch.float64)
    for stem, rank in ((nn.Conv2d(3, 64, 3, padding=1).double(), 27), (make(3, 64, dtype=torch.float64), 64)):
        with torch.no_grad():
            values = torch.linalg.eigvalsh(stem(images).transpose(0, 1).flatten(1).cov())
        assert (values > 1e-10 * values[-1]).sum() == rank


# ---------------------------------------------------------------------------------------------- the kernel
@pytest.mark.parametrize("case", [(4, 3), (3, 1), (2, 5), (1, 3), (1, 1)])
def test_kernel_is_skew_symmetric_and_bounded(case):
    n, k = case
    weight = random(n, n, k, k, dtype=torch.float64)
    K = SkewSymmetric(weight).eval()(weight)
    M = dense(lambda x: F.conv2d(x, K, padding=k // 2), n, 6, 6)
    torch.testing.assert_close(M, -M.T, rtol=0, atol=1e-12)
    assert torch.linalg.matrix_norm(M, 2) <= (1.0 if k == 1 else 0.7 * k) + 1e-6
    assert (K.norm() > 0) == (n * k > 1)  # of one number, the skew part is 0


def test_sigma_is_the_least_of_four_spectral_norms_with_its_gradient():
    weight = random(5, 5, 3, 3, dtype=torch.float64).requires_grad_()
    skew = SkewSymmetric(weight)
    for _ in range(20):
        skew.passes.fill_(199)  # 50 rounds
        K = skew(weight)
    o, i, h, w = 0, 1, 2, 3
    A = (weight - weight.transpose(0, 1).flip(2, 3)) / 2
    norms = [
        torch.linalg.matrix_norm(A.permute(*order).flatten(split, 3).flatten(0, split - 1), 2)
        for order, split in (((o, h, i, w), 2), ((o, w, i, h), 2), ((o, i, h, w), 1), ((o, h, w, i), 3))
    ]
    exact = 0.7 * A / torch.stack(norms).min()
    torch.testing.assert_close(K, exact, rtol=1e-6, atol=0)
    cotangent = random(*K.shape, seed=1, dtype=torch.float64)
    found, known = (torch.autograd.grad(kernel, weight, cotangent)[0] for kernel in (K, exact))
    torch.testing.assert_close(found, known, rtol=1e-5, atol=1e-7)


def test_power_iteration_goes_on_in_training_only_and_is_refreshed_every_200_passes(monkeypatch):
    rounds = []
    layer = make(2, 2)
    sigma = layer.skew._sigma
    monkeypatch.setattr(layer.skew, "_sigma", lambda F, n: rounds.append(n) or sigma(F, n))
    x = random(1, 2, 4, 4)
    for _ in range(400):
        layer.skew(layer.weight)
    layer.eval()(x)
    assert rounds == [*[1] * 199, 50, *[1] * 199, 50, 0]


def test_any_convolution_can_be_parametrized():
    conv = nn.Conv2d(4, 4, 3, padding=1, bias=False).double()
    parametrize.register_parametrization(conv, "weight", SkewSymmetric(conv.weight))
    M = dense(conv, 4, 5, 5)
    torch.testing.assert_close(M, -M.T)
    conv(random(1, 4, 5, 5, dtype=torch.float64)).sum().backward()
    assert conv.parametrizations.weight.original.grad.isfinite().all()
    with pytest.raises(ValueError, match=r"^SkewSymmetric: a kernel of shape \(8, 4, 3, 3\) was given; \(n, n, k, k\)"):
        SkewSymmetric(torch.zeros(8, 4, 3, 3))


def test_a_weight_of_zeros_is_the_identity():
    layer = make(2, 2, bias=False)
    nn.init.zeros_(layer.weight)
    x = random(1, 2, 4, 4)
    y = layer(x)
    torch.testing.assert_close(y, x)
    y.sum().backward()
    assert layer.weight.grad.isfinite().all()


# ---------------------------------------------------------------------------------------------- kept kernels
def changes(layer, other):
    """Ways to give a layer the weights of another."""
    weight = other.weight.detach()

    def step():
        optimizer = torch.optim.SGD([layer.weight], lr=1.0)
        layer.weight.grad = layer.weight.detach() - weight
        optimizer.step()

    def under_data():
        layer.weight.data.mul_(0).add_(weight)

    def new_data():
        layer.weight.data = weight.clone()

    def new_parameter():
        layer.weight = nn.Parameter(weight.clone())

    return {
        "load_state_dict": lambda: layer.load_state_dict(other.state_dict()),
        "copy_": lambda: layer.weight.copy_(weight),
        "optimizer": step,
        "data": under_data,
        "new data": new_data,
        "new parameter": new_parameter,
        "buffers": lambda: layer.skew.u_blocks.mul_(0.5),
        "terms": lambda: setattr(layer, "eval_terms", 2),
        "double": layer.double,
    }


@pytest.mark.parametrize("way", changes(make(1, 1), make(1, 1)))
@pytest.mark.parametrize("kernel_size", [1, 3])
@torch.no_grad()
def test_kernels_are_made_once_and_again_when_something_changes(way, kernel_size, monkeypatch):
    made = []
    kernels = SkewOrthogonalConv2d._kernels
    monkeypatch.setattr(SkewOrthogonalConv2d, "_kernels", lambda self: made.append(self) or kernels(self))
    layer, other = (make(3, 4, kernel_size, seed=seed).eval() for seed in (0, 1))
    x = random(1, 3, 4, 4)
    before = layer(x)
    assert torch.equal(layer(x), before)
    assert len(made) == 1
    changes(layer, other)[way]()
    x = x.to(layer.weight.dtype)
    after = layer(x)
    assert len(made) == 2
    fresh = make(3, 4, kernel_size, seed=7, dtype=layer.weight.dtype).eval()
    fresh.load_state_dict(layer.state_dict())
    fresh.eval_terms = layer.eval_terms
    assert torch.equal(after, fresh(x))
    assert way == "double" or not torch.equal(after, before)


def test_gradients_come_through_in_evaluation_and_after_inference_mode():
    layer = make(2, 3).eval()
    x = random(1, 2, 4, 4).requires_grad_()
    with torch.inference_mode():
        expected = layer(x).clone()
    y = layer(x)
    torch.testing.assert_close(y.detach(), expected)
    y.sum().backward()
    assert layer.weight.grad.any()
    layer.requires_grad_(False)
    x.grad = None
    layer(x).sum().backward()  # kept kernels
    assert x.grad.any()


def test_a_state_dict_takes_all_there_is():
    layer, other = make(3, 4, stride=2), make(3, 4, stride=2, seed=1)
    x = random(1, 3, 4, 4)
    for _ in range(3):
        layer(x)
    other.load_state_dict(layer.state_dict())
    assert other.skew.passes == 3
    assert all(torch.equal(a, b) for a, b in zip(layer.state_dict().values(), other.state_dict().values(), strict=True))
    assert torch.equal(layer(x), other(x))
    assert torch.equal(layer(x), other(x))


# ---------------------------------------------------------------------------------------------- in other hands
def test_two_passes_before_a_backward_one():
    layer = make(2, 2)
    x = random(1, 2, 4, 4)
    (layer(x).sum() + layer(-x).square().sum() + layer.eval()(x).sum() + layer.train()(x).sum()).backward()
    assert layer.weight.grad.isfinite().all()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:FutureWarning")  # torch's forward mode
def test_derivatives_of_other_kinds():
    layer = make(2, 3, dtype=torch.float64)
    x = random(2, 2, 4, 4, dtype=torch.float64)
    tangent = random(2, 2, 4, 4, seed=1, dtype=torch.float64)
    with forward_ad.dual_level():  # torch.func lets no module write to its buffers, as training does
        slope = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, tangent))).tangent
    known = term_by_term(layer, layer.eval().skew(layer.weight), tangent, 5)
    torch.testing.assert_close(slope, known)
    _, slope = torch.func.jvp(layer, (x,), (tangent,))
    torch.testing.assert_close(slope, layer(tangent) - layer.bias[:, None, None])
    with torch.no_grad():
        batched = torch.func.vmap(layer)(torch.stack((x, tangent)))
        torch.testing.assert_close(batched, torch.stack((layer(x), layer(tangent))))
        weights = {"weight": torch.stack((layer.weight, -layer.weight))}
        two = torch.func.vmap(lambda w: torch.func.functional_call(layer, w, x))(weights)
        torch.testing.assert_close(two[0], layer(x))
        assert not torch.equal(two[1], two[0])


def test_a_generator_with_it_is_probed_without_a_trace():
    net = nn.Sequential(nn.Linear(4, 48), nn.Unflatten(1, (3, 4, 4)), make(3, 4), nn.Tanh())
    net[2].skew.passes.fill_(198)  # the second pass would be one of 50 rounds
    before = {name: value.clone() for name, value in net.state_dict().items()}
    G = og.adapt(net, og.Normal(4))
    z = random(3, 4)
    values = [og.OroJaR()(probe(G), z, rng=torch.Generator().manual_seed(0)) for _ in range(2)]
    assert values[0] == values[1]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_autocast_makes_the_kernel_in_full():
    layer = make(3, 8, bias=False).eval()
    x = random(2, 3, 8, 8)
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        K = layer.skew(layer.weight)
    assert (y.dtype, K.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(K, layer.skew(layer.weight))
    torch.testing.assert_close(y.float(), expected, rtol=0.1, atol=0.1)


def test_memory_format_of_the_input_stays():
    x = random(2, 3, 4, 4)
    for layer in (make(3, 8), make(3, 8, 1)):
        assert layer(x).is_contiguous()
        assert layer(x.contiguous(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "options", [{"kernel_size": 2}, {"kernel_size": -1}, {"stride": 3}, {"terms": 0}, {"eval_terms": 0}], ids=str
)
def test_what_cannot_be_made_is_refused(options):
    with pytest.raises(ValueError, match=r"^SkewOrthogonalConv2d: .* were given; an odd kernel, stride 1 or 2"):
        SkewOrthogonalConv2d(3, 4, **options)


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"images of \(4, 8, 8\) were given; 3 channels, and sides that 1 divides"):
        make(3, 4)(torch.zeros(1, 4, 8, 8))
    with pytest.raises(ValueError, match=r"images of \(3, 7, 8\) were given; 3 channels, and sides that 2 divides"):
        make(3, 4, stride=2)(torch.zeros(1, 3, 7, 8))
