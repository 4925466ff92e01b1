import json
import math

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core import score_file as files
from orthogen.core.images import to_float
from orthogen.core.kinds import FactorSet, LatentMetric
from orthogen.evaluation import measure, measure_codes
from orthogen.metrics.activeness import Activeness
from orthogen.metrics.mig import Mig
from orthogen.metrics.penalty_value import PenaltyValue


class Bars(FactorSet):
    """Two factors drawn as two gray levels; a third that no image shows, with two of its values alike."""

    channels, resolution = 1, 4
    factor_names, factor_sizes = ("left", "right", "hidden"), (3, 4, 2)

    def images(self, index, *, rng=None):
        factors = self.factors(index)
        left, right = factors[:, 0] * 120, factors[:, 1] * 80
        image = torch.stack([left, left, right, right], dim=1)[:, None, None, :].expand(-1, 1, 4, -1)
        return image.to(torch.uint8).clone()

    def read_factors(self, images):
        gray = (images[:, 0, 0, [0, 2]] + 1) * 127.5
        near = (gray / torch.tensor([120.0, 80.0])).round().long()
        values = torch.cat([near, torch.zeros(len(images), 1, dtype=torch.int64)], dim=1)
        error = (gray / torch.tensor([120.0, 80.0]) - near).abs().amax(dim=1, keepdim=True)
        return values, (1 - error).clamp(0, 1).expand(-1, 3).contiguous()

    def same(self, a, b):
        equal = a == b
        equal[..., 2] = True
        return equal


class Renderer(nn.Module):
    """Draws bars whose two factors are the first two of three latents (mixed by an angle)."""

    def __init__(self, angle: float = 0.0) -> None:
        super().__init__()
        self.rotation = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])

    def forward(self, z):
        u = 0.5 * (1 + torch.erf(z[:, :2] @ self.rotation.T / 2**0.5))
        factors = torch.cat([(u * torch.tensor([3.0, 4.0])).long(), torch.zeros(len(z), 1, dtype=torch.int64)], dim=1)
        return to_float(Bars().images(Bars().index(factors)))


def renderer(angle: float = 0.0) -> og.Generator:
    return og.adapt(Renderer(angle), og.Normal(3))


def test_mig_through_the_reader():
    (score,) = measure(renderer(), ["Mig"], data=Bars(), n=2000)
    assert score.value > 0.85  # of 1: twenty equal bins do not meet the borders of the factors
    assert score.parts["best_code"] == [0, 1]
    assert score.protocol["factors"] == ["left", "right"]
    assert score.protocol["ambiguous_factors_left_out"] == ["hidden"]
    assert score.protocol["reader"] == "Bars.read_factors"
    assert score.protocol["low_confidence_images"] == "kept"
    assert set(score.protocol["versions"]) == {"orthogen", "torch"}
    assert score.about["reader_error_on_true_frames"] == [0.0, 0.0]
    assert score.about["reader_confidence"] == [1.0, 1.0]
    assert score.about["read_with_confidence_below_half"] == [0.0, 0.0]
    assert score.about["seed"] == 0
    assert score.n == 2000
    (mixed,) = measure(renderer(math.pi / 4), [Mig()], data=Bars(), n=2000)
    assert mixed.value < 0.2


def test_one_seed_one_score():
    one, two, three = (measure(renderer(), ["Mig", "Activeness"], data=Bars(), n=500, seed=s) for s in (1, 1, 2))
    assert [s.value for s in one] == [s.value for s in two]
    assert [s.value for s in one] != [s.value for s in three]


def test_metrics_by_name_class_and_value():
    G = og.adapt(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Unflatten(1, (1, 2, 2))), og.Normal(2))
    given = ["Activeness", Activeness, Activeness(samples=300), "OroJaR", og.OroJaR(), PenaltyValue(samples=64)]
    scores = measure(G, given)
    assert [score.name for score in scores] == ["Activeness"] * 3 + ["OroJaR"] * 3
    assert len({score.value for score in scores}) == 2


