"""Freezes of a picture, told by when its frames left (`freezeCount` of the W3C's webrtc-stats).

Two frames further apart than max(3 x mean, mean + 150 ms) are a freeze, the mean being that of the
last 30 distances. What a viewer saw may be worse, for it also takes what its own hop loses; what is
counted here is the part that everything before that hop is to blame for.
"""

from __future__ import annotations

from engine.media import limits


class FreezeMeter:
    """Integers only; `frame_end` runs once per video frame. Pure."""

    __slots__ = ("_filled", "_gaps_ns", "_last_ns", "_next", "_sum_ns", "count", "frozen_ns")

    def __init__(self) -> None:
        self.count = 0
        self.frozen_ns = 0
        self._last_ns = -1
        self._gaps_ns = [0] * limits.FREEZE_WINDOW_FRAMES
        self._filled = 0
        self._next = 0
        self._sum_ns = 0

    def frame_end(self, now_ns: int) -> None:
        """The last packet of a frame left."""
        last_ns, self._last_ns = self._last_ns, now_ns
        if last_ns < 0:
            return
        gap_ns = now_ns - last_ns
        if self._filled >= limits.FREEZE_MIN_FRAMES and gap_ns > self._longest_ns():
            self.count += 1
            self.frozen_ns += gap_ns
        self._sum_ns += gap_ns - self._gaps_ns[self._next]
        self._gaps_ns[self._next] = gap_ns
        self._next = (self._next + 1) % limits.FREEZE_WINDOW_FRAMES
        self._filled = min(self._filled + 1, limits.FREEZE_WINDOW_FRAMES)

    def _longest_ns(self) -> int:
        mean_ns = self._sum_ns // self._filled
        return max(3 * mean_ns, mean_ns + limits.FREEZE_MARGIN_NS)

    def reset(self) -> None:
        """The picture pauses by someone's wish: what comes next is a beginning. The counts stay."""
        if self._last_ns < 0:
            return
        self._last_ns = -1
        self._gaps_ns = [0] * limits.FREEZE_WINDOW_FRAMES
        self._filled = self._next = self._sum_ns = 0
