import gc
import io
import time

import pytest
from rich.console import Console

from orthogen.core.progress import shown, span, track
from orthogen.evaluation import waiting as module


@pytest.fixture
def said(monkeypatch):
    """What the display prints, with short times counting as long ones."""
    stream = io.StringIO()
    monkeypatch.setattr(module, "LOOK", 0.01)
    monkeypatch.setattr(module, "LONG", 0.05)
    monkeypatch.setattr(module, "Console", lambda **_: Console(file=stream, width=200, highlight=False))
    return stream


def slow(items, seconds=0.02):
    for item in items:
        time.sleep(seconds)
        yield item


def test_a_long_loop_says_once_how_long_it_will_take(said):
    with module.waiting():
        assert list(track(slow(range(6)), "counting sheep", total=6)) == [0, 1, 2, 3, 4, 5]
    assert said.getvalue() == "counting sheep: about 0 s\n"


def test_a_short_loop_says_nothing(said):
    with module.waiting():
        list(track(range(3), "blinking"))
    assert said.getvalue() == ""


def test_quiet_is_quiet(said):
    with module.waiting(quiet=True):
        list(track(slow(range(6)), "counting sheep", total=6))
    assert said.getvalue() == ""


def test_a_loop_that_is_left_early_or_fails_leaves_no_bar():
    def fail():
        for _ in track(range(10), "failing"):
            raise RuntimeError

    with module._Display(Console(file=io.StringIO())) as display, shown(display.show):
        for _ in track(range(10), "leaving"):
            break
        with pytest.raises(RuntimeError):
            fail()
        gc.collect()
        assert display._bars.tasks == []


def test_outside_of_a_display_items_come_as_they_are():
    assert list(track(iter("ab"), "letters")) == ["a", "b"]


def test_the_display_of_before_comes_back():
    seen = []

    def note(items, what, total):
        seen.append((what, total))
        yield from items

    with shown(note):
        with shown(lambda items, what, total: iter(items)):
            list(track([1], "inner"))
        list(track([1, 2], "outer"))
    list(track([1], "after"))
    assert seen == [("outer", 2)]


def test_spans():
    assert [span(s) for s in (0.4, 59.6, 61.0, 3569.0, 3660.0)] == ["0 s", "1 min", "1 min", "59 min", "1 h 1 min"]
