import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import spectral_norm as old_spectral_norm

from orthogen.layers.self_attention import SelfAttention
from orthogen.layers.spectral_norm import SpectralConv2d, SpectralEmbedding, SpectralLinear, fold_spectral_norm

LAYERS = {
    "conv": (lambda: SpectralConv2d(3, 4, 3, padding=1), lambda: torch.randn(2, 3, 5, 5)),
    "linear": (lambda: SpectralLinear(3, 4), lambda: torch.randn(2, 3)),
    "linear, no bias": (lambda: SpectralLinear(3, 4, bias=False), lambda: torch.randn(2, 3)),
    "embedding": (lambda: SpectralEmbedding(6, 4), lambda: torch.tensor([5, 0])),
}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


every = pytest.mark.parametrize("name", LAYERS)


@every
def test_training_passes_bring_the_spectral_norm_to_one(name):
    make, draw = LAYERS[name]
    layer, x = make(), draw()
    largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
    for _ in range(200):
        layer(x)
    torch.testing.assert_close(layer.sv0[0], largest.detach(), rtol=1e-4, atol=0)
    norm = torch.linalg.matrix_norm(layer.acting_weight().flatten(1), 2)
    torch.testing.assert_close(norm, torch.tensor(1.0), rtol=1e-4, atol=0)


@every
def test_state_has_the_published_names(name):
    layer = LAYERS[name][0]()
    state = layer.state_dict()
    assert state.keys() - {"bias"} == {"weight", "u0", "sv0"}
    assert state["u0"].shape == (1, len(layer.weight))
    assert state["sv0"].shape == (1,)


@every
def test_evaluation_moves_nothing_and_equals_training(name):
    make, draw = LAYERS[name]
    layer, x = make(), draw()
    before = layer.u0.clone()
    evaluated = layer.eval()(x)
    assert torch.equal(layer.u0, before)
    assert torch.equal(layer.train()(x), evaluated)
    assert not torch.equal(layer.u0, before)


def test_a_pass_is_one_step_of_power_iteration():
    layer = SpectralLinear(5, 4, bias=False).double()
    w, u = layer.weight.detach(), layer.u0[0].clone()
    v = w.T @ u / (w.T @ u).norm()
    sigma = (w @ v).norm()
    x = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(layer(x).T, w / sigma)
    torch.testing.assert_close(layer.u0[0], w @ v / sigma)
    torch.testing.assert_close(layer.sv0[0], sigma)


def test_values_and_gradients_come_to_those_of_torch(rng):
    ours, torchs = SpectralLinear(5, 4), parametrizations.spectral_norm(nn.Linear(5, 4), eps=1e-6)
    raw = torchs.parametrizations.weight.original
    raw.data, torchs.bias.data = ours.weight.data.clone(), ours.bias.data.clone()
    x = torch.randn(3, 5, generator=rng)
    for _ in range(500):
        mine, theirs = ours(x), torchs(x)
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(y.sin().sum(), w)[0] for y, w in ((mine, ours.weight), (theirs, raw))]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@every
def test_folding_leaves_outputs_equal_to_the_bit(name):
    make, draw = LAYERS[name]
    net, x = nn.Sequential(make()).eval(), draw()
    before = net(x)
    folded = fold_spectral_norm(net)
    assert folded is net
    assert torch.equal(net(x), before)
    assert net.state_dict().keys() <= {"0.weight", "0.bias"}
    assert type(net[0]) in (nn.Conv2d, nn.Linear, nn.Embedding)
    assert not net[0].training


def test_folding_a_layer_by_itself_returns_its_replacement(rng):
    layer, x = SpectralLinear(3, 4).eval(), torch.randn(2, 3, generator=rng)
    folded = fold_spectral_norm(layer)
    assert type(folded) is nn.Linear
    assert torch.equal(folded(x), layer(x))


@pytest.mark.parametrize("form", [parametrizations.spectral_norm, old_spectral_norm])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_folding_takes_off_torchs_own_forms(form, rng):
    net, x = nn.Sequential(form(nn.Linear(3, 4)), nn.ReLU(), form(nn.Conv1d(4, 2, 1))), torch.randn(2, 3, generator=rng)
    net = nn.Sequential(net[0], net[1], nn.Unflatten(1, (4, 1)), net[2]).eval()
    before = net(x)
    fold_spectral_norm(net)
    assert torch.equal(net(x), before)
    assert net.state_dict().keys() == {"0.weight", "0.bias", "3.weight", "3.bias"}


def test_a_layer_at_two_places_stays_one_layer():
    shared = SpectralLinear(3, 3)
    net = fold_spectral_norm(nn.Sequential(shared, nn.ReLU(), shared).eval())
    assert net[0] is net[2]


def test_folding_keeps_frozen_weights_frozen():
    assert (
        fold_spectral_norm(nn.Sequential(SpectralLinear(3, 3)).requires_grad_(False))[0].weight.requires_grad is False
    )
    assert fold_spectral_norm(nn.Sequential(SpectralLinear(3, 3)))[0].weight.requires_grad is True


@pytest.mark.parametrize("spectral", [True, False])
def test_self_attention_is_its_formula(spectral, rng):
    layer = SelfAttention(8, spectral).double().eval()
    layer.gamma.data.fill_(0.7)
    x = torch.randn(2, 8, 4, 6, generator=rng, dtype=torch.float64)
    weight = {n: (m.acting_weight() if spectral else m.weight)[:, :, 0, 0] for n, m in layer.named_children()}
    assert {name: tuple(w.shape) for name, w in weight.items()} == {
        "theta": (1, 8),
        "phi": (1, 8),
        "g": (4, 8),
        "o": (8, 4),
    }
    expected = x.clone()
    for n in range(2):

        def pooled(w, image=x[n]):
            y = torch.einsum("oc,chw->ohw", w, image)
            return y.unflatten(1, (2, 2)).unflatten(3, (3, 2)).amax((2, 4)).flatten(1)

        keys, values = pooled(weight["phi"]), pooled(weight["g"])
        for i in range(4):
            for j in range(6):
                attention = (weight["theta"] @ x[n, :, i, j] @ keys).softmax(0)
                expected[n, :, i, j] += 0.7 * weight["o"] @ (values @ attention)
    torch.testing.assert_close(layer(x), expected)
