"""Trees of dataclasses to JSON and back, and what a hostile or outdated record gets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthogen.core import record
from orthogen.core.latent import Blocks, Normal, Sphere, Uniform
from orthogen.core.record import from_json, to_json
from orthogen.core.score import Score


@dataclass(frozen=True)
class Leaf:
    n: int = 1
    pair: tuple[float, float] = (0.5, 0.999)
    names: tuple[str, ...] = ()
    crop: str | tuple[int, int, int, int] = "center"
    maybe: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Tree:
    leaf: Leaf = Leaf()
    leaves: tuple[Leaf, ...] = ()
    named: Mapping[str, Leaf] = field(default_factory=dict)
    nested: tuple[tuple[int, int], ...] = ()
    by_name: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    path: Path = Path()
    either: str | Path = ""


@pytest.fixture(autouse=True)
def ours(monkeypatch):
    """Let the dataclasses of this file pass for the package's."""
    for kind in (Leaf, Tree):
        monkeypatch.setattr(kind, "__module__", "orthogen.core.record")
        monkeypatch.setattr(record, kind.__name__, kind, raising=False)


def there_and_back(value):
    return from_json(json.loads(json.dumps(to_json(value))))


@pytest.mark.parametrize(
    "value",
    [
        Normal(3),
        Uniform(2, -1.0, 2.0),
        Sphere(4, None),
        Blocks(epsilon=Normal(4), z=Uniform(2)),
        Score(0.5, 0.1, 7, "MIG", {"bins": 20, "rule": [1, 2]}),
        Leaf(),
        Leaf(names=("a", "b"), crop=(1, 2, 3, 4), maybe=(1,)),
        Leaf(crop="none", maybe=()),
        Tree(),
        Tree(Leaf(2), (Leaf(3), Leaf(4)), {"x": Leaf(5)}, ((1, 2), (3, 4)), {"y": (1, 2)}, Path("a/b"), "c"),
        [Normal(1), {"a": Normal(2)}, None, True, 1.5, "text"],
    ],
    ids=repr,
)  # fmt: skip
def test_round_trip(value):
    again = there_and_back(value)
    assert again == value
    assert repr(again) == repr(value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda key: key != "type"), inner),
)


@given(plain)
def test_plain_data_is_itself(value):
    assert there_and_back(value) == value


@given(st.builds(Leaf, st.integers(), names=st.lists(st.text(), max_size=3).map(tuple)))
def test_leaves(leaf):
    assert there_and_back(leaf) == leaf


def test_what_cannot_be_written():
    with pytest.raises(
        TypeError, match=r"^Tensor cannot be written to JSON; use dataclasses of numbers, strings and lists$"
    ):
        to_json({"a": [torch.zeros(1)]})
    with pytest.raises(TypeError, match=r"^ABCMeta cannot be written"):
        to_json(Normal)


@pytest.mark.parametrize("name", ["os:system", "builtins:dict", "torch.nn:Linear", "orthogenic:X", "subprocess:Popen"])
def test_only_our_classes_are_built(name):
    with pytest.raises(ValueError, match=f"^{name} is not a class of orthogen; a record may only name those$"):
        from_json({"type": name})


@pytest.mark.parametrize(
    "name",
    [
        "orthogen.core.record:from_json",  # a function
        "orthogen.core.record:Path",  # a class, but no dataclass
        "orthogen.core.catalogue:ROOT",  # a value
        "orthogen.core.kinds:Latent",  # imported there, defined elsewhere
        "orthogen.core.record:dataclasses.Field",  # somebody else's, reached through us
    ],
)
def test_only_dataclasses_are_built(name):
    with pytest.raises(ValueError, match=f"^{name} is not a dataclass of that module; a record may only name those$"):
        from_json({"type": name})


@pytest.mark.parametrize("name", ["orthogen.no_such_file:X", "orthogen.core.latent:NoSuchClass", "orthogen_user_x:Y"])
def test_classes_that_are_gone(name):
    with pytest.raises(
        ValueError, match=rf"^{name} is not there \(.*\); the record needs (another version|a file of its own)"
    ):
        from_json({"type": name})


def test_fields_that_are_gone():
    data = {**to_json(Normal(3)), "width": 1, "color": 2}
    with pytest.raises(ValueError, match=r"^Normal has no field color, width; the record is of another version$"):
        from_json(data)


def test_fields_that_are_new_take_their_defaults():
    assert from_json({"type": "orthogen.core.record:Leaf", "n": 4}) == Leaf(4)


def test_values_are_checked_as_always():
    with pytest.raises(ValueError, match="a latent has at least one dimension"):
        from_json({"type": "orthogen.core.latent:Normal", "dim": 0})
