import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from orthogen.core import passes as passes_of
from orthogen.core.generator import adapt
from orthogen.core.kinds import ImageSet
from orthogen.core.latent import Normal
from orthogen.core.maps import given as of
from orthogen.core.maps import probe
from orthogen.core.record import from_json, to_json
from orthogen.regularizers.info_gan import InfoGan
from orthogen.regularizers.variation_predictability import VariationPredictability as Vp

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "vp_losses.json").read_text())
SIMPLE_GAN = Vp.simple_gan()
RESIDUAL = Vp(trunk="residual", pair="concat", width=4, hidden=16)
MODES = (Vp(), SIMPLE_GAN, RESIDUAL, Vp(delta="step", eps=3.0), Vp(delta="all", loss="regression", eps=3.0))
modes = pytest.mark.parametrize("penalty", MODES, ids=repr)


class Faces(ImageSet):
    def __init__(self, resolution, channels=3):
        self.resolution, self.channels = resolution, channels

    def __len__(self):
        return 1

    def images(self, index, *, rng=None):
        return torch.zeros(len(index), self.channels, self.resolution, self.resolution, dtype=torch.uint8)


def generator(dim=5, channels=2, side=16, dtype=torch.float32):
    net = nn.Sequential(nn.Linear(dim, channels * side * side), nn.Tanh(), nn.Unflatten(1, (channels, side, side)))
    return adapt(net.to(dtype), Normal(dim))


def tensor(name):
    return torch.tensor(GOLDEN[name], dtype=torch.float64)


def test_losses_equal_the_golden_values():
    outputs = tensor("regress")[:, GOLDEN["D_global_size"] :]  # the first ones belong to classes
    exactly = {"rtol": 0, "atol": 1e-10}
    one, whole = Vp.vp_gan().errors(outputs, tensor("onehot")), Vp.vp_gan_all().errors(outputs, tensor("full"))
    torch.testing.assert_close(0.01 * one, tensor("vp_onedim_lambda0_01"), **exactly)
    torch.testing.assert_close(0.01 * whole, tensor("vp_fulldim_lambda0_01"), **exactly)


def test_binary_loss_is_the_mean_over_pairs_and_coordinates():
    outputs, target = tensor("regress")[:, 3:], tensor("onehot")
    expected = -(target * F.logsigmoid(outputs) + (1 - target) * F.logsigmoid(-outputs)).mean()
    torch.testing.assert_close(SIMPLE_GAN.errors(outputs, target).mean(), expected)


@modes
def test_value_is_the_formula_on_the_pairs(penalty):
    g = generator(dtype=torch.float64)
    state, z = penalty.init(g), torch.randn(6, 5, dtype=torch.float64)
    value = penalty(probe(g), z, state=state, rng=torch.Generator().manual_seed(2))
    changed, target = penalty.change(z, torch.Generator().manual_seed(2))
    x, x2 = g(z), g(changed)
    seen = torch.cat([x, x2], 1) if penalty.pair == "concat" else x - x2
    assert value.item() == pytest.approx(penalty.errors(state(seen), target).mean().item(), rel=1e-12)
    assert value.dtype == torch.float64


@given(st.integers(2, 9), st.integers(1, 7), st.integers(0, 2**31))
def test_redraw_changes_one_coordinate_to_that_of_another_latent(batch, dim, seed):
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(batch, dim, generator=rng)
    changed, target = Vp().change(z, rng)
    assert torch.equal(changed != z, target.bool())
    for new, one_hot in zip(changed, target, strict=True):
        column = int(one_hot.argmax())
        assert new[column] in z[:, column]


def test_redraw_keeps_the_prior_and_is_even_over_coordinates(rng):
    z = 4 * torch.rand(20_000, 4, generator=rng) - 2
    changed, target = Vp().change(z, rng)
    assert changed.abs().max() <= 2
    assert target.mean(0).tolist() == pytest.approx([0.25] * 4, abs=0.015)
    old, new = z[target.bool()], changed[target.bool()]
    assert new.var().item() == pytest.approx(4 / 3, rel=0.03)  # that of U[-2, 2]
    assert torch.corrcoef(torch.stack([old, new]))[0, 1].abs() < 0.03


