"""One stream towards a viewer: numbers, permission, repairs. No sockets and no keys."""

from __future__ import annotations

import pytest

from engine.clock import NS_PER_MS, NS_PER_S
from engine.media import codecs, limits, rtcp, rtp
from engine.media.counters import new_counters
from engine.media.delivery import DeliveryWatch
from engine.media.incoming import IncomingTrack
from engine.media.interface import MediaKind
from engine.media.outgoing import OutgoingTrack
from engine.media.plane import StreamSpec
from engine.media.srtp import DatagramBuffer
from tests.support import media_packets as packets

VP8, VP8_RTX = codecs.VP8.payload_type, codecs.VP8.rtx_payload_type
assert VP8_RTX is not None


SPEC = StreamSpec(5000, 6000, first_sequence=7, first_timestamp=8, first_rtx_sequence=9)


class Wire:
    """Stands for a leg on either side: what would leave is kept, in plain."""

    def __init__(self) -> None:
        self.buffer = DatagramBuffer()
        self.counters = new_counters()
        self.report_ssrc = 900
        self.tap = None
        self.sent: list[bytes] = []
        self.rtcp: list[bytes] = []

    def send_rtp(self, length: int) -> bool:
        self.sent.append(bytes(self.buffer.view[:length]))
        return True

    def note_withheld(self, length: int) -> None:
        self.counters["rtp_not_forwarded"] += 1

    def send_rtcp(self, block: bytes) -> None:
        self.rtcp.append(block)

    def headers(self) -> list[tuple[int, int, int, int]]:
        """Payload type, sequence, timestamp and SSRC of all that was sent."""
        found = []
        for packet in self.sent:
            _, second, sequence, timestamp, ssrc = rtp.HEADER.unpack_from(packet)
            found.append((second & 0x7F, sequence, timestamp, ssrc))
        return found

    def sequences(self) -> list[int]:
        return [sequence for _, sequence, _, _ in self.headers()]


class Relay:
    """A publisher's stream routed to a viewer's."""

    def __init__(self, kind: MediaKind = MediaKind.VIDEO, *, rtx: bool = True) -> None:
        self.viewer, self.publisher = Wire(), Wire()
        self.out = OutgoingTrack(self.viewer, kind, SPEC)  # type: ignore[arg-type]
        self.out.payload_types = frozenset({VP8, codecs.OPUS.payload_type})
        self.out.rtx_payload_types = frozenset({VP8_RTX}) if rtx else frozenset()
        self.out.set_limit(limits.NEVER_NS, 0)
        self.source = self.new_source(1)
        self.out.set_source(self.source, 0)

    def new_source(self, ssrc: int) -> IncomingTrack:
        return IncomingTrack(self.publisher, ssrc, self.out.kind, repair=False)  # type: ignore[arg-type]

    def push(self, packet: bytes, now_ns: int = 0) -> None:
        length = self.viewer.buffer.load(packet)
        _, second, sequence, timestamp, _ = rtp.HEADER.unpack_from(packet)
        self.out.forward(length, second, sequence, timestamp, now_ns)

    def push_repair(self, packet: bytes, now_ns: int = 0) -> None:
        length = self.viewer.buffer.load(packet)
        _, second, _, timestamp, _ = rtp.HEADER.unpack_from(packet)
        self.out.forward_repair(length, second, timestamp, now_ns)

    def start(self, sequence: int = 100) -> int:
        """Send a keyframe packet; returns the offset from incoming to outgoing numbers."""
        self.push(packets.rtp(sequence=sequence, payload=packets.VP8_KEY))
        return (self.viewer.sequences()[-1] - sequence) & 0xFFFF


@pytest.fixture
def relay() -> Relay:
    return Relay()


def kinds(wire: Wire) -> list[tuple[int, int]]:
    return [(kind, count) for block in wire.rtcp for kind, count, _ in rtcp.split(block)]


