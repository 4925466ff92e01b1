import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import orthogen as og
from orthogen.metrics import path_length
from orthogen.metrics._paths import between, trim
from orthogen.metrics._resizing import face, resized
from orthogen.metrics.path_length import PathLengthScore
from traces import trace
from vectors import GOLDEN, vectors


def host(latent: og.Normal, scale: float = 1.0) -> tuple[og.Generator, list[Tensor]]:
    """Images that are the latents, times something; and the latents it was asked for."""
    seen: list[Tensor] = []

    def call(module: nn.Module, z: Tensor) -> Tensor:
        seen.append(z)
        return scale * z[:, None, None, :]

    return og.adapt(nn.Identity(), latent, call=call), seen


def pairs(seen: list[Tensor], samples: int) -> tuple[Tensor, Tensor]:
    """The two ends of each step: the last passes, which come in turn."""
    last = seen[-2 * math.ceil(samples / 32) :]
    return torch.cat(last[::2]), torch.cat(last[1::2])


class Normed(nn.Module):
    """A distance with batch norm and dropout in it."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(1), nn.Dropout()
        nn.init.constant_(self.norm.weight, gain)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (self.drop(self.norm(a)) - self.drop(self.norm(b))).square().flatten(1).mean(dim=1)


# ------------------------------------------------------------------------------------ golden helpers
def test_interpolation_equals_progans():
    golden = {name: torch.tensor(values) for name, values in vectors("ppl_slerp").items()}
    for name, t in (("t0", 0.0), ("t1e4", 1e-4), ("t03", 0.3)):
        found = between(golden["a"], golden["b"], torch.full((5,), t, dtype=torch.float64), "unit slerp")
        torch.testing.assert_close(found, golden[name], rtol=1e-12, atol=1e-12)


def test_interpolation_and_filter_equal_stylegan2s():
    golden = json.loads((GOLDEN / "ppl_helpers.json").read_text())
    a, b, t, expected, distances = (
        torch.tensor(golden[name], dtype=torch.float64) for name in ("a", "b", "t", "slerp", "distances")
    )
    torch.testing.assert_close(between(a, b, t[:, 0], "unit slerp"), expected, rtol=1e-12, atol=1e-12)
    low, high = trim(distances, (1.0, 99.0))
    assert (low, high) == (golden["lo"], golden["hi"])
    kept = distances[(low <= distances) & (distances <= high)]
    assert len(kept) == golden["kept"]
    assert kept.mean().item() == pytest.approx(golden["ppl"], rel=1e-12)


def test_interpolation_and_filter_equal_eigengans():
    golden = vectors("eigengan_slerp")
    z1, z2 = (torch.tensor(golden[name]) for name in ("z1", "z2"))
    t = torch.tensor(golden["t"])[:, None]
    for wide, names in ((False, ("zt0", "zt1")), (True, ("zt0_f64", "zt1_f64"))):
        a, b, start = (x.double() if wide else x for x in (z1, z2, t))
        for name, at in zip(names, (start, start + 1e-4), strict=True):
            found = between(a, b, at.expand(1, 5), "unit slerp").numpy()
            np.testing.assert_allclose(found, golden[name], rtol=1e-7 if wide else 1e-5, atol=1e-12 if wide else 1e-6)
    golden = vectors("ppl_filter")
    distances = torch.tensor(golden["dist"])
    low, high = trim(distances, (1.0, 99.0))
    assert (low, high) == (golden["lo"], golden["hi"])
    kept = distances[(low <= distances) & (distances <= high)]
    assert kept.mean().item() == pytest.approx(float(golden["ppl"]), rel=1e-12)


# ------------------------------------------------------------------------------------ ways
def test_a_slerp_starts_and_ends_where_it_should_and_keeps_gaussian_lengths(rng):
    a, b = torch.randn(2, 500, 64, generator=rng, dtype=torch.float64)
    for way in ("slerp", "linear"):
        torch.testing.assert_close(between(a, b, torch.zeros(500).double(), way), a)
        torch.testing.assert_close(between(a, b, torch.ones(500).double(), way), b)
    middle = {
        way: between(a, b, torch.full((500,), 0.5).double(), way).norm(dim=1).mean() for way in ("slerp", "linear")
    }
    assert middle["slerp"].item() == pytest.approx(8, rel=0.02)
    assert middle["linear"].item() == pytest.approx(8 / 2**0.5, rel=0.02)


def test_parallel_latents_have_a_way_between_them():
    a = torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [0.0, 0.0]])
    b = torch.tensor([[1.0, 2.0], [3.0, 6.0], [-1.0, -2.0], [1.0, 0.0]])
    assert between(a, b, torch.full((4,), 0.25), "slerp").isfinite().all()
    torch.testing.assert_close(between(a, b, torch.full((4,), 0.25), "slerp")[1], torch.tensor([1.5, 3.0]))


# ------------------------------------------------------------------------------------ the score
@pytest.mark.parametrize("path", ["slerp", "linear"])
def test_closed_form_of_a_linear_generator(path):
    G, _ = host(og.Normal(6), scale=3.0)
    score = PathLengthScore(samples=400, path=path, percentiles=(0.0, 100.0))(G, rng=torch.Generator().manual_seed(3))
    rng = torch.Generator().manual_seed(3)
    a, b = (og.Normal(6).sample(400, rng=rng).double() for _ in range(2))
    if path == "linear":
        velocity = (b - a).norm(dim=1)
    else:  # at t = 0: the angle w times the length of (b - cos w a) / sin w
        w = torch.nn.functional.cosine_similarity(a, b).acos()[:, None]
        velocity = (w / w.sin() * (b - w.cos() * a)).norm(dim=1)
    exact = 9 * velocity.square() / 6
    assert score.value == pytest.approx(exact.mean().item(), rel=0.01)
    assert score.stderr == pytest.approx(exact.std().item() / 20, rel=0.03)
    assert score.name == "path length (pixels)"
    assert score.protocol["distance"] == "pixels"


def test_the_filter_and_its_standard_error():
    G, _ = host(og.Normal(3))
    scores = [PathLengthScore(samples=300, batch=300)(G, rng=torch.Generator().manual_seed(i)) for i in range(60)]
    values = torch.tensor([score.value for score in scores])
    claimed = torch.tensor([score.stderr for score in scores]).mean().item()
    assert claimed == pytest.approx(values.std().item(), rel=0.3)  # 60 repeats tell a standard deviation to 9 %
    assert all(score.value < score.parts["untrimmed"] for score in scores)
    assert {score.parts["kept"] for score in scores} <= {295, 296, 297, 298}


def test_directions_restrict_the_step_to_their_span():
    G, seen = host(og.Normal(4))
    plane = og.Directions(torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]]))
    score = PathLengthScore(samples=64)(G, plane)
    a, b = pairs(seen, 64)
    assert (b - a)[:, 2:].abs().max() < 1e-6
    assert (b - a)[:, :2].abs().max() > 1e-3
    assert score.protocol["moved"] == "the span of the directions"


def test_uniform_latents_and_full_sampling():
    G, seen = host(og.Uniform(5, -2.0, 2.0))
    PathLengthScore(samples=64, path="linear", sampling="full")(G)
    a, _ = pairs(seen, 64)
    assert a.abs().max() <= 2
    assert (a.norm(dim=1) < 1.5).any()  # somewhere along the way, not at its ends


def test_a_distance_of_ones_own_is_named_and_never_called_ppl():
    def brightness(a: Tensor, b: Tensor) -> Tensor:
        return (a.mean(dim=(1, 2, 3)) - b.mean(dim=(1, 2, 3))).square()

    G, _ = host(og.Normal(4))
    score = PathLengthScore(samples=50, distance=brightness)(G)
    assert score.name == "path length (brightness)"
    assert score.value > 0


# ------------------------------------------------------------------------------------ the papers' protocols
def test_the_hessian_penaltys_protocol():
    protocol = PathLengthScore.hessian_penalty("weights")
    assert (protocol.samples, protocol.step, protocol.sampling) == (100_000, 1e-4, "end")
    assert (protocol.distance, protocol.weights, protocol.crop, protocol.resize) == ("lpips", "weights", "all", "256")
    assert protocol.percentiles == (1.0, 99.0)
    G, seen = host(og.Uniform(12, 5.0, 6.0))
    replace(protocol, samples=64, distance="pixels", resize="none")(G)
    for ends in pairs(seen, 64):
        torch.testing.assert_close(ends.norm(dim=1), torch.ones(64))  # whatever the generator was trained on
        assert ends.min() < 0


def test_variation_predictabilitys_protocol():
    protocol = PathLengthScore.variation_predictability(sampling="full")
    assert (protocol.samples, protocol.step, protocol.path) == (50_000, 1e-4, "unit slerp")
    assert (protocol.sampling, protocol.prior, protocol.crop, protocol.resize) == ("full", "normal", "face", "shrink")
    assert PathLengthScore.variation_predictability().sampling == "end"


def test_eigengans_protocol():
    protocol = PathLengthScore.eigengan()
    assert (protocol.samples, protocol.step, protocol.sampling) == (10_000, 1e-4, "full")
    assert (protocol.crop, protocol.resize, protocol.rows) == ("all", "none", 6)
    G, seen = host(og.Blocks(epsilon=og.Normal(50), z=og.Normal(12)))
    replace(protocol, samples=64, distance="pixels")(G)
    a, b = pairs(seen, 64)
    assert torch.equal(a[:, :50], b[:, :50])
    assert a[:, :50].std().item() == pytest.approx(0.7, rel=0.05)
    for ends in (a, b):
        torch.testing.assert_close(ends[:, 50:].unflatten(1, (2, 6)).norm(dim=2), torch.ones(64, 2))
        assert ends[:, 50:].min() >= 0  # between two corners of the unit box
    assert not torch.equal(a[:, 50:], b[:, 50:])


def test_eigengans_protocol_without_its_errors():
    protocol = PathLengthScore.layered("weights")
    assert (protocol.samples, protocol.sampling, protocol.distance) == (10_000, "full", "lpips")
    assert (protocol.weights, protocol.percentiles, protocol.step) == ("weights", (1.0, 99.0), 1e-2)
    G, seen = host(og.Blocks(epsilon=og.Normal(50), z=og.Normal(400)))
    replace(protocol, samples=64, distance="pixels")(G, rng=torch.Generator().manual_seed(0))
    a, b = pairs(seen, 64)
    assert torch.equal(a[:, :50], b[:, :50])
    assert a[:, :50].std().item() == pytest.approx(0.7, rel=0.05)
    for ends in (a, b):
        torch.testing.assert_close(ends[:, 50:].norm(dim=1), torch.full((64,), 20.0), rtol=0.15, atol=0)  # sqrt(400)
    angle = torch.nn.functional.cosine_similarity(a[:, 50:].double(), b[:, 50:].double()).acos() / 1e-2
    torch.testing.assert_close(angle, torch.full((64,), torch.pi / 2, dtype=torch.float64), rtol=0.15, atol=0)


def test_images_are_enlarged_as_in_tensorflow_1():
    image = torch.randn(2, 3, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = resized(image, 16, enlarge=True)
    for y, x in ((0, 0), (1, 3), (7, 9), (13, 15), (15, 15)):
        v, u = y * 6 / 16, x * 4 / 16
        i, j = int(v), int(u)
        rows, columns = (image[:, :, k].double() for k in (i, min(i + 1, 5))), (j, min(j + 1, 3))
        above, below = ((1 - (u - j)) * row[..., columns[0]] + (u - j) * row[..., columns[1]] for row in rows)
        torch.testing.assert_close(found[:, :, y, x], (1 - (v - i)) * above + (v - i) * below)
    assert resized(image, 16, enlarge=False) is image


def test_large_images_are_averaged_in_boxes_and_faces_cut_out():
    image = torch.arange(64.0).view(1, 1, 8, 8)
    boxes = image.view(1, 1, 4, 2, 4, 2).mean(dim=(3, 5))
    for enlarge in (False, True):
        torch.testing.assert_close(resized(image, 4, enlarge=enlarge), boxes)
    assert torch.equal(face(image), image[:, :, 3:7, 2:6])


def test_mistakes(unchecked):
    G, _ = host(og.Normal(4))
    with pytest.raises(ValueError, match="give at least 2 pairs"):
        PathLengthScore(samples=1)
    with pytest.raises(ValueError, match=r"give a share of the way, such as 0\.01"):
        PathLengthScore(step=0.0)
    with pytest.raises(ValueError, match="'slerp' or 'unit slerp' or 'linear' is accepted"):
        PathLengthScore(path="spherical")
    with pytest.raises(ValueError, match="give two of 0 to 100"):
        PathLengthScore(percentiles=(99.0, 1.0))
    with pytest.raises(ValueError, match="'pixels', 'lpips' or a function of two batches of images"):
        PathLengthScore(distance="vgg")
    with pytest.raises(ValueError, match="the 4 coordinates that move are no such rows"):
        PathLengthScore(samples=2, rows=3)(G)
    with pytest.raises(
        ValueError, match="held names the block 'noise', and the latent has no blocks; name one of its blocks, or none"
    ):
        PathLengthScore(samples=2, held={"noise": 1.0})(G)
    with pytest.raises(ValueError, match=r"the distance gives .* for 2 pairs"):
        PathLengthScore(samples=2, distance=lambda a, b: a - b)(G)
    flat = og.adapt(nn.Identity(), og.Normal(4))
    assert PathLengthScore(samples=2)(flat).value > 0
    for field in ({"crop": "face"}, {"resize": "256"}):
        with pytest.raises(
            ValueError, match=r"output is \('n', 4\); LPIPS, crop and resize take images \(n, c, h, w\)"
        ):
            PathLengthScore(samples=2, **field)(flat)
    with pytest.raises(ValueError, match="takes images from 8 x 8 pixels on, and was given 1 x 4; crop='all'"):
        PathLengthScore(samples=2, crop="face")(G)
    nan, _ = host(og.Normal(4), scale=float("nan"))
    with pytest.raises(ValueError, match="are not finite"):
        PathLengthScore(samples=2)(nan)


def test_a_distance_that_is_a_module_is_in_evaluation_mode_and_left_as_it_was():
    G, _ = host(og.Normal(4))
    module = Normed()
    for distance in (module, lambda a, b: module(a, b)):
        before = trace(module)
        training = PathLengthScore(samples=40, distance=distance)(G, rng=torch.Generator().manual_seed(0))
        assert trace(module) == before
        module.eval()
        assert PathLengthScore(samples=40, distance=distance)(G, rng=torch.Generator().manual_seed(0)) == training
        module.train()


def test_distances_are_told_apart_by_their_weights(rng):
    G, _ = host(og.Normal(4))
    one, two = (PathLengthScore(samples=10, distance=Normed(gain))(G, rng=rng) for gain in (1.0, 2.0))
    assert one.name == two.name == "path length (Normed)"
    assert one.protocol["distance"]["name"] == "Normed"
    assert one.protocol["distance"] != two.protocol["distance"]


def test_ends_are_made_batch_by_batch_and_do_not_depend_on_the_batch(monkeypatch):
    sizes = []

    def spy(a, b, t, way):
        sizes.append(len(a))
        return between(a, b, t, way)

    monkeypatch.setattr(path_length, "between", spy)
    G, _ = host(og.Normal(4))
    plane = og.Directions(torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]]))
    metric = PathLengthScore(samples=100, sampling="full", batch=32)
    small, large = (replace(metric, batch=b)(G, plane, rng=torch.Generator().manual_seed(0)) for b in (32, 100))
    assert sizes == [32] * 6 + [4] * 2 + [100] * 2
    assert small == large
