import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional

import orthogen as og
import real
from orthogen.core import rng
from orthogen.core.features import Features, Moments
from orthogen.core.images import to_uint8
from orthogen.core.kinds import Extractor, Eye, ImageMetric
from orthogen.core.progress import shown
from orthogen.evaluation.images import image_scores, see_generated
from orthogen.extractors import as_extractor
from orthogen.metrics.fid import Fid
from orthogen.metrics.kid import Kid
from orthogen.metrics.precision_recall import PrecisionRecall

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Squint(Extractor):
    """The four means of quarters as features, and what they say of two or more classes."""

    classes: int = 0

    def load(self, device):
        def see(images):
            features = functional.avg_pool2d(images.float(), images.shape[-1] // 2).flatten(1)[:, :4]
            return features, features[:, : self.classes] if self.classes else None

        return Eye(see, {"name": "Squint", "classes": self.classes})


@dataclass(frozen=True)
class Reading(ImageMetric):
    """What it was given, written down."""

    on_inception: ClassVar[str | None] = "RID"
    reads: ClassVar[frozenset[str]] = frozenset({"moments"})

    def __call__(self, real, fake, *, rng=None):
        draw = torch.rand(1, generator=rng).item()
        return og.Score(draw, n=fake.n, name="reading", protocol={"extractor": "none"}, parts={"of": [real, fake]})


@dataclass(frozen=True)
class Logits(Reading):
    reads: ClassVar[frozenset[str]] = frozenset({"logits", "vectors"})


@dataclass(frozen=True)
class Labels(Reading):
    on_inception: ClassVar[str | None] = None
    reads: ClassVar[frozenset[str]] = frozenset({"labels", "vectors"})


class Painter(nn.Module):
    """8 x 8 images with every habit: dropout, batch norm, noise of its own; classes are gray levels."""

    def __init__(self, noise=0.0):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 64), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Tanh())
        self.noise = noise

    def forward(self, z, label=None):
        x = self.net(z) + self.noise * torch.randn(len(z), 64)
        return (
            x.unflatten(1, (1, 8, 8)) if label is None else (label / 5 - 0.5)[:, None, None, None].expand(-1, 1, 8, 8)
        )


def painter(noise=0.0) -> og.Generator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return og.adapt(Painter(noise), og.Normal(3))


def data(n=40, classes=4, channels=1, size=8) -> real.Stored:
    pixels = torch.randint(0, 256, (n, channels, size, size), generator=torch.Generator().manual_seed(1))
    return real.Stored(pixels.to(torch.uint8), torch.arange(n) % classes if classes else None, tuple("abcd"[:classes]))


class Counted(Squint):
    """Counts what it looks at."""

    def load(self, device):
        eye, self.__dict__["seen"] = super().load(device), []

        def see(images):
            self.seen.append(images)
            return eye.see(images)

        return Eye(see, eye.protocol)


# ---------------------------------------------------------------------------------------------- generated images
def test_images_are_seen_as_uint8_of_the_generators_images_in_evaluation_mode():
    G, eye = painter(), Counted()
    features, how = see_generated(G, eye.load(CPU), {"vectors"}, n=100, batch=32)
    z = G.latent.sample(100, rng=rng.generator(0, "measure", "images"))
    G.module.eval()
    with torch.no_grad():
        expected = to_uint8(G(z))
    assert torch.equal(torch.cat(eye.seen), expected)
    assert [len(images) for images in eye.seen] == [32, 32, 32, 4]
    assert (features.n, features.vectors.shape, features.moments, features.labels) == (100, (100, 4), None, None)
    assert how == {"images": 100, "shape": [1, 8, 8], "quantization": "uint8, round((x + 1) 127.5), clipped"}


def test_one_seed_gives_the_same_images_whatever_the_batch():
    eye = Squint().load(CPU)
    a, b, c = (
        see_generated(painter(), eye, {"vectors"}, n=1100, seed=seed, batch=batch)[0].vectors
        for seed, batch in ((1, 64), (1, 33), (2, 64))
    )
    assert torch.allclose(a, b, atol=1.0)  # a batch may round a pixel differently
    assert not torch.allclose(a, c, atol=1.0)


def test_the_generator_and_the_global_state_are_left_as_they_were():
    G = painter(noise=0.1)
    G.module.train()
    G.module.net[2].eval()
    before, random = {k: v.clone() for k, v in G.module.state_dict().items()}, torch.get_rng_state()
    (a, _), (b, _) = (see_generated(G, Squint().load(CPU), {"vectors"}, n=50) for _ in range(2))
    assert torch.equal(a.vectors, b.vectors)  # its own noise follows from the seed
    assert not torch.equal(a.vectors, see_generated(G, Squint().load(CPU), {"vectors"}, n=50, seed=1)[0].vectors)
    assert all(torch.equal(before[k], v) for k, v in G.module.state_dict().items())
    assert [G.module.training, G.module.net[1].training, G.module.net[2].training] == [True, True, False]
    assert torch.equal(torch.get_rng_state(), random)