def test_only_ssrc_sequence_and_timestamp_change(relay: Relay) -> None:
    relay.start()
    packet = packets.rtp(sequence=101, timestamp=3000, ssrc=1, mid=b"1", transport=77, marker=True)
    relay.push(packet)
    sent = relay.viewer.sent[-1]
    assert sent[:2] == packet[:2]
    assert sent[12:] == packet[12:]
    assert int.from_bytes(sent[8:12], "big") == 5000


def test_video_begins_with_a_keyframe_and_asks_for_one(relay: Relay) -> None:
    assert kinds(relay.publisher) == [(rtcp.PSFB, rtcp.PLI)]
    relay.push(packets.rtp(sequence=99))
    assert relay.viewer.sent == []
    relay.start()
    assert len(relay.viewer.sent) == 1


def test_audio_begins_at_once() -> None:
    relay = Relay(MediaKind.AUDIO)
    relay.push(packets.rtp(payload_type=111, payload=b"x"))
    assert len(relay.viewer.sent) == 1
    assert relay.publisher.rtcp == []


def test_payload_types_that_the_viewer_did_not_accept_are_not_sent(relay: Relay) -> None:
    relay.start()
    relay.push(packets.rtp(sequence=101, payload_type=codecs.H264.payload_type))
    assert len(relay.viewer.sent) == 1
    assert relay.viewer.counters["rtp_unknown_payload_type"] == 1


def test_nothing_leaves_at_or_after_the_cutoff(relay: Relay) -> None:
    relay.start()
    relay.out.set_limit(50, 0)
    relay.push(packets.rtp(sequence=101), now_ns=49)
    relay.push(packets.rtp(sequence=102), now_ns=50)
    relay.push(packets.rtp(sequence=103), now_ns=51)
    relay.out.resend([relay.viewer.sequences()[0]], now_ns=10**9)
    assert len(relay.viewer.sent) == 2


def test_after_a_longer_cutoff_numbers_go_on_without_a_hole(relay: Relay) -> None:
    relay.start()
    relay.out.set_limit(50, 0)
    relay.push(packets.rtp(sequence=101), now_ns=60)
    relay.out.set_limit(1000, 70)
    relay.push(packets.rtp(sequence=150), now_ns=80)
    relay.push(packets.rtp(sequence=151, payload=packets.VP8_KEY), now_ns=90)
    first, second = relay.viewer.sequences()
    assert second == (first + 1) & 0xFFFF


def test_another_source_continues_the_stream(relay: Relay) -> None:
    relay.start()
    other = relay.new_source(2)
    relay.out.set_source(other, NS_PER_S)
    assert relay.source.out is None
    assert other.out is relay.out
    relay.push(packets.rtp(sequence=9, ssrc=2, timestamp=5, payload=packets.VP8_KEY), NS_PER_S)
    (_, first, began, ssrc), (_, second, later, ssrc_then) = relay.viewer.headers()
    assert second == (first + 1) & 0xFFFF
    assert 0 < (later - began) & 0xFFFFFFFF <= 90_000
    assert ssrc == ssrc_then == 5000


def test_duplicates_and_packets_from_before_the_start_are_dropped(relay: Relay) -> None:
    relay.start(100)
    relay.push(packets.rtp(sequence=101))
    relay.push(packets.rtp(sequence=101))
    relay.push(packets.rtp(sequence=99))
    assert len(relay.viewer.sent) == 2
    assert relay.viewer.counters["rtp_duplicate"] == 2


def test_a_gap_is_requested_and_the_late_packet_takes_its_own_number(relay: Relay) -> None:
    offset = relay.start(100)
    relay.push(packets.rtp(sequence=103), now_ns=NS_PER_MS)
    request = relay.publisher.rtcp[-1]
    assert rtcp.media_ssrc(request) == 1
    assert rtcp.nack_sequences(request) == [101, 102]
    relay.push(packets.rtp(sequence=101), now_ns=2 * NS_PER_MS)
    assert relay.viewer.sequences()[-1] == (101 + offset) & 0xFFFF
    relay.out.tick(NS_PER_MS + limits.NACK_RETRY_NS)
    assert rtcp.nack_sequences(relay.publisher.rtcp[-1]) == [102]


