"""Loss repair, hop by hop (RFC 4585, RFC 4588): a ring of sent packets, a table of missing ones."""

from __future__ import annotations

from engine.media import limits
from engine.media.rtp import sequence_distance


class PacketRing:
    """The last packets sent on one video stream, for answering the viewer's NACKs."""

    __slots__ = ("_packets", "_resent_at_ns", "_sequences")

    _MASK = limits.RETRANSMIT_RING_PACKETS - 1

    def __init__(self) -> None:
        self._packets: list[bytes | None] = [None] * limits.RETRANSMIT_RING_PACKETS
        self._sequences = [-1] * limits.RETRANSMIT_RING_PACKETS
        self._resent_at_ns = [0] * limits.RETRANSMIT_RING_PACKETS

    def put(self, sequence: int, packet: bytes) -> None:
        slot = sequence & self._MASK
        self._packets[slot] = packet
        self._sequences[slot] = sequence
        self._resent_at_ns[slot] = 0

    def take(self, sequence: int, now_ns: int) -> bytes | None:
        """The packet to resend now; None if it is gone or was resent a moment ago."""
        slot = sequence & self._MASK
        if self._sequences[slot] != sequence:
            return None
        if now_ns - self._resent_at_ns[slot] < limits.RESEND_INTERVAL_NS:
            return None
        self._resent_at_ns[slot] = now_ns
        return self._packets[slot]


class MissingPackets:
    """Gaps in one incoming stream, and when to ask the publisher for them again."""

    __slots__ = ("_due_ns", "_gaps")

    def __init__(self) -> None:
        # sequence -> [noticed at, next request at, requests made]
        self._gaps: dict[int, list[int]] = {}
        self._due_ns = limits.NEVER_NS

    def __len__(self) -> int:
        return len(self._gaps)

    def clear(self) -> None:
        self._gaps.clear()
        self._due_ns = limits.NEVER_NS

    def gap(self, first: int, after: int, now_ns: int) -> None:
        """Packets `first` up to but not including `after` did not come."""
        for offset in range(min((after - first) & 0xFFFF, limits.MAX_SEQUENCE_GAP)):
            self._gaps[(first + offset) & 0xFFFF] = [now_ns, now_ns, 0]
        while len(self._gaps) > limits.MAX_MISSING_PACKETS:
            del self._gaps[next(iter(self._gaps))]
        self._due_ns = now_ns

    def arrived(self, sequence: int) -> bool:
        """True if the packet was missing: it is new, however late."""
        return self._gaps.pop(sequence, None) is not None

    def due(self, now_ns: int) -> list[int]:
        """Sequence numbers to request now, in order; gives up on those that are too old."""
        if now_ns < self._due_ns:
            return []
        wanted: list[int] = []
        next_ns = limits.NEVER_NS
        for sequence, gap in list(self._gaps.items()):
            if now_ns - gap[0] > limits.NACK_GIVE_UP_NS:
                # Forgotten for good: a number that came round again must not pass for a late copy.
                del self._gaps[sequence]
                continue
            if gap[2] >= limits.MAX_NACKS_PER_PACKET:
                next_ns = min(next_ns, gap[0] + limits.NACK_GIVE_UP_NS + 1)
                continue
            if gap[1] <= now_ns and len(wanted) < limits.MAX_NACK_SEQUENCES:
                gap[2] += 1
                gap[1] = now_ns + (limits.NACK_RETRY_NS << gap[2] // 2)
                wanted.append(sequence)
            next_ns = min(next_ns, gap[1])
        self._due_ns = next_ns
        if wanted:
            last = wanted[-1]
            wanted.sort(key=lambda s: sequence_distance(s, last))
        return wanted
