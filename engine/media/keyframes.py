"""When to ask a publisher for a keyframe: many requests become one, one is repeated until it
works.
"""

from __future__ import annotations

from engine.media import limits


class KeyframeRequests:
    """Requests towards one publisher stream. Pure: `due` says when a PLI must be sent."""

    __slots__ = ("_last_sent_ns", "_next_ns", "_repeat_ns", "pending")

    def __init__(self) -> None:
        self.pending = False
        self._last_sent_ns = -limits.NEVER_NS
        self._next_ns = limits.NEVER_NS
        self._repeat_ns = limits.KEYFRAME_REPEAT_NS

    def request(self, now_ns: int) -> None:
        """Someone needs a keyframe."""
        if self.pending:
            return
        self.pending = True
        self._repeat_ns = limits.KEYFRAME_REPEAT_NS
        self._next_ns = max(now_ns, self._last_sent_ns + limits.KEYFRAME_COALESCE_NS)

    def arrived(self) -> None:
        """A keyframe began: no more requests until the next need."""
        self.pending = False
        self._next_ns = limits.NEVER_NS

    def due(self, now_ns: int) -> bool:
        """True when a PLI must be sent now; schedules the next one, ever slower."""
        if now_ns < self._next_ns:
            return False
        self._last_sent_ns = now_ns
        self._next_ns = now_ns + self._repeat_ns
        self._repeat_ns = min(2 * self._repeat_ns, limits.KEYFRAME_REPEAT_MAX_NS)
        return True
