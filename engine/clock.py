"""Clocks, kept apart by purpose; this is the only module that reads one.

* ``now_ns`` is monotonic and decides everything: money, deadlines, cutoffs.
* ``wall_ms`` is UTC since the Unix epoch and is only ever written down for people.
* RTP timestamps belong to a stream and never leave the media plane.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class TimerHandle(Protocol):
    """What `Clock.call_at` returns: a timer that can be called off once."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time as an argument: the system's in production, a virtual one in tests."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds; comparable only within one process."""
        ...

    def wall_ms(self) -> int:
        """UTC milliseconds since the Unix epoch; may step, so it never decides."""
        ...

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> TimerHandle:
        """Run `callback` on the event loop once `now_ns() >= at_ns`, never earlier."""
        ...


class SystemClock:
    """The running event loop's clock."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ms(self) -> int:
        return time.time_ns() // NS_PER_MS

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> TimerHandle:
        return _Timer(asyncio.get_running_loop(), at_ns, callback)


class _Timer:
    """The loop's own may fire early, by its resolution or by rounding: then the rest is waited.

    Fired or called off, it refers to nothing that refers to it, so it is freed with its last use;
    there are several to each charged block of each session.
    """

    __slots__ = ("_at_ns", "_callback", "_handle", "_loop")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, at_ns: int, callback: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._at_ns = at_ns
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = self._wait(at_ns - time.monotonic_ns())

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wait(self, left_ns: int) -> asyncio.TimerHandle:
        return self._loop.call_later(max(0, left_ns) / NS_PER_S, self._run)

    def _run(self) -> None:
        self._handle = None
        left_ns = self._at_ns - time.monotonic_ns()
        if left_ns > 0:
            self._handle = self._wait(left_ns)
        else:
            self._callback()
