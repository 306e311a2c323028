"""Continuity towards a viewer: sequence numbers and timestamps of a stream whose source may change.

The viewer sees one SSRC whose numbers run on, whatever the publisher does: reconnecting, changing
SSRC, pausing. Between two *synchronisations* the mapping is two constants, added to every packet,
so that sequence numbers of lost packets stay free for their retransmission. A synchronisation
chooses constants anew: the next number after the last one sent, and a timestamp that advanced by
the time that passed. Packets older than the synchronisation have no number of their own and are
dropped; no number is ever given to two packets, which also keeps AES-GCM's nonces unique (RFC 7714
section 8).
"""

from __future__ import annotations

from typing import Final

from engine.media import limits

FORWARD: Final = 0
DUPLICATE: Final = 1
RESTART: Final = 2

_MASK16 = 0xFFFF
_LONG_RUN = 0x4000
_MASK32 = 0xFFFFFFFF


class Rewriter:
    """The mapping of one outgoing stream. Pure; the caller keeps the table of missing packets."""

    __slots__ = (
        "_base",
        "_clock_per_ns",
        "_last_at_ns",
        "_last_timestamp",
        "_source",
        "highest_in",
        "highest_out",
        "sequence_offset",
        "timestamp_offset",
    )

    def __init__(self, clock_rate_hz: int, *, first_sequence: int, first_timestamp: int) -> None:
        self._clock_per_ns = clock_rate_hz / 1e9
        self._source: object = None
        self._base = 0
        self._last_at_ns = -1
        self._last_timestamp = first_timestamp
        self.highest_in = 0
        self.highest_out = (first_sequence - 1) & _MASK16
        self.sequence_offset = 0
        self.timestamp_offset = 0

    def synchronise(self, source: object, sequence: int, timestamp: int, now_ns: int) -> None:
        """The packet at hand is the first of a new run of `source`."""
        self.sequence_offset = (self.highest_out + 1 - sequence) & _MASK16
        if source is not self._source:
            elapsed = 0
            if self._last_at_ns >= 0:
                elapsed = max(1, int((now_ns - self._last_at_ns) * self._clock_per_ns))
            self.timestamp_offset = (self._last_timestamp + elapsed - timestamp) & _MASK32
            self._source = source
        self._base = sequence
        self.highest_in = (sequence - 1) & _MASK16

    def maps(self, source: object) -> bool:
        """Whether the constants are those of `source`: only then its timestamps mean anything."""
        return source is self._source

    def advance(self, sequence: int, timestamp: int, now_ns: int) -> None:
        """The newest packet so far goes out."""
        self.highest_in = sequence
        if (sequence - self._base) & _MASK16 > _LONG_RUN:
            # The beginning follows: half a circle behind, it would seem to lie ahead.
            self._base = (sequence - limits.MAX_SEQUENCE_GAP) & _MASK16
        self.highest_out = (sequence + self.sequence_offset) & _MASK16
        self._last_timestamp = (timestamp + self.timestamp_offset) & _MASK32
        self._last_at_ns = now_ns

    def classify_late(self, sequence: int) -> int:
        """What to do with a packet that is not the next and not ahead within the allowed gap."""
        behind = (self.highest_in - sequence) & _MASK16
        if behind < limits.MAX_SEQUENCE_GAP:
            after_base = (sequence - self._base) & _MASK16
            return FORWARD if after_base < 0x8000 else DUPLICATE
        return RESTART if behind >= 0x8000 or behind > 4 * limits.MAX_SEQUENCE_GAP else DUPLICATE
