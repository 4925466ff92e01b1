import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cards import Cards, labeled
from orthogen.core.generator import adapt
from orthogen.core.latent import Normal
from orthogen.core.maps import given, probe
from orthogen.regularizers.info_gan import InfoGan

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "vp_losses.json").read_text())


def generator(dtype=torch.float32):
    net = nn.Sequential(nn.Linear(4, 128), nn.Tanh(), nn.Unflatten(1, (2, 8, 8)))
    return adapt(net.to(dtype), Normal(4))


class Fixed(nn.Module):
    """An encoder that says what it is told, whatever it sees."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, images):
        return self.outputs


def test_losses_of_codes_and_classes_equal_the_golden_values():
    outputs, latents, expected = (
        torch.tensor(GOLDEN[name], dtype=torch.float64) for name in ("regress_info", "latents", "infogan_D1_C0_01")
    )
    classes = GOLDEN["D_global_size"]
    label, codes = latents[:, :classes].argmax(1), latents[:, classes:]
    penalty = InfoGan(class_weight=100.0)  # 1 for the classes, 0.01 for the codes
    f = probe(labeled(classes))
    for i in range(len(codes)):  # the golden values are of single images
        row = slice(i, i + 1)
        value = 0.01 * penalty(given(f, label=label[row]), codes[row], state=Fixed(outputs[row]))
        assert value.item() == pytest.approx(expected[i].item(), abs=1e-10, rel=0)
    whole = 0.01 * penalty(given(f, label=label), codes, state=Fixed(outputs))
    torch.testing.assert_close(whole, expected.mean(), rtol=0, atol=1e-10)


def test_classes_are_predicted_where_there_are_any():
    g, z, label = labeled(3), torch.randn(6, 6), torch.arange(6) % 3
    with torch.random.fork_rng():
        sizes = {w: InfoGan(class_weight=w).init(g, Cards())(torch.zeros(1, 1, 8, 8)).shape[1] for w in (0.0, 1.0)}
        assert sizes == {0.0: 12, 1.0: 15}
        assert InfoGan().init(g.of_class(2))(torch.zeros(1, 1, 8, 8)).shape[1] == 12
        encoder = InfoGan().init(g, Cards())
    f = given(probe(g), label=label)
    with_classes, without = InfoGan()(f, z, state=encoder), InfoGan(class_weight=0.5)(f, z, state=encoder)
    cross_entropy = F.cross_entropy(encoder(g(z, label=label))[:, :3], label)
    assert (with_classes - without).item() == pytest.approx(cross_entropy.item() / 2, rel=1e-4)
    with pytest.raises(
        ValueError, match=r"InfoGan predicts classes, and the map has 0 conditions of whole numbers; hand"
    ):
        InfoGan()(probe(g.of_class(1)), z, state=encoder)


def test_it_can_have_the_trunk_of_vp_gan():
    g = generator()
    encoder = InfoGan(trunk="residual", width=4, hidden=16).init(g)
    encoder(g(torch.zeros(2, 4))).sum().backward()
    assert encoder.blocks.b8.skip.weight.grad.any()
    assert encoder.out.weight.shape == (8, 16)


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
    with pytest.raises(ValueError, match=r"InfoGan\(class_weight=-1.0\): give 0, for no classes, or more"):
        InfoGan(class_weight=-1.0)
    with pytest.raises(ValueError, match=r"InfoGan\(codes=9\): the latent has 4 dimensions; give as many at most"):
        InfoGan(codes=9).init(g)
    with pytest.raises(ValueError, match="InfoGan learns a recognizer: make it with"):
        InfoGan()(probe(g), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="has no probes: it reads the latents back off their own images"):
        InfoGan()(probe(g), torch.zeros(2, 4), state=InfoGan().init(g), probes=torch.ones(2, 2, 4))


def test_a_misspelt_word_is_refused(unchecked):
    with pytest.raises(ValueError, match=r"InfoGan\(loss='gausian'\): 'gaussian' or 'mse' is accepted"):
        InfoGan(loss="gausian")