def test_labels_are_drawn_evenly_and_given_to_the_generator():
    features, how = see_generated(
        painter(), Squint().load(CPU), {"labels", "vectors"}, n=42, data=data(), condition="label", batch=16
    )
    assert features.labels.bincount().tolist() == [11, 11, 10, 10]
    assert features.labels.tolist() != sorted(features.labels.tolist())
    level = to_uint8((features.labels / 5 - 0.5)[:, None, None, None])[:, 0, 0]
    assert torch.equal(features.vectors, level.float().expand(-1, 4))
    assert how["labels"] == "drawn evenly, given as 'label'"


def test_labels_are_predicted_where_no_condition_is_named():
    features, how = see_generated(painter(), Squint(classes=4).load(CPU), {"labels", "vectors"}, n=20, data=data())
    assert torch.equal(features.labels, features.vectors.argmax(dim=1))
    assert how["labels"] == "predicted by the extractor"
    for extractor, found in ((Squint(), "no logits"), (Squint(classes=3), "3 logits")):
        with pytest.raises(ValueError, match=rf"predicts the 4 classes of the data; this one gives {found}$"):
            see_generated(painter(), extractor.load(CPU), {"labels"}, n=20, data=data())


def test_mistakes_in_generated_images():
    def see(module, **settings):
        return see_generated(
            og.adapt(module, og.Normal(3)), Squint().load(CPU), {"moments"}, **{"n": 9, "data": data(), **settings}
        )

    painted = Painter()
    with pytest.raises(ValueError, match="n=1, batch=64: image scores need at least 2 images, and some thousands"):
        see(painted, n=1)
    with pytest.raises(ValueError, match=r"condition='label': the data has no classes to draw labels from"):
        see(painted, condition="label", data=data(classes=0))
    with pytest.raises(ValueError, match="the generator takes no condition 'klass'"):
        see(painted, condition="klass")
    with pytest.raises(ValueError, match="makes 1 x 8 x 8 images and the data has 3 x 8 x 8; open the data at"):
        see(painted, data=data(channels=3))
    with pytest.raises(ValueError, match="makes 1 x 8 x 8 images and the data has 1 x 16 x 16; open the data at"):
        see(painted, data=data(size=16))
    with pytest.raises(ValueError, match=r"the generator makes \(9, 64\); square images"):
        see(painted.net)
    with torch.no_grad():
        painted.net[0].bias[3] = torch.nan
    with pytest.raises(ValueError, match="9 of 9 generated images are not finite; the generator has diverged"):
        see(painted)
    with pytest.raises(
        ValueError, match="class logits are needed, and Squint gives none; use Inception, or an extractor"
    ):
        see_generated(painter(), Squint().load(CPU), {"logits"}, n=9)


# ---------------------------------------------------------------------------------------------- scores
def test_one_pass_serves_all_metrics(tmp_path):
    eye = Counted(classes=2)
    metrics = (Reading(), Logits(), Labels())
    scores = image_scores(
        painter(), metrics, data=data(), extractor=eye, n=50, condition="label", batch=16, cache=tmp_path
    )
    assert sum(len(images) for images in eye.seen) == 50 + 40
    for score in scores:
        reference, fake = score.parts["of"]
        assert (fake.n, reference.n) == (50, 40)
        assert all(fake.has(part) and reference.has(part) for part in ("vectors", "logits", "labels", "moments"))
    assert len({score.value for score in scores}) == 3  # each draws for itself
    again = image_scores(painter(), [Logits()], data=data(), extractor=eye, n=50, condition="label", cache=tmp_path)
    assert again[0].value == scores[1].value  # whatever else is measured


def test_no_more_is_kept_than_metrics_read(tmp_path):
    (score,) = image_scores(painter(), [Reading()], data=data(), extractor=Squint(), n=50, cache=tmp_path)
    for side in score.parts["of"]:
        assert isinstance(side.moments, Moments)
        assert (side.vectors, side.logits, side.labels) == (None, None, None)


