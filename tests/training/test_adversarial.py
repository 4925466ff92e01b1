import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from orthogen.training.adversarial import Hinge, LeastSquares, NonSaturating, Relativistic, Wasserstein
from vectors import GOLDEN, vectors

ALL = (Wasserstein(), NonSaturating(), Hinge(), Hinge(bounded=True), LeastSquares(), Relativistic())
ids = pytest.mark.parametrize("loss", ALL, ids=repr)


def both(loss, real, fake):
    return loss.critic(real, fake).item(), loss.generator(fake, real).item()


def test_studiogan_values():
    golden = json.loads((GOLDEN / "adv_losses.json").read_text())
    real, fake = torch.tensor(golden["real"]), torch.tensor(golden["fake"])
    assert both(Hinge(), real, fake) == pytest.approx((golden["hinge_d"], golden["hinge_g"]), abs=1e-6)
    assert both(Wasserstein(critic_scale=1.0), real, fake) == pytest.approx(
        (golden["wgan_d"], golden["wgan_g"]), abs=1e-6
    )
    assert both(LeastSquares(), real, fake) == pytest.approx((golden["ls_d"], golden["ls_g"]), abs=1e-6)
    # its critic loss, logsigmoid(1 - D), is not the paper's: only the generator's agrees
    assert NonSaturating().generator(fake).item() == pytest.approx(golden["vanilla_g"], abs=1e-6)


def test_eigengan_values():
    golden = vectors("gan_losses")
    real, fake = torch.from_numpy(golden["real"]), torch.from_numpy(golden["fake"])
    for loss, name in ((Hinge(bounded=True), "hinge"), (NonSaturating(), "non_saturating")):
        expected = (golden[f"{name}_d"].item(), golden[f"{name}_g"].item())
        assert both(loss, real, fake) == pytest.approx(expected, abs=1e-6)


def test_the_simple_gans_vanilla_mode_is_half_the_critics_loss():
    golden = vectors("simplegan_bce")
    pred = torch.from_numpy(golden["pred"])
    assert NonSaturating().generator(pred).item() == pytest.approx(golden["true"], abs=1e-6)
    assert NonSaturating(critic_scale=0.5).critic(pred, pred).item() == pytest.approx(
        (golden["true"] + golden["false"]) / 2, abs=1e-6
    )


def test_the_simple_gans_critic_loss_is_halved():
    assert Wasserstein().critic(torch.tensor([3.0, 5.0]), torch.tensor([1.0])).item() == -1.5


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), min_size=1, max_size=8), st.floats(-5, 5))
def test_relativistic_sees_differences_of_pairs_only(pairs, shift):
    real, fake = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    loss = Relativistic()
    critic, generator = both(loss, real, fake)
    assert critic == pytest.approx(F.softplus(fake - real).mean().item())
    assert both(loss, fake, real) == pytest.approx((generator, critic))
    assert both(loss, real + shift, fake + shift) == pytest.approx((critic, generator))


@ids
def test_critic_and_generator_pull_fake_logits_apart(loss):
    real, fake = torch.full((4, 1), 0.3, requires_grad=True), torch.full((4, 1), 0.2, requires_grad=True)
    up, down = torch.autograd.grad(loss.critic(real, fake), (real, fake))
    assert (up < 0).all()
    assert (down > 0).all()
    (raised,) = torch.autograd.grad(loss.generator(fake, real if loss.needs_real else None), fake)
    assert (raised < 0).all()


@ids
def test_accumulated_halves_equal_the_batch(loss, rng):
    real, fake = torch.randn(2, 8, 1, generator=rng, dtype=torch.float64)
    halves = [both(loss, r, f) for r, f in zip(real.chunk(2), fake.chunk(2), strict=True)]
    assert both(loss, real, fake) == pytest.approx(tuple(np.mean(halves, axis=0)))


def test_relativistic_says_what_it_needs():
    assert [loss.needs_real for loss in ALL] == [False] * 5 + [True]
    with pytest.raises(ValueError, match="needs the critic's logits of real images too; give real_logits"):
        Relativistic().generator(torch.zeros(3, 1))
    # (3, 1) against (3,) would broadcast to nine pairs
    with pytest.raises(ValueError, match=r"\(3, 1\) and \(3,\) were given, give as many of each"):
        Relativistic().critic(torch.zeros(3, 1), torch.zeros(3))
