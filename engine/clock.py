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
        loop = asyncio.get_running_loop()
        # Rounding up keeps the promise that a callback never runs before its instant.
        delay_s = max(0, at_ns - self.now_ns()) / NS_PER_S

        def run() -> None:
            if self.now_ns() < at_ns:
                loop.call_later((at_ns - self.now_ns()) / NS_PER_S, run)
            else:
                callback()

        return loop.call_later(delay_s, run)
