import json
import math

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.augment import _pipeline
from orthogen.augment._pipeline import recolored
from orthogen.core.kinds import Augmentation, CriticBatch
from orthogen.core.record import from_json, to_json
from orthogen.regularizers.gradient_penalty import R1
from vectors import GOLDEN

MANY = 20_000


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def near(p, n=MANY):
    """A frequency of n trials of probability p."""
    return pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))


def share(which):
    return which.double().mean().item()


# ---------------------------------------------------------------------------------------------- what is drawn
@pytest.fixture
def drawn(monkeypatch):
    """What the three parts draw for many samples, by part."""

    def draws(policy, p, shape=(MANY, 1, 16, 16)):
        caught = []

        def catch(images, *args):
            caught.append(args)
            return images

        for name in ("moved", "resampled", "recolored"):
            monkeypatch.setattr(_pipeline, name, catch)
        og.AdaptiveAugment(policy, p=p)(torch.zeros(1, dtype=torch.float64).expand(shape), rng=seeded())
        return caught[0]

    return draws


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_blits(drawn, p):
    mirrored, rows, columns, turns = drawn("blit", p)
    assert share(mirrored) == near(p / 2)
    for quarter in range(1, 4):
        assert share(turns == quarter) == near(p / 4)
    for shift in (rows, columns):  # 16 U[-1/8, 1/8] rounded: the ends have half the probability
        assert [share(shift == k) for k in (-2, -1, 1, 2)] == [near(p * q) for q in (1 / 8, 1 / 4, 1 / 4, 1 / 8)]
        assert shift.abs().max() == 2
    assert share((rows != 0) & (columns != 0)) == near(p * 9 / 16)  # one coin for both


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_geometry(drawn, p):
    matrix, shift = drawn("geometry", p, (MANY, 1, 8, 16))
    scale = -0.5 * torch.linalg.det(matrix).log2()
    scaled = scale.abs() > 1e-9
    assert share(scaled) == near(p)
    assert scale[scaled].mean().item() == pytest.approx(0, abs=0.01)
    assert scale[scaled].std().item() == pytest.approx(0.2, rel=0.03)
    long, short = torch.linalg.svdvals(matrix).log2().unbind(1)
    stretch = (long - short) / 2
    stretched = stretch > 1e-9
    assert share(stretched) == near(p)
    assert stretch[stretched].square().mean().sqrt().item() == pytest.approx(0.2, rel=0.03)
    if p < 1:  # where nothing is stretched, one turn or two are a rotation
        plain = matrix[~stretched]
        angle = torch.atan2(plain[:, 1, 0], plain[:, 0, 0])
        turned = angle.abs() > 1e-9
        assert share(turned) == near(p, len(plain))
        quarters = torch.histc(angle[turned], 4, -math.pi, math.pi) / turned.sum()
        assert quarters.tolist() == [near(0.25, int(turned.sum()))] * 4
    for i, side in enumerate((16, 8)):
        moved = shift[:, i] != 0
        assert share(moved) == near(p)
        assert shift[moved, i].std().item() == pytest.approx(side / 8, rel=0.03)
        assert torch.equal(moved, shift[:, 1 - i] != 0)  # one coin for both


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_colors(drawn, p):
    brightness, contrast, luma, hue, saturation = drawn("color", p)
    assert share(luma == -1) == near(p / 2)
    assert share(hue != 0) == near(p)
    assert hue.abs().max() <= math.pi
    assert hue[hue != 0].std().item() == pytest.approx(math.pi / math.sqrt(3), rel=0.03)
    for value, std in ((brightness, 0.2), (contrast.log2(), 0.5), (saturation.log2(), 1.0)):
        assert share(value != 0) == near(p)
        assert value[value != 0].mean().item() == pytest.approx(0, abs=4 * std / math.sqrt(MANY * p))
        assert value[value != 0].std().item() == pytest.approx(std, rel=0.03)


def test_transformations_are_drawn_independently(drawn):
    brightness, contrast, luma, hue, saturation = drawn("color", 0.7)
    values = torch.stack([brightness, contrast.log2(), luma, hue, saturation.log2()])
    for each in (values, (values != 0).double()[[0, 1, 3, 4]]):
        correlation = torch.corrcoef(each) - torch.eye(len(each))
        assert correlation.abs().max() < 4 / math.sqrt(MANY)