def test_the_protocol_says_what_was_seen_and_how(tmp_path):
    (score,) = image_scores(painter(), [Reading()], data=data(), extractor=Squint(), n=50, seed=3, cache=tmp_path)
    protocol = json.loads(json.dumps(score.protocol, allow_nan=False))
    assert protocol["extractor"] == {"name": "Squint", "classes": 0}  # not "none", as the metric says of given features
    assert protocol["generated"]["images"] == 50
    assert protocol["reference"]["per_class"] == {"a": 10, "b": 10, "c": 10, "d": 10}
    (other,) = image_scores(painter(), [Reading()], data=data(), extractor=Squint(), n=50, seed=4, cache=tmp_path)
    assert other.protocol == score.protocol  # seeds can be compared
    assert other.value != score.value


def test_the_protocol_does_not_depend_on_what_else_is_measured(tmp_path):
    def protocols(*metrics):
        made = image_scores(painter(), metrics, data=data(), extractor=Squint(classes=4), n=50, cache=tmp_path)
        return [score.protocol for score in made]

    (alone,), (beside, labeled) = protocols(Reading()), protocols(Reading(), Labels())
    assert alone == beside
    assert "labels" not in alone["generated"]
    assert labeled["generated"]["labels"] == "predicted by the extractor"


@dataclass(frozen=True)
class Official(Squint):
    inception: ClassVar[bool] = True


def test_the_names_of_inceptions_scores_are_reserved(tmp_path):
    def names(extractor):
        metrics = (Reading(), Labels())
        made = image_scores(
            painter(), metrics, data=data(), extractor=extractor, n=9, condition="label", cache=tmp_path
        )
        return [score.name for score in made]

    assert names(Official()) == ["RID", "reading"]
    assert names(Squint()) == ["reading", "reading"]
    assert names(lambda images: images.mean(dim=(2, 3))) == ["reading", "reading"]


def test_what_is_on_the_way_is_shown(tmp_path):
    told = []

    def show(items, what, total):
        told.append((what, total))
        items = list(items)
        assert len(items) == total
        yield from items

    with shown(show):
        image_scores(painter(), [Reading()], data=data(), extractor=Squint(), n=1100, batch=100, cache=tmp_path)
    assert told == [("seeing generated images", 12), ("reading real images", 1), ("seeing real images", 1)]


def test_mistakes_in_scores(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHOGEN_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="hold generated images against real ones; give data, such as ImageFolder"):
        image_scores(painter(), [Reading()], data=None, extractor=Squint())
    with pytest.raises(ValueError, match=r"^Labels needs classes, and the data has none; give data with class labels$"):
        image_scores(painter(), [Reading(), Labels()], data=data(classes=0), extractor=Squint())
    with pytest.raises(
        ValueError,
        match=r"^the extractor .*<lambda> gave values that are not finite for \d+ of 50 generated images",
    ):
        image_scores(painter(), [Reading()], data=data(), extractor=lambda x: x.mean(dim=(2, 3)).log(), n=50)
    with pytest.raises(ValueError, match=r"gave values that are not finite for 1 of 40 real images \(features\)$"):
        image_scores(painter(), [Reading()], data=blank(), extractor=_not_of_black, n=50)
    nan = lambda x: (x.flatten(1), x.flatten(1)[:, :4] * torch.nan)  # noqa: E731
    for metric in (Labels(), Logits()):  # no class is read off them
        with pytest.raises(ValueError, match=r"that are not finite for 50 of 50 generated images \(logits\)$"):
            image_scores(painter(), [metric], data=data(), extractor=nan, n=50)
    image_scores(painter(), [Reading()], data=data(), extractor=nan, n=50)  # nobody reads them
    uneven = lambda x: x.flatten(1)[:, : len(x)]  # noqa: E731
    with pytest.raises(ValueError, match="gave 32 features for an image and 18 for another; equally many for each are"):
        image_scores(painter(), [Reading()], data=data(), extractor=uneven, n=50, batch=32)


def _not_of_black(images):
    return images.flatten(1) / (images.flatten(1).amax(dim=1, keepdim=True) > -1)


def blank():
    stored = data()
    stored.pixels[3] = 0
    return stored


# ---------------------------------------------------------------------------------------------- what a metric is given
@dataclass(frozen=True)
class Alone(Reading):
    """Looks at generated images alone."""

    needs_reference: ClassVar[bool] = False


@dataclass(frozen=True)
class Curious(Reading):
    may_read: ClassVar[frozenset[str]] = frozenset({"logits", "labels"})


@dataclass(frozen=True)
class Informed(Reading):
    known: int = 0

    @property
    def reads(self):
        return frozenset({"vectors"}) if self.known else frozenset({"labels"})

    def with_data(self, data):
        return Informed(known=len(data))


