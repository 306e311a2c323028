"""Bitrates over the last second or so."""

from __future__ import annotations


class RateMeter:
    """Feed it running totals about once a second. Pure."""

    __slots__ = ("_at_ns", "_bytes_in", "_bytes_out", "in_bps", "out_bps")

    def __init__(self) -> None:
        self.in_bps = 0
        self.out_bps = 0
        self._at_ns = 0
        self._bytes_in = 0
        self._bytes_out = 0

    def roll(self, bytes_in: int, bytes_out: int, now_ns: int) -> None:
        elapsed_ns = now_ns - self._at_ns
        if self._at_ns and elapsed_ns > 0:
            self.in_bps = (bytes_in - self._bytes_in) * 8_000_000_000 // elapsed_ns
            self.out_bps = (bytes_out - self._bytes_out) * 8_000_000_000 // elapsed_ns
        self._at_ns, self._bytes_in, self._bytes_out = now_ns, bytes_in, bytes_out
