import dataclasses
import json
import math

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core.progress import shown
from orthogen.metrics import _training, variation_score
from orthogen.metrics._predictor import Predictor
from orthogen.metrics._training import accuracy, confusion, split
from orthogen.metrics.variation_score import Pairs, VariationScore
from vectors import GOLDEN

QUICK = VariationScore(pairs=200, train_share=0.5, epochs=12, lr=0.003, predictors=2, readout="cosine", step=0.5)


def seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def quadrants(scale=(0.5, 0.5, 0.5, 0.5)) -> og.Generator:
    """Each coordinate is the level of one quarter of an 8 x 8 image, times its scale."""

    def call(module: nn.Module, z: torch.Tensor) -> torch.Tensor:
        levels = (z * torch.tensor(scale)).view(-1, 1, 2, 2)
        return levels.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)

    return og.adapt(nn.Identity(), og.Uniform(4, -1.0, 1.0), call=call)


# ---------------------------------------------------------------------------------------------- values
@pytest.mark.parametrize("readout", ["best", "last", "cosine"])
def test_separate_effects_are_told_apart(readout):
    score = dataclasses.replace(QUICK, readout=readout)(quadrants(), rng=seed())
    assert score.value > (97 if readout != "last" else 60)
    assert score.parts["dead"] == []
    assert (score.n, score.name) == (100, "VP score")


@pytest.mark.parametrize("input", ["difference", "concat"])
def test_input(input):
    score = dataclasses.replace(QUICK, input=input, epochs=20)(quadrants(), rng=seed())
    assert score.value > 90


def test_a_constant_generator_is_at_chance_and_all_dead():
    score = dataclasses.replace(QUICK, pairs=800, epochs=2)(quadrants((0.0,) * 4), rng=seed())
    assert score.parts["dead_share"] == 1
    assert score.parts["dead"] == ["0", "1", "2", "3"]
    assert score.parts["change"] == [0.0] * 4
    assert abs(score.value - score.parts["chance"]) < 4 * score.stderr
    # every pair looks the same, so that one class is named throughout: the error is that of counting 400 pairs
    assert score.stderr >= 100 * math.sqrt(0.25 * 0.75 / 400) * 0.9


def test_labels_shuffled_afterward_are_at_chance():
    pairs = Pairs.draw(quadrants(), 800, step=0.5, rng=seed())
    mixed = Pairs(pairs.first, pairs.second, pairs.change[torch.randperm(800, generator=seed(1))])
    score = dataclasses.replace(QUICK, epochs=3)(quadrants(), rng=seed())
    shuffled = dataclasses.replace(QUICK, epochs=3).of(mixed, rng=seed())
    assert abs(shuffled.value - 25) < 4 * max(shuffled.stderr, 100 * math.sqrt(0.25 * 0.75 / 400))
    assert shuffled.value < score.value


def test_dead_dimensions_bound_the_score():
    score = dataclasses.replace(QUICK, pairs=400)(quadrants((0.5, 0.5, 0.0, 0.001)), rng=seed())
    assert score.parts["dead"] == ["2", "3"]  # the last moves by less than a gray level
    assert score.parts["dead_share"] == 0.5
    assert score.parts["change"][0] == pytest.approx(0.5 * 0.5 * 127.5 / 4, rel=0.03)
    recalls = score.parts["class_accuracy"]
    assert min(recalls[:2]) > 90
    assert sum(recalls[2:]) < 130  # these two look alike
    assert score.value < 85


def test_along_directions():
    names, basis = ("left", "right"), torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    score = QUICK(quadrants(), og.Directions(basis, space="w", names=names), rng=seed())
    assert score.value > 95
    assert score.parts["chance"] == 50
    assert score.parts["directions"] == ["left", "right"]
    assert (score.protocol["space"], score.protocol["classes"]) == ("w", 2)


def test_the_prior_of_a_released_protocol():
    metric = dataclasses.replace(QUICK, epochs=1, step=None, prior=(-4.0, 4.0))
    wide, own = (each(quadrants(), rng=seed()) for each in (metric, dataclasses.replace(metric, prior=None)))
    assert wide.protocol["prior"] == ["Uniform", -4.0, 4.0]
    assert own.protocol["prior"] == ["Uniform", -1.0, 1.0]
    assert min(wide.parts["change"]) > 1.5 * max(own.parts["change"])