def test_a_metric_of_generated_images_alone_needs_no_data(tmp_path):
    eye = Counted()
    (score,) = image_scores(painter(), [Alone()], data=None, extractor=eye, n=50, cache=tmp_path)
    assert sum(len(images) for images in eye.seen) == 50
    real, fake = score.parts["of"]
    assert real is fake
    assert set(score.protocol) == {"extractor", "generated"}
    (given,) = image_scores(painter(), [Alone()], data=data(), extractor=eye, n=50, cache=tmp_path)
    assert given.protocol == score.protocol
    assert given.value == score.value
    assert sum(len(images) for images in eye.seen) == 50  # again: no real image was seen
    beside = image_scores(painter(), [Alone(), Reading()], data=data(), extractor=eye, n=50, cache=tmp_path)
    assert beside[0].protocol == score.protocol
    assert beside[1].protocol["reference"]["images"] == 40
    with pytest.raises(ValueError, match="hold generated images against real ones; give data"):
        image_scores(painter(), [Alone(), Reading()], data=None, extractor=eye, cache=tmp_path)


@pytest.mark.parametrize(
    ("classes", "logits", "condition", "parts"),
    [
        (4, 4, None, {"logits", "labels"}),
        (4, 2, None, {"logits"}),
        (4, 2, "label", {"logits", "labels"}),
        (4, 0, "label", {"labels"}),
        (0, 2, None, {"logits"}),
        (0, 0, None, set()),
    ],
)
def test_what_a_metric_may_read_is_gathered_where_it_is(classes, logits, condition, parts, tmp_path):
    given = {"data": data(classes=classes), "extractor": Squint(logits), "n": 50, "cache": tmp_path}
    (score,) = image_scores(painter(), [Curious()], condition=condition, **given)
    for side in score.parts["of"]:
        assert {part for part in ("logits", "labels", "vectors") if side.has(part)} == parts
        assert side.has("moments")
    assert ("labels" in score.protocol["generated"]) == ("labels" in parts)
    (plain,) = image_scores(painter(), [Reading()], condition=condition, **given)
    assert not plain.parts["of"][0].has("logits")


def test_a_metric_is_given_the_data_before_it_is_asked_what_it_reads(tmp_path):
    (score,) = image_scores(painter(), [Informed()], data=data(classes=0), extractor=Squint(), n=9, cache=tmp_path)
    assert score.parts["of"][0].vectors is not None


def test_a_conditional_generator_without_its_condition():
    class Conditional(nn.Module):
        def forward(self, z, label):
            return z

    with pytest.raises(
        ValueError, match=r"^the generator needs class labels: give condition='label' \(--condition label\)"
    ):
        see_generated(og.adapt(Conditional(), og.Normal(3)), Squint().load(CPU), {"moments"}, n=9)


# ---------------------------------------------------------------------------------------------- generators with habits
class Counting(nn.Module):
    """Counts its calls in a buffer and in an attribute."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.passes = 0

    def forward(self, z):
        self.calls += 1
        self.passes += 1
        return torch.tanh(z.repeat(1, 16).view(-1, 1, 8, 8)) + 0 * self.calls


def test_a_buffer_that_is_changed_in_place_is_put_back():
    module = Counting()
    buffer = module.calls
    see_generated(og.adapt(module, og.Normal(4)), Squint().load(CPU), {"vectors"}, n=100)
    assert module.calls is buffer
    assert buffer.item() == 0
    assert module.passes == 2  # trying how it behaves is not counted


class Together(nn.Module):
    """Batch norm on batch statistics, in evaluation too."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 64), nn.BatchNorm1d(64, track_running_stats=False), nn.Tanh())

    def forward(self, z):
        return self.net(z).view(-1, 1, 8, 8)


class Centered(nn.Module):
    def forward(self, z):
        return (z - z.mean(dim=0)).repeat(1, 16).view(-1, 1, 8, 8)


@pytest.mark.parametrize("module", [Together, Centered])
def test_images_that_depend_on_their_batch_say_so(module):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        G = og.adapt(module(), og.Normal(3 if module is Together else 4))
    how = [see_generated(G, Squint().load(CPU), {"moments"}, n=100, batch=batch)[1] for batch in (16, 32)]
    assert [(each["batch"], each["samples see each other"]) for each in how] == [(16, True), (32, True)]


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_images_that_do_not_depend_on_their_batch_say_nothing_of_it(noise):
    how = [see_generated(painter(noise), Squint().load(CPU), {"moments"}, n=100, batch=batch)[1] for batch in (16, 32)]
    assert how[0] == how[1]
    assert "batch" not in how[0]


