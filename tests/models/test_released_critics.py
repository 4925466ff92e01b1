"""The critics of group spectral regularization's release on real and generated images, from its whole golden files."""

import pytest
import torch

import orthogen as og
from orthogen.models.biggan import BigGan
from orthogen.models.sngan import Sngan
from orthogen.training.adversarial import Hinge
from studio_nets import load_golden, our_name
from vectors import vectors

UNUSED = "D.shared.weight"  # a class embedding of BigGAN's critic that nothing reads, so that it has no gradient
MODELS = {
    "net_sngan32": (Sngan(og.Normal(8), width=2, critic_width=4), None),
    "net_biggan32": (BigGan(resolution=32, classes=10, dim=16, shared_dim=16, width=4, attention=(16,)), 1),
}


@pytest.fixture(params=MODELS)
def released(request, shared_golden):
    """Its arrays, our critic with its weights, and the place of attention in its list of blocks."""
    files = vectors(shared_golden / "group-spectral" / request.param)
    golden = {name: torch.from_numpy(value) for name, value in files.items()}
    assert (UNUSED in golden) is (request.param == "net_biggan32")
    golden.pop(UNUSED, None)
    model, attention = MODELS[request.param]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        critic = model.build()["critic"]
    return golden, load_golden(critic, golden, "D.", attention), attention


@pytest.mark.parametrize(("skip_relu", "suffix"), [(True, ""), (False, "_no_inplace")])
def test_logits_of_real_and_generated_images_in_both_readings_of_the_shortcut(released, skip_relu, suffix):
    golden, critic, _ = released
    for block in critic.blocks:
        block[0].skip_relu = skip_relu
    for name, kind in (("real", "real"), ("images", "fake")):
        expected = golden[f"logits_{kind}{suffix}"]
        torch.testing.assert_close(critic(golden[name], golden["y"]), expected.view(-1, 1), rtol=1e-4, atol=1e-5)


def test_hinge_loss_and_its_gradients(released):
    golden, critic, attention = released
    for block in critic.blocks:
        block[0].skip_relu = True
    loss = Hinge().critic(*(critic(golden[name], golden["y"]) for name in ("real", "images")))
    torch.testing.assert_close(loss, golden["d_loss"].view(()), rtol=1e-5, atol=0)
    loss.backward()
    norms = {name.removeprefix("gradnorm.D."): norm for name, norm in golden.items() if name.startswith("gradnorm.D.")}
    assert len(norms) == len(list(critic.parameters()))
    for name, norm in norms.items():
        gradient = critic.get_parameter(our_name(name, attention)).grad.norm()
        torch.testing.assert_close(gradient, norm.to(gradient), rtol=1e-4, atol=1e-5)