# ---------------------------------------------------------------------------------------------- colors
def test_colors_are_the_papers_matrices():
    """Homogeneous 4 x 4 matrices over (red, green, blue, 1), one after the other (appendix B)."""
    x = torch.rand(6, 3, 4, 5, generator=seeded(), dtype=torch.float64) * 2 - 1
    b, c, hue, s = torch.randn(4, 6, generator=seeded(1), dtype=torch.float64)
    luma = torch.tensor([1, -1, 1, -1, 1, -1], dtype=torch.float64)
    c, s = c.exp(), s.exp()
    v = torch.tensor([1, 1, 1, 0], dtype=torch.float64) / math.sqrt(3)
    outer, one = torch.outer(v, v), torch.eye(4, dtype=torch.float64)
    cross = torch.zeros(4, 4, dtype=torch.float64)
    cross[0, 1], cross[1, 2], cross[2, 0] = -1, -1, -1
    cross = (cross - cross.T) / math.sqrt(3)
    expected = []
    for i, image in enumerate(x):
        last = torch.diag(torch.tensor([0.0, 0, 0, 1], dtype=torch.float64))
        bright = one.clone()
        bright[:3, 3] = b[i]
        strong = torch.diag(torch.stack([c[i], c[i], c[i], torch.tensor(1.0, dtype=torch.float64)]))
        flip = one - 2 * outer * (luma[i] < 0)
        turn = outer + hue[i].cos() * (one - last - outer) + hue[i].sin() * cross + last
        saturate = outer + (one - outer) * s[i]
        saturate[3, 3] = 1
        matrix = saturate @ turn @ flip @ strong @ bright
        expected.append((matrix[:3, :3] @ image.flatten(1) + matrix[:3, 3:]).view_as(image))
    torch.testing.assert_close(recolored(x, b, c, luma, hue, s), torch.stack(expected))
    # one channel is gray in all three
    gray = recolored(x[:, :1], b, c, luma, hue, s)
    torch.testing.assert_close(recolored(x[:, :1].expand(-1, 3, -1, -1), b, c, luma, hue, s)[:, :1], gray)


# ---------------------------------------------------------------------------------------------- the method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_at_zero_nothing_changes_to_the_bit(dtype):
    x = torch.randn(4, 3, 12, 12, generator=seeded()).to(dtype).requires_grad_()
    adaptive, fixed = og.AdaptiveAugment(), og.AdaptiveAugment(p=0.0)
    for images in (adaptive(x, state=adaptive.init(), rng=seeded()), fixed(x, rng=seeded())):
        assert torch.equal(images, x)
        assert images.dtype == dtype
        (gradient,) = torch.autograd.grad(images.sum(), x)
        assert torch.equal(gradient, torch.ones_like(x))


def test_untouched_samples_stay_to_the_bit_beside_others(rng):
    x = torch.rand(400, 3, 8, 8, generator=rng)
    same = (og.AdaptiveAugment("geometry", p=0.1)(x, rng=rng) == x).flatten(1).all(1)
    # a turn at least, a scale, a stretch, a shift
    assert share(same) == near(0.9**4, 400)
    same = (og.AdaptiveAugment("color", p=0.1)(x, rng=rng) == x).flatten(1).all(1)
    assert share(same) == near(0.9**4 * 0.95, 400)  # half of the luma flips change nothing


def test_blits_only_move_pixels(rng):
    x = torch.rand(50, 3, 16, 16, generator=rng)
    y = og.AdaptiveAugment("blit", p=1.0)(x, rng=rng)
    for before, after in zip(x, y, strict=True):
        assert set(after.flatten().tolist()) <= set(before.flatten().tolist())


def test_the_probability_is_the_memorys(rng):
    x, adaptive = torch.rand(8, 3, 8, 8, generator=rng), og.AdaptiveAugment()
    state = adaptive.init()
    state.p.fill_(0.4)
    assert torch.equal(adaptive(x, state=state, rng=seeded(1)), og.AdaptiveAugment(p=0.4)(x, rng=seeded(1)))


