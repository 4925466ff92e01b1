from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import orthogen as og
from orthogen.core.images import to_float
from orthogen.core.kinds import FactorSet
from orthogen.data.image_folder import ImageFolder
from orthogen.data.sprites import Sprites
from orthogen.metrics.leakage import Leakage
from traces import trace


class Bars(FactorSet):
    """Two factors in the two pixels of a row, five values from -1 to 1 each."""

    channels, resolution = 1, 2
    factor_names, factor_sizes = ("a", "b"), (5, 5)

    def images(self, index, *, rng=None):
        raise NotImplementedError

    def same(self, a, b):
        """Values of b that differ by 2 look alike."""
        return torch.stack([a[..., 0] == b[..., 0], (a[..., 1] - b[..., 1]) % 2 == 0], dim=-1)

    def read_factors(self, images):
        values = ((images[:, 0, 0] + 1) * 2).round().long().clamp(0, 4)
        return values, torch.ones(values.shape)


def host(call, dim: int) -> og.Generator:
    return og.adapt(nn.Identity(), og.Normal(dim), call=lambda m, z: call(z))


def bars(a: Tensor, b: Tensor) -> Tensor:
    """Images of 2 x 2 pixels with a and b in the first row."""
    row = torch.stack([a, b], dim=1)
    return torch.stack([row, row], dim=1)[:, None]


def sprites_of(mix: Tensor):
    """A generator that draws sprites, whose uniform factors are the ranks of z @ mix."""
    drawn = Sprites().open()
    sizes = torch.tensor(drawn.factor_sizes)

    def call(z: Tensor) -> Tensor:
        share = torch.special.ndtr(z @ mix)[:, :5]
        factors = (share * sizes).long().clamp(max=sizes - 1)
        return to_float(drawn.draw(factors))

    return host(call, len(mix))


# ------------------------------------------------------------------------------------ factors
def test_a_perfect_generator_has_none_and_dead_directions_are_named():
    score = Leakage(Sprites(), samples=20, steps=3)(sprites_of(torch.eye(6)))
    assert score.value == 0.0
    assert score.parts["factors"] == ["shape", "scale", "orientation", "posX", "posY"]
    assert score.parts["main"] == ["shape", "scale", "orientation", "posX", "posY", None]
    assert score.parts["dead"] == ["5"]
    assert score.parts["leakage"][5] is None
    data = {"type": "orthogen.data.sprites:Sprites", "resolution": 64, "look": None}
    assert score.protocol["reader"] == {"name": "SpriteSet.read_factors", "resolution": 64, "data": data}
    assert all(c > 0.9 for c in score.parts["reader_confidence"])


def test_closed_form_of_a_mixing_generator():
    # a is the sign of z0; b has values 0 and 1 by the sign of z0 + z1, which replacing either by +-2 decides mostly
    G = host(lambda z: bars(z[:, 0].sign(), ((z[:, 0] + z[:, 1]).sign() - 3) / 4), 3)
    score = Leakage(Bars(), samples=4000, steps=2, span=(-100.0, 100.0))(G)
    assert torch.tensor(score.parts["matrix"][0]) == pytest.approx(torch.tensor([0.5, 0.5]))
    assert score.parts["matrix"][1] == [0.0, 0.5]
    assert score.parts["leakage"] == [0.5, 0.0, None]
    assert score.parts["main"][1] == "b"
    assert score.parts["dead"] == ["2"]
    assert score.value == 0.25
    assert score.parts["matrix_stderr"][1] == [0.0, 0.0]  # one of both values is always the other side


def test_values_that_look_alike_do_not_count():
    G = host(lambda z: bars(z[:, 0].sign(), z[:, 0].sign() / 2), 1)  # b goes from 1 to 3
    assert Leakage(Bars(), samples=50, steps=2)(G).parts["matrix"] == [[0.5, 0.0]]


def test_value_and_standard_error_are_those_of_repeats():
    G = host(lambda z: bars(z[:, 0].sign(), (z[:, 0] * 0.4 + z[:, 1]).clamp(-1, 1)), 2)
    scores = [Leakage(Bars(), samples=60, steps=3)(G, rng=torch.Generator().manual_seed(i)) for i in range(60)]
    values = torch.tensor([score.value for score in scores])
    claimed = torch.tensor([score.stderr for score in scores]).mean().item()
    assert claimed == pytest.approx(values.std().item(), rel=0.3)
    score = scores[0]
    by_hand = [1 - max(row) / sum(row) for row in score.parts["matrix"]]
    assert score.parts["leakage"] == pytest.approx(by_hand)
    assert score.value == pytest.approx(sum(by_hand) / 2)


