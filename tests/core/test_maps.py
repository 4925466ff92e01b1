import pytest
import torch
from torch import nn

import orthogen as og
from hosts import HOSTS
from orthogen.core.maps import probe


def latents(batch: int = 5, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return og.Normal(4).sample(batch, rng=torch.Generator().manual_seed(1)).to(dtype)


def activations_by_hand(G: og.Generator, layers: tuple[str, ...], z: torch.Tensor, **conditions) -> list[torch.Tensor]:
    """Plain hooks on a plain forward pass, keeping a copy of each layer's last output."""
    seen, modules = {}, dict(G.module.named_modules())

    def keep(name):
        def hook(module, args, output):
            seen[name] = (output[0] if isinstance(output, tuple) else output).clone()

        return hook

    handles = [modules[name].register_forward_hook(keep(name)) for name in layers if name in modules]
    seen["output"] = G(z, **conditions)
    for handle in handles:
        handle.remove()
    return [seen[name] for name in layers]


@pytest.mark.parametrize("name", HOSTS)
def test_activations_are_those_of_a_plain_forward_pass(name):
    host = HOSTS[name]
    G, at = host.build()
    z = latents()
    got = at(len(z))(z)
    conditions = {"label": torch.arange(5) % 3} if host.labeled else {}
    random = torch.get_rng_state()
    for part in G.module.modules():  # a map freezes power iterations
        if "spectral" in name and part is not G.module:
            part.training = False
    expected = activations_by_hand(G, at(5).layers, z, **conditions)
    torch.set_rng_state(random)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", HOSTS)
def test_what_a_host_does_is_found_by_trying(name):
    host = HOSTS[name]
    _, at = host.build()
    behavior = at(5)._behavior(latents())
    assert (behavior.separable, behavior.repeatable) == (host.separable, host.repeatable)


def test_a_batch_of_one_does_not_hide_batch_statistics():
    G = og.adapt(nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.BatchNorm2d(1)), og.Normal(4))
    assert not og.probe(G).separable(latents(1))
    G.module.eval()
    assert og.probe(G).separable(latents(1))


def test_merged_and_split_passes_agree_with_single_ones():
    for name in ("mlp", "conditional", "attention", "conv"):
        _, at = HOSTS[name].build(torch.float64)
        f = at(5)
        points = torch.randn(3, 5, 4, dtype=torch.float64)
        single = [f(z) for z in points]
        for rows in (None, 1, 2, 4, 7, 15, 100):
            for a, b in zip(f.passes(points, rows), single, strict=True):
                for x, y in zip(a, b, strict=True):
                    torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


def test_passes_of_a_host_with_batch_statistics_are_exact_batches():
    sizes = []
    G, at = HOSTS["batch norm, training"].build()
    f = at(5)
    f(latents())
    G.module[0].register_forward_hook(lambda m, args, output: sizes.append(len(output)))
    f.passes(torch.randn(3, 5, 4), max_batch=2)
    assert sizes == [5, 5, 5]


def test_a_pass_stops_after_the_last_layer_asked_for():
    calls = []
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    f = og.probe(og.adapt(net, og.Normal(4)), ("0", "1"))
    f(latents())
    net[2].register_forward_hook(lambda *_: calls.append(1))
    f(latents())
    assert calls == []
    og.probe(og.adapt(net, og.Normal(4)), ("0", "output"))(latents())
    assert calls


def test_layers_come_in_the_order_asked_for_and_no_layer_means_the_image():
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    G = og.adapt(net, og.Normal(4))
    z = latents()
    assert og.probe(G).layers == ("output",)
    assert [x.shape[1] for x in og.probe(G, ("1", "0"))(z)] == [2, 3]
    torch.testing.assert_close(og.probe(G)(z)[0], net(z))


def test_an_unknown_layer_lists_the_nearest_names():
    G, _ = HOSTS["conditional"].build()
    with pytest.raises(ValueError, match=r"no layer is called 'frst'; nearest: first"):
        og.probe(G, ("frst",))


def test_a_layer_that_the_pass_does_not_reach_is_named():
    net = nn.ModuleDict({"used": nn.Linear(4, 2), "spare": nn.Linear(4, 2)})
    f = og.probe(og.adapt(net, og.Normal(4), call=lambda m, z: m["used"](z)), ("spare",))
    with pytest.raises(ValueError, match="'spare' is not reached"):
        f(latents())