def test_every_sample_sees_its_own_draws_alone_and_a_seed_fixes_them(rng):
    augment, (x, other) = og.AdaptiveAugment(p=0.9), torch.rand(2, 4, 3, 16, 16, generator=rng)
    before = torch.get_rng_state()
    one, two = (augment(images, rng=seeded(1)) for images in (x, torch.cat([x[:2], other[2:]])))
    torch.testing.assert_close(one[:2], two[:2])
    assert torch.equal(augment(x, rng=seeded(1)), one)
    assert torch.equal(torch.get_rng_state(), before)
    same = augment(x[:1].expand(4, -1, -1, -1), rng=seeded(1))
    assert len({image.numpy().tobytes() for image in same}) == 4


@pytest.mark.parametrize("policy", ["blit", "geometry", "color", "blit,geometry,color"])
def test_gradients_of_both_orders(policy):
    augment = og.AdaptiveAugment(policy, p=0.8)
    x = torch.rand(2, 3, 4, 4, generator=seeded(), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, rng=seeded(1)), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, rng=seeded(1)).square(), x, fast_mode=True)


def test_r1_sees_through_it():
    """D(x) = w . T x, T a permutation, as the shifts are of less than a pixel: |T^T w|^2 is |w|^2."""
    augment, w = og.AdaptiveAugment("blit", p=1.0), torch.randn(3 * 16, generator=seeded())

    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(w)

        def forward(self, images):
            return augment(images, rng=seeded(3)).flatten(1) @ self.w

    x = torch.rand(5, 3, 4, 4, generator=seeded())
    critic = Critic()
    value = R1(gamma=2.0)(critic, CriticBatch(x, x, critic(x), critic(x)))
    assert value.item() == pytest.approx(w.square().sum().item())
    value.backward()
    torch.testing.assert_close(critic.w.grad, 2 * w, rtol=1e-4, atol=1e-4)


def test_precision():
    x = torch.rand(6, 3, 16, 16, generator=seeded(), dtype=torch.float64)
    augment = og.AdaptiveAugment(p=0.8)
    single, double = (augment(x.to(dtype), rng=seeded(5)) for dtype in (torch.float32, torch.float64))
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-3)
    assert augment(x.bfloat16(), rng=seeded(5)).dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(augment(x.float(), rng=seeded(5)), single)