def test_symmetries_count_in_either_order():
    # a heart at 20 and a square at 10, which is a square at 20 as well: nothing needs to have turned
    drawn = Sprites(resolution=64).open()

    def call(z: Tensor) -> Tensor:
        square = z[:, 0] < 0
        factors = torch.tensor([2, 5, 20, 16, 16]).repeat(len(z), 1)
        factors[square] = torch.tensor([0, 5, 10, 16, 16])
        return to_float(drawn.draw(factors))

    score = Leakage(Sprites(), samples=10, steps=2)(host(call, 1))
    matrix = dict(zip(score.parts["factors"], score.parts["matrix"][0], strict=True))
    assert matrix["shape"] == pytest.approx(0.5, abs=0.01)
    assert matrix["orientation"] == 0


def test_nothing_changes():
    score = Leakage(Bars(), samples=5)(host(lambda z: bars(0 * z[:, 0], 0 * z[:, 0]), 2))
    assert (score.value, score.stderr) == (0.0, 0.0)
    assert score.parts["dead"] == ["0", "1"]


def test_along_directions():
    G = host(lambda z: bars(z[:, 0].sign(), (z[:, 1].sign() + 1) / 4), 2)
    turned = og.Directions(torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / 2**0.5, names=("up", "down"))
    axes, score = (Leakage(Bars(), samples=100)(G, directions) for directions in (None, turned))
    assert axes.value == 0.0
    assert score.value > 0.3
    assert score.parts["directions"] == ["up", "down"]


# ------------------------------------------------------------------------------------ classes
def pixels_as_logits(images: Tensor) -> Tensor:
    return 20 * images[:, 0, 0]


def test_two_classes_do_not_leak_and_all_change_is_total_variation():
    G = host(lambda z: bars(z[:, 0].sign(), -z[:, 0].sign()), 2)
    score = Leakage(pixels_as_logits, samples=50, steps=2)(G)
    assert score.parts["classes"] == ["0", "1"]
    assert score.parts["matrix"][0] == pytest.approx([0.5, 0.5], abs=1e-6)  # half of the moves end on the other side
    assert score.value == 0.0
    assert score.parts["dead"] == ["1"]
    assert score.protocol["reader"]["name"] == "pixels_as_logits"


def test_change_that_passes_by_the_main_class_leaks():
    def call(z: Tensor) -> Tensor:
        first = torch.where(z[:, 0] > 0, 0, 1)
        second = torch.where(z[:, 0] > 0, 2, 3)
        return nn.functional.one_hot(torch.where(z[:, 1] > 0, first, second), 4).float()[:, None, None, :]

    G = host(call, 2)
    score = Leakage(pixels_as_logits, samples=4000, steps=2, batch=4000)(G)
    # along z0: 0 <-> 1 or 2 <-> 3; along z1: 0 <-> 2 or 1 <-> 3; a class is in half of them
    assert score.value == pytest.approx(0.5, abs=0.03)
    assert score.parts["leakage_stderr"][0] == pytest.approx(0.0, abs=0.02)


def test_the_data_of_measure_is_its_reader_unless_it_has_one():
    data = Bars()
    assert Leakage().with_data(data).reader is data
    assert Leakage(pixels_as_logits).with_data(data).reader is pixels_as_logits
    assert Leakage(samples=7).with_data(data) == replace(Leakage(samples=7), reader=data)


