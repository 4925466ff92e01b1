import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core.kinds import CriticBatch
from vectors import vectors


def images(n=8):
    return torch.zeros(n, 1, 4, 4)


def begun(penalty):
    return penalty.init(og.adapt(nn.Identity(), og.Normal(2)))


def apply(penalty, state, real, fake):
    return penalty(nn.Identity(), CriticBatch(images(len(real)), images(len(fake)), real, fake), state=state)


@pytest.fixture(scope="module")
def golden():
    return {name: torch.from_numpy(value) for name, value in vectors("lecam_sequence").items()}


def test_the_released_sequence_with_its_gradients(golden):
    penalty = og.LeCam(compat="released", held=2)  # two critic steps before each of the generator
    state = begun(penalty)
    for i, expected in enumerate(golden["released_reg"]):
        real, fake = (golden[f"{kind}_logits"][i].clone().requires_grad_() for kind in ("real", "fake"))
        value = apply(penalty, state, real, fake)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
        gradients = torch.autograd.grad(0.3 * value, (real, fake))
        for found, name in zip(gradients, ("released_grad_real", "released_grad_fake"), strict=True):
            torch.testing.assert_close(found, golden[name][i], rtol=1e-5, atol=1e-6)


def test_the_canonical_sequence(golden):
    """Two critic steps a generator step, and a start of two: averages move from step 2 on, the penalty acts from 3."""
    penalty = og.LeCam()
    state = begun(penalty)
    for i in range(3, 12):  # what was before the last of the warm-up leaves no trace
        value = apply(penalty, state, golden["real_logits"][i], golden["fake_logits"][i])
        torch.testing.assert_close(state.real, golden["canonical_start2_ema_real"][i], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(state.fake, golden["canonical_start2_ema_fake"][i], rtol=1e-5, atol=1e-6)
        if i >= 6:
            torch.testing.assert_close(value, golden["canonical_start2_reg"][i], rtol=1e-5, atol=1e-6)


def test_every_sequence_as_it_was_recorded(shared_golden):
    """Averages for each place in the batch; and the penalty of averages that begin at 7777."""
    golden = vectors(shared_golden / "group-spectral" / "lecam_sequence")
    released = og.LeCam(compat="released", held=2)
    state, far, canonical = begun(released), begun(og.LeCam()), og.LeCam()
    for buffer in (far.real, far.fake, far.calls):
        buffer.fill_(7777)
    for i in range(12):
        real, fake = (torch.from_numpy(golden[f"{kind}_logits"][i]) for kind in ("real", "fake"))
        apply(released, state, real, fake)
        for average, name in ((state.real, "released_alpha_r"), (state.fake, "released_alpha_f")):
            torch.testing.assert_close(average.expand(8), torch.from_numpy(golden[name][i]), rtol=1e-5, atol=1e-6)
        value = apply(canonical, far, real, fake)
        if i > 1:
            assert value.item() == pytest.approx(golden["canonical_start0_reg"][i], rel=1e-5)
            assert value > 4e7


def test_gradients_of_the_canonical_form():
    """The averages are constants: 2 relu(D(x) - a_F) / n for real images, -2 relu(a_R - D(G)) / n for others."""
    real, fake = torch.tensor([1.0, 3.0], requires_grad=True), torch.tensor([-1.0, 2.5], requires_grad=True)
    value = apply(og.LeCam(), begun(og.LeCam()), real, fake)  # a_R = 2, a_F = 0.75
    assert value.item() == pytest.approx((0.25**2 + 2.25**2 + 3**2) / 2)
    up, down = torch.autograd.grad(value, (real, fake))
    assert up.tolist() == [0.25, 2.25]
    assert down.tolist() == [-3.0, 0.0]


def test_the_first_batch_is_where_averages_begin(rng):
    penalty = og.LeCam(decay=0.9)
    state, (a, b) = begun(penalty), 100 + torch.randn(2, 6, 1, generator=rng)
    apply(penalty, state, a, b)
    assert (state.real.item(), state.fake.item()) == pytest.approx((a.mean().item(), b.mean().item()))
    apply(penalty, state, b[:3], a[:3])  # another number of images is no matter
    assert state.real.item() == pytest.approx((0.9 * a.mean() + 0.1 * b[:3].mean()).item())
    assert state.calls == 2


def test_averages_stay_the_same_tensors_so_that_processes_can_share_them(rng):
    penalty = og.LeCam()
    state = begun(penalty)
    before = {name: id(buffer) for name, buffer in state.named_buffers()}
    apply(penalty, state, *torch.randn(2, 4, generator=rng))
    assert {name: id(buffer) for name, buffer in state.named_buffers()} == before
    assert not any(buffer.requires_grad for buffer in state.buffers())


@pytest.mark.parametrize("penalty", [og.LeCam(), og.LeCam(compat="released", held=1)], ids=str)
def test_a_resumed_run_goes_on_where_it_was(penalty, rng):
    logits, state, other = torch.randn(5, 2, 4, 1, generator=rng), begun(penalty), begun(penalty)
    for pair in logits[:3]:
        apply(penalty, state, *pair)
    other.load_state_dict(state.state_dict())
    for pair in logits[3:]:
        assert apply(penalty, state, *pair) == apply(penalty, other, *pair)
    fresh = begun(penalty)
    assert apply(penalty, fresh, *logits[4]) != apply(penalty, other, *logits[4])


def test_the_released_second_term_is_of_the_other_sign(rng):
    real, fake = 3 + torch.rand(8, generator=rng), -3 - torch.rand(8, generator=rng)  # as they are in training
    canonical, released = og.LeCam(), og.LeCam(compat="released", held=0)
    state = begun(canonical)
    apply(canonical, state, real, fake)
    expected = (real - fake.mean()).square().mean() + (real.mean() - fake).square().mean()
    assert apply(canonical, state, real, fake).item() == pytest.approx(expected.item(), rel=1e-5)
    state = begun(released)
    fake.requires_grad_()
    value = apply(released, state, real, fake)
    assert value.item() == pytest.approx((real - 0.01 * fake).square().mean().item(), rel=1e-5)
    assert not torch.autograd.grad(value, fake)[0].any()


def test_what_does_not_fit_is_refused(rng):
    with pytest.raises(ValueError, match=r"LeCam\(decay=1.0\): give a number from 0 to less than 1"):
        og.LeCam(decay=1.0)
    with pytest.raises(ValueError, match=r"LeCam\(held=-1\): give a number of calls, 0 at least"):
        og.LeCam(held=-1)
    with pytest.raises(ValueError, match=r"state = penalty.init\(generator\) and hand it over as state=state"):
        apply(og.LeCam(), None, torch.zeros(2), torch.zeros(2))
    penalty = og.LeCam(compat="released", held=0)
    state = begun(penalty)
    apply(penalty, state, *torch.zeros(2, 8))
    with pytest.raises(ValueError, match=r"in a batch of \(8,\) logits; \(4,\) were given, keep one size"):
        apply(penalty, state, *torch.zeros(2, 4))


def test_another_form_is_refused(unchecked):
    with pytest.raises(ValueError, match=r"LeCam\(compat='old'\): None or 'released' is accepted"):
        og.LeCam(compat="old")
