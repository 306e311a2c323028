"""What a viewer sees of one stream when its publisher mutes, reconnects, asks or loses, on every
packet plane: numbers that run on, and requests that stay few.
"""

from __future__ import annotations

import itertools
import struct
from typing import NamedTuple

import pytest

from engine.clock import NS_PER_MS, NS_PER_S
from engine.media import codecs, limits, rtcp, rtp
from engine.media.interface import MediaKind, Role
from engine.media.leg import Leg
from tests.support import media_packets as packets
from tests.support.planes import RIGS
from tests.unit.media.test_session import AUDIO, OPUS, VIDEO, Host, Room, audio, key

RED = codecs.RED.payload_type
OPUS_STEP = 960


@pytest.fixture(autouse=True, params=RIGS)
def _plane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "new_plane", RIGS[request.param], raising=False)


class Header(NamedTuple):
    sequence: int
    timestamp: int


def headers(room: Room, leg: Leg, kind: MediaKind) -> list[Header]:
    """Of all packets of a kind that the leg was sent."""
    found = (rtp.HEADER.unpack_from(packet) for packet in room.media_to(leg))
    return [Header(h[2], h[3]) for h in found if h[4] == leg.streams[kind].ssrc]


def assert_runs_on(sent: list[Header]) -> None:
    sequences = [header.sequence for header in sent]
    assert sequences == [(sequences[0] + n) & 0xFFFF for n in range(len(sequences))]


