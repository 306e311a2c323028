"""One deadline queue for all sessions of a node, and one timer under it.

Cost grows with the events that happen, not with sessions times seconds: a key has at most one entry
in the heap, and moving a deadline further away, which every acknowledgement does, leaves the entry
where it is; it is looked at again when it comes up. Only moving a deadline nearer adds an entry.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from engine.clock import Clock, TimerHandle


class DeadlineQueue:
    """`fire(key)` is called on the loop's thread, never early, once per deadline set."""

    def __init__(self, clock: Clock, fire: Callable[[str], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._due_ns: dict[str, int] = {}
        self._queued_ns: dict[str, int] = {}  # the heap's valid entry of each key
        self._heap: list[tuple[int, str]] = []
        self._timer: TimerHandle | None = None
        self._timer_at_ns: int | None = None

    def __len__(self) -> int:
        return len(self._due_ns)

    def set(self, key: str, at_ns: int | None) -> None:
        """Replace the key's deadline; None drops it."""
        if at_ns is None:
            self._due_ns.pop(key, None)
            return
        self._due_ns[key] = at_ns
        queued = self._queued_ns.get(key)
        if queued is None or at_ns < queued:
            self._push(key, at_ns)
        self._arm()

    def close(self) -> None:
        """Call off the timer and forget every deadline."""
        self._due_ns.clear()
        self._queued_ns.clear()
        self._heap.clear()
        self._arm()

    def _push(self, key: str, at_ns: int) -> None:
        self._queued_ns[key] = at_ns
        heapq.heappush(self._heap, (at_ns, key))

    def _arm(self) -> None:
        first_ns = self._heap[0][0] if self._heap else None
        if first_ns == self._timer_at_ns:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_ns = first_ns
        self._timer = None if first_ns is None else self._clock.call_at(first_ns, self._run)

    def _run(self) -> None:
        self._timer = self._timer_at_ns = None
        now_ns = self._clock.now_ns()
        while self._heap and self._heap[0][0] <= now_ns:
            self._pop(now_ns)
        self._arm()

    def _pop(self, now_ns: int) -> None:
        at_ns, key = heapq.heappop(self._heap)
        if self._queued_ns.get(key) != at_ns:
            return  # a nearer deadline was queued since
        del self._queued_ns[key]
        due_ns = self._due_ns.get(key)
        if due_ns is None:
            return
        if due_ns > now_ns:
            self._push(key, due_ns)
            return
        del self._due_ns[key]
        self._fire(key)
