"""EigenGAN on small pictures of your own, 64 px: the runs of the lab book, with the soft penalty (OL) or with NOG.

Train with ``orthogen train examples/eigengan_heads.py:heads --data FOLDER --run runs/heads``, with ``--nog`` for NOG.
Then ``orthogen measure runs/heads Activeness.eigengan`` says what each layer's coordinates do, and
``orthogen traverse runs/heads --rows 24`` shows it.
"""

import orthogen as og
from orthogen.training.recipe import Adam

__all__ = ["heads"]


def heads(*, nog: bool = False) -> og.Recipe:
    """A narrow EigenGAN with the released losses and augmentation, at five times the released rate."""
    model = og.EigenGan(resolution=64, noise_dim=64, base_channels=8, max_channels=128)
    terms = {"r1": og.Term(og.R1(gamma=20 / 16), every=16)}
    if not nog:
        terms["ol"] = og.Term(og.SoftOrthogonality(model.subspaces), weight=100.0)
    rules = {"nog": og.NearestOrthogonalGradient(model.subspaces)} if nog else {}
    adam = Adam(5e-4, (0.5, 0.99))
    return og.Recipe(
        "heads-nog" if nog else "heads-ol",
        model,
        og.ImageFolder("heads"),
        og.Objective(og.Hinge(bounded=True), terms, rules, og.DiffAugment.eigengan()),
        images=100_000,
        batch=32,
        generator_optimizer=adam,
        critic_optimizer=adam,
        ema=10_000,
        precision="bfloat16",
        checkpoint_every=50_000,
        sample_every=25_000,
        metrics=("Activeness.eigengan",),
    )