def test_kept_matrices_are_good_for_gradients_after_inference():
    x = torch.rand(1, 1, 11, 11)  # a side that no other test has
    with torch.inference_mode():
        og.AdaptiveAugment("geometry", p=1.0)(x)
    x.requires_grad_()
    og.AdaptiveAugment("geometry", p=1.0)(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_on_a_gpu_nothing_is_waited_for(where):
    augment, x = og.AdaptiveAugment(interval=1, length=10), torch.rand(4, 3, 16, 16, generator=seeded())
    state, rng, on_gpu = augment.init().cuda(), torch.Generator(where).manual_seed(0), x.cuda()
    augment(on_gpu, state=state)  # matrices of this side are made
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        augment.observe(state, torch.ones(4, device="cuda"))
        images = augment(on_gpu, state=state, rng=rng)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    if where == "cpu":  # one seed, one sequence
        torch.testing.assert_close(images.cpu(), augment(x, state=state.cpu(), rng=seeded(0)), rtol=1e-3, atol=1e-3)


# ---------------------------------------------------------------------------------------------- how strong
def test_the_released_steps():
    golden = json.loads((GOLDEN / "ada.json").read_text())
    augment = og.AdaptiveAugment(length=833_333)  # 500,000 / 0.6
    state = augment.init()
    found = [augment.observe(state, 2.5 * torch.tensor(signs).float())["p"].item() for signs in golden["signs"]]
    assert found == pytest.approx(golden["p"], abs=1e-6)
    assert max(golden["p"]) == pytest.approx(1.92e-5)
    assert found == pytest.approx(golden["p"], abs=1e-10)


def test_p_follows_the_critic_within_zero_and_one():
    augment = og.AdaptiveAugment(length=100, interval=2)
    state, sure, unsure = augment.init(), torch.ones(10, 1), torch.tensor([[1.0], [-1.0]]).repeat(5, 1)
    found = [augment.observe(state, sure) for _ in range(4)]
    assert [each["p"].item() for each in found] == pytest.approx([0, 0.2, 0.2, 0.4])
    assert [each["r"].item() for each in found] == [1.0] * 4
    both = [augment.observe(state, logits)["r"].item() for logits in (sure, unsure)]
    assert both == [1.0, 0.5]
    assert state.p.item() == pytest.approx(0.2)  # 0.5 is below the target
    for _ in range(20):
        augment.observe(state, unsure)
    assert state.p.item() == 0
    for _ in range(20):
        augment.observe(state, sure)
    assert state.p.item() == 1


def test_an_image_counts_once_however_many_logits_it_has():
    augment = og.AdaptiveAugment(length=100, interval=1)
    state = augment.init()
    augment.observe(state, torch.ones(10, 1, 4, 4))
    assert state.p.item() == pytest.approx(0.1)


def test_several_processes_count_all_images(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda sums: sums.mul_(4))
    augment = og.AdaptiveAugment(length=100, interval=1)
    state = augment.init()
    assert augment.observe(state, torch.ones(5))["p"].item() == pytest.approx(0.2)


def test_each_of_several_processes_moves_p_as_one_alone_would(monkeypatch):
    augment, logits = og.AdaptiveAugment(length=1000), torch.randn(40, 2, 8, generator=seeded()) + 0.85
    alone = augment.init()
    expected = [augment.observe(alone, both.flatten())["p"].item() for both in logits]
    assert len(set(expected)) > 3
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    for rank in (0, 1):
        state, found = augment.init(), []
        for both in logits:
            other = both[1 - rank].sign().sum()
            monkeypatch.setattr(torch.distributed, "all_reduce", lambda sums, other=other: sums.add_(other))
            found.append(augment.observe(state, both[rank])["p"].item())
        assert found == expected


def test_what_is_remembered_survives_a_state_dict():
    augment = og.AdaptiveAugment(length=100, interval=3)
    state, other, logits = augment.init(), augment.init(), torch.randn(9, 7, generator=seeded()) + 1
    for row in logits[:4]:
        augment.observe(state, row)
    other.load_state_dict(state.state_dict())
    for row in logits[4:]:
        assert augment.observe(state, row) == augment.observe(other, row)
    assert state.p > 0
    logged = augment.observe(state, torch.ones(4))
    assert logged["p"] is not state.p  # which changes in place


def test_a_fixed_one_remembers_nothing():
    augment = og.AdaptiveAugment(p=0.2)
    assert augment.init() is None
    assert augment.observe(None, torch.ones(4)) == {}


def test_it_is_a_value():
    assert isinstance(og.AdaptiveAugment(), Augmentation)
    assert from_json(to_json(og.AdaptiveAugment("color", p=0.5))) == og.AdaptiveAugment("color", p=0.5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"policy": "blit,filter"},
            r"AdaptiveAugment\(policy='blit,filter'\): there is no 'filter'; give some of blit, geometry, color",
        ),
        ({"policy": "blit,blit"}, r"name each part once"),
        ({"p": 1.5}, r"AdaptiveAugment\(p=1.5\): give a probability from 0 to 1, or None to adapt it"),
        ({"length": 0}, r"AdaptiveAugment\(length=0, interval=4\): both are 1 at least"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        og.AdaptiveAugment(**fields)


def test_images_it_cannot_change_are_refused():
    with pytest.raises(ValueError, match=r"turns images by quarters; 8 x 16 pixels were given.*leave blit out"):
        og.AdaptiveAugment(p=0.5)(torch.zeros(1, 3, 8, 16))
    assert og.AdaptiveAugment("geometry,color", p=0.5)(torch.zeros(1, 3, 8, 16)).shape == (1, 3, 8, 16)
    with pytest.raises(ValueError, match=r"colors of 1 or 3 channels; images of 4 were given: leave color out"):
        og.AdaptiveAugment(p=0.5)(torch.zeros(1, 4, 8, 8))
    with pytest.raises(ValueError, match=r"state = augment.init\(\) and hand it over as state=state, or fix the"):
        og.AdaptiveAugment()(torch.zeros(1, 3, 8, 8))
