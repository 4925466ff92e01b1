import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import load_file, save_file

import real
from orthogen.core.digest import digest
from orthogen.core.features import Features
from orthogen.core.kinds import Eye
from orthogen.core.rng import generator
from orthogen.evaluation import kept
from orthogen.evaluation.kept import cache_folder
from orthogen.evaluation.reference import choose, see_reference

PARTS = {"moments": {"moments"}, "vectors": {"vectors"}, "all": {"moments", "vectors", "logits", "labels"}}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def data(n=50, classes=3, seed=0) -> real.Stored:
    pixels = torch.randint(0, 256, (n, 3, 8, 8), generator=rng(seed)).to(torch.uint8)
    return real.Stored(pixels, (torch.arange(n) * 7 // 5) % classes if classes else None, tuple("abcdef"[:classes]))


class Watched:
    """An eye that counts the images it sees."""

    def __init__(self, scale=1.0, name="watched", logits=True):
        self.count, self.scale, self.logits = 0, scale, logits
        self.eye = Eye(self.see, {"name": name})

    def see(self, images):
        self.count += len(images)
        features = self.scale * images.float().flatten(1)[:, ::7].sqrt()
        return features, features[:, :5] if self.logits else None


def same(a: Features, b: Features) -> bool:
    """The same tensors, to the last bit, and the same gaps."""
    if (a.moments is None) != (b.moments is None):
        return False
    pairs = [(getattr(a, name), getattr(b, name)) for name in ("vectors", "logits", "labels")]
    if a.moments is not None and b.moments is not None:
        pairs += [(getattr(a.moments, name), getattr(b.moments, name)) for name in ("mean", "covariance", "sample")]
    return a.n == b.n and all((x is None and y is None) or torch.equal(x, y) for x, y in pairs)


# ---------------------------------------------------------------------------------------------- which images
def test_a_balanced_reference_takes_every_class_alike():
    labels = torch.tensor([0] * 30 + [1] * 10 + [2] * 20)
    images = real.Stored(torch.zeros(60, 1, 2, 2, dtype=torch.uint8), labels, ("a", "b", "c"))
    for n, each in ((None, 10), (60, 10), (29, 9), (3, 1)):
        index = choose(images, n, balanced=True, rng=rng())
        assert labels[index].bincount().tolist() == [each] * 3
        assert len(index.unique()) == 3 * each
    assert labels[choose(images, None, balanced=True, rng=rng())][:15].unique().tolist() == [0, 1, 2]  # not by class
    assert sorted(choose(images, None, balanced=False, rng=rng()).tolist()) == list(range(60))
    assert len(choose(images, 7, balanced=False, rng=rng())) == 7
    assert torch.equal(choose(images, 30, balanced=True, rng=rng()), choose(images, 30, balanced=True, rng=rng()))
    assert not torch.equal(choose(images, 30, balanced=True, rng=rng()), choose(images, 30, balanced=True, rng=rng(1)))


def test_no_more_than_fifty_thousand_are_taken():
    pixels = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(60_001, 1, 1, 1)
    labels = torch.arange(60_001) % 10
    assert len(choose(real.Stored(pixels), None, balanced=True, rng=rng())) == 50_000
    index = choose(real.Stored(pixels, labels, tuple("0123456789")), None, balanced=True, rng=rng())
    assert labels[index].bincount().tolist() == [5000] * 10
    assert len(choose(real.Stored(pixels), 60_000, balanced=True, rng=rng())) == 60_000  # if so told


def test_mistakes_in_what_is_taken():
    with pytest.raises(
        ValueError, match="60 reference images were asked for and the data has 50; take 2 or more of them"
    ):
        choose(data(), 60, balanced=True, rng=rng())
    with pytest.raises(ValueError, match="1 reference images were asked for"):
        choose(data(), 1, balanced=True, rng=rng())
    with pytest.raises(
        ValueError, match=r"reference of 3 classes: 2 images do not go round; take more, or balanced=False"
    ):
        choose(data(), 2, balanced=True, rng=rng())
    lacking = real.Stored(data().pixels, torch.zeros(50, dtype=torch.int64), ("a", "b"))
    with pytest.raises(
        ValueError, match=r"reference of 2 classes: class 'b' has no image; take more, or balanced=False"
    ):
        choose(lacking, None, balanced=True, rng=rng())
    watched = Watched(logits=False)
    with pytest.raises(ValueError, match="the data has 1 images; a reference needs at least 2"):
        see_reference(data(1), watched.eye, {"moments"})
    with pytest.raises(ValueError, match="the class of each real image is needed, and the data has none"):
        see_reference(data(classes=0), watched.eye, {"labels"})
    with pytest.raises(ValueError, match="class logits are needed, and watched gives none"):
        see_reference(data(), watched.eye, {"logits"})
    for labels, between in ((torch.arange(50) % 3 + 1, "1 to 3"), (torch.arange(50) % 3 - 1, "-1 to 1")):
        stray = real.Stored(data().pixels, labels, ("a", "b", "c"))
        for balanced in (True, False):
            with pytest.raises(
                ValueError, match=rf"^the data has 3 classes and labels from {between}; labels must be from 0 to 2$"
            ):
                see_reference(stray, watched.eye, {"moments"}, balanced=balanced)
    odd = data()
    odd.resolution = 16
    with pytest.raises(ValueError, match=r"the data says its images are \(3, 16, 16\) and gives \(3, 8, 8\)"):
        see_reference(odd, watched.eye, {"moments"})


# ---------------------------------------------------------------------------------------------- what is seen
def test_what_is_seen_belongs_to_the_images_chosen():
    features, how = see_reference(data(), Watched().eye, PARTS["all"], n=30, batch=16)
    index = choose(data(), 30, balanced=True, rng=generator(0, "measure", "reference"))
    assert torch.equal(features.vectors, Watched().see(data().images(index))[0])
    assert torch.equal(features.labels, data().labels(index))
    assert torch.equal(features.logits, features.vectors[:, :5])
    assert {k: how[k] for k in how if k != "hash"} == {
        "images": 30, "of": 50, "shape": [3, 8, 8], "balanced": True, "per_class": {"a": 10, "b": 10, "c": 10},
    }  # fmt: skip


def test_the_hash_is_of_pixels_and_labels():
    def found(images, **settings):
        return see_reference(images, Watched().eye, {"moments"}, **settings)[1]["hash"]

    plain, touched, relabeled = data(), data(), data()
    touched.pixels[20, 1, 3, 3] ^= 1
    relabeled._labels = (relabeled._labels + 1) % 3
    assert found(plain) == found(data()) == found(plain, batch=7)
    hashes = [found(plain), found(touched), found(relabeled), found(data(classes=0)), found(plain, n=30)]
    assert len(set(hashes)) == 5


def test_many_classes_are_summed_up():
    labels = torch.arange(100) % 25
    images = real.Stored(data(100).pixels, labels, tuple(map(str, range(25))))
    how = see_reference(images, Watched().eye, {"moments"})[1]
    assert how["per_class"] == {"classes": 25, "fewest": 4, "most": 4}
    assert "per_class" not in see_reference(data(classes=0), Watched().eye, {"moments"})[1]


# ---------------------------------------------------------------------------------------------- what is kept
@pytest.mark.parametrize("parts", PARTS.values(), ids=list(PARTS))
def test_from_the_cache_as_from_the_images_to_the_last_bit(parts, tmp_path):
    plain, how = see_reference(data(), Watched().eye, parts, batch=16)
    first, again = Watched(), Watched()
    made, _ = see_reference(data(), first.eye, parts, batch=16, cache=tmp_path)
    found, again_how = see_reference(data(), again.eye, parts, batch=16, cache=tmp_path)
    assert same(plain, made)
    assert same(plain, found)
    assert how == again_how
    assert first.count == 48  # balanced
    assert again.count == 8  # a look at the first few


def test_vectors_that_are_kept_serve_moments(tmp_path):
    see_reference(data(), Watched().eye, {"vectors"}, batch=16, cache=tmp_path)
    watched = Watched()
    served, _ = see_reference(data(), watched.eye, {"moments"}, batch=16, cache=tmp_path)
    assert watched.count == 8
    assert same(served, see_reference(data(), Watched().eye, {"moments"}, batch=16)[0])


def test_a_file_grows_by_what_is_asked_for(tmp_path):
    for parts in ({"moments"}, {"vectors"}, {"moments", "logits"}):
        see_reference(data(), Watched().eye, parts, cache=tmp_path)
    watched = Watched()
    for parts in PARTS.values():
        see_reference(data(), watched.eye, parts, cache=tmp_path)
    assert watched.count == 3 * 8
    (path,) = (tmp_path / "references").iterdir()
    assert {"vectors", "logits"} <= set(load_file(path))


def test_moments_alone_are_small(tmp_path):
    see_reference(data(500), Watched().eye, {"moments"}, cache=tmp_path)
    (path,) = (tmp_path / "references").iterdir()
    assert set(load_file(path)) == {"mean", "covariance", "sample"}


def test_a_digit_changed_anywhere_in_the_header_changes_nothing(tmp_path):
    plain, _ = see_reference(data(), Watched().eye, PARTS["all"], cache=tmp_path)
    (path,) = (tmp_path / "references").iterdir()
    whole = path.read_bytes()
    header = whole[8 : 8 + int.from_bytes(whole[:8], "little")]
    digits = [8 + at for at, byte in enumerate(header) if chr(byte).isdigit()]
    for at in digits[::3]:
        changed = bytearray(whole)
        changed[at] = ord("0") + (changed[at] - ord("0") + 1) % 10
        path.write_bytes(changed)
        for parts in PARTS.values():
            expected = see_reference(data(), Watched().eye, parts)[0]
            assert same(expected, see_reference(data(), Watched().eye, parts, cache=tmp_path)[0])
    assert same(plain, see_reference(data(), Watched().eye, PARTS["all"])[0])


def test_moments_lie_beside_vectors_and_are_read_alone(tmp_path, monkeypatch):
    see_reference(data(), Watched().eye, {"vectors", "logits"}, cache=tmp_path)
    (path,) = (tmp_path / "references").iterdir()
    assert set(load_file(path)) == {"mean", "covariance", "sample", "vectors", "logits"}
    hashed = []
    monkeypatch.setattr(kept, "digest", lambda tensors: hashed.extend(tensors) or digest(tensors))
    see_reference(data(), Watched().eye, {"moments"}, cache=tmp_path)
    assert set(hashed) == {"mean", "covariance", "sample"}


def test_other_images_other_extractors_other_files(tmp_path):
    for images, name in ((data(), "a"), (data(seed=1), "a"), (data(), "b"), (data(classes=0), "a")):
        see_reference(images, Watched(name=name).eye, {"moments"}, cache=tmp_path)
    assert len(list((tmp_path / "references").iterdir())) == 4


def test_an_extractor_that_sees_otherwise_under_the_same_name_is_found_out(tmp_path):
    see_reference(data(), Watched().eye, {"vectors"}, cache=tmp_path)
    other = Watched(scale=1.1)
    found, _ = see_reference(data(), other.eye, {"vectors"}, cache=tmp_path)
    assert same(found, see_reference(data(), Watched(scale=1.1).eye, {"vectors"})[0])


def _cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def _empty(path):
    path.write_bytes(b"")


def _foreign(path):
    save_file({"x": torch.zeros(2)}, path)


def _nonsense(path):
    save_file({"x": torch.zeros(2)}, path, {"about": '{"n": "many"'})


@pytest.mark.parametrize("damage", [_cut, _flip, _empty, _foreign, _nonsense])
def test_a_damaged_file_is_made_anew(damage, tmp_path):
    plain, _ = see_reference(data(), Watched().eye, PARTS["all"], cache=tmp_path)
    (path,) = (tmp_path / "references").iterdir()
    damage(path)
    again, after = Watched(), Watched()
    assert same(plain, see_reference(data(), again.eye, PARTS["all"], cache=tmp_path)[0])
    assert again.count >= 48
    assert same(plain, see_reference(data(), after.eye, PARTS["all"], cache=tmp_path)[0])
    assert after.count == 8
    assert list((tmp_path / "references").iterdir()) == [path]  # nothing half-written is left


def test_a_cache_that_cannot_be_written_costs_nothing(tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")
    with pytest.warns(UserWarning, match=r"what was seen of the real images is not kept \(.*\); see \$ORTHOGEN_CACHE"):
        found, _ = see_reference(data(), Watched().eye, {"moments"}, cache=blocked)
    assert same(found, see_reference(data(), Watched().eye, {"moments"})[0])


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("ORTHOGEN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "orthogen"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "orthogen"
    monkeypatch.setenv("ORTHOGEN_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


# ---------------------------------------------------------------------------------------------- memory
MEMORY = """
    import resource, torch
    torch.set_num_threads(1)
    import orthogen as og
    from orthogen.core.kinds import Eye, ImageSet
    from orthogen.evaluation.images import see_generated
    from orthogen.evaluation.reference import see_reference

    class Drawn(ImageSet):
        channels, resolution = 1, 16
        def __init__(self, n): self.n = n
        def __len__(self): return self.n
        def images(self, index, *, rng=None): return (index * 31 % 251).byte()[:, None, None, None].repeat(1, 1, 16, 16)

    def see(images):
        return images.float().flatten(1) + torch.arange(256), None

    def peak(n):
        eye, call = Eye(see, {}), lambda m, z: m(z).view(-1, 1, 16, 16)
        see_reference(Drawn(n), eye, {"moments"})
        see_generated(og.adapt(torch.nn.Linear(8, 256), og.Normal(8), call), eye, {"moments"}, n=n)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB

    few = peak(5_000)
    print(peak(40_000) - few)
"""


WARM = """
    import resource, sys, torch
    from pathlib import Path
    torch.set_num_threads(1)
    from orthogen.core.kinds import Eye, ImageSet
    from orthogen.evaluation.reference import see_reference

    class Drawn(ImageSet):
        channels, resolution = 1, 16
        def __len__(self): return 30_000
        def images(self, index, *, rng=None): return (index * 31 % 251).byte()[:, None, None, None].repeat(1, 1, 16, 16)

    def see(images):
        return images.float().flatten(1) + torch.arange(256), None

    folder, part = Path(sys.argv[1]), sys.argv[2]
    see_reference(Drawn(), Eye(see, {}), {part}, n=500, cache=folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    see_reference(Drawn(), Eye(see, {}), {part}, cache=folder)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_moments_of_kept_vectors_take_no_more_memory_for_more_images(tmp_path):
    def grown(part):
        command = [sys.executable, "-c", textwrap.dedent(WARM), str(tmp_path), part]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    grown("vectors")
    assert grown("moments") < 15  # MiB; the vectors are 29


def test_memory_does_not_grow_with_the_number_of_images():
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(MEMORY)], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 15  # MiB; the vectors of 35,000 more images would be 34 in float32
