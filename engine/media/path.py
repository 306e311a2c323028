"""One leg's packets in the reference plane: streams that come in, streams that go out, feedback.

`on_rtp` is the hot path. It never asks whether a packet may pass: `link` left the answer on the
outgoing streams, as a source and a limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from engine.clock import NS_PER_MS
from engine.media import codecs, feedback, limits, rtcp, rtp, srtp
from engine.media.debt import NOTHING_OWED, Debt, Owed
from engine.media.delivery import DeliveryPace, DeliveryWatch
from engine.media.ice import Address
from engine.media.incoming import IncomingTrack
from engine.media.interface import LegStats, MediaKind
from engine.media.meters import RateMeter
from engine.media.outgoing import OutgoingTrack
from engine.media.transport_feedback import Withheld

if TYPE_CHECKING:
    import pylibsrtp

    from engine.media.plane import Path, PathEvents, PathSpec, PathTap

# Names the engine's streams to the browser; the same for all, so that it tells nothing.
CNAME = "talktime"


class Sender(Protocol):
    """What a path needs of its plane."""

    buffer: srtp.DatagramBuffer
    counts: dict[str, int]

    def transmit(self, length: int, address: Address) -> bool:
        """Send the first `length` bytes of the buffer."""
        ...

    def send(self, datagram: bytes, address: Address) -> bool: ...


class PythonPath:
    """See `engine.media.plane.Path` for the contract."""

    def __init__(self, plane: Sender, spec: PathSpec, events: PathEvents) -> None:
        self.buffer = plane.buffer
        self.counters = plane.counts
        self.address: Address | None = None
        self.live = False
        self.closed = False
        self.limit_ns = 0
        self.publisher: PythonPath | None = None
        self.viewer: PythonPath | None = None
        self.tracks: dict[int, IncomingTrack] = {}
        self.sources: dict[MediaKind, IncomingTrack] = {}
        self.out = {kind: OutgoingTrack(self, kind, s) for kind, s in spec.streams.items()}
        self.out_by_ssrc = {track.ssrc: track for track in self.out.values()}
        self.report_ssrc = next(iter(self.out.values())).ssrc
        self.tap: PathTap | None = None
        self.watched: DeliveryWatch | None = None
        self.withheld = Withheld()
        self.packets_in = self.packets_out = self.bytes_in = self.bytes_out = 0
        self._plane = plane
        self._events = events
        self._codecs = spec.codecs
        self._pace = DeliveryPace()
        self._owed = NOTHING_OWED
        self._permitted: dict[MediaKind, bool] = {}
        self._rates = RateMeter()
        self._data = plane.buffer.data
        self._unprotect: srtp.Transform | None = None
        self._protect: srtp.Transform | None = None
        self._rx: pylibsrtp.Session | None = None
        self._tx: pylibsrtp.Session | None = None
        self._rtx_pairs: dict[MediaKind, dict[int, int]] = {kind: {} for kind in spec.streams}
        self._next_report_ns = 0

    # --- set-up ---

    def negotiate(
        self,
        kind: MediaKind,
        payload_types: frozenset[int],
        rtx_payload_types: frozenset[int],
        rtx_pairs: Mapping[int, int],
    ) -> None:
        track = self.out[kind]
        track.payload_types = payload_types
        track.rtx_payload_types = rtx_payload_types
        self._rtx_pairs[kind] = dict(rtx_pairs)

    def secure(self, rx: Any, tx: Any) -> None:
        if self.closed:
            return
        self._rx, self._tx = rx, tx
        self._unprotect = srtp.unprotector(rx, self.buffer)
        self._protect = srtp.protector(tx, self.buffer)

    def set_address(self, address: Address | None) -> None:
        self.address = address

    def set_live(self, live: bool) -> None:
        self.live = live

    def link(
        self,
        publisher: Path | None,
        permitted: Mapping[MediaKind, bool],
        limit_ns: int,
        now_ns: int,
    ) -> None:
        assert publisher is None or isinstance(publisher, PythonPath)
        self.limit_ns = limit_ns
        self._permitted = dict(permitted)
        self._take_publisher(publisher, now_ns)
        self._apply_limit(now_ns)
        self.route(now_ns)

    def _take_publisher(self, publisher: PythonPath | None, now_ns: int) -> None:
        if publisher is self.publisher:
            return
        if self.publisher is not None:
            self.publisher.viewer = None
        if publisher is not None and publisher.viewer is not None:
            former, publisher.viewer = publisher.viewer, None
            former.publisher = None
            former.route(now_ns)
        self.publisher = publisher
        if publisher is not None:
            publisher.viewer = self

    def route(self, now_ns: int) -> None:
        """Bind the outgoing streams to what the publisher sends now."""
        for kind, track in self.out.items():
            source = None
            if self.publisher is not None and self._permitted.get(kind):
                source = self.publisher.sources.get(kind)
            else:
                track.freezes.reset()
            track.set_source(source, now_ns)

    def _apply_limit(self, now_ns: int) -> None:
        stopped = self.watched is not None and self.watched.acks.stopped
        for track in self.out.values():
            track.set_limit(0 if stopped else self.limit_ns, now_ns)

    # --- packets of the peer ---

    def on_rtp(self, length: int, now_ns: int) -> None:
        """The hot path: an SRTP packet of this leg is in the buffer."""
        if self._unprotect is None:
            return
        length = self._unprotect(length)
        if length < rtp.HEADER_BYTES:
            self.counters["srtp_auth_failed" if length < 0 else "rtp_malformed"] += 1
            return
        _, second, sequence, timestamp, ssrc = rtp.HEADER.unpack_from(self._data)
        track = self.tracks.get(ssrc)
        if track is None:
            track = self._learn(ssrc, second & 0x7F, length, now_ns)
            if track is None:
                return
        track.reception.add(sequence, timestamp, now_ns)
        self.packets_in += 1
        self.bytes_in += length
        out = track.out
        if out is not None:
            out.forward(length, second, sequence, timestamp, now_ns)
        else:
            self._unrouted(track, length, second, timestamp, now_ns)

    def _unrouted(
        self, track: IncomingTrack, length: int, second: int, timestamp: int, now_ns: int
    ) -> None:
        source = self.sources.get(track.kind)
        if track.repair:
            main = self._rtx_pairs[track.kind].get(track.ssrc)
            if source is not None and source.out is not None and main in (None, source.ssrc):
                source.out.forward_repair(length, second, timestamp, now_ns)
                return
        elif source is not track and self._may_replace(source, now_ns):
            self._use(track, now_ns)
        self.note_withheld(length)

    def note_withheld(self, length: int) -> None:
        """The packet in the buffer is not forwarded, by a rule and not by loss."""
        self.counters["rtp_not_forwarded"] += 1
        number = rtp.transport_sequence(self._data, length, codecs.TRANSPORT_CC_EXTENSION)
        if number >= 0:
            self.withheld.add(number)

    def _learn(
        self, ssrc: int, payload_type: int, length: int, now_ns: int
    ) -> IncomingTrack | None:
        """A new SSRC: payload types are unique in the offer, so the type tells the medium."""
        repair = payload_type in codecs.BY_RTX_PAYLOAD_TYPE
        table = codecs.BY_RTX_PAYLOAD_TYPE if repair else codecs.BY_PAYLOAD_TYPE
        codec = table.get(payload_type)
        if (
            codec is None
            or codec not in self._codecs
            or codec.kind not in self.out
            or not self._mid_agrees(codec.kind, length)
        ):
            self.counters["rtp_unknown_payload_type"] += 1
            return None
        self._make_room()
        track = self.tracks[ssrc] = IncomingTrack(self, ssrc, codec.kind, repair=repair)
        # A new SSRC takes over at once: a sender that restarts its encoder does not go back.
        if not repair:
            self._use(track, now_ns)
        return track

    def _mid_agrees(self, kind: MediaKind, length: int) -> bool:
        at, size = rtp.find_extension(self._data, length, codecs.MID_EXTENSION)
        return at < 0 or bytes(self._data[at : at + size]) == codecs.MIDS[kind].encode("ascii")

    def _make_room(self) -> None:
        if len(self.tracks) < limits.MAX_SSRCS_PER_LEG:
            return
        active = set(self.sources.values())
        idle = [t for t in self.tracks.values() if t not in active]
        oldest = min(idle, key=lambda t: t.reception.last_at_ns)
        del self.tracks[oldest.ssrc]
        if self._rx is not None:
            srtp.forget_ssrc(self._rx, oldest.ssrc)
        self.counters["ssrc_evicted"] += 1

    def _may_replace(self, source: IncomingTrack | None, now_ns: int) -> bool:
        return source is None or now_ns - source.reception.last_at_ns > limits.SOURCE_IDLE_NS

    def _use(self, track: IncomingTrack, now_ns: int) -> None:
        self.sources[track.kind] = track
        if self.viewer is not None:
            self.viewer.route(now_ns)

    def on_rtcp(self, length: int, now_ns: int) -> None:
        """An SRTCP compound of this leg is in the buffer."""
        if self._rx is None:
            return
        plain = srtp.unprotect_rtcp(self._rx, bytes(self.buffer.view[:length]))
        if plain is None:
            self.counters["srtcp_auth_failed"] += 1
            return
        self.counters["rtcp_in"] += 1
        feedback.handle(self, plain, now_ns)

    # --- packets to the peer ---

    def send_rtp(self, length: int) -> bool:
        """Protect and send the plain RTP packet in the buffer."""
        address = self.address
        if self._protect is None or address is None:
            return False
        length = self._protect(length)
        if length < 0:
            self.counters["srtp_protect_failed"] += 1
            return False
        self.packets_out += 1
        self.bytes_out += length
        return self._plane.transmit(length, address)

    def send_rtcp(self, block: bytes) -> None:
        if self._tx is None or self.address is None or not self.live:
            return
        if len(block) > limits.MAX_RTCP_BYTES:
            return
        protected = srtp.protect_rtcp(self._tx, block)
        if protected is not None:
            self._plane.send(protected, self.address)

    # --- what the peer acknowledges ---

    def watch(
        self,
        ack_timeout_ns: int,
        pause_after_ns: int,
        *,
        seek_first_frame: bool,
        owed: Owed = NOTHING_OWED,
    ) -> None:
        self._set_watch(
            DeliveryWatch(
                seek_first_frame=seek_first_frame,
                ack_timeout_ns=ack_timeout_ns,
                debt=Debt(pause_after_ns, owed),
            )
        )

    def be_patient(self, ack_timeout_ns: int, pause_after_ns: int, now_ns: int) -> None:
        if self.watched is None:
            return
        self.watched.acks.be_patient(ack_timeout_ns, now_ns)
        if self.watched.acks.debt.be_patient(pause_after_ns, now_ns):
            self._pace.again()

    def unwatch(self) -> None:
        self._owed = self.owed()
        self._set_watch(None)

    def owed(self) -> Owed:
        return self._owed if self.watched is None else self.watched.acks.debt.owed()

    def _set_watch(self, watch: DeliveryWatch | None) -> None:
        self.watched = watch
        for track in self.out.values():
            track.watch = watch

    def last_in_ns(self, kind: MediaKind) -> int:
        source = self.sources.get(kind)
        return 0 if source is None else source.reception.last_at_ns

    def set_tap(self, tap: PathTap | None, now_ns: int) -> None:
        self.tap = tap
        video = self.out.get(MediaKind.VIDEO)
        if tap is not None and video is not None and video.source is not None:
            video.request_keyframe(now_ns)

    def sent_publisher(self) -> PythonPath | None:
        """The path whose media the peer is being sent, None when nothing is routed to it."""
        if all(track.source is None for track in self.out.values()):
            return None
        return self.publisher

    def transport_acked(self, block: bytes, now_ns: int) -> None:
        """The peer's transport-wide feedback."""
        watch = self.watched
        if watch is not None and watch.transport_acked(rtcp.transport_received(block)):
            self._acked(watch, now_ns)

    def receiver_reported(
        self, track: OutgoingTrack, report: rtcp.ReportBlock, now_ns: int
    ) -> None:
        echoed_at_ns = track.report(report, now_ns)
        watch = self.watched
        if watch is None:
            return
        highest = report.highest & 0xFFFF
        if watch.report_acked(track.kind, highest, report.lost, track.highest_sent):
            self._acked(watch, now_ns)
        if watch.acks.report_echoed(echoed_at_ns, now_ns):
            self._apply_limit(now_ns)

    def _acked(self, watch: DeliveryWatch, now_ns: int) -> None:
        found = watch.take_found()
        if found is not None:
            self._events.first_frame(found[0], found[1], now_ns)
        self._pace.acked(watch.acks.last_acked_sent_ns)
        self._report_delivery(watch, now_ns)

    def _report_delivery(self, watch: DeliveryWatch, now_ns: int) -> None:
        acked_ns = self._pace.due(now_ns)
        if not acked_ns:
            return
        for at_ns in (watch.take_resumed(acked_ns), acked_ns):
            if at_ns:
                watch.reported(at_ns)
                self._events.delivered(at_ns)

    # --- reports and timers ---

    def relay_sender_report(self, track: IncomingTrack, info: rtcp.SenderInfo, now_ns: int) -> None:
        out = track.out
        if out is None or self.viewer is None:
            return
        block = out.sender_report(info, self.viewer.limit_ns, now_ns)
        if block is None:
            return
        out.tapped(block, now_ns)
        out.send_rtcp(block + rtcp.build_sdes(out.ssrc, CNAME))

    def tick(self, now_ns: int) -> None:
        for track in self.out.values():
            track.tick(now_ns)
        if now_ns >= self._next_report_ns:
            self._next_report_ns = now_ns + limits.REPORT_INTERVAL_NS
            self._rates.roll(self.bytes_in, self.bytes_out, now_ns)
            self._send_reports(now_ns)
        if self.watched is not None:
            self._check_acks(self.watched, now_ns)

    def _check_acks(self, watch: DeliveryWatch, now_ns: int) -> None:
        if watch.acks.withheld(now_ns):
            self.counters["acks_withheld"] += 1
            self._apply_limit(now_ns)
            self._events.acks_withheld()
        self._report_delivery(watch, now_ns)

    def _send_reports(self, now_ns: int) -> None:
        recent = now_ns - 2 * limits.REPORT_INTERVAL_NS
        blocks = [
            t.reception.report(now_ns)
            for t in self.tracks.values()
            if not t.repair and t.reception.last_at_ns >= recent
        ]
        if blocks:
            self.send_rtcp(rtcp.build_rr(self.report_ssrc, blocks))

    def stats(self) -> LegStats:
        incoming = [t.reception for t in self.tracks.values() if not t.repair]
        outgoing = self.out.values()
        rtts = [t.rtt_ns for t in outgoing if t.rtt_ns is not None]
        jitters_out = [t.jitter_ms for t in outgoing if t.jitter_ms is not None]
        return LegStats(
            packets_in=self.packets_in,
            packets_out=self.packets_out,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            expected_in=sum(reception.expected for reception in incoming),
            lost_in=sum(reception.lost for reception in incoming),
            expected_out=sum(t.reported_packets for t in outgoing),
            lost_out=sum(t.lost for t in outgoing),
            bitrate_in_bps=self._rates.in_bps,
            bitrate_out_bps=self._rates.out_bps,
            jitter_in_ms=max((t.reception.jitter_ms for t in self.sources.values()), default=None),
            jitter_out_ms=max(jitters_out, default=None),
            rtt_ms=min(rtts) / 1e6 if rtts else None,
            freezes=sum(t.freezes.count for t in outgoing),
            frozen_ms=sum(t.freezes.frozen_ns for t in outgoing) // NS_PER_MS,
        )

    def close(self, now_ns: int) -> None:
        self.closed = True
        self.live = False
        self.link(None, {}, 0, now_ns)
        if self.viewer is not None:
            former, self.viewer = self.viewer, None
            former.publisher = None
            former.route(now_ns)
        self.unwatch()
        self.tap = None
        self._unprotect = self._protect = None
        self._rx = self._tx = None