def test_a_restart_of_the_sequence_is_not_taken_for_loss(relay: Relay) -> None:
    relay.start(100)
    relay.push(packets.rtp(sequence=20_000))
    first, second = relay.viewer.sequences()
    assert second == (first + 1) & 0xFFFF
    assert (rtcp.RTPFB, rtcp.NACK) not in kinds(relay.publisher)


def test_a_viewers_nack_is_answered_by_rtx_without_a_transport_number(relay: Relay) -> None:
    relay.start(100)
    relay.push(packets.rtp(sequence=101, transport=7, payload=b"\x00again"))
    wanted = relay.viewer.sequences()[-1]
    relay.out.resend([wanted], NS_PER_S)
    payload_type, _, _, ssrc = relay.viewer.headers()[-1]
    assert (payload_type, ssrc) == (VP8_RTX, 6000)
    again = relay.viewer.sent[-1]
    assert again[12:] == wanted.to_bytes(2, "big") + b"\x00again"
    assert rtp.transport_sequence(again, len(again), codecs.TRANSPORT_CC_EXTENSION) == -1
    relay.out.resend([wanted], NS_PER_S + 1)
    assert relay.viewer.counters["packets_resent"] == 1


def test_without_rtx_the_very_same_bytes_are_sent_again() -> None:
    relay = Relay(rtx=False)
    relay.start(100)
    relay.push(packets.rtp(sequence=101, transport=7))
    relay.out.resend([relay.viewer.sequences()[-1]], NS_PER_S)
    assert relay.viewer.sent[-1] == relay.viewer.sent[-2]


def test_unknown_numbers_in_a_nack_are_only_counted(relay: Relay) -> None:
    relay.start(100)
    relay.out.resend([1, 2, 3], NS_PER_S)
    assert len(relay.viewer.sent) == 1
    assert relay.viewer.counters["packets_resend_missed"] == 3


def _rtx(original: int, payload: bytes = packets.VP8_DELTA, **changes: int) -> bytes:
    return packets.rtp(
        payload_type=VP8_RTX or 0,
        ssrc=2,
        sequence=9000,
        payload=original.to_bytes(2, "big") + payload,
        **changes,
    )


def test_a_publishers_repair_goes_on_as_rtx_with_its_transport_number(relay: Relay) -> None:
    offset = relay.start(100)
    relay.push(packets.rtp(sequence=102))
    relay.push_repair(_rtx(101, transport=55))
    sent = relay.viewer.sent[-1]
    payload_type, _, _, ssrc = relay.viewer.headers()[-1]
    assert (payload_type, ssrc) == (VP8_RTX, 6000)
    start, _ = rtp.payload_bounds(sent, len(sent))
    assert int.from_bytes(sent[start : start + 2], "big") == (101 + offset) & 0xFFFF
    assert rtp.transport_sequence(sent, len(sent), codecs.TRANSPORT_CC_EXTENSION) == 55
    relay.out.resend([(101 + offset) & 0xFFFF], NS_PER_S)
    assert relay.viewer.counters["packets_resent"] == 1, "what was mended can be asked for again"


def test_a_repair_is_unwrapped_for_a_viewer_without_rtx() -> None:
    relay = Relay(rtx=False)
    offset = relay.start(100)
    relay.push(packets.rtp(sequence=102))
    relay.push_repair(_rtx(101, payload=b"\x00mended", padding=4))
    payload_type, sequence, _, ssrc = relay.viewer.headers()[-1]
    assert (payload_type, sequence, ssrc) == (VP8, (101 + offset) & 0xFFFF, 5000)
    assert relay.viewer.sent[-1][12:] == b"\x00mended"
    relay.push_repair(_rtx(101, payload=b"\x00mended"))
    assert len(relay.viewer.sent) == 3, "a second copy has no number of its own"