def test_gauss_and_all_have_the_published_sizes(rng):
    z = torch.zeros(20_000, 4)
    changed, target = Vp(delta="gauss", eps=6.0).change(z, rng)
    assert torch.equal(changed != 0, target.bool())
    assert changed[target.bool()].std().item() == pytest.approx(6.0, rel=0.02)
    # the share that leaves [-2, 2] when z is uniform on it; the spec measured 74.4 %
    uniform = 4 * torch.rand(20_000, 4, generator=rng) - 2
    moved, target = Vp(delta="gauss", eps=6.0).change(uniform, rng)
    assert (moved[target.bool()].abs() > 2).double().mean().item() == pytest.approx(0.744, abs=0.015)
    assert torch.equal(*Vp(delta="step", eps=1.0).change(z, rng))  # always forward, by as much
    changed, u = Vp(delta="all", loss="regression", eps=3.0).change(z, rng)
    torch.testing.assert_close(changed, 3 * (u - 0.5))
    assert 0 <= u.min() < 0.01 < 0.99 < u.max() <= 1


def test_the_released_choices_have_names():
    assert Vp.vp_gan() == Vp("gauss", 6.0, pair="concat", trunk="residual stddev", width=8, hidden=512, noise="own")
    assert (Vp.vp_gan_all().delta, Vp.vp_gan_all().eps, Vp.vp_gan_all().loss) == ("all", 3.0, "regression")
    assert Vp.simple_gan() == Vp("gauss", 1.0, loss="binary")


def test_the_released_recognizer_has_the_published_size():
    g, released = adapt(nn.Linear(30, 1), Normal(30)), Vp.vp_gan()
    stddev, plain = (penalty.init(g, Faces(128)) for penalty in (released, replace(released, trunk="residual")))
    assert sum(p.numel() for p in stddev.parameters()) == 3_339_134
    assert sum(p.numel() for p in plain.parameters()) == 3_339_134 - 9 * 256


def test_the_released_recognizer_looks_at_other_pairs_and_ours_does_not(rng):
    g, pairs = generator(), torch.randn(8, 4, 16, 16, generator=rng)
    others = torch.cat([pairs[:4], pairs[4:] * 2])
    for trunk, same in (("residual", True), ("residual stddev", False)):
        state = replace(RESIDUAL, trunk=trunk).init(g)
        assert torch.allclose(state(pairs)[:4], state(others)[:4], atol=1e-5) == same


