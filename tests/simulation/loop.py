"""An event loop whose time passes only when nothing is left to do: one order of events per seed."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable
from typing import Any

from engine.clock import NS_PER_S

START_NS = 1_000 * NS_PER_S


class Stuck(RuntimeError):
    """Everybody waits and nothing will ever happen."""


class Timer:
    """One callback to come."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def run(self) -> None:
        if not self.cancelled:
            self.callback()


class SimLoop(asyncio.BaseEventLoop):
    """Runs what is ready in the order in which it became ready; then jumps to the next timer.

    `now_ns` is the only time there is: asyncio's own timers (`timeout`, `sleep`) follow it, and
    `at` keeps whole nanoseconds, which their seconds in floating point cannot.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = START_NS
        self._selector = self
        self._clock_resolution = 1e-9
        self._timers: list[tuple[int, int, Timer]] = []
        self._count = itertools.count()

    def time(self) -> float:
        return self.now_ns / NS_PER_S

    def at(self, at_ns: int, callback: Callable[[], None]) -> Timer:
        """Run `callback` once it is `at_ns`, after what was asked for earlier at that instant."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (at_ns, next(self._count), timer))
        return timer

    async def sleep_ns(self, duration_ns: int) -> None:
        """Suspends even for no time at all."""
        done: asyncio.Future[None] = self.create_future()
        timer = self.at(self.now_ns + max(0, duration_ns), lambda: _finish(done))
        try:
            await done
        finally:
            timer.cancel()

    async def sleep(self, seconds: float) -> None:
        await self.sleep_ns(round(seconds * NS_PER_S))

    # What BaseEventLoop asks of a selector --------------------------------------------------------

    def select(self, timeout: float | None) -> list[Any]:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        if timeout != 0:
            self.now_ns = max(self.now_ns, self._next_ns(timeout))
        while self._timers and self._timers[0][0] <= self.now_ns:
            self.call_soon(heapq.heappop(self._timers)[2].run)
        return []

    def _next_ns(self, timeout: float | None) -> int:
        instants = [self._timers[0][0]] if self._timers else []
        if timeout is not None:
            instants.append(self.now_ns + math.ceil(timeout * NS_PER_S) + 1)
        if not instants:
            raise Stuck("nothing is left to do")
        return min(instants)

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