def test_padding_probes_go_on(relay: Relay) -> None:
    relay.start(100)
    probe = packets.rtp(payload_type=VP8_RTX or 0, ssrc=2, transport=3, payload=b"", padding=200)
    relay.push_repair(probe)
    assert relay.viewer.headers()[-1][0] == VP8_RTX
    assert len(relay.viewer.sent[-1]) == len(probe)


def test_repairs_of_packets_never_forwarded_are_dropped(relay: Relay) -> None:
    relay.start(100)
    relay.push_repair(_rtx(50))
    relay.push_repair(_rtx(30_000))
    assert len(relay.viewer.sent) == 1


def test_repairs_before_the_start_are_dropped(relay: Relay) -> None:
    relay.push_repair(_rtx(50))
    assert relay.viewer.sent == []


def test_a_mended_keyframe_is_a_first_frame(relay: Relay) -> None:
    watch = DeliveryWatch(seek_first_frame=True, ack_timeout_ns=limits.ACK_TIMEOUT_NS)
    relay.out.watch = watch
    relay.push(packets.rtp(sequence=1, transport=1, payload=packets.VP8_KEY), 10)
    relay.push(packets.rtp(sequence=3, transport=3, payload=packets.VP8_CONTINUED, marker=True), 20)
    relay.push_repair(_rtx(2, payload=packets.VP8_CONTINUED, transport=4), 30)
    assert watch.transport_acked([1, 3])
    assert watch.take_found() is None
    assert watch.transport_acked([4])
    assert watch.take_found() == (MediaKind.VIDEO, 30)


def test_keyframe_requests_are_repeated_until_one_comes(relay: Relay) -> None:
    relay.start(100)
    relay.publisher.rtcp.clear()
    now = NS_PER_S
    relay.out.request_keyframe(now)
    relay.out.request_keyframe(now + 1)
    relay.out.tick(now + limits.KEYFRAME_REPEAT_NS)
    assert kinds(relay.publisher) == [(rtcp.PSFB, rtcp.PLI)] * 2
    relay.push(packets.rtp(sequence=101, payload=packets.VP8_KEY), now + NS_PER_S)
    relay.out.tick(now + 60 * NS_PER_S)
    assert len(relay.publisher.rtcp) == 2


def test_sender_reports_speak_of_what_was_sent(relay: Relay) -> None:
    info = rtcp.SenderInfo(1, 0xAAAA_BBBB_CCCC_DDDD, 3000, 999, 99_999)
    assert relay.out.sender_report(info, limits.NEVER_NS, 0) is None, "nothing was sent yet"
    relay.start(100)
    relay.push(packets.rtp(sequence=101, timestamp=3000))
    block = relay.out.sender_report(info, limits.NEVER_NS, NS_PER_S)
    assert block is not None
    report = rtcp.sender_info(block)
    assert report is not None
    assert report.ssrc == 5000
    assert report.ntp == info.ntp
    assert report.rtp_timestamp == relay.viewer.headers()[-1][2]
    assert (report.packets, report.octets) == (2, sum(len(p) - 12 for p in relay.viewer.sent))
    assert relay.out.sender_report(info, 5, 5) is None, "not after the cutoff"


def test_the_round_trip_is_measured_by_the_echo(relay: Relay) -> None:
    relay.start(100)
    relay.out.sender_report(rtcp.SenderInfo(1, 0x0001_0002_0003_0004, 0, 0, 0), 1 << 62, NS_PER_S)
    block = rtcp.ReportBlock(5000, 0, 0, 100, 0, 0x0002_0003, 65536)
    assert relay.out.report(block, 2 * NS_PER_S + 30 * NS_PER_MS) == NS_PER_S
    assert relay.out.rtt_ns == 30 * NS_PER_MS
