import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import orthogen as og
from cards import Cards, labeled
from orthogen.core.kinds import CriticBatch
from orthogen.regularizers.info_gan_head import InfoGanHead

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "vp_losses.json").read_text())
HEAD = replace(InfoGanHead.vp_gan(), width=8)


class Critic(nn.Module):
    """Is given the class and does not look at it, as VP-GAN's."""

    def __init__(self):
        super().__init__()
        self.body, self.out = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Tanh()), nn.Linear(6, 1)

    def forward(self, images, label=None):
        return self.out(self.body(images))


def players(classes=3):
    return labeled(classes, dim=4), Critic()


def batch(labels, n=4):
    images, logits = torch.randn(n, 1, 8, 8), torch.zeros(n, 1)
    return CriticBatch(images, images.clone(), logits, logits, labels, labels, torch.randn(n, 4))


def test_the_loss_of_the_class_equals_the_golden_values():
    outputs, latents, expected = (
        torch.tensor(GOLDEN[name], dtype=torch.float64) for name in ("regress", "latents", "cls_alpha2")
    )
    classes = GOLDEN["D_global_size"]
    label = latents[:, :classes].argmax(1)
    error = InfoGanHead.vp_gan().errors(outputs[:, :classes], latents[:, :0], label)
    torch.testing.assert_close(2 * error, expected)
    weighted = replace(InfoGanHead.vp_gan(), class_weight=2.0).errors(outputs[:, :classes], latents[:, :0], label)
    torch.testing.assert_close(weighted, expected)


def test_codes_and_classes_add_up():
    G, D = players()
    penalty = InfoGanHead(codes=2, width=8, class_weight=0.5)
    head, seen = penalty.init(G, Cards(), critic=D), batch(torch.arange(4) % 3)
    outputs = head(D.body(seen.fake))
    assert outputs.shape == (4, 5)
    codes = (outputs[:, :2] - seen.fake_latents[:, :2]).square().mean()
    classes = -outputs[:, 2:].log_softmax(1)[torch.arange(4), seen.fake_labels].mean()
    torch.testing.assert_close(penalty(D, seen, state=head), codes + 0.5 * classes)
    assert penalty(D, seen, state=head).item() > 0


@pytest.mark.parametrize("learns", [False, True])
def test_the_critic_learns_of_it_only_where_it_is_asked_to(learns):
    G, D = players()
    penalty = replace(HEAD, critic_learns=learns)
    head, labels = penalty.init(G, Cards(), critic=D), torch.arange(4) % 3
    seen = batch(labels)
    penalty(D, seen, state=head).backward()
    assert any(p.grad.any() for p in head.parameters())
    assert learns == any(p.grad is not None and bool(p.grad.any()) for p in D.parameters())
    # to the generator the gradient comes through both
    images = seen.fake.clone().requires_grad_()
    penalty.of_generator(D, images, seen.fake_latents, labels, state=head).backward()
    assert images.grad.abs().sum() > 0


def test_a_critic_that_insists_on_labels_gets_them():
    model = og.Sngan(og.Normal(4), resolution=32, width=4, classes=3)
    networks = model.build()
    G, D = model.adapt(networks["generator"]), networks["critic"]
    images, labels = torch.zeros(4, 3, 32, 32), torch.arange(4) % 3
    for penalty in (HEAD, InfoGanHead(codes=2, width=8)):
        head = penalty.init(G, Cards(3, 32), critic=D)
        assert penalty.of_generator(D, images, torch.zeros(4, 4), labels, state=head) > 0


def test_a_head_that_knows_nothing_is_wrong_by_the_logarithm_of_the_classes():
    G, D = players(classes=5)
    head = HEAD.init(G, Cards(), critic=D)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    seen = batch(torch.arange(4))
    assert HEAD(D, seen, state=head).item() == pytest.approx(math.log(5))


def test_what_it_refuses():
    G, D = players()
    for fields in ({"codes": -1}, {"width": 0}, {"class_weight": -0.1}, {"class_weight": float("nan")}):
        with pytest.raises(ValueError, match=r"give no fewer than 0 codes"):
            InfoGanHead(**fields)
    with pytest.raises(ValueError, match=r"nothing to predict; give either"):
        InfoGanHead(codes=0, class_weight=0.0)
    with pytest.raises(ValueError, match=r"codes=0\): the generator takes no classes; give codes to predict"):
        HEAD.init(og.adapt(nn.Sequential(nn.Linear(4, 64), nn.Unflatten(1, (1, 8, 8))), og.Normal(4)), critic=D)
    head = HEAD.init(G, Cards(), critic=D)
    with pytest.raises(ValueError, match=r"give their labels with the batch"):
        HEAD(D, batch(None), state=head)
