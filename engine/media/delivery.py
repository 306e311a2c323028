"""From acknowledgements to events: first frame, delivery, withheld acknowledgements.

One `DeliveryWatch` stands beside each customer path and sees every expert packet that leaves for
it. It decides; the path reports.
"""

from __future__ import annotations

from engine.media import codecs, limits
from engine.media.acks import Acknowledgements
from engine.media.debt import Debt
from engine.media.first_frame import FirstFrame, Found
from engine.media.interface import MediaKind
from engine.media.rtp import Buffer, payload_bounds, sequence_distance, transport_sequence

_RING = 1024
_RING_MASK = _RING - 1


class DeliveryWatch:
    """Pure. `take_found`, `take_resumed` and `acks` hold the results, to be read after each call.

    A *run* is what leaves without a longer rest than `ACK_FLOW_PAUSE_NS`. Its first packet that is
    acknowledged is told of beside the newest one: else whoever reports every few seconds would not
    be billed for the first of them after each silence of the expert.
    """

    __slots__ = (
        "_first_of_run_ns",
        "_found",
        "_lost",
        "_resumed_ns",
        "_run_began_ns",
        "_sent_ns",
        "acks",
        "first_frame",
    )

    def __init__(
        self, *, seek_first_frame: bool, ack_timeout_ns: int, debt: Debt | None = None
    ) -> None:
        self.acks = Acknowledgements(ack_timeout_ns, debt)
        self.first_frame: FirstFrame | None = FirstFrame() if seek_first_frame else None
        self._found: Found | None = None
        # When the present run began, 0 once a packet of it is acknowledged; its first per kind.
        self._run_began_ns = 0
        self._first_of_run_ns = dict.fromkeys(MediaKind, 0)
        self._resumed_ns = 0
        self._lost = dict.fromkeys(MediaKind, 0)
        # Instants of sending by the low bits of the outgoing sequence number, per kind.
        self._sent_ns: dict[MediaKind, list[int]] = {kind: [0] * _RING for kind in MediaKind}

    def sent(
        self,
        kind: MediaKind,
        data: Buffer,
        length: int,
        *,
        sequence: int,
        timestamp: int,
        flags: int,
        now_ns: int,
    ) -> None:
        """A packet is leaving under `sequence` and `timestamp`; `flags` are a video packet's."""
        transport = transport_sequence(data, length, codecs.TRANSPORT_CC_EXTENSION)
        if now_ns - self.acks.last_sent_ns > limits.ACK_FLOW_PAUSE_NS:
            self._run_began_ns = now_ns
            self._first_of_run_ns = dict.fromkeys(MediaKind, 0)
        if not self._first_of_run_ns[kind]:
            self._first_of_run_ns[kind] = now_ns
        self.acks.sent(transport, now_ns)
        self._sent_ns[kind][sequence & _RING_MASK] = now_ns
        if self.first_frame is None:
            return
        if kind is MediaKind.VIDEO:
            marker = bool(data[1] & 0x80)
            self.first_frame.video_sent(
                sequence, timestamp, marker, flags=flags, transport=transport, now_ns=now_ns
            )
            return
        start, end = payload_bounds(data, length)
        if start < end:
            self.first_frame.audio_sent(sequence, transport, now_ns)

    def transport_acked(self, numbers: list[int]) -> bool:
        """Transport-wide feedback; True if it acknowledges something new."""
        if not self.acks.transport_acked(numbers):
            return False
        if self._run_acked():
            self._resumed_ns = self.acks.earliest_acked(numbers, self._run_began_ns)
            self._run_began_ns = 0
        if self.first_frame is not None:
            self._settle(self.first_frame.transport_acked(numbers))
        return True

    def report_acked(self, kind: MediaKind, highest: int, lost: int, highest_sent: int) -> bool:
        """A receiver report reached `highest` (16 bits); True if that is news and credible."""
        if not 0 <= sequence_distance(highest_sent, highest) < _RING:
            return False
        whole, self._lost[kind] = lost <= self._lost[kind], lost
        if not self.acks.packet_acked(self._sent_ns[kind][highest & _RING_MASK]):
            return False
        if self._run_acked():
            # Without new loss all of the run arrived; with it only the highest is certain.
            if whole:
                self._resumed_ns = self._first_of_run_ns[kind]
            self._run_began_ns = 0
        if self.first_frame is not None:
            self._settle(self.first_frame.report_acked(kind, highest, lost))
        return True

    def _run_acked(self) -> bool:
        return 0 < self._run_began_ns <= self.acks.last_acked_sent_ns

    def reported(self, at_ns: int) -> None:
        """The session layer is told so; it bills nothing before it was told of a first frame."""
        if self.first_frame is None:
            self.acks.debt.reported(at_ns)

    def take_resumed(self, acked_ns: int) -> int:
        """The first acknowledged packet of a new run, told once; 0 for none before `acked_ns`."""
        resumed_ns, self._resumed_ns = self._resumed_ns, 0
        return resumed_ns if resumed_ns < acked_ns else 0

    def take_found(self) -> Found | None:
        """The first frame, told once: what it was and when its last packet left."""
        found, self._found = self._found, None
        return found

    def _settle(self, found: Found | None) -> None:
        if found is not None:
            self._found = found
            self.first_frame = None
            self.acks.debt.began(found[1])


class DeliveryPace:
    """At most one delivery event a second per session, and the last word always gets out."""

    __slots__ = ("_last_at_ns", "_pending_ns", "_reported_ns")

    def __init__(self) -> None:
        self._last_at_ns = -limits.NEVER_NS
        self._pending_ns = 0
        self._reported_ns = 0

    def acked(self, sent_at_ns: int) -> None:
        self._pending_ns = max(self._pending_ns, sent_at_ns)

    def again(self) -> None:
        """What was reported last is reported once more, and at once."""
        if self._reported_ns:
            self._reported_ns -= 1
            self._last_at_ns = -limits.NEVER_NS

    def due(self, now_ns: int) -> int:
        """The instant to report now, 0 for nothing."""
        if self._pending_ns <= self._reported_ns:
            return 0
        if now_ns - self._last_at_ns < limits.DELIVERY_INTERVAL_NS:
            return 0
        self._last_at_ns = now_ns
        self._reported_ns = self._pending_ns
        return self._reported_ns
