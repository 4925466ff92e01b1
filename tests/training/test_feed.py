import threading
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from orthogen.training.distributed import Processes
from orthogen.training.feed import Feed
from tiny_classes import SpotData
from tiny_gan import Bars

CPU = Processes(torch.device("cpu"))


def always(batch: int) -> Callable[[int], int]:
    return lambda shown: batch


def part_of(rank: int, size: int) -> Processes:
    processes = Processes(torch.device("cpu"))
    processes.rank, processes.size = rank, size
    return processes


@settings(max_examples=40)
@given(count=st.integers(1, 40), batch=st.integers(1, 30), seed=st.integers(0, 5))
def test_every_epoch_shows_every_image_once(count: int, batch: int, seed: int) -> None:
    with Feed(Bars(count), always(batch), seed, CPU) as feed:
        steps = -(-3 * count // batch)
        order = torch.cat([feed.index(step * batch) for step in range(steps)])
        for epoch in range(3):
            assert sorted(order[epoch * count : (epoch + 1) * count].tolist()) == list(range(count))
        assert torch.equal(feed.index((steps - 1) * batch), order[-batch:])  # however one got there


def test_orders_differ_between_epochs_and_seeds() -> None:
    with Feed(Bars(30), always(30), 0, CPU) as feed, Feed(Bars(30), always(30), 1, CPU) as other:
        assert not torch.equal(feed.index(0), feed.index(30))
        assert not torch.equal(feed.index(0), other.index(0))


def test_fetching_ahead_changes_nothing() -> None:
    with Feed(Bars(20), always(8), 0, CPU) as feed, Feed(Bars(20), always(8), 0, CPU) as other:
        forward = [feed(8 * step).images for step in range(5)]
        backward = [other(8 * step).images for step in reversed(range(5))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))
    assert forward[0].min() >= -1
    assert forward[0].dtype == torch.float32


def test_the_next_batch_is_fetched_in_the_background() -> None:
    fetched = threading.Event()

    class Slow(Bars):
        def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
            if threading.current_thread() is threading.main_thread():
                raise AssertionError("the main thread waits for images")
            calls.append(1)
            if len(calls) == 2:
                fetched.set()
            return super().images(index, rng=rng)

    calls: list[int] = []
    with Feed(Slow(20), always(8), 0, CPU) as feed:
        feed(0)
        assert fetched.wait(10)


def test_a_critic_step_sees_the_same_images_however_many_processes_there_are() -> None:
    data = SpotData().open()
    turns = []
    for size in (1, 2):
        seen = []
        for rank in range(size):
            with Feed(data, always(16), 0, part_of(rank, size), turns=2) as feed:
                seen.append([batch.images for batch in feed(16).chunk(2)])
        turns.append([torch.cat(pieces) for pieces in zip(*seen, strict=True)])
    for alone, together in zip(*turns, strict=True):
        assert torch.equal(alone, together)


def test_processes_share_out_one_batch() -> None:
    whole = Feed(Bars(20), always(8), 0, CPU).index(24)
    seen = []
    for rank in range(2):
        with Feed(Bars(20), always(8), 0, part_of(rank, 2)) as feed:
            seen.append(feed.processes.part(feed.index(24)))
            assert feed(24).images.shape == (4, 1, 8, 8)
    assert torch.equal(torch.cat(seen), whole)


def test_batches_of_changing_size_go_through_the_data_in_the_same_order() -> None:
    sizes = {0: 4, 4: 4, 8: 12, 20: 12}
    with Feed(Bars(20), sizes.__getitem__, 0, CPU) as feed:
        found = [feed.index(shown) for shown in sizes]
        assert [len(feed(shown)) for shown in (0, 4, 8)] == [4, 4, 12]
    whole = Feed(Bars(20), always(32), 0, CPU).index(0)
    assert torch.equal(torch.cat(found), whole)


def test_an_error_in_the_data_reaches_the_caller() -> None:
    class Broken(Bars):
        def images(self, index: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
            raise ValueError("cats/7.png cannot be decoded")

    with Feed(Broken(20), always(8), 0, CPU) as feed, pytest.raises(ValueError, match=r"cats/7\.png cannot be decoded"):
        feed(0)


def test_no_images() -> None:
    with pytest.raises(ValueError, match="the data set is empty; give one with at least one image"):
        Feed(Bars(0), always(8), 0, CPU)
