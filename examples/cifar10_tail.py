"""SNGAN on CIFAR-10 with a long tail, of a width for two CPU cores: the runs of the lab book, with and without gSR.

Train with ``orthogen train examples/cifar10_tail.py:sngan --data PATH --run runs/tail``, without gSR by ``--no-gsr``,
where PATH is what `orthogen.Cifar10` reads. `experiments/long_tail.py` trains all of them and draws table and pictures.
"""

from dataclasses import replace

import orthogen as og
from orthogen import recipes
from orthogen.training.recipe import Adam

__all__ = ["sngan"]


def sngan(*, gsr: bool = True) -> og.Recipe:
    """The published recipe with LeCam and DiffAugment, a quarter as wide, in bfloat16, at twice the rate."""
    full = recipes.build("group_spectral.cifar10_sngan", gsr=gsr)
    assert isinstance(full, og.Recipe)
    adam = Adam(4e-4, (0.5, 0.9), eps=1e-6)
    return replace(
        full,
        name=f"tail-{'gsr' if gsr else 'plain'}",
        model=replace(full.model, width=16),
        objective=replace(full.objective, rules={"spectral": og.SpectralMonitor(every=50)}),
        images=480_000,
        batch=32,
        generator_optimizer=adam,
        critic_optimizer=adam,
        ema=20_000,
        ema_start=40_000,
        precision="bfloat16",
        channels_last=True,
        validation=None,
        checkpoint_every=80_000,
        sample_every=80_000,
        claims=(),
    )
