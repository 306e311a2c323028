from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.clock import NS_PER_S
from engine.collector import _TRIM, Collector
from tests.support.virtual_clock import VirtualClock


class Knot:
    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    clock = VirtualClock()
    before = gc.get_threshold()
    collector = Collector(clock)
    collector.start()
    yield clock
    collector.stop()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
    assert clock.armed == 0


def _old_knot() -> weakref.ref[Knot]:
    """Unreachable, in the oldest generation: only a look through everything finds it."""
    knot = Knot()
    gc.collect(0)
    gc.collect(1)
    return weakref.ref(knot)


def test_what_nobody_can_reach_goes_once_a_minute(clock: VirtualClock) -> None:
    for _ in range(2):
        knot = _old_knot()
        clock.advance(59)
        assert knot() is not None
        clock.advance(1)
        assert knot() is None


def test_many_new_objects_are_no_reason_to_look_through_all(clock: VirtualClock) -> None:
    generations: list[int] = []

    def note(phase: str, about: dict[str, int]) -> None:
        if phase == "start":
            generations.append(about["generation"])

    gc.callbacks.append(note)
    try:
        kept = [[n] for n in range(400_000)]
    finally:
        gc.callbacks.remove(note)
    assert len(kept) == 400_000
    assert set(generations) == {0, 1}


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(_TRIM is None, reason="no GNU C library: its allocator is not told")
def test_what_lies_free_between_other_things_goes_back_to_the_system(clock: VirtualClock) -> None:
    many = [bytes(4_000) for _ in range(50_000)]
    some = many[::500]
    many.clear()
    before = _resident_bytes()
    clock.advance(60)
    assert len(some) == 100
    assert before - _resident_bytes() > 100_000_000


def test_a_look_that_takes_long_is_rarer(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def slow() -> int:
        looks.append(clock.now_ns())
        clock._now_ns += NS_PER_S // 2
        return 0

    monkeypatch.setattr(gc, "collect", slow)
    clock.advance(60)
    clock.advance(149)
    assert len(looks) == 1
    clock.advance(2)
    assert len(looks) == 2


def test_what_was_there_before_is_looked_through_rarely_where_that_takes_long(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = gc.collect

    def slow() -> int:
        clock._now_ns += NS_PER_S // 4
        return collect()

    monkeypatch.setattr(gc, "collect", slow)
    knot = Knot()
    clock.advance(60)
    old = weakref.ref(knot)
    knot = Knot()
    young = weakref.ref(knot)
    del knot
    clock.advance(100)
    assert young() is None
    clock.advance(390)  # 2,000 times a quarter of a second after the first look
    assert old() is not None
    clock.advance(100)
    assert old() is None


def test_what_was_there_before_is_freed_with_its_last_use(clock: VirtualClock) -> None:
    class Plain:
        pass

    plain = Plain()
    clock.advance(60)
    gone = weakref.ref(plain)
    del plain
    assert gone() is None
