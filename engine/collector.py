"""When memory is given back. The interpreter looks for garbage in cycles: often among what is
young, rarely through all; then the allocator returns to the system what lies free in between.

Looking through everything stops the event loop for a quarter of a second with 10,000 sessions, and
by itself Python does it whenever their number has grown by a quarter: just while many calls begin
or end. Sessions and timers go without it, by counting references; what is left of a call (the
library's connections refer to themselves) can wait. So a look leaves out what was there at the last
one, and only now and then is one through everything: the longer that takes, the rarer.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Any, Final

from engine.clock import NS_PER_S, Clock, TimerHandle

_EVERY_NS: Final = 60 * NS_PER_S
_SHARE: Final = 300
"""It rests for so many times as long as it took, at least: nothing is late more often than that."""
_WHOLE_SHARE: Final = 2_000
"""The same of a look through what was there before, too. It matters to what has lived for longer
than a minute, became garbage and refers to itself."""
_YOUNG: Final = (10_000, 5)
"""Objects that make a look through the youngest, and such looks that make one a generation up. More
of them would make that one take longer than a cut may be late."""
_NEVER: Final = 1_000_000
_QUICK_NS: Final = NS_PER_S // 10
"""What takes longer to look through takes as long again to be trimmed: it is left as it is."""
# GNU's C library has it, which by itself returns only what is free at the end of the heap.
_TRIM: Final[Any] = getattr(ctypes.CDLL(None), "malloc_trim", None)


class Collector:
    """Changes the whole process, so that only a program's outermost part starts it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timer: TimerHandle | None = None
        self._whole_at_ns = 0
        self._before = gc.get_threshold()

    def start(self) -> None:
        """Call it when everything that stays is there."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_YOUNG, _NEVER)
        self._later(_EVERY_NS)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gc.set_threshold(*self._before)
        gc.unfreeze()

    def _later(self, rest_ns: int) -> None:
        self._timer = self._clock.call_at(self._clock.now_ns() + rest_ns, self._look)

    def _look(self) -> None:
        begun_ns = self._clock.now_ns()
        whole = begun_ns >= self._whole_at_ns
        if whole:
            gc.unfreeze()
        gc.collect()
        gc.freeze()  # left out from now on; what nobody refers to any more is freed all the same
        took_ns = self._clock.now_ns() - begun_ns
        if whole:
            self._whole_at_ns = begun_ns + _WHOLE_SHARE * took_ns
        # A part that is quick to look through says nothing about the heap, which is trimmed whole.
        if _TRIM is not None and whole and took_ns < _QUICK_NS:
            _TRIM(0)
        self._later(max(_EVERY_NS, _SHARE * (self._clock.now_ns() - begun_ns)))
