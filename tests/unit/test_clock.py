"""The clock of production: its timers, on a loop whose own timers fire when the test says so."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest

from engine.clock import _Timer


class _Handle:
    def __init__(self, run: Callable[[], None]) -> None:
        self.run: Callable[[], None] | None = run

    def cancel(self) -> None:
        self.run = None


class Loop:
    """Stands in for an event loop: `fire` runs the newest timer, however early it is."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.handle: _Handle | None = None
        self.delays_s: list[float] = []

    def call_later(self, delay_s: float, run: Callable[[], None]) -> Any:
        self.delays_s.append(delay_s)
        self.handle = _Handle(run)
        return self.handle

    def fire(self) -> None:
        handle, self.handle = self.handle, None
        if handle is not None and handle.run is not None:
            handle.run()


class Called:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr("time.monotonic_ns", lambda: loop.now_ns)
    return loop


def _timer(loop: Loop, at_ns: int, called: Called) -> _Timer:
    return _Timer(cast(asyncio.AbstractEventLoop, loop), at_ns, called)


def test_a_timer_that_the_loop_runs_early_waits_for_the_rest(loop: Loop) -> None:
    called = Called()
    timer = _timer(loop, 2_000_000_000, called)
    loop.now_ns = 1_999_000_000
    loop.fire()
    assert (called.times, loop.delays_s) == (0, [2.0, 0.001])
    loop.now_ns = 2_000_000_000
    loop.fire()
    assert called.times == 1
    loop.fire()
    assert called.times == 1
    timer.cancel()


def test_a_timer_in_the_past_runs_at_once(loop: Loop) -> None:
    called = Called()
    loop.now_ns = 5
    timer = _timer(loop, 3, called)
    assert loop.delays_s == [0]
    loop.fire()
    assert called.times == 1
    timer.cancel()


@pytest.mark.parametrize("early", [False, True])
def test_a_timer_that_was_called_off_never_runs(loop: Loop, early: bool) -> None:
    called = Called()
    timer = _timer(loop, 1_000, called)
    if early:
        loop.fire()
    timer.cancel()
    loop.now_ns = 2_000
    loop.fire()
    assert called.times == 0


@pytest.mark.parametrize("fired", [False, True])
def test_a_timer_is_freed_with_its_last_use(loop: Loop, fired: bool) -> None:
    called = Called()
    timer = _timer(loop, 1_000, called)
    if fired:
        loop.now_ns = 1_000
        loop.fire()
    else:
        timer.cancel()
        loop.fire()
    gone = weakref.ref(called)
    gc.disable()
    try:
        del called, timer
        assert gone() is None
    finally:
        gc.enable()
