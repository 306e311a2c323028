"""A clock that notices when this process stood still.

A process that is stopped or swapped out, a virtual machine that gets no processor, a loop that
hangs: monotonic time goes on, and nobody is served. Media tell by their acknowledgements; in a chat
nothing would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from engine.clock import NS_PER_S, Clock, TimerHandle
from engine.metering.policy import PAUSE_AFTER_NS

BEAT_NS: Final = NS_PER_S


class Stall(NamedTuple):
    """The time was read at `since_ns`, which nothing that happened is later than, and not again
    until `until_ns`.
    """

    since_ns: int
    until_ns: int


class PulseClock:
    """Implements `Clock`. Whoever reads the time first after a stall has `on_stall` called before
    the answer, so that nobody reckons with a time that was not served.

    A stall is as long as a pause of media: `PAUSE_AFTER_NS`. Once started the clock is read every
    second.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._read_ns: int | None = None
        self._timer: TimerHandle | None = None
        self.on_stall: Callable[[Stall], None] = lambda stall: None

    def start(self) -> None:
        self._read_ns = self._clock.now_ns()
        self._later()

    def stop(self) -> None:
        self._read_ns = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def now_ns(self) -> int:
        now_ns, read_ns = self._clock.now_ns(), self._read_ns
        if read_ns is not None:
            self._read_ns = now_ns
            if now_ns - read_ns >= PAUSE_AFTER_NS:
                self.on_stall(Stall(read_ns, now_ns))
        return now_ns

    def wall_ms(self) -> int:
        return self._clock.wall_ms()

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> TimerHandle:
        return self._clock.call_at(at_ns, callback)

    def _later(self) -> None:
        self._timer = self._clock.call_at(self.now_ns() + BEAT_NS, self._later)