def test_eigengans_protocol():
    metric = VariationScore.eigengan()
    assert (metric.pairs, metric.prior, metric.held) == (10_000, (-4.0, 4.0), {"epsilon": 0.7})
    assert (metric.step, metric.jpeg_quality, metric.readout) == (None, None, "both")
    model = og.EigenGan(resolution=16, n_basis=3, noise_dim=6, base_channels=4, max_channels=8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        G = model.adapt(model.build()["generator"])
    few = dataclasses.replace(metric, pairs=200, epochs=1, train_share=0.5, predictors=1, readout="cosine")
    score = few(G, rng=seed())
    assert score.parts["directions"] == [f"layer{i}, dim {j}" for i in range(2) for j in range(3)]
    assert score.protocol["classes"] == 6
    assert score.protocol["held"] == {"epsilon": 0.7}
    assert score.protocol["prior"] == ["Uniform", -4.0, 4.0]


def test_the_simple_gans_protocol():
    metric = VariationScore.simple_gan()
    assert (metric.pairs, metric.prior, metric.held, metric.step) == (10_000, (-2.0, 2.0), {}, None)
    assert (metric.train_share, metric.lr, metric.epochs, metric.input) == (0.1, 0.01, 200, "difference")


def test_the_length_of_a_direction_does_not_matter():
    metric, basis = dataclasses.replace(QUICK, epochs=2), torch.eye(4)[:2]
    found = [metric(quadrants(), og.Directions(scale * basis), rng=seed()) for scale in (1.0, 8.0)]
    assert found[0] == found[1]


def test_both_readouts_are_those_of_each():
    metric = dataclasses.replace(QUICK, epochs=4)
    both, best, cosine = (
        dataclasses.replace(metric, readout=each)(quadrants(), rng=seed()) for each in ("both", "best", "cosine")
    )
    assert (both.value, both.stderr, both.protocol) == (best.value, best.stderr, best.protocol)
    assert (both.parts["cosine"], both.parts["cosine_stderr"]) == (cosine.value, cosine.stderr)
    assert "cosine" not in best.parts


def test_visible_change_is_the_mean_difference_whatever_the_chunks(monkeypatch, rng):
    first, second = torch.randint(256, (2, 40, 3, 8, 8), generator=rng, dtype=torch.uint8)
    pairs = Pairs(first, second, torch.eye(4).double()[[0, 1, 1, 3] * 10])
    each = (first.double() - second.double()).abs().mean(dim=(1, 2, 3))
    exact = torch.stack([each[pairs.labels == k].mean() for k in (0, 1, 3)])
    for values in (1, 700, 1 << 22):
        monkeypatch.setattr(variation_score, "VALUES", values)
        found = variation_score.visible_change(pairs)
        torch.testing.assert_close(found[[0, 1, 3]], exact, rtol=1e-6, atol=0)
        assert found[2].isnan()


# ---------------------------------------------------------------------------------------------- parts
def test_parts_agree_with_each_other():
    score = dataclasses.replace(QUICK, readout="best", epochs=5, predictors=3)(quadrants(), rng=seed())
    table, each = torch.tensor(score.parts["confusion"]), torch.tensor(score.parts["predictors"]).double()
    assert table.sum() == 3 * score.n
    assert 100 * table.trace() / table.sum() == pytest.approx(score.value)
    recall = 100 * table.diagonal() / table.sum(dim=1)
    assert recall.tolist() == pytest.approx(score.parts["class_accuracy"])
    assert each.mean().item() == pytest.approx(score.value)
    binomial = score.value * (100 - score.value) / score.n
    assert score.stderr == pytest.approx(math.sqrt(each.var().item() / 3 + binomial))
    for value, curve, epoch, last in zip(
        each.tolist(), *(score.parts[name] for name in ("curves", "best_epoch", "last")), strict=True
    ):
        assert (max(curve), curve[epoch - 1], curve[-1], len(curve)) == (value, value, last, 5)
    json.dumps(score.parts, allow_nan=False)


def test_rows_of_the_confusion_are_true_classes(rng):
    pairs = Pairs.draw(quadrants(), 50, rng=rng)
    network = Predictor(3, 4)
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.copy_(torch.tensor([0.0, 0, 1, 0]))
    table = confusion(network, pairs, torch.arange(50), "difference", torch.float32)
    assert table[:, 2].tolist() == torch.bincount(pairs.labels, minlength=4).tolist()
    assert table.sum() == 50
    assert accuracy(table) == pytest.approx(2 * int((pairs.labels == 2).sum()))


def test_a_single_predictor_has_no_error():
    assert dataclasses.replace(QUICK, predictors=1, epochs=1)(quadrants(), rng=seed()).stderr is None


def test_protocol_says_what_changes_the_number():
    score = dataclasses.replace(QUICK, readout="best", epochs=4, eval_every=3, precision="float32")(
        quadrants(), rng=seed()
    )
    expected = {
        "unit": "percent",
        "pairs": 200,
        "images": [1, 8, 8],
        "classes": 4,
        "chance": 25.0,
        "train_share": 0.5,
        "epochs": 4,
        "lr": 0.003,
        "batch": 32,
        "input": "difference",
        "readout": "best",
        "eval_every": 3,
        "selection": "on the test set",
        "precision": "float32",
        "jpeg_quality": None,
        "predictors": 2,
        "space": "z",
        "change": "moved by 0.5",
        "prior": ["Uniform", -1.0, 1.0],
    }
    assert {name: score.protocol[name] for name in expected} == expected
    assert [len(curve) for curve in score.parts["curves"]] == [2, 2]  # after epochs 3 and 4
    other = dataclasses.replace(QUICK, epochs=1, step=None)(quadrants(), rng=seed()).protocol
    assert (other["selection"], other["eval_every"], other["change"]) == ("none", None, "redrawn from the prior")


def test_classes_without_a_pair_do_not_count():
    pairs = Pairs.draw(quadrants(), 100, step=0.5, rng=seed())
    wide = Pairs(pairs.first, pairs.second, torch.cat([pairs.change, torch.zeros(100, 3).double()], dim=1))
    score = dataclasses.replace(QUICK, epochs=1).of(wide, rng=seed())
    assert score.parts["chance"] == 25
    assert score.parts["class_accuracy"][4:] == [None] * 3
    assert score.parts["change"][4:] == [None] * 3


# ---------------------------------------------------------------------------------------------- training
def test_split_is_the_released_one():
    golden = json.loads((GOLDEN / "vp_split.json").read_text())
    order = torch.tensor(golden["test"] + golden["train"])
    trained, tested = split(order, 1 - golden["test_ratio"])
    assert (trained.tolist(), tested.tolist()) == (golden["train"], golden["test"])
    for share in (0.01, 0.1, 0.3, 0.5, 0.9):
        trained, tested = split(torch.arange(10_000), share)
        assert len(trained) == round(10_000 * share)
        assert len(trained) + len(tested) == 10_000
    assert len(split(torch.arange(64), 0.1)[1]) == int(64 * 0.9)


def test_a_seed_fixes_the_score_and_nothing_else_does():
    metric = dataclasses.replace(QUICK, epochs=2)
    before = torch.get_rng_state()
    one = metric(quadrants(), rng=seed())
    assert torch.equal(torch.get_rng_state(), before)
    torch.randn(5)
    with torch.no_grad():
        assert metric(quadrants(), rng=seed()) == one
    assert metric(quadrants(), rng=seed(1)) != one
    each = one.parts["predictors"]
    assert each[0] != each[1]


def test_fast_and_plain_precision_agree():
    scores = [
        dataclasses.replace(QUICK, precision=precision)(quadrants(), rng=seed()) for precision in ("auto", "float32")
    ]
    assert abs(scores[0].value - scores[1].value) < 4
    assert [score.protocol["precision"] for score in scores] == ["auto", "float32"]
    assert scores[0].protocol["arithmetic"] in ("bfloat16", "float32")


def test_it_falls_back_where_bfloat16_is_off(monkeypatch):
    monkeypatch.setattr(_training, "_has_bfloat16", lambda device: True)
    monkeypatch.setattr(_training.Training, "_off", lambda self, pairs, run: 0.6)
    metric = dataclasses.replace(QUICK, epochs=2)
    fallen = metric(quadrants(), rng=seed())
    note = "; in float32, since bfloat16 was off by more than 0.5 points"
    assert fallen.parts["note"].endswith(note)
    plain = dataclasses.replace(metric, precision="float32")(quadrants(), rng=seed())
    assert fallen.value == plain.value
    assert {**fallen.parts, "note": fallen.parts["note"].removesuffix(note)} == plain.parts
    monkeypatch.setattr(_training.Training, "_off", lambda self, pairs, run: 0.4)
    kept = metric(quadrants(), rng=seed())
    assert note not in kept.parts["note"]
    # what happened to one generator is no part of the protocol: the two can be compared
    assert fallen.protocol == kept.protocol
    assert (kept.protocol["precision"], kept.protocol["arithmetic"]) == ("auto", "bfloat16")


def test_the_rate_falls_to_zero_for_cosine_alone(monkeypatch):
    rates = []
    step = torch.optim.Adam.step

    def spy(optimizer, *args, **kwargs):
        rates.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    metric = dataclasses.replace(QUICK, pairs=100, batch=10, epochs=4, predictors=1)
    metric(quadrants(), rng=seed())
    assert rates == pytest.approx([0.0015 * (1 + math.cos(math.pi * i / 20)) for i in range(20)])
    rates.clear()
    dataclasses.replace(metric, readout="last")(quadrants(), rng=seed())
    assert rates == [0.003] * 20


def test_progress_is_told():
    told = []

    def show(items, what, total):
        told.append((what, total))
        yield from items

    with shown(show):
        dataclasses.replace(QUICK, epochs=2)(quadrants(), rng=seed())
    assert told == [("drawing pairs", 2), ("VP score, predictor 1 of 2", 2), ("VP score, predictor 2 of 2", 2)]


# ---------------------------------------------------------------------------------------------- pairs of files
def test_pairs_read_from_a_folder_give_the_score_of_those_drawn(tmp_path):
    pairs = Pairs.draw(quadrants(), 120, step=0.5, rng=seed())
    metric = dataclasses.replace(QUICK, epochs=2)
    pairs.write(tmp_path / "png", "png")
    assert metric.of(Pairs.read(tmp_path / "png"), rng=seed(1)) == metric.of(pairs, rng=seed(1))
    pairs.write(tmp_path / "jpg", quality=30)
    emulated = dataclasses.replace(metric, jpeg_quality=30).of(pairs, rng=seed(1))
    read = metric.of(Pairs.read(tmp_path / "jpg"), rng=seed(1))
    assert (emulated.value, emulated.parts) == (read.value, read.parts)
    assert emulated.protocol["jpeg_quality"] == 30


# ---------------------------------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"train_share": 1.0}, r"^VariationScore\(train_share=1\.0\): give a share between 0 and 1$"),
        ({"epochs": 0}, r"^VariationScore\(epochs=0\): give at least 1$"),
        ({"batch": 1}, r"^VariationScore\(batch=1\): give at least 2$"),
        ({"lr": 0.0}, r"^VariationScore\(lr=0\.0\): give a positive learning rate"),
        ({"prior": (1.0, 1.0)}, r"prior=\(1\.0, 1\.0\)\): give \(low, high\), or None for the generator's own"),
        ({"step": 0.0}, r"step=0\.0\): give a length other than 0"),
        ({"jpeg_quality": 101}, r"jpeg_quality=101\): give 1 to 100"),
        ({"readout": "final"}, r"readout='final'\): 'best' or 'last' or 'cosine' or 'both' is accepted"),
        ({"input": "both"}, r"input='both'\): 'difference' or 'concat' is accepted"),
    ],
)  # fmt: skip
def test_fields_out_of_range(unchecked, field, message):
    with pytest.raises(ValueError, match=message) as error:
        VariationScore(**field)
    assert "\n" not in str(error.value)


def test_what_cannot_be_scored():
    image = torch.zeros(20, 1, 8, 8, dtype=torch.uint8)
    one = Pairs(image, image, torch.eye(4).double()[[3] * 20])
    with pytest.raises(ValueError, match="all 20 pairs are of class 3; there is nothing to tell apart"):
        VariationScore().of(one)
    few = Pairs(image, image, torch.eye(2).double()[[0, 1] * 10])
    with pytest.raises(ValueError, match=r"20 pairs at train_share=0\.01 are 1 to train on and 19 to test on"):
        VariationScore(train_share=0.01).of(few)
    nan = og.adapt(nn.Identity(), og.Normal(4), call=lambda m, z: (z / 0 * 0).view(-1, 1, 2, 2))
    with pytest.raises(ValueError, match="images are not finite"):
        QUICK(nan)
    with pytest.raises(ValueError, match="directions are 3 wide, the latent is 4 wide"):
        QUICK(quadrants(), og.Directions.coordinates(3))