def test_a_protocol_with_a_name():
    model = og.EigenGan(resolution=8, n_basis=2, noise_dim=4, base_channels=4, max_channels=4)
    generator = model.adapt(model.build()["generator"])
    found, same = measure(generator, ["Activeness.eigengan", og.Activeness.eigengan()], quiet=True)
    assert found == same
    with pytest.raises(ValueError, match="Mig has no protocol 'eigengan'; it has none by name"):
        measure(generator, ["Mig.eigengan"], quiet=True)
    with pytest.raises(ValueError, match=r"PathLengthScore has no protocol 'x'; it has .*eigengan"):
        measure(generator, ["PathLengthScore.x"], quiet=True)


def test_settings_of_a_file_are_nothing_to_a_generator_in_memory():
    G = og.adapt(nn.Sequential(nn.Linear(3, 12), nn.Unflatten(1, (3, 2, 2))), og.Normal(3))
    with pytest.raises(ValueError, match=r"settings=\{'truncation': 0.5\} are for files; load the generator with them"):
        og.measure(G, ["Activeness"], settings={"truncation": 0.5}, quiet=True)


def test_directions_turn_up_in_latent_metrics(tmp_path):
    og.Directions(torch.eye(3)[:2], names=("a", "b")).save(tmp_path / "d.safetensors")
    (score,) = measure(renderer(), ["Activeness"], directions=tmp_path / "d.safetensors")
    assert score.parts["directions"] == ["a", "b"]


def test_scores_are_merged_by_name_and_protocol(tmp_path):
    first = og.Score(1.0, 0.1, 10, "A", {"n": 10})
    files.merge(tmp_path, [first, og.Score(2.0, None, 5, "B")])
    files.merge(tmp_path, [og.Score(3.0, 0.1, 10, "A", {"n": 10}), og.Score(math.nan, None, 1, "A", {"n": 20})])
    kept = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert [(entry["name"], entry["value"]) for entry in kept] == [("A", 3.0), ("B", 2.0), ("A", None)]
    assert set(kept[0]) == {"name", "value", "stderr", "n", "protocol", "parts", "about"}
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(ValueError, match=r"scores.json is no file of scores, or a damaged one"):
        files.merge(tmp_path, [first])


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match=r"no metric is called 'Migg'; there are Activeness, .*Mig, .*PenaltyValue"):
        measure(renderer(), ["Migg"])
    with pytest.raises(ValueError, match="name a metric; there are Activeness"):
        measure(renderer())
    with pytest.raises(ValueError, match="code metrics need true factors, and no data has none"):
        measure(renderer(), ["Mig"])
    with pytest.raises(TypeError, match=r"measure was given 'R1'; it takes metrics, such as Activeness"):
        measure(renderer(), ["R1"])
    with pytest.raises(ValueError, match="n=1: at least 2 images are needed"):
        measure(renderer(), ["Mig"], data=Bars(), n=1)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        measure(tmp_path / "nothing", ["Activeness"])


def test_a_score_along_directions_says_so():
    directions = og.Directions(torch.eye(3)[:2], provenance={"method": "hand"})
    along, plain = (
        measure(renderer(), [Activeness(samples=10)], directions=given)[0].about for given in (directions, None)
    )
    assert along["directions"] == {"space": "z", "n": 2, "method": "hand"}
    assert "directions" not in plain


def test_what_was_measured_is_no_part_of_the_protocol():
    one, two = (measure(renderer(), ["Mig"], data=Bars(), n=500, seed=s)[0] for s in (1, 2))
    assert one.protocol == two.protocol
    assert one.about != two.about


class Levels(nn.Module):
    """An encoder that reads the two gray levels off, mixed by an angle; wrong in training mode."""

    def __init__(self, angle: float = 0.0) -> None:
        super().__init__()
        self.angle = angle

    def forward(self, images):
        left, right = images[:, 0, 0, 0], images[:, 0, 0, 2]
        a = math.pi / 4 if self.training else self.angle
        return torch.stack([left * math.cos(a) - right * math.sin(a), left * math.sin(a) + right * math.cos(a)], dim=1)