# ---------------------------------------------------------------------------------------------- notes
def test_a_reference_that_balancing_thins_out_is_noted(tmp_path):
    labels = torch.tensor([0] * 34 + [1] * 6)
    uneven = real.Stored(data().pixels, labels, ("a", "b"))

    def note(metric=Reading, **settings):
        (score,) = image_scores(painter(), [metric()], data=uneven, extractor=Squint(), n=9, cache=tmp_path, **settings)
        return score.parts.get("note")

    assert note() == "balancing leaves 12 of 40 real images; balanced=False keeps them"
    assert note(Noted) == "mine; balancing leaves 12 of 40 real images; balanced=False keeps them"
    assert note(reference_n=25) == "balancing leaves 12 of 25 real images; balanced=False keeps them"
    assert note(reference_n=24) is None
    assert note(balanced=False) is None
    assert note(Alone) is None


@dataclass(frozen=True)
class Noted(Reading):
    def __call__(self, real, fake, *, rng=None):
        return og.Score(1.0, n=fake.n, parts={"note": "mine"})


def test_weights_that_are_not_the_published_ones_are_noted(tmp_path):
    def note(**protocol):
        eye = Eye(Squint().load(CPU).see, {"name": "Inception-v3", **protocol})
        extractor = type("Loaded", (Extractor,), {"load": lambda self, device: eye, "inception": True})()
        (score,) = image_scores(painter(), [Reading()], data=data(), extractor=extractor, n=9, cache=tmp_path)
        assert score.name == "RID"
        return score.parts.get("note")

    assert note(published_weights=False) == "Inception with weights other than the published ones"
    assert note(published_weights=True) is None
    assert note() is None


# ---------------------------------------------------------------------------------------------- real images
class Replay(nn.Module):
    """Images one after another, whatever the latents."""

    def __init__(self, images):
        super().__init__()
        self.images, self.at = images, 0

    def forward(self, z):
        self.at += len(z)
        return self.images[self.at - len(z) : self.at].float() / 127.5 - 1


def _blurred(images, sigma):
    x = torch.arange(-4, 5.0)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, 9)
    padded = functional.pad(images.float(), (4, 4, 4, 4), mode="reflect")
    blurred = functional.conv2d(functional.conv2d(padded, kernel, groups=3), kernel.mT, groups=3)
    return blurred.round().to(torch.uint8)


def _noisy(images, sigma):
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + sigma * noise).clamp(0, 255).round().to(torch.uint8)


def test_degraded_pictures_score_worse(shared_data, tmp_path):
    """CIFAR-10 (JPEG): another part of it, then blurred and noisy a little and a lot."""
    pictures, eye = real.pictures(shared_data, "cifar10_jpeg_test", 300).pixels, real.efficientnet(shared_data, size=64)
    held, other = real.Stored(pictures[:150]), pictures[150:]

    def scores(images):
        G, metrics = og.adapt(Replay(images), og.Normal(1)), [Fid(), Kid(), PrecisionRecall()]
        return image_scores(G, metrics, data=held, extractor=eye, n=150, cache=tmp_path)

    plain = scores(other)
    for mildly, strongly in (
        (_blurred(other, 1.2), _blurred(other, 3.0)),
        (_noisy(other, 10), _noisy(other, 40)),
    ):
        fid, kid, quality = zip(plain, scores(mildly), scores(strongly), strict=True)
        for distance in (fid, kid):
            assert distance[0].value < distance[1].value < distance[2].value
            assert distance[0].name not in ("FID", "KID")
        assert quality[0].parts["recall"] > quality[2].parts["recall"]  # precision rises: blurred pictures are alike
    assert len(list((tmp_path / "references").iterdir())) == 1


def test_a_collapsed_generator_draws_too_many_ones(shared_data):
    """A third of the samples of this GAN are ones, says the classifier that tells its classes."""
    digits = real.digits(shared_data, 4000)
    eye = as_extractor(real.lenet(shared_data)).load(CPU)
    G = real.generator(shared_data, "mlpgan_mnist_28")
    features, _ = see_generated(G, eye, {"labels", "vectors"}, n=2000, data=digits, batch=256)
    share = features.labels.bincount(minlength=10) / 2000
    assert share.argmax() == 1
    assert 0.28 < share[1] < 0.40
    held, other = (Features(2000, eye.see(part)[0]) for part in digits.pixels.split(2000))
    generated, held_out = (PrecisionRecall()(held, fake).parts for fake in (features, other))
    for part in ("precision", "recall"):  # real digits have 0.89 of both; the generator's are fair, and too much alike
        assert 0.7 < generated[part] < held_out[part] - 0.02
