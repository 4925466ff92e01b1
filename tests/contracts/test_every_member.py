"""What members of all kinds have in common: a frozen value with the paper's defaults, and documentation."""

import dataclasses
import doctest
import inspect
import json
import re

import pytest

from contracts.members import classes
from orthogen.core import record
from orthogen.core.kinds import KINDS

# descriptions of the user's own files, which no paper defines
NO_PAPER = {"FactorClasses", "ImageFolder"}
ALL = [pytest.param(folder, member, id=member.__name__) for folder in KINDS for member in classes(folder)]

every = pytest.mark.parametrize(("folder", "member"), ALL)


@every
def test_is_of_one_kind(folder, member):
    assert sum(issubclass(member, kind) for kind in KINDS[folder]) == 1


@every
def test_is_a_frozen_value(folder, member):
    assert dataclasses.is_dataclass(member)
    one, other = member(), member()
    assert one == other
    assert repr(one) == repr(other)
    assert repr(one).startswith(f"{member.__name__}(")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.anything = 1


@every
def test_every_field_has_a_default_and_is_documented(folder, member):
    for field in dataclasses.fields(member):
        has_default = (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
        assert has_default, field.name
        assert re.search(rf"\b{field.name}\b", inspect.getdoc(member)), field.name


@every
def test_round_trip_through_json(folder, member):
    written = json.dumps(record.to_json(member()), allow_nan=False)
    assert record.from_json(json.loads(written)) == member()


@every
def test_documentation(folder, member):
    text = inspect.getdoc(member)
    summary, *rest = text.split("\n\n")
    assert summary.rstrip()[-1] in ".:"
    if folder not in ("models", "data"):  # a formula is displayed: indented, before the first section
        body = re.split(r"^(?:Attributes|Fields|Raises|Reference|Example)\b", "\n\n".join(rest), flags=re.MULTILINE)[0]
        assert re.search(r"^ {4,}\S", body, flags=re.MULTILINE)
    if member.__name__ not in NO_PAPER:
        source = re.search(r"^Reference:\n((?: {4}.*\n?)+)", text, flags=re.MULTILINE)
        assert source, "no section Reference"
        assert re.search(r"\b(19|20)\d\d\b", source[1]), "no year"
    assert "\nExample:\n" in text
    assert doctest.DocTestParser().get_examples(text)  # run by --doctest-modules
