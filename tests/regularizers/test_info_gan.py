import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from orthogen.core.generator import adapt
from orthogen.core.latent import Normal
from orthogen.core.maps import probe
from orthogen.regularizers.info_gan import InfoGan

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "vp_losses.json").read_text())


def generator(dtype=torch.float32):
    net = nn.Sequential(nn.Linear(4, 128), nn.Tanh(), nn.Unflatten(1, (2, 8, 8)))
    return adapt(net.to(dtype), Normal(4))


def test_gaussian_loss_equals_the_golden_values():
    outputs, latents, total = (
        torch.tensor(GOLDEN[name], dtype=torch.float64) for name in ("regress_info", "latents", "infogan_D1_C0_01")
    )
    classes = GOLDEN["D_global_size"]  # their part of the loss, of weight 1, is not ours
    categorical = -(F.log_softmax(outputs[:, :classes], 1) * latents[:, :classes]).sum(1)
    ours = InfoGan().errors(outputs[:, classes:], latents[:, classes:])
    torch.testing.assert_close(categorical + 0.01 * ours, total, rtol=1e-10, atol=1e-10)


def test_gaussian_loss_of_a_perfect_encoder_is_its_entropy():
    z = torch.randn(5, 3, dtype=torch.float64)
    log_variance = torch.full((5, 3), -2.0, dtype=torch.float64)
    expected = 3 * (0.5 * math.log(2 * math.pi) - 1.0)
    errors = InfoGan().errors(torch.cat([z, log_variance], 1), z)
    assert errors.tolist() == pytest.approx([expected] * 5)


@pytest.mark.parametrize("loss", ["gaussian", "mse"])
@pytest.mark.parametrize("codes", [None, 3])
def test_value_is_the_formula_on_the_first_codes(loss, codes):
    penalty, g = InfoGan(codes, loss), generator(torch.float64)
    encoder, z = penalty.init(g), torch.randn(6, 4, dtype=torch.float64)
    value = penalty(probe(g), z, state=encoder)
    n, outputs = codes or 4, encoder(g(z))
    if loss == "mse":
        expected = F.mse_loss(outputs, z[:, :n])
    else:
        normal = torch.distributions.Normal(outputs[:, :n], (outputs[:, n:] / 2).exp())
        expected = -normal.log_prob(z[:, :n]).sum(1).mean()
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    value.backward()
    assert all(p.grad.abs().sum() > 0 for p in (*g.module.parameters(), *encoder.parameters()))


def test_encoder_and_generator_learn_together(rng):
    penalty, g = InfoGan(loss="mse", width=8), generator()
    encoder = penalty.init(g)
    optimizer = torch.optim.Adam([*g.module.parameters(), *encoder.parameters()], 1e-2)
    for _ in range(100):
        loss = penalty(probe(g), g.latent.sample(64, rng=rng), state=encoder)
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    assert loss.item() < 0.2  # a blind encoder is at 1


def test_mistakes_are_told_in_one_line():
    g = generator()
    with pytest.raises(ValueError, match="give at least 1 code, or None for the whole latent"):
        InfoGan(codes=0)
    with pytest.raises(ValueError, match=r"InfoGan\(codes=9\): the latent has 4 dimensions; give as many at most"):
        InfoGan(codes=9).init(g)
    with pytest.raises(ValueError, match="InfoGan learns a recognizer: make it with"):
        InfoGan()(probe(g), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="has no probes: it reads the latents back off their own images"):
        InfoGan()(probe(g), torch.zeros(2, 4), state=InfoGan().init(g), probes=torch.ones(2, 2, 4))


def test_a_misspelt_word_is_refused(unchecked):
    with pytest.raises(ValueError, match=r"InfoGan\(loss='gausian'\): 'gaussian' or 'mse' is accepted"):
        InfoGan(loss="gausian")