def test_a_call_that_closes_over_labels_is_told_to_hand_them_over(unchecked):
    table = torch.randn(8, 2)
    f = og.probe(og.adapt(nn.Linear(4, 2), og.Normal(4), call=lambda m, z: m(z).mean(0) + table))
    with pytest.raises(ValueError, match=r"og\.given"):
        f(latents())


def test_conditions_follow_the_samples():
    G, _ = HOSTS["conditional"].build()
    z, label = latents(3), torch.tensor([0, 1, 2])
    f = og.given(og.probe(G), label=label)
    tiled = f(torch.cat([z, z]))[0]  # k-major: [z; z] with labels [0 1 2 0 1 2]
    torch.testing.assert_close(tiled[:3], tiled[3:])
    torch.testing.assert_close(f.take(torch.tensor([2, 0]))(z[[2, 0]])[0], f(z)[0][[2, 0]])
    with pytest.raises(ValueError, match="condition 'label' has 3 rows for 4 latents"):
        f(latents(4))


def test_along_is_the_map_in_direction_coordinates_and_nests(unchecked):
    _, at = HOSTS["mlp"].build(torch.float64)
    z, f = latents(dtype=torch.float64), at(5)
    basis, inner = torch.randn(3, 4, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    a, b = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    g = og.along(f, z, basis)
    assert g.dim == 3
    torch.testing.assert_close(g(a)[2], f(z + a @ basis)[2])
    torch.testing.assert_close(og.along(g, a, inner)(b)[2], f(z + (a + b @ inner) @ basis)[2])
    one = torch.tensor([3])
    torch.testing.assert_close(g.take(one)(a[one])[2], g(a)[2][one])
    with pytest.raises(ValueError, match=r"basis has shape \(3, 5\); \(directions, 4\) is needed"):
        og.along(f, z, torch.zeros(3, 5))


def test_gradients_reach_a_basis_and_the_latents():
    _, at = HOSTS["mlp"].build()
    z = latents().requires_grad_()
    basis = torch.eye(4).requires_grad_()
    og.along(at(5), z, basis)(torch.ones(5, 4))[2].sum().backward()
    assert z.grad.abs().sum() > 0
    assert basis.grad.abs().sum() > 0


def test_known_activations_are_used_and_taken_along():
    G, at = HOSTS["mlp"].build()
    z = latents()
    f = at(5).at(z)
    G.module[0].weight.data.zero_()  # a new pass would show
    assert all(x is y for x, y in zip(f.known(z), f.known(z.clone()), strict=True))
    assert f.known(z + 1) is None
    index = torch.tensor([4, 1])
    torch.testing.assert_close(f.take(index).known(z[index])[0], f.known(z)[0][index])
    with pytest.raises(ValueError, match="1 activations were given for 3 layers"):
        f.at(z, [z])


@pytest.mark.parametrize("name", ["dropout", "noise", "spectral norm, training"])
def test_activations_that_another_pass_would_not_give_are_not_shared(name):
    _, at = HOSTS[name].build()
    z = latents()
    f = at(5)
    assert f.at(z, f(z)).known(z) is None


def test_activations_from_autocast_or_in_half_precision_are_not_shared():
    _, at = HOSTS["mlp"].build()
    z, f = latents(), at(5)
    values = f(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert f.at(z, values).known(z) is None
    assert f.at(z, [x.bfloat16() for x in values]).known(z) is None
    assert f.at(z, values).known(z) is not None


def test_a_map_computes_in_float32_under_autocast():
    _, at = HOSTS["mlp"].build()
    z, f = latents(), at(5)
    plain = f(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for a, b in zip(plain, f(z), strict=True):
            assert torch.equal(a, b)


def test_a_module_in_half_precision_is_refused_in_words():
    net = nn.Linear(4, 2).bfloat16()
    f = og.probe(og.adapt(net, og.Normal(4), call=lambda m, z: m(z.bfloat16())))
    with pytest.raises(TypeError, match="derivatives need float32 or wider"):
        f(latents())


def test_a_latent_of_the_wrong_width_is_refused():
    _, at = HOSTS["mlp"].build()
    with pytest.raises(ValueError, match=r"\(5, 3\) were given; this map takes \(batch, 4\)"):
        at(5)(torch.zeros(5, 3))


def test_adapt_refuses_what_is_no_module_or_no_latent(unchecked):
    with pytest.raises(TypeError, match=r"it takes an nn\.Module"):
        og.adapt(lambda z: z, og.Normal(2))
    with pytest.raises(TypeError, match=r"it takes a Latent such as og.Normal\(128\)"):
        og.adapt(nn.Identity(), 128)


def test_names_are_those_of_the_users_module():
    G, _ = HOSTS["conditional"].build()
    assert set(G.layers) == {name for name, _ in G.module.named_modules() if name}
    assert probe(G, "norm.gain").layers == ("norm.gain",)


# ------------------------------------------------------------------------------------ what trying must not be fooled by
def net(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), *layers, nn.Linear(8, 4))


def test_equal_latents_do_not_hide_batch_statistics():
    blocks = [nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Flatten(), nn.Tanh()]
    f = og.probe(og.adapt(net(*blocks), og.Normal(4)))
    assert not f.separable(torch.zeros(2, 4))


class Sampler(nn.Module):
    """Runs a layer many times, as diffusion models do, so that differences grow from step to step."""

    def __init__(self, shared=0.0):
        super().__init__()
        self.layer, self.shared = nn.Linear(4, 4), shared
        nn.init.orthogonal_(self.layer.weight)

    def forward(self, z):
        for _ in range(12):
            z = torch.sin(3 * self.layer(z + self.shared * z.mean(0)))
        return z


@pytest.mark.parametrize("seed", range(4))
def test_magnified_rounding_is_not_taken_for_batch_statistics(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # one sample and two differ by 2e-4 to 7e-4 in these
        alone, together = Sampler(), Sampler(shared=0.01)
    z = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    assert og.probe(og.adapt(alone, og.Normal(4))).separable(z)
    assert not og.probe(og.adapt(together, og.Normal(4))).separable(z)


@pytest.mark.parametrize("seed", range(4))
def test_magnified_rounding_does_not_hide_that_samples_see_each_other(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [part for _ in range(30) for part in (nn.Linear(64, 64), nn.Tanh())]
        net = nn.Sequential(nn.Linear(4, 64), *layers)  # from 30 layers to 40 rounding grows to the size of the images
    with torch.no_grad():
        for part in layers[::2]:
            part.weight.mul_(3 * 3**0.5)

    def call(module, z):
        x = module(z)
        return x + 0.002 * x.flip(0)

    assert not og.probe(og.adapt(net, og.Normal(4), call=call)).separable(latents())


def test_noise_of_strength_zero_and_rare_dropout_are_seen():
    class Strength(nn.Module):
        def __init__(self):
            super().__init__()
            self.strength = nn.Parameter(torch.zeros(()))

        def forward(self, x):
            return x + self.strength * torch.randn_like(x)

    for layer in (Strength(), nn.Dropout(1e-6)):
        f = og.probe(og.adapt(net(layer), og.Normal(4)))
        behavior = f._behavior(latents())
        assert not behavior.separable
        assert not behavior.repeatable


def test_one_closure_is_not_taken_for_another():
    module = net(nn.Tanh())

    def made(mix):
        return lambda m, z: m(z) - m(z).mean(0) if mix else m(z)

    answers = [og.probe(og.adapt(module, og.Normal(4), call=made(mix))).separable(latents()) for mix in (False, True)]
    assert answers == [True, False]


def test_activations_of_another_mode_or_of_changed_latents_are_not_used():
    module = net(nn.BatchNorm1d(8), nn.Tanh())
    z = latents()
    f = og.probe(og.adapt(module, og.Normal(4))).at(z)
    assert f.known(z) is not None
    module.eval()
    assert f.known(z) is None
    module.train()
    z.add_(1)
    assert f.known(z) is None


def test_a_module_that_grows_is_tried_again():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.depth, self.layer, self.last = 1, nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, z):
            for _ in range(self.depth):
                z = torch.tanh(self.layer(z))
            return self.last(z)

    module = Growing()
    f, z = og.probe(og.adapt(module, og.Normal(4)), ("layer", "last")), latents()
    before = f(z)
    module.depth = 2
    after = f(z)
    torch.testing.assert_close(after[1], module(z))
    torch.testing.assert_close(after[0], module.layer(torch.tanh(before[0])))


def test_no_latents_are_refused_in_words():
    with pytest.raises(ValueError, match="no latents were given"):
        HOSTS["mlp"].build()[1](5)(torch.zeros(0, 4))
