"""What the originals get wrong or do to one's surprise, shown; ``docs/errata.md`` is the list."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import orthogen as og
from hosts import HOSTS
from orthogen.core.probing import rademacher
from orthogen.layers.conv_encoder import ConvEncoder
from vectors import GOLDEN, vectors

ROOT = Path(__file__).resolve().parent.parent


def named_in_the_list() -> list[str]:
    """Every ``tests/file.py::name`` of the list, once for each row that names it."""
    return re.findall(r"`(tests/[\w/]+\.py::\w+)`", (ROOT / "docs" / "errata.md").read_text(encoding="utf-8"))


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("test", sorted(set(named_in_the_list())))
def test_a_test_that_the_list_names_exists(test):
    path, name = test.split("::")
    assert (ROOT / path).is_file()
    assert name in functions(ROOT / path)


def test_every_row_names_a_test_and_every_test_here_has_a_row():
    lines = (ROOT / "docs" / "errata.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("|") and not re.match(r"\|( system |[-|]+$)", line)]
    assert len(rows) > 20
    for row in rows:
        assert row.count("|") == 6, f"not five columns: {row}"
        assert re.search(r"`tests/[\w/]+\.py::test_\w+` *\|$", row), f"names no test: {row}"
    showing = {name for name in functions(Path(__file__)) if name.startswith("test_")}
    showing -= {"test_a_test_that_the_list_names_exists", "test_every_row_names_a_test_and_every_test_here_has_a_row"}
    assert showing <= {test.split("::")[1] for test in named_in_the_list()}


# ------------------------------------------------------------------------------------ Hessian Penalty and OroJaR
def test_the_base_pass_of_the_hessian_penalty_is_not_needed():
    rows: list[int] = []
    G, at = HOSTS["mlp"].build()
    z, f = og.Normal(4).sample(5, rng=torch.Generator().manual_seed(0)), at(5)
    f(z)  # what the host does is tried out first
    G.module[0].register_forward_hook(lambda module, args, output: rows.append(len(output)))
    for k in (2, 3):
        rows.clear()
        og.HessianPenalty(k=k, reduction="mean")(f, z)
        assert sum(rows) == 2 * k * 5  # the original: 2k + 1 passes
        rows.clear()
        og.OroJaR(k=k, reduction="mean")(f, z)
        assert sum(rows) == (k + 1) * 5


def test_layers_that_are_affine_in_the_latent_have_no_hessian():
    terms = og.HessianPenalty().terms(*simple_gan())
    first, second, third, fourth = (term.item() for term in terms.values())
    assert max(first, second) < 1e-6 * min(third, fourth)


def test_the_deepest_layer_outweighs_the_others_in_orojar():
    terms = og.OroJaR().terms(*simple_gan())
    first, second, third, fourth = (term.item() for term in terms.values())
    assert fourth > third > 1e6 * max(first, second)
    assert 1e-11 * (first + second + third + fourth) < 1e-3  # with the published weight: nothing to begin with
    sized = og.OroJaR(normalize="numel").terms(*simple_gan())
    assert max(sized.values()) > 1e6 * min(sized.values())  # the size is not why


def simple_gan() -> tuple[og.LatentMap, Tensor]:
    """The simple GAN of dSprites as it is initialized, seen where the paper penalizes it, and some latents."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = og.SimpleGan()
        generator = model.build()["generator"].requires_grad_(False)
    f = og.probe(model.adapt(generator), model.regularized_layers)
    return f, model.latent.sample(8, rng=torch.Generator().manual_seed(0))


def test_one_sided_differences_at_the_published_step_are_far_from_the_derivative():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(12, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 32)).double()
        for layer in net[::2]:
            layer.weight.data *= 4
    f, rng = og.probe(og.adapt(net, og.Normal(12))), torch.Generator().manual_seed(0)
    z = og.Normal(12).sample(64, rng=rng).double()
    probes = rademacher(2, z, rng)

    def error(**options: bool) -> float:
        exact, found = (way.along(f, z, probes, 1)[0][0] for way in (og.Exact(), og.FiniteDifference(**options)))
        return ((found - exact).norm() / exact.norm()).item()

    assert error() > 0.1
    assert error(central=True) < error() / 3


