"""A clock that moves when the test says so."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from engine.clock import NS_PER_MS, NS_PER_S

START_WALL_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


class _Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class VirtualClock:
    """Implements `engine.clock.Clock`; timers run inside `advance`, in order."""

    def __init__(self) -> None:
        self._now_ns = 1_000 * NS_PER_S
        self._start_ns = self._now_ns
        self._timers: list[tuple[int, int, _Timer]] = []
        self._count = itertools.count()

    def now_ns(self) -> int:
        return self._now_ns

    def wall_ms(self) -> int:
        return START_WALL_MS + (self._now_ns - self._start_ns) // NS_PER_MS

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> _Timer:
        timer = _Timer(callback)
        heapq.heappush(self._timers, (at_ns, next(self._count), timer))
        return timer

    def advance(self, seconds: float) -> None:
        end_ns = self._now_ns + round(seconds * NS_PER_S)
        while self._timers and self._timers[0][0] <= end_ns:
            at_ns, _, timer = heapq.heappop(self._timers)
            self._now_ns = max(self._now_ns, at_ns)
            if not timer.cancelled:
                timer.callback()
        self._now_ns = end_ns

    def leap(self, seconds: float) -> None:
        """Time passes and nothing runs, as in a process that stands still."""
        self._now_ns += round(seconds * NS_PER_S)

    @property
    def armed(self) -> int:
        """Timers that are still to run."""
        return sum(not timer.cancelled for _, _, timer in self._timers)
