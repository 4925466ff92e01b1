"""The simple GAN's learning rate over time, beside the released one."""

import numpy as np
import pytest

from orthogen.recipes import orojar

EPOCHS = 1200


def rates(at: np.ndarray) -> np.ndarray:
    """The generator's rate of the recipe at so many epochs of its data."""
    recipe = orojar.sprites()
    return np.array([recipe.generator_optimizer.lr * recipe.rate_factor(round(e * recipe.images / EPOCHS)) for e in at])


def released(epoch: np.ndarray) -> np.ndarray:
    """The formula of the released scheduler, which steps before an epoch (1 to 1200) and divides by 601."""
    return 2e-4 * (1 - np.maximum(0, epoch - 599) / 601)


def test_the_formula_is_the_released_schedule(shared_golden):
    golden = np.load(shared_golden / "orthogonality" / "simplegan_lr.npz")
    np.testing.assert_allclose(released(golden["epoch"]), golden["lr"], rtol=1e-9, atol=1e-18)


def test_the_released_last_epoch_learns_nothing_and_ours_does():
    epoch = np.arange(1, EPOCHS + 1)
    # in steps of an epoch, each at what ours falls to by its end, less a part in 601 from where the decay begins
    expected = np.where(epoch < 600, 1, 600 / 601) * rates(epoch)
    np.testing.assert_allclose(released(epoch), expected, rtol=1e-9, atol=1e-18)
    assert released(epoch)[-1] == 0
    assert rates(np.array([EPOCHS - 0.5]))[0] == pytest.approx(2e-4 / 1200)
    assert rates(np.array([0, 600, 900, EPOCHS])) == pytest.approx([2e-4, 2e-4, 1e-4, 0])