def test_a_step_is_as_long_as_the_square_root_of_the_width():
    for dim, length in ((12, 0.346), (40, 0.632), (120, 1.095)):
        assert 0.1 * rademacher(1, torch.zeros(1, dim)).norm().item() == pytest.approx(length, abs=1e-3)


def test_two_probes_are_no_measurement():
    hessian = torch.randn(12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hessian = hessian + hessian.T
    exact = 2 * (hessian.square().sum() - hessian.diagonal().square().sum()).item()
    call = lambda module, z: ((z @ hessian) * z).sum(1, keepdim=True) / 2  # noqa: E731
    f = og.probe(og.adapt(nn.Identity(), og.Normal(12), call=call))
    rng, z = torch.Generator().manual_seed(0), torch.zeros(4000, 12, dtype=torch.float64)

    def scatter(k: int) -> float:
        second = torch.stack([x for (x,) in og.FiniteDifference().along(f, z, rademacher(k, z, rng), 2)])
        estimates = second.var(0)
        assert estimates.mean().item() == pytest.approx(exact, rel=0.1)
        return (estimates.std() / estimates.mean()).item()

    assert scatter(2) > 1.3
    assert scatter(16) < 0.5
    largest = torch.stack([og.HessianPenalty()(f, z[:16], rng=rng) for _ in range(50)]).mean().item()
    assert largest > 2.5 * exact  # the maximum over a batch, as it is logged


def test_a_layer_that_is_overwritten_in_place_is_seen_as_it_was():
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Linear(8, 2)).eval()
    seen: list[Tensor] = []
    handle = net[1].register_forward_hook(lambda module, args, output: seen.append(output))
    z = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    net(z)
    handle.remove()
    assert seen[0].min() == 0  # what a plain hook keeps has become the output of the ReLU
    assert og.probe(og.adapt(net, og.Normal(4)), ("1",))(z)[0].min() < -0.1


def test_released_slerp_leaves_the_latents_distribution():
    golden = vectors("ppl_slerp")
    assert np.linalg.norm(golden["a"], axis=1).mean() > 2.5  # about the square root of 12
    for points in (golden["t0"], golden["t1e4"], golden["t03"]):
        np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, rtol=1e-6)


# ------------------------------------------------------------------------------------ Variation Predictability
def test_the_published_recognizer_fits_64_pixels_only():
    def features(side: int) -> int:
        return ConvEncoder((3, side, side), (4,) * 4, 16, 6).fc[0].layers.conv.in_features

    assert (features(64), features(128)) == (64, 256)
    for side in (64, 128):  # ours has as many convolutions as it takes
        call = lambda module, z, side=side: module(z)[:, :1, None, None].expand(-1, 3, side, side)  # noqa: E731
        G = og.adapt(nn.Linear(6, 1), og.Normal(6), call=call)
        assert og.VariationPredictability().init(G).fc[0].layers.conv.in_features == 64


def test_what_the_recognizer_says_of_a_pair_does_not_depend_on_the_others():
    G = og.adapt(nn.Linear(6, 256), og.Normal(6), call=lambda module, z: module(z).view(-1, 1, 16, 16))
    recognizer, images = og.VariationPredictability().init(G), torch.randn(5, 1, 16, 16)
    torch.testing.assert_close(recognizer(images)[:1], recognizer(images[:1]))


# ------------------------------------------------------------------------------------ adversarial losses
def test_eigengans_least_squares_loss_is_a_fourth_power():
    golden = {name: torch.from_numpy(values).double() for name, values in vectors("gan_losses").items()}
    real, fake = golden["real"], golden["fake"]
    assert golden["lsgan_g"].item() == pytest.approx((fake - 1).pow(4).mean().item(), rel=1e-5)
    assert golden["lsgan_d"].item() == pytest.approx(((real - 1).pow(4).mean() + fake.pow(4).mean()).item(), rel=1e-5)


def test_studiogans_vanilla_critic_loss_shifts_the_fake_logits():
    golden = json.loads((GOLDEN / "adv_losses.json").read_text())
    real, fake = torch.tensor(golden["real"]), torch.tensor(golden["fake"])
    shifted = (F.softplus(-real) + F.softplus(fake - 1)).mean().item()  # log sigmoid(1 - D) for log(1 - sigmoid(D))
    assert golden["vanilla_d"] == pytest.approx(shifted, abs=1e-6)
    assert og.NonSaturating().critic(real, fake).item() > shifted + 0.3