def test_mistakes(unchecked, tmp_path):
    G = host(lambda z: bars(z[:, 0], z[:, 1]), 2)
    with pytest.raises(
        ValueError, match=r"nothing to read images with; give .* Leakage\(Sprites\(\)\), or a classif"
    ) as e:
        Leakage()(G)
    assert "\n" not in str(e.value)
    with pytest.raises(ValueError, match="give at least 2 samples, 2 steps"):
        Leakage(steps=1)
    with pytest.raises(ValueError, match="give the lowest value, then a higher one"):
        Leakage(span=(1.0, 1.0))
    with pytest.raises(ValueError, match=r"reads factors off images \(n, c, h, w\), and the generator gives \(2, 2\)"):
        Leakage(Bars(), samples=2)(host(lambda z: z, 2))
    with pytest.raises(TypeError, match="data with known factors, or a function of images, is needed"):
        Leakage(3)(G)
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "x.png")
    with pytest.raises(ValueError, match="ImageFolder has none; give Sprites"):
        Leakage(ImageFolder(str(tmp_path), resolution=4))(G)
    with pytest.raises(ValueError, match="this reader takes 1 or 3 channels of 64 x 64 pixels"):
        Leakage(Sprites(), samples=2)(G)
    with pytest.raises(ValueError, match=r"the classifier gives \(2, 1\) for 2 images"):
        Leakage(lambda x: x[:, 0, 0, :1], samples=2)(G)
    with pytest.raises(ValueError, match="logits are not finite"):
        Leakage(lambda x: x[:, 0, 0] / 0, samples=2)(G)
    with pytest.raises(ValueError, match="the directions are 3 wide, the latent is 2 wide"):
        Leakage(Bars())(G, og.Directions.coordinates(3))


def test_classifiers_are_told_apart_by_their_weights(rng):
    G = host(lambda z: bars(z[:, 0], z[:, 1]), 2)
    first, second = (nn.Sequential(nn.Flatten(), nn.Linear(4, 3)) for _ in range(2))
    scores = [Leakage(reader, samples=5)(G, rng=rng) for reader in (first, second, first, lambda x: second(x))]
    readers = [score.protocol["reader"] for score in scores]
    assert readers[0] == readers[2]
    assert readers[0] != readers[1]
    assert readers[3]["weights"] == readers[1]["weights"]
    assert Leakage(Bars(), samples=5)(G, rng=rng).protocol["reader"] == {"name": "Bars.read_factors", "resolution": 2}


def test_the_classifier_is_in_evaluation_mode_and_left_as_it_was():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reader = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    reader[1].eval()
    G = host(lambda z: bars(z[:, 0], z[:, 1]), 2)
    for seen_with in (reader, lambda x: reader(x)):
        before = trace(reader)
        training = Leakage(seen_with, samples=20)(G, rng=torch.Generator().manual_seed(0))
        assert trace(reader) == before
        modes = [part.training for part in reader]
        reader.eval()
        assert Leakage(seen_with, samples=20)(G, rng=torch.Generator().manual_seed(0)) == training
        for part, mode in zip(reader, modes, strict=True):
            part.train(mode)
        reader.training = True


def test_rounding_is_no_leakage(rng):
    # the total of three classes, halved, is not always the change of the main one to the last digit
    reader = nn.Sequential(nn.Flatten(), nn.Linear(2, 3))
    with torch.no_grad():
        reader[1].weight.copy_(torch.tensor([[9.0, 0.0], [-4.0, 0.0], [-4.0, 0.0]]))
        reader[1].bias.zero_()
    score = Leakage(reader, samples=50)(
        og.adapt(nn.Identity(), og.Normal(2), call=lambda m, z: z[:, None, None]), rng=rng
    )
    assert (score.value, score.stderr) == (0.0, 0.0)
    assert str(score) == "Leakage 0.0000 ± 0.0000 (n=50)"


def test_the_length_of_a_direction_does_not_matter_and_blocks_have_spans(rng):
    latent = og.Blocks(a=og.Normal(1), b=og.Uniform(1))
    G = og.adapt(nn.Identity(), latent, call=lambda m, z: bars(z[:, 0] / 2, z[:, 1]))
    scores = [
        Leakage(Bars(), samples=20)(G, og.Directions(scale * torch.eye(2)), rng=torch.Generator().manual_seed(0))
        for scale in (1, 5)
    ]
    assert scores[0].parts == scores[1].parts
    assert scores[0].protocol["points"] == {"a": [-2.0, -1.0, 0.0, 1.0, 2.0], "b": [-1.0, -0.5, 0.0, 0.5, 1.0]}


@pytest.mark.parametrize("seed", range(8))
def test_of_classes_that_change_alike_the_first_is_the_main_one(seed):
    G = og.adapt(torch.nn.Identity(), og.Normal(2), call=lambda m, z: z[:, None, None, :])

    def classifier(images):
        return torch.stack([9 * images[:, 0, 0, 0], 0 * images[:, 0, 0, 0]], dim=1)

    assert Leakage(classifier, samples=50)(G, rng=torch.Generator().manual_seed(seed)).parts["main"] == ["0", None]