# ------------------------------------------------------------------------------------------------------------- cascade
@pytest.mark.parametrize("dim", [2, 5, 30])
def test_eligible_coordinates_grow_as_released(dim):
    penalty = Vp(cascade=100_000)
    for step in (0, 1, 3_333, 33_332, 49_999, 50_000, 99_999, 100_000, 250_000):
        expected = min(dim, 2 + (step // math.floor(1e5 / dim)) % dim)
        assert int(penalty.eligible(torch.tensor(step), dim)) == expected


def test_a_cascade_counts_its_calls_in_what_it_remembers(rng):
    g, penalty = generator(), Vp(cascade=15, width=2)
    state, z = penalty.init(g), torch.randn(64, 5, generator=rng)
    for call in range(9):
        assert int(state.get_buffer("calls")) == call
        _, target = penalty.change(z, torch.Generator().manual_seed(call), penalty.eligible(torch.tensor(call), 5))
        assert target.any(0).tolist() == [i < min(5, 2 + call // 3) for i in range(5)]
        penalty(probe(g), z, state=state, rng=rng)
    again = penalty.init(g)
    again.load_state_dict(state.state_dict())
    assert int(again.get_buffer("calls")) == 9
    assert "calls" not in dict(Vp().init(g).named_buffers())


def test_a_class_is_the_same_in_both_images_of_a_pair(rng):
    """A generator that shows the class alone: a recognizer of differences sees nothing."""

    class Flag(nn.Module):
        def forward(self, z, label):
            return (label.float()[:, None] + 0 * z[:, :1]).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)

    g = adapt(Flag(), Normal(4), classes=3)
    state = Vp().init(g, Faces(8, channels=1))
    seen = []
    state.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    Vp()(of(probe(g), label=torch.arange(6) % 3), torch.randn(6, 4, generator=rng), state=state, rng=rng)
    assert not seen[0].any()


@modes
def test_both_networks_get_gradients(penalty, rng):
    g = generator()
    state = penalty.init(g)
    penalty(probe(g), torch.randn(8, 5, generator=rng), state=state, rng=rng).backward()
    for network in (g.module, state):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_the_term_is_linear_in_its_weight(rng):
    # released code ignored the weight for months
    g = generator(dtype=torch.float64)
    state, z = Vp().init(g), torch.randn(8, 5, generator=rng, dtype=torch.float64)

    def gradient(weight):
        loss = weight * Vp()(probe(g), z, state=state, rng=torch.Generator().manual_seed(0))
        return torch.cat(
            [x.flatten() for x in torch.autograd.grad(loss, [*g.module.parameters(), *state.parameters()])]
        )

    torch.testing.assert_close(100 * gradient(0.01), gradient(1.0))


def test_a_readable_generator_becomes_predictable(rng):
    """Each coordinate lights its own block of pixels: the recognizer learns to tell which; a mixed one it cannot."""

    class Lights(nn.Module):
        def forward(self, z):
            return z.view(-1, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)

    g = adapt(Lights(), Normal(4))
    penalty = Vp(width=8)
    state = penalty.init(g)
    optimizer = torch.optim.Adam(state.parameters(), 1e-2)
    for _ in range(150):
        loss = penalty(probe(g), g.latent.sample(64, rng=rng), state=state, rng=rng)
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    assert loss.item() < 0.5 < math.log(4)


@pytest.mark.parametrize(("side", "halvings"), [(4, 0), (8, 1), (28, 2), (64, 4), (128, 5)])
def test_a_recognizer_is_built_for_any_resolution(side, halvings):
    g = generator(dim=3, channels=1, side=side)
    state = Vp().init(g)
    assert len(state.encoder) == halvings
    assert Vp()(probe(g), torch.randn(4, 3), state=state).isfinite()


def test_init_leaves_no_trace_and_follows_the_generator(rng):
    net = nn.Sequential(nn.Linear(3, 64), nn.BatchNorm1d(64), nn.Dropout(), nn.Unflatten(1, (1, 8, 8))).double()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = Vp().init(adapt(net, Normal(3)))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert {p.dtype for p in state.parameters()} == {torch.float64}


def test_init_takes_the_shape_of_the_data_where_it_is_known():
    class Labeled(nn.Module):  # cannot be run without its condition
        def forward(self, z, label):
            raise AssertionError

    assert Vp(pair="concat").init(adapt(Labeled(), Normal(3)), Faces(32)).shape == (6, 32, 32)


def test_shares_the_images_of_the_adversarial_pass(monkeypatch, rng):
    g = generator()
    state, z = Vp().init(g), torch.randn(8, 5, generator=rng)
    plain = Vp()(probe(g), z, state=state, rng=torch.Generator().manual_seed(0))
    f = probe(g).at(z)
    passes = []
    run = passes_of.Host.run
    monkeypatch.setattr(passes_of.Host, "run", lambda *args: passes.append(1) or run(*args))
    shared = Vp()(f, z, state=state, rng=torch.Generator().manual_seed(0))
    assert len(passes) == 1
    torch.testing.assert_close(shared, plain)


class Grainy(nn.Module):
    """Draws anew whenever it is called."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 256), nn.Unflatten(1, (1, 16, 16)))

    def forward(self, z):
        return self.net(z) + torch.randn(len(z), 1, 16, 16)


class Seen(nn.Module):
    """Notes the pairs."""

    def forward(self, pair):
        self.pair = pair
        return pair.new_zeros(len(pair), 5)


@pytest.mark.parametrize("noise", ["same", "own"])
def test_noise_inside_a_generator_is_the_same_in_a_pair_or_its_own(noise, rng):
    g, state, z = adapt(Grainy(), Normal(5)), Seen(), torch.randn(4, 5, generator=rng)
    penalty = Vp("step", 1.0, noise=noise)
    before = torch.get_rng_state()
    penalty(probe(g), z, state=state, rng=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)
    _, one_hot = penalty.change(z, torch.Generator().manual_seed(0))
    of_the_latent = -(one_hot @ g.module.net[0].weight.T).view(4, 1, 16, 16)
    spread = (state.pair - of_the_latent).std().item()
    assert spread == pytest.approx(0.0 if noise == "same" else 2**0.5, abs=0.1)
    first = state.pair
    penalty(probe(g), z, state=state, rng=torch.Generator().manual_seed(0))
    assert torch.equal(state.pair, first)  # a seed fixes it


def test_under_autocast_it_stays_float32(rng):
    g = generator()
    state, z = Vp().init(g), torch.randn(8, 5, generator=rng)
    plain = Vp()(probe(g), z, state=state, rng=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = Vp()(probe(g), z, state=state, rng=torch.Generator().manual_seed(0))
    assert low.item() == plain.item()


def test_mistakes_are_told_in_one_line(rng):
    g = generator()
    f, z, state = probe(g), torch.randn(4, 5, generator=rng), Vp().init(g)
    with pytest.raises(ValueError, match="'all' goes with 'regression', the others go with 'softmax' or 'binary'"):
        Vp(delta="all")
    with pytest.raises(
        ValueError, match=r"\(cascade=9, delta='all'\): a cascade has some steps, in which single coord"
    ):
        Vp(delta="all", loss="regression", cascade=9)
    with pytest.raises(ValueError, match=r"eps=0.0\): the size of the change must be positive"):
        Vp(delta="gauss", eps=0.0)
    with pytest.raises(ValueError, match=r"eps=inf\): the size of the change must be positive"):
        Vp(delta="gauss", eps=math.inf)
    for fields in ({"width": 0}, {"hidden": -1}, {"trunk": "residual", "hidden": 0}):
        for kind in (Vp, InfoGan):
            with pytest.raises(ValueError, match=r"give a width of 1 at least, and a hidden one of [01] at least"):
                kind(**fields)
    with pytest.raises(ValueError, match=r"make it with state = penalty.init\(generator\), give its parameters to the"):
        Vp()(f, z)
    with pytest.raises(ValueError, match="has no probes: it draws pairs of latents with rng; leave probes out"):
        Vp()(f, z, state=state, probes=torch.ones(2, 4, 5))
    with pytest.raises(ValueError, match="'redraw' takes values from other latents; give 2 or more, or 'gauss'"):
        Vp()(f, z[:1], state=state)
    with pytest.raises(
        ValueError, match=r"images of \(2, 16, 16\) were given; this encoder was built for \(4, 16, 16\)"
    ):
        Vp()(f, z, state=Vp(pair="concat").init(g))
    with pytest.raises(
        ValueError, match=r"images of 12 x 12 pixels: a residual encoder takes squares of 4·2\^n; give 4"
    ):
        RESIDUAL.init(generator(side=12))
    with pytest.raises(ValueError, match=r"output is \(2, 7\); a recognizer looks at images \(n, c, h, w\)"):
        Vp().init(adapt(nn.Linear(3, 7), Normal(3)))


@modes
def test_survives_json(penalty):
    assert from_json(json.loads(json.dumps(to_json(penalty)))) == penalty


def test_a_misspelt_word_is_refused(unchecked):
    with pytest.raises(ValueError, match=r"\(loss='sofmax'\): 'softmax' or 'binary' or 'regression' is accepted"):
        Vp(loss="sofmax")