def steps(sent: list[Header]) -> list[int]:
    """How far the timestamps advance."""
    return [(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(sent)]


def requests(room: Room, leg: Leg, after: int = 0) -> int:
    """Keyframe requests that a publisher got, but for its first blocks."""
    blocks = room.control_to(leg)[after:]
    return sum((kind, count) == (rtcp.PSFB, rtcp.PLI) for kind, count, _ in blocks)


def fir(ssrc: int, number: int) -> bytes:
    return struct.pack("!BBHIIIB3x", 0x84, rtcp.PSFB, 4, 1, 0, ssrc, number & 0xFF)


def ask(room: Room, role: Role, *, audio: bool, video: bool) -> None:
    room.session.set_publishing(role, audio=audio, video=video, now_ns=room.host.now)


# Audio stays as it is ---------------------------------------------------------------------------


def test_redundant_audio_arrives_byte_for_byte() -> None:
    room = Room()
    room.open()
    # RFC 2198: a redundant block's type, offset and length, the primary's type, then both.
    head = bytes([0x80 | OPUS, 960 >> 6, (960 & 0x3F) << 2, 4, OPUS])
    for number in range(5):
        payload = head + b"old%d" % number + b"new%d" % number
        packet = packets.rtp(
            payload_type=RED,
            sequence=number,
            timestamp=960 * number,
            ssrc=10,
            mid=b"0",
            transport=number,
            payload=payload,
        )
        room.send(room.expert, packet)
        sent = room.media_to(room.customer)[-1]
        assert sent[:2] == packet[:2]
        assert sent[12:] == packet[12:]
    assert_runs_on(headers(room, room.customer, AUDIO))


def test_a_sender_may_change_between_red_and_opus_within_one_stream() -> None:
    room = Room()
    room.open()
    for number, payload_type in enumerate((RED, OPUS, RED)):
        room.send(
            room.expert,
            packets.rtp(payload_type=payload_type, sequence=number, ssrc=10, payload=b"x" * 20),
        )
    assert [packet[1] & 0x7F for packet in room.media_to(room.customer)] == [RED, OPUS, RED]
    assert_runs_on(headers(room, room.customer, AUDIO))


def test_silence_stays_silence_without_requests_or_invented_packets() -> None:
    """DTX: a packet of a byte or two every 400 ms, then speech that begins with a marker."""
    room = Room()
    room.open()
    instants = [0, 20, 40, 440, 840, 1_240, 1_260, 1_280]
    for number, at_ms in enumerate(instants):
        room.host.now = 1 + at_ms * NS_PER_MS
        speech = packets.rtp(
            payload_type=OPUS,
            sequence=number,
            timestamp=48 * at_ms,
            ssrc=10,
            marker=at_ms == 1_240,
            payload=b"\x08" if 40 <= at_ms < 1_240 else b"speech",
        )
        room.send(room.expert, speech)
        room.tick()
    sent = headers(room, room.customer, AUDIO)
    assert_runs_on(sent)
    assert steps(sent) == [48 * (b - a) for a, b in itertools.pairwise(instants)]
    assert [len(p) - 12 for p in room.media_to(room.customer)] == [6, 6, 1, 1, 1, 6, 6, 6]
    assert [packet[1] >> 7 for packet in room.media_to(room.customer)] == [0, 0, 0, 0, 0, 1, 0, 0]
    assert all(kind == rtcp.RR for kind, _, _ in room.control_to(room.expert))


def test_lost_audio_is_left_to_redundancy_and_a_late_packet_keeps_its_place() -> None:
    room = Room()
    room.open()
    for sequence in (1, 2, 5, 3):
        room.send(room.expert, audio(sequence))
        room.tick(20 * NS_PER_MS)
    sequences = [header.sequence for header in headers(room, room.customer, AUDIO)]
    assert [(s - sequences[0]) & 0xFFFF for s in sequences] == [0, 1, 4, 2]
    assert all(kind == rtcp.RR for kind, _, _ in room.control_to(room.expert))


# Buttons -----------------------------------------------------------------------------------------


def test_a_camera_that_comes_back_asks_for_a_keyframe_and_runs_on() -> None:
    room = Room()
    room.open()
    for number in range(10):
        room.send(room.expert, key(number), 33 * NS_PER_MS)
    room.host.now += NS_PER_S
    ask(room, Role.EXPERT, audio=True, video=False)
    for number in range(10, 20):
        room.send(room.expert, key(number), 33 * NS_PER_MS)
    before = len(room.control_to(room.expert))
    ask(room, Role.EXPERT, audio=True, video=True)
    assert requests(room, room.expert, before) == 1
    room.send(room.expert, packets.rtp(sequence=20, ssrc=20))
    assert len(headers(room, room.customer, VIDEO)) == 10, "nothing that cannot be decoded"
    for number in range(21, 25):
        room.send(room.expert, key(number), 33 * NS_PER_MS)
    sent = headers(room, room.customer, VIDEO)
    assert len(sent) == 14
    assert_runs_on(sent)


def test_a_microphone_that_comes_back_runs_on_with_true_timestamps() -> None:
    room = Room()
    room.open()
    for number in range(30):
        ask(room, Role.EXPERT, audio=not 10 <= number < 20, video=True)
        tone = packets.rtp(
            payload_type=OPUS,
            sequence=number,
            timestamp=OPUS_STEP * number,
            ssrc=10,
            payload=b"tone",
        )
        room.send(room.expert, tone, 20 * NS_PER_MS)
    sent = headers(room, room.customer, AUDIO)
    assert_runs_on(sent)
    assert steps(sent) == [OPUS_STEP] * 9 + [11 * OPUS_STEP] + [OPUS_STEP] * 9
    assert requests(room, room.expert) == 0


# A publisher who comes back ---------------------------------------------------------------------


def reconnect(room: Room) -> Leg:
    """The expert on a new leg, which takes over."""
    again = room.add(Role.EXPERT, ("192.0.2.9", 9))
    for old in room.session.select(again, room.host.now):
        room.session.remove(old, room.host.now)
        old.close(room.host.now)
    return again


@pytest.mark.parametrize("kind", MediaKind)
def test_a_new_leg_with_new_numbers_continues_the_stream(kind: MediaKind) -> None:
    room = Room()
    room.open()
    room.session.select(room.expert, room.host.now)
    payload_type, rate = (OPUS, 48) if kind is AUDIO else (codecs.VP8.payload_type, 90)

    def play(leg: Leg, ssrc: int, sequence: int, timestamp: int) -> None:
        for number in range(10):
            packet = packets.rtp(
                payload_type=payload_type,
                sequence=sequence + number,
                timestamp=timestamp + 20 * rate * number,
                ssrc=ssrc,
                payload=packets.VP8_KEY,
                marker=True,
            )
            room.send(leg, packet, 20 * NS_PER_MS)

    play(room.expert, 20, 65_530, 0xFFFF_FFF0)
    room.host.now += NS_PER_S
    again = reconnect(room)
    play(again, 77, 1_234, 5_000_000)
    sent = headers(room, room.customer, kind)
    assert len(sent) == 20
    assert_runs_on(sent)
    assert steps(sent) == [20 * rate] * 9 + [1_020 * rate] + [20 * rate] * 9, "as time passed"
    assert requests(room, again) == (1 if kind is VIDEO else 0)


def test_reports_put_sound_and_picture_at_the_publishers_instants() -> None:
    """Lip sync: a viewer reads from sender reports when each packet was captured."""
    room = Room()
    room.open()
    room.session.select(room.expert, room.host.now)
    for leg, began_ntp in ((room.expert, 1_000), (None, 5_000)):
        publisher = leg or reconnect(room)
        room.host.now += NS_PER_S
        base = 10 * began_ntp
        captured = {AUDIO: began_ntp + 0.5, VIDEO: began_ntp + 0.75}
        sound = packets.rtp(
            payload_type=OPUS, sequence=base, timestamp=base + 24_000, ssrc=base, payload=b"x"
        )
        picture = packets.rtp(
            sequence=base, timestamp=base + 67_500, ssrc=base + 1, payload=packets.VP8_KEY
        )
        room.send(publisher, sound)
        room.send(publisher, picture)
        for ssrc in (base, base + 1):
            info = rtcp.SenderInfo(ssrc, began_ntp << 32, base, 1, 1)
            room.control(publisher, rtcp.build_sr(info))
        for kind, rate in ((AUDIO, 48_000), (VIDEO, 90_000)):
            info = sender_infos(room, kind)[-1]
            ahead = headers(room, room.customer, kind)[-1].timestamp - info.rtp_timestamp
            assert (info.ntp >> 32) + (ahead & 0xFFFFFFFF) / rate == captured[kind]


def sender_infos(room: Room, kind: MediaKind) -> list[rtcp.SenderInfo]:
    blocks = room.control_to(room.customer)
    found = [rtcp.sender_info(block) for form, _, block in blocks if form == rtcp.SR]
    ssrc = room.customer.streams[kind].ssrc
    return [info for info in found if info is not None and info.ssrc == ssrc]


def test_no_report_of_a_new_source_before_its_timestamps_are_known() -> None:
    """Its instants under the former source's timestamps would tear sound and picture apart."""
    room = Room()
    room.open()
    room.session.select(room.expert, room.host.now)
    room.send(room.expert, key(1))
    again = reconnect(room)
    room.send(again, packets.rtp(sequence=500, timestamp=7_000_000, ssrc=77), NS_PER_S)
    report = rtcp.build_sr(rtcp.SenderInfo(77, 9 << 32, 7_000_000, 1, 1))
    room.control(again, report)
    assert sender_infos(room, VIDEO) == [], "it still waits for a keyframe"
    room.send(again, packets.rtp(sequence=501, timestamp=7_003_000, ssrc=77, payload=b"\x10\x00"))
    room.control(again, report)
    (info,) = sender_infos(room, VIDEO)
    ahead = headers(room, room.customer, VIDEO)[-1].timestamp - info.rtp_timestamp
    assert ahead & 0xFFFFFFFF == 3_000


def test_octets_of_a_sender_report_are_payload_without_header_extensions_and_padding() -> None:
    """RFC 3550 section 6.4.1."""
    room = Room()
    room.open()
    payloads = [packets.VP8_KEY, packets.VP8_DELTA + bytes(90), b""]
    for number, payload in enumerate(payloads):
        packet = packets.rtp(
            sequence=number,
            ssrc=20,
            mid=b"1",
            transport=number,
            payload=payload,
            padding=0 if number == 0 else 40 * number,
        )
        room.send(room.expert, packet)
    malformed = bytearray(packets.rtp(sequence=3, ssrc=20))
    malformed[0] |= 0x20
    malformed[-1] = 0  # padding of no length
    room.send(room.expert, bytes(malformed))
    room.control(room.expert, rtcp.build_sr(rtcp.SenderInfo(20, 1 << 32, 0, 99, 99_999)))
    (info,) = sender_infos(room, VIDEO)
    assert (info.packets, info.octets) == (4, sum(map(len, payloads)))


def test_a_sender_report_counts_what_was_mended_for_a_viewer_without_rtx() -> None:
    room = Room()
    room.customer.path.negotiate(VIDEO, frozenset({codecs.VP8.payload_type}), frozenset(), {})
    room.open()
    room.send(room.expert, key(1))
    room.send(room.expert, packets.rtp(sequence=3, ssrc=20))
    original = (2).to_bytes(2, "big") + b"\x00mended"
    repair = codecs.VP8.rtx_payload_type
    assert repair is not None
    room.send(room.expert, packets.rtp(payload_type=repair, ssrc=21, payload=original, padding=8))
    room.control(room.expert, rtcp.build_sr(rtcp.SenderInfo(20, 1 << 32, 0, 1, 1)))
    (info,) = sender_infos(room, VIDEO)
    sent = [p for p in room.media_to(room.customer) if p[1] & 0x7F == codecs.VP8.payload_type]
    assert (info.packets, info.octets) == (3, sum(len(packet) - 12 for packet in sent))


# Requests towards a publisher ------------------------------------------------------------------


@pytest.mark.parametrize("obliging", [True, False], ids=["keyframes come", "none comes"])
def test_a_storm_of_keyframe_requests_is_one_an_interval_to_the_publisher(obliging: bool) -> None:
    room = Room()
    room.open()
    room.send(room.expert, key(1))
    ssrc = room.customer.streams[VIDEO].ssrc
    begun = len(room.control_to(room.expert))
    asked, sequence = 0, 1
    for ms in range(3_000):
        room.host.now += NS_PER_MS
        room.control(room.customer, rtcp.build_pli(1, ssrc) * 10)
        room.control(room.customer, fir(ssrc, ms))
        if ms % 40 == 0:
            room.tick()
        if obliging and requests(room, room.expert, begun) > asked:
            asked += 1
            sequence += 1
            room.send(room.expert, key(sequence))
    most = 3_000 * NS_PER_MS // limits.KEYFRAME_COALESCE_NS + 1
    assert 2 <= requests(room, room.expert, begun) <= most


def test_a_hammered_camera_button_is_no_storm_either() -> None:
    room = Room()
    room.open()
    room.send(room.expert, key(1))
    begun = len(room.control_to(room.expert))
    for number in range(300):
        ask(room, Role.EXPERT, audio=True, video=bool(number % 2))
        room.send(room.expert, key(2 + number), 10 * NS_PER_MS)
        room.tick()
    most = 3_000 * NS_PER_MS // limits.KEYFRAME_COALESCE_NS + 1
    assert 1 <= requests(room, room.expert, begun) <= most


def test_a_missing_packet_is_asked_for_again_and_again_then_given_up() -> None:
    room = Room()
    room.open()
    room.send(room.expert, key(1))
    begun = len(room.control_to(room.expert))
    room.send(room.expert, packets.rtp(sequence=3, ssrc=20))
    gone_at_ns, asked_at_ns = room.host.now, []
    for _ in range(100):
        blocks = room.control_to(room.expert)[begun:]
        nacks = [block for kind, form, block in blocks if (kind, form) == (rtcp.RTPFB, rtcp.NACK)]
        assert all(rtcp.nack_sequences(block) == [2] for block in nacks)
        asked_at_ns += [room.host.now] * (len(nacks) - len(asked_at_ns))
        room.tick(20 * NS_PER_MS)
    assert asked_at_ns[0] == gone_at_ns, "at once"
    assert len(asked_at_ns) == limits.MAX_NACKS_PER_PACKET
    waits = [b - a for a, b in itertools.pairwise(asked_at_ns)]
    assert min(waits) >= limits.NACK_RETRY_NS
    assert waits == sorted(waits)
    assert asked_at_ns[3] - gone_at_ns < 150 * NS_PER_MS, "three were lost before the picture froze"
    assert asked_at_ns[-1] - gone_at_ns > 500 * NS_PER_MS, "a publisher far away has answered"


def test_a_packet_that_came_is_not_asked_for_any_more() -> None:
    room = Room()
    room.open()
    room.send(room.expert, key(1))
    room.send(room.expert, packets.rtp(sequence=3, ssrc=20))
    room.send(room.expert, packets.rtp(sequence=2, ssrc=20))
    begun = len(room.control_to(room.expert))
    for _ in range(30):
        room.tick(40 * NS_PER_MS)
    later = room.control_to(room.expert)[begun:]
    assert all(kind == rtcp.RR for kind, _, _ in later)
