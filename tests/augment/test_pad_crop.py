"""Crops of padded images: where every pixel comes from, and how often."""

import pytest
import torch

from orthogen.augment.pad_crop import PadCrop


def places(n: int, side: int) -> torch.Tensor:
    """Images whose pixels say where they are: 0, 1, 2, ... scaled into (0, 1]."""
    return ((torch.arange(side * side) + 1.0) / (side * side)).view(1, 1, side, side).expand(n, 1, side, side)


def test_every_image_is_a_window_of_the_padded_one_or_of_its_mirror(rng):
    x, p = places(400, 6), 2
    padded = torch.nn.functional.pad(x, (p,) * 4, value=-1.0)
    seen = []
    for image, whole in zip(PadCrop(p)(x, rng=rng), padded, strict=True):
        windows = [
            (a, b, m)
            for a in range(2 * p + 1)
            for b in range(2 * p + 1)
            for m in (False, True)
            if torch.allclose(image, (whole.flip(2) if m else whole)[:, a : a + 6, b : b + 6], atol=1e-6)
        ]
        assert len(windows) == 1
        seen += windows
    counts = {window: seen.count(window) for window in seen}
    assert len(counts) == 50
    assert max(counts.values()) < 25  # 8 each are expected
    assert 150 < sum(m for _, _, m in seen) < 250


def test_without_flip_and_without_padding(rng):
    x = places(8, 4)
    assert torch.equal(PadCrop(0, flip=False)(x, rng=rng), x)
    half = PadCrop(0)(x, rng=rng)
    assert all(
        torch.equal(image, each) or torch.equal(image, each.flip(2)) for image, each in zip(half, x, strict=True)
    )


def test_draws_depend_on_the_stream_alone():
    x = places(16, 5)
    a, b = (PadCrop()(x, rng=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, PadCrop()(x, rng=torch.Generator().manual_seed(4)))


def test_gradients_pass_through(rng):
    x = places(4, 4).clone().requires_grad_()
    PadCrop(1)(x, rng=rng).sum().backward()
    assert x.grad is not None
    assert 0 < x.grad.sum() <= x.numel()


def test_negative_padding_is_refused():
    with pytest.raises(ValueError, match=r"PadCrop\(padding=-1\): give the pixels on each side, 0 for none"):
        PadCrop(-1)