def test_an_encoder_has_code_metrics():
    encoder = Levels()
    (perfect,) = measure_codes(encoder, ["Mig"], data=Bars(), n=10_000, quiet=True)
    assert encoder.training  # as it was
    assert perfect.value == pytest.approx(1.0)
    assert perfect.n == 24  # the whole set, once each
    assert perfect.protocol["factors"] == ["left", "right"]
    (drawn,) = measure_codes(encoder.forward, [Mig], data=Bars(), n=20, quiet=True)
    assert drawn.n == 20
    (mixed,) = measure_codes(Levels(math.pi / 4), [Mig()], data=Bars(), quiet=True)
    assert mixed.value < 0.5


def test_mistakes_with_encoders(unchecked):
    with pytest.raises(
        ValueError, match=r"the encoder returned shape \(24, 1, 4, 4\) for 24 images; \(images, codes\)"
    ):
        measure_codes(lambda images: images, ["Mig"], data=Bars())
    with pytest.raises(ValueError, match="measure_codes was given Activeness; an encoder has code metrics only"):
        measure_codes(Levels(), ["Activeness"], data=Bars())
    with pytest.raises(TypeError, match="the encoder returned str; a tensor"):
        measure_codes(lambda images: "codes", ["Mig"], data=Bars())


def run_of_bars(path):
    """A folder that passes for a run: nothing in it but its record and its scores."""
    path.mkdir()
    (path / "run.json").write_text("{}")
    return path


class Failing(LatentMetric):
    """A score that cannot be had."""

    def __call__(self, generator, directions=None, *, rng=None):
        raise ValueError("not today")


def test_what_was_measured_before_a_mistake_is_kept(tmp_path, monkeypatch):
    run = run_of_bars(tmp_path / "run")
    monkeypatch.setattr("orthogen.evaluation.measuring.load", lambda source: renderer())
    monkeypatch.setattr("orthogen.evaluation.measuring.open_run", lambda source: type("R", (), {"newest": None}))
    said = []
    with pytest.raises(ValueError, match="not today"):
        measure(run, [Failing(), "Mig"], data=Bars(), n=100, each=said.append, quiet=True)
    assert [score.name for score in said] == ["MIG"]
    assert [score.name for score in files.read(run)] == ["MIG"]
    (run / "scores.json").write_text("{")
    with pytest.raises(ValueError, match="no file of scores"):  # before anything is measured
        measure(run, ["Mig"], data=Bars(), n=10**9, quiet=True)


def test_what_somebody_else_measures_meanwhile_is_not_lost(tmp_path):
    first, theirs, a, b = (og.Score(1.0, 0.1, 10, name) for name in ("first", "theirs", "a", "b"))
    files.merge(tmp_path, [first])
    for score in (b, theirs, a):
        files.merge(tmp_path, [score])
    files.merge(tmp_path, [a, b], before=[first])
    assert [score.name for score in files.read(tmp_path)] == ["first", "theirs", "a", "b"]


def test_a_protocol_by_name_says_how_many_images_are_drawn():
    look = lambda images: images.flatten(1)[:, :3]  # noqa: E731
    settings = {"data": Bars(), "extractor": look, "quiet": True, "reference_n": 20}
    (few,) = measure(renderer(), [og.Fid(images=30)], **settings)
    assert few.n == few.protocol["generated"]["images"] == 30
    with pytest.raises(ValueError, match=r"Fid\(images=30\) is of that many generated images, and there are 40"):
        measure(renderer(), [og.Fid(images=30)], n=40, **settings)
    with pytest.raises(ValueError, match="metrics of 30 and of 40 images cannot share them; measure one by one"):
        measure(renderer(), [og.Fid(images=30), og.Fid(images=40)], **settings)
