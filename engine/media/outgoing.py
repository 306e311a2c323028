"""One stream towards one viewer: what leaves, under which numbers, and how its losses are mended.

`forward` is the hot path: it runs once per packet, works in place on the shared buffer and creates
nothing but the copy that a video stream keeps for retransmission. Whether a packet *may* leave is
decided elsewhere and rarely: the session sets `source` (which incoming stream, or none) and
`limit_ns` (the instant at which forwarding ends: the cutoff, or 0 while paused).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from engine.media import codecs, frames, limits, rewrite, rtcp, rtp
from engine.media.freezes import FreezeMeter
from engine.media.interface import MediaKind
from engine.media.keyframes import KeyframeRequests
from engine.media.retransmit import MissingPackets, PacketRing

if TYPE_CHECKING:
    from engine.media.delivery import DeliveryWatch
    from engine.media.incoming import IncomingTrack
    from engine.media.path import PythonPath
    from engine.media.plane import StreamSpec

_SEQUENCE_TO_SSRC = struct.Struct("!HII")
_MASK16 = 0xFFFF
_MASK32 = 0xFFFFFFFF
_ECHOES = 8


class OutgoingTrack:
    """The engine's stream of one kind towards one leg."""

    def __init__(self, path: PythonPath, kind: MediaKind, spec: StreamSpec) -> None:
        clock_rate_hz = 48_000 if kind is MediaKind.AUDIO else 90_000
        self.kind = kind
        self.ssrc = spec.ssrc
        self.rtx_ssrc = spec.rtx_ssrc
        self.payload_types: frozenset[int] = frozenset()
        self.rtx_payload_types: frozenset[int] = frozenset()
        self.source: IncomingTrack | None = None
        self.watch: DeliveryWatch | None = None
        self.limit_ns = 0
        self.packets = 0
        self.octets = 0
        self.rtt_ns: int | None = None
        self.last_report: rtcp.ReportBlock | None = None
        self.reported_packets = 0
        self.freezes = FreezeMeter()
        self.keyframes = KeyframeRequests()
        self._video = kind is MediaKind.VIDEO
        self._path = path
        self._buffer = path.buffer
        self._data = path.buffer.data
        self._counters = path.counters
        self._clock_rate_hz = clock_rate_hz
        self._synced = False
        self._rewriter = rewrite.Rewriter(
            clock_rate_hz,
            first_sequence=spec.first_sequence,
            first_timestamp=spec.first_timestamp,
        )
        self._rtx_sequence = (spec.first_rtx_sequence - 1) & _MASK16
        self._missing = MissingPackets()
        self._ring = PacketRing() if self._video else None
        self._echoes: dict[int, int] = {}

    @property
    def highest_sent(self) -> int:
        return self._rewriter.highest_out

    def set_source(self, source: IncomingTrack | None, now_ns: int) -> None:
        """Forward `source` from now on, or nothing."""
        if source is self.source:
            return
        # Another leg may have taken the source over already: what goes there stays.
        if self.source is not None and self.source.out is self:
            self.source.out = None
        self.source = source
        self._synced = False
        if source is None:
            self.keyframes.arrived()
            return
        source.out = self
        if self._video:
            self.request_keyframe(now_ns)

    def set_limit(self, limit_ns: int, now_ns: int) -> None:
        """Forward nothing at or after `limit_ns`."""
        resumed = self.limit_ns <= now_ns < limit_ns
        self.limit_ns = limit_ns
        if resumed:
            self.freezes.reset()
        if resumed and self._video and self.source is not None:
            self._synced = False
            self.request_keyframe(now_ns)

    # --- hot path ---

    def forward(self, length: int, second: int, sequence: int, timestamp: int, now_ns: int) -> None:
        """Send the plain RTP packet in the buffer on to the viewer, unless a rule forbids it."""
        if second & 0x7F not in self.payload_types:
            self._counters["rtp_unknown_payload_type"] += 1
            self._withhold(length)
            return
        if now_ns >= self.limit_ns:
            self._synced = False
            self._counters["rtp_after_cutoff"] += 1
            return
        flags = -1
        if not self._synced:
            flags = self._flags(length, second)
            if not self._synchronise(flags, sequence, timestamp, now_ns):
                self._withhold(length)
                return
        rewriter = self._rewriter
        ahead = (sequence - rewriter.highest_in) & _MASK16
        if ahead == 1 or self._irregular(ahead, sequence, timestamp, now_ns):
            rewriter.advance(sequence, timestamp, now_ns)
        elif not self._missing.arrived(sequence):
            self._counters["rtp_duplicate"] += 1
            return
        out_sequence = (sequence + rewriter.sequence_offset) & _MASK16
        out_timestamp = (timestamp + rewriter.timestamp_offset) & _MASK32
        _SEQUENCE_TO_SSRC.pack_into(self._data, 2, out_sequence, out_timestamp, self.ssrc)
        watch = self.watch
        if self._video and (
            self.keyframes.pending or (watch is not None and watch.first_frame is not None)
        ):
            flags = self._flags(length, second) if flags < 0 else flags
            if flags & frames.START and self.keyframes.pending:
                self.keyframes.arrived()
                self._counters["keyframes_seen"] += 1
        if self._ring is not None or self._path.tap is not None:
            self._keep(out_sequence, bytes(self._buffer.view[:length]), now_ns)
        if watch is not None:
            watch.sent(
                self.kind,
                self._data,
                length,
                sequence=out_sequence,
                timestamp=out_timestamp,
                flags=max(flags, 0),
                now_ns=now_ns,
            )
        start, end = rtp.payload_bounds(self._data, length)
        if self._path.send_rtp(length):
            self.packets += 1
            self.octets += end - start
            self._counters["rtp_forwarded"] += 1
            if second & 0x80 and self._video:
                self.freezes.frame_end(now_ns)

    def _keep(self, sequence: int, packet: bytes, now_ns: int) -> None:
        if self._ring is not None:
            self._ring.put(sequence, packet)
        self.tapped(packet, now_ns)

    def tapped(self, packet: bytes, now_ns: int) -> None:
        if self._path.tap is not None:
            self._path.tap(self.kind, packet, now_ns)

    def _withhold(self, length: int) -> None:
        if self.source is not None:
            self.source.note_withheld(length)

    def _flags(self, length: int, second: int) -> int:
        if not self._video:
            return 0
        start, end = rtp.payload_bounds(self._data, length)
        return frames.inspect(second & 0x7F, self._data, start, end) if start >= 0 else 0

    def _synchronise(self, flags: int, sequence: int, timestamp: int, now_ns: int) -> bool:
        """Start a run with this packet; video only with one that the viewer can decode."""
        if self._video and not flags & frames.START:
            return False
        self._rewriter.synchronise(self.source, sequence, timestamp, now_ns)
        self._missing.clear()
        self._synced = True
        return True

    def _irregular(self, ahead: int, sequence: int, timestamp: int, now_ns: int) -> bool:
        """A packet that is not the next one; True if it is the newest, with the gap noted."""
        if 1 < ahead <= limits.MAX_SEQUENCE_GAP:
            self._missing.gap((self._rewriter.highest_in + 1) & _MASK16, sequence, now_ns)
            self._request_missing(now_ns)
            return True
        if self._rewriter.classify_late(sequence) != rewrite.RESTART:
            return False
        self._rewriter.synchronise(self.source, sequence, timestamp, now_ns)
        self._missing.clear()
        if self._video:
            self.request_keyframe(now_ns)
        return True

    # --- repairs from the publisher ---

    def forward_repair(self, length: int, second: int, timestamp: int, now_ns: int) -> None:
        """A packet of the publisher's RTX stream: a mended loss, or a bandwidth probe.

        It goes on as RTX with its transport-wide number, so that the publisher's congestion control
        sees its probes arrive; what it mends is also kept for the viewer's own NACKs.
        """
        codec = codecs.BY_RTX_PAYLOAD_TYPE.get(second & 0x7F)
        if codec is None or codec.payload_type not in self.payload_types:
            self._counters["rtp_unknown_payload_type"] += 1
            return
        start, end = rtp.payload_bounds(self._data, length)
        if not self._synced or now_ns >= self.limit_ns or start < 0:
            self._withhold(length)
            return
        if end - start < 2:
            self._send_repair(length, second, timestamp, now_ns)
            return
        original = self._data[start] << 8 | self._data[start + 1]
        if self._rewriter.classify_late(original) != rewrite.FORWARD:
            self._withhold(length)
            return
        out_sequence = (original + self._rewriter.sequence_offset) & _MASK16
        mended = b""
        if self._missing.arrived(original):
            mended = self._unwrap(codec, second, (start, end), out_sequence, timestamp)
            self._keep_mended(mended, now_ns)
        if second & 0x7F in self.rtx_payload_types:
            self._data[start] = out_sequence >> 8
            self._data[start + 1] = out_sequence & 0xFF
            self._send_repair(length, second, timestamp, now_ns)
        elif mended:
            self._send_mended(mended)

    def _unwrap(
        self,
        codec: codecs.Codec,
        second: int,
        payload: tuple[int, int],
        out_sequence: int,
        timestamp: int,
    ) -> bytes:
        """The original packet inside the RTX packet in the buffer, under the viewer's numbers."""
        start, end = payload
        plain = self._data[:start]
        plain += self._data[start + 2 : end]
        plain[0] &= 0xDF  # padding stays behind
        plain[1] = (second & 0x80) | codec.payload_type
        out_timestamp = (timestamp + self._rewriter.timestamp_offset) & _MASK32
        _SEQUENCE_TO_SSRC.pack_into(plain, 2, out_sequence, out_timestamp, self.ssrc)
        return bytes(plain)

    def _keep_mended(self, plain: bytes, now_ns: int) -> None:
        _, second, sequence, timestamp, _ = rtp.HEADER.unpack_from(plain)
        self._keep(sequence, plain, now_ns)
        if self.watch is not None:
            start, end = rtp.payload_bounds(plain, len(plain))
            self.watch.sent(
                self.kind,
                plain,
                len(plain),
                sequence=sequence,
                timestamp=timestamp,
                flags=frames.inspect(second & 0x7F, plain, start, end),
                now_ns=now_ns,
            )

    def _send_mended(self, plain: bytes) -> None:
        """To a viewer without RTX: in the stream itself, late but for the first time."""
        start, end = rtp.payload_bounds(plain, len(plain))
        if self._path.send_rtp(self._buffer.load(plain)):
            self.packets += 1
            self.octets += end - start
            self._counters["rtp_repairs_forwarded"] += 1

    def _send_repair(self, length: int, second: int, timestamp: int, now_ns: int) -> None:
        if second & 0x7F not in self.rtx_payload_types or self.rtx_ssrc is None:
            return
        if self.watch is not None:
            number = rtp.transport_sequence(self._data, length, codecs.TRANSPORT_CC_EXTENSION)
            self.watch.acks.sent(number, now_ns)
        self._rtx_sequence = (self._rtx_sequence + 1) & _MASK16
        out_timestamp = (timestamp + self._rewriter.timestamp_offset) & _MASK32
        _SEQUENCE_TO_SSRC.pack_into(self._data, 2, self._rtx_sequence, out_timestamp, self.rtx_ssrc)
        if self._path.send_rtp(length):
            self._counters["rtp_repairs_forwarded"] += 1

    # --- feedback from the viewer ---

    def resend(self, sequences: list[int], now_ns: int) -> None:
        """Answer a NACK from the ring, as RTX where negotiated."""
        if self._ring is None or self.source is None or now_ns >= self.limit_ns:
            return
        for sequence in sequences:
            packet = self._ring.take(sequence, now_ns)
            if packet is None:
                self._counters["packets_resend_missed"] += 1
                continue
            wrapped = self._wrap(packet)
            if wrapped is not None and self._path.send_rtp(self._buffer.load(wrapped)):
                self._counters["packets_resent"] += 1

    def _wrap(self, packet: bytes) -> bytes | None:
        """As RTX; without RTX the very same bytes, for a number may protect one packet only."""
        codec = codecs.BY_PAYLOAD_TYPE[packet[1] & 0x7F]
        if codec.rtx_payload_type not in self.rtx_payload_types or self.rtx_ssrc is None:
            return packet
        self._rtx_sequence = (self._rtx_sequence + 1) & _MASK16
        return rtp.build_rtx(
            packet,
            payload_type=codec.rtx_payload_type,
            ssrc=self.rtx_ssrc,
            sequence=self._rtx_sequence,
        )

    def request_keyframe(self, now_ns: int) -> None:
        self.keyframes.request(now_ns)
        self._ask_for_keyframe(now_ns)

    def report(self, block: rtcp.ReportBlock, now_ns: int) -> int:
        """The viewer's report on this stream; the instant at which the echoed SR left, or 0."""
        self.last_report = block
        self.reported_packets = self.packets
        sent_at_ns = self._echoes.get(block.last_sr, 0)
        if sent_at_ns:
            self.rtt_ns = max(0, now_ns - sent_at_ns - block.delay * 1_000_000_000 // 65536)
        return sent_at_ns

    @property
    def lost(self) -> int:
        """Packets that the viewer misses, as it says; never more than it was sent."""
        return min(max(0, self.last_report.lost), self.reported_packets) if self.last_report else 0

    @property
    def jitter_ms(self) -> float | None:
        """As the viewer says."""
        if self.last_report is None:
            return None
        return self.last_report.jitter * 1_000 / self._clock_rate_hz

    # --- reports and timers ---

    def sender_report(self, info: rtcp.SenderInfo, cutoff_ns: int, now_ns: int) -> bytes | None:
        """The publisher's report in this stream's terms; also while paused, as a sign of life.

        None before the source's first packet left: until then nobody can say what its timestamps
        will be here, and a guess would tear sound and picture apart.
        """
        if not self._rewriter.maps(self.source) or not self.packets or now_ns >= cutoff_ns:
            return None
        last_sr = info.ntp >> 16 & _MASK32
        if len(self._echoes) >= _ECHOES:
            del self._echoes[next(iter(self._echoes))]
        self._echoes[last_sr] = now_ns
        timestamp = info.rtp_timestamp + self._rewriter.timestamp_offset
        return rtcp.build_sr(
            rtcp.SenderInfo(self.ssrc, info.ntp, timestamp, self.packets, self.octets)
        )

    def send_rtcp(self, block: bytes) -> None:
        self._path.send_rtcp(block)

    def tick(self, now_ns: int) -> None:
        """Repeat what has not been answered: NACKs and keyframe requests."""
        if self.source is None:
            return
        self._request_missing(now_ns)
        self._ask_for_keyframe(now_ns)

    def _request_missing(self, now_ns: int) -> None:
        wanted = self._missing.due(now_ns)
        if wanted and self._video and self.source is not None:
            self.source.request(wanted)

    def _ask_for_keyframe(self, now_ns: int) -> None:
        if self.source is not None and self.keyframes.due(now_ns):
            self.source.request_keyframe()
