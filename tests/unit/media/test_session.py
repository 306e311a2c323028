"""The rules of a call, on every packet plane: what peers put on their wires, and what they get.

Time is a number and the network a list.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar

import pytest
from aiortc.rtcdtlstransport import RTCCertificate

from engine.clock import NS_PER_MS, NS_PER_S
from engine.media import codecs, limits, rtcp, rtp
from engine.media.codecs import CODECS, DEFAULT_CODECS
from engine.media.counters import new_counters
from engine.media.ice import Address
from engine.media.interface import (
    AcksWithheld,
    Delivery,
    FirstFrame,
    MediaEvent,
    MediaKind,
    Role,
)
from engine.media.leg import Leg
from engine.media.session import MediaSession
from engine.metering.policy import PAUSE_AFTER_NS, PAUSE_AFTER_REPORTS_ONLY_NS
from tests.support import media_packets as packets
from tests.support.planes import RIGS, Peer, RigPlane
from tests.unit.media.test_sdp import ANSWER

VP8, OPUS = codecs.VP8.payload_type, codecs.OPUS.payload_type
AUDIO, VIDEO = MediaKind.AUDIO, MediaKind.VIDEO
Event = TypeVar("Event", bound=MediaEvent)


class Host:
    """Stands for the worker around a plane."""

    new_plane: type[RigPlane]

    def __init__(self) -> None:
        self.plane: RigPlane = self.new_plane()
        self.counters = new_counters()
        self.certificate = RTCCertificate.generateCertificate()
        self.certificate_digest = "AB"
        self.consent_timeout_ns = limits.CONSENT_TIMEOUT_NS
        self.now = 1

    def now_ns(self) -> int:
        return self.now

    def handshake_allowed(self, leg: Leg) -> bool:
        return True

    def leg_changed(self, leg: Leg, state: str) -> None:
        leg.session.route(self.now)


@pytest.fixture(autouse=True, params=RIGS)
def _plane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "new_plane", RIGS[request.param], raising=False)


class Room:
    """A session with connected legs; `send` and `control` are what a party puts on its wire."""

    def __init__(
        self, *, one_way: bool = False, video: bool = True, customer_feedback: bool = True
    ) -> None:
        self.host = Host()
        self.peers: dict[Address, Peer] = {}
        self.events: list[MediaEvent] = []
        self.session = MediaSession(
            "ses",
            one_way=one_way,
            video=video,
            counters=self.host.counters,
            emit=self.events.append,
            adopt_task=lambda _task: None,
        )
        self.customer = self.add(Role.CUSTOMER, ("192.0.2.1", 1), feedback=customer_feedback)
        self.expert = self.add(Role.EXPERT, ("192.0.2.2", 2))

    def add(self, role: Role, address: Address, *, feedback: bool = True) -> Leg:
        """`feedback`: it gives transport-wide feedback."""
        offered = tuple(CODECS[name] for name in DEFAULT_CODECS)
        leg = Leg(self.host, self.session, f"leg_{address[1]}", role, offered=offered)
        self.session.add(leg)
        answer = ANSWER
        if self.session.kinds == (AUDIO,):
            answer = ANSWER[: ANSWER.index("m=video")]
        if not feedback:
            answer = "".join(line for line in answer.splitlines(True) if "extmap:3" not in line)
        leg.apply_answer(answer)
        peer = self.peers[address] = Peer(address[1])
        self.host.plane.claim(address, leg.path)
        leg.set_address(address)
        leg.path.secure(*peer.engine_sessions())
        leg.secured = True
        leg.set_consent(True)
        self.session.route(self.host.now)
        return leg

    def open(self) -> None:
        self.session.open_gate(self.host.now)

    def peer(self, leg: Leg) -> Peer:
        assert leg.address is not None
        return self.peers[leg.address]

    def send(self, leg: Leg, packet: bytes, after_ns: int = 0) -> None:
        assert leg.address is not None
        self.host.now += after_ns
        self.host.plane.feed(self.peer(leg).protect(packet), leg.address, self.host.now)

    def control(self, leg: Leg, block: bytes) -> None:
        self.send(leg, block)

    def tick(self, after_ns: int = 0) -> None:
        self.host.now += after_ns
        self.host.plane.tick(self.host.now)

    def media_to(self, leg: Leg) -> list[bytes]:
        self._deliver()
        return self.peer(leg).media

    def control_to(self, leg: Leg) -> list[tuple[int, int, bytes]]:
        self._deliver()
        return self.peer(leg).blocks()

    def _deliver(self) -> None:
        for address, datagram in self.host.plane.take_sent():
            self.peers[address].take(datagram)

    def counter(self, name: str) -> int:
        return self.host.counters[name] + self.host.plane.counters().get(name, 0)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def audio(sequence: int, *, ssrc: int = 10, transport: int | None = None) -> bytes:
    return packets.rtp(
        payload_type=OPUS, sequence=sequence, ssrc=ssrc, payload=b"tone", transport=transport
    )


def key(sequence: int, *, ssrc: int = 20, transport: int | None = None) -> bytes:
    return packets.rtp(
        sequence=sequence,
        ssrc=ssrc,
        payload=packets.VP8_KEY,
        marker=True,
        transport=transport,
    )


def report(leg: Leg, kind: MediaKind, highest: int, last_sr: int = 0) -> bytes:
    block = rtcp.ReportBlock(leg.streams[kind].ssrc, 0, 0, highest, 0, last_sr, 0)
    return rtcp.build_rr(1, [block])


def last_sequence(room: Room, leg: Leg) -> int:
    return int.from_bytes(room.media_to(leg)[-1][2:4], "big")


def test_media_passes_under_the_legs_own_ssrcs() -> None:
    room = Room()
    room.open()
    room.send(room.expert, audio(1))
    room.send(room.expert, key(1))
    ssrcs = [rtp.HEADER.unpack_from(p)[4] for p in room.media_to(room.customer)]
    assert ssrcs == [room.customer.streams[AUDIO].ssrc, room.customer.streams[VIDEO].ssrc]
    assert room.media_to(room.expert) == []


@pytest.mark.parametrize(
    "forbid",
    [
        lambda room: None,
        lambda room: (room.open(), room.session.set_cutoff(room.host.now, room.host.now)),
        lambda room: (
            room.open(),
            room.session.set_publishing(
                Role.EXPERT, audio=False, video=False, now_ns=room.host.now
            ),
        ),
        lambda room: (room.open(), room.customer.set_consent(False)),
        lambda room: (room.open(), room.expert.set_consent(False)),
        lambda room: (room.open(), room.add(Role.EXPERT, ("192.0.2.3", 3))),
        lambda room: (room.open(), room.add(Role.CUSTOMER, ("192.0.2.3", 3))),
    ],
    ids=[
        "gate",
        "cutoff",
        "buttons",
        "customer lost",
        "expert lost",
        "two experts",
        "two customers",
    ],
)
def test_what_is_not_permitted_does_not_pass(forbid: Callable[[Room], object]) -> None:
    room = Room()
    forbid(room)
    room.session.route(room.host.now)
    for sequence in range(3):
        room.send(room.expert, audio(sequence))
        room.send(room.expert, key(sequence))
    info = rtcp.SenderInfo(10, 1, 2, 3, 4)
    room.control(room.expert, rtcp.build_sr(info))
    assert room.media_to(room.customer) == []
    assert all(kind == rtcp.RR for kind, _, _ in room.control_to(room.customer))


def test_one_way_shows_no_trace_of_the_customer() -> None:
    room = Room(one_way=True)
    room.open()
    room.send(room.customer, audio(1, transport=1))
    room.send(room.customer, key(1, transport=2))
    room.control(room.customer, rtcp.build_sr(rtcp.SenderInfo(10, 1, 2, 3, 4)))
    room.control(room.expert, packets.transport_feedback(1, [True, True]))
    room.control(room.expert, rtcp.build_pli(1, room.expert.streams[VIDEO].ssrc))
    room.tick(2 * NS_PER_S)
    assert room.media_to(room.expert) == []
    assert room.control_to(room.expert) == []
    told = [kind for kind, _, _ in room.control_to(room.customer)]
    assert told == [rtcp.RR], "only what the engine itself received"


def test_transport_feedback_goes_through_under_new_ssrcs() -> None:
    room = Room()
    room.open()
    room.send(room.expert, audio(1, transport=7))
    feedback = packets.transport_feedback(
        7, [True], sender=99, media=room.customer.streams[AUDIO].ssrc
    )
    room.control(room.customer, feedback)
    kind, form, block = room.control_to(room.expert)[-1]
    assert (kind, form) == (rtcp.RTPFB, rtcp.TRANSPORT_CC)
    assert struct.unpack_from("!II", block, 4) == (room.expert.streams[AUDIO].ssrc, 10)
    assert block[12:] == feedback[12:]


def test_a_muted_microphone_is_no_loss_in_the_feedback() -> None:
    room = Room()
    room.open()
    room.session.set_publishing(Role.EXPERT, audio=False, video=True, now_ns=room.host.now)
    room.send(room.expert, key(1, transport=7))
    room.send(room.expert, audio(1, transport=8))
    room.send(room.expert, packets.rtp(sequence=2, ssrc=20, transport=9))
    room.control(room.customer, packets.transport_feedback(7, [True, False, True]))
    assert rtcp.transport_received(room.control_to(room.expert)[-1][2]) == [7, 8, 9]


def test_a_viewers_keyframe_request_reaches_the_publisher() -> None:
    room = Room()
    room.open()
    room.send(room.expert, key(1))
    before = len(room.control_to(room.expert))
    room.host.now += NS_PER_S
    room.control(room.customer, rtcp.build_pli(1, room.customer.streams[VIDEO].ssrc))
    (request,) = room.control_to(room.expert)[before:]
    assert request[:2] == (rtcp.PSFB, rtcp.PLI)
    assert rtcp.media_ssrc(request[2]) == 20


def test_first_frame_by_transport_feedback() -> None:
    room = Room()
    room.open()
    room.host.now = 1000
    room.send(room.expert, key(1, transport=7))
    room.host.now = 2000
    room.control(room.customer, packets.transport_feedback(7, [True]))
    assert room.of(FirstFrame) == [FirstFrame("ses", VIDEO, 1000, 2000)]
    assert room.of(Delivery) == [Delivery("ses", 1000)]
    room.send(room.expert, audio(1, transport=8))
    room.control(room.customer, packets.transport_feedback(8, [True]))
    assert len(room.of(FirstFrame)) == 1


def test_first_frame_by_receiver_report() -> None:
    room = Room()
    room.open()
    room.host.now = 1000
    room.send(room.expert, audio(1))
    room.control(room.customer, report(room.customer, AUDIO, last_sequence(room, room.customer)))
    assert room.of(FirstFrame) == [FirstFrame("ses", AUDIO, 1000, 1000)]


def test_what_is_told_of_a_receiver_who_only_reports_says_how_patient_to_be() -> None:
    room = Room(video=False, customer_feedback=False)
    room.open()
    room.host.now = 1000
    room.send(room.expert, audio(1))
    room.control(room.customer, report(room.customer, AUDIO, last_sequence(room, room.customer)))
    patience_ns = PAUSE_AFTER_REPORTS_ONLY_NS
    assert room.of(FirstFrame) == [FirstFrame("ses", AUDIO, 1000, 1000, patience_ns)]
    assert room.of(Delivery) == [Delivery("ses", 1000, patience_ns)]
    again = room.add(Role.CUSTOMER, ("192.0.2.9", 9))
    for old in room.session.select(again, room.host.now):
        room.session.remove(old, room.host.now)
    room.send(room.expert, audio(2, transport=2), 2 * NS_PER_S)
    room.control(again, packets.transport_feedback(2, [True]))
    assert room.of(Delivery)[-1] == Delivery("ses", room.host.now, PAUSE_AFTER_NS)


def test_acknowledgements_of_the_expert_start_nothing() -> None:
    room = Room()
    room.open()
    room.send(room.customer, audio(1, transport=7))
    room.control(room.expert, packets.transport_feedback(7, [True]))
    room.control(room.expert, report(room.expert, AUDIO, last_sequence(room, room.expert)))
    assert room.events == []


def test_a_new_customer_leg_gets_no_second_first_frame() -> None:
    room = Room()
    room.open()
    room.send(room.expert, key(1, transport=7))
    room.control(room.customer, packets.transport_feedback(7, [True]))
    again = room.add(Role.CUSTOMER, ("192.0.2.9", 9))
    (old,) = room.session.select(again, room.host.now)
    room.session.remove(old, room.host.now)
    room.send(room.expert, key(2, transport=8), 2 * NS_PER_S)
    room.control(again, packets.transport_feedback(8, [True]))
    assert len(room.of(FirstFrame)) == 1
    assert room.of(Delivery)[-1].last_acked_at_ns == room.host.now


@pytest.mark.parametrize("role", Role)
def test_media_go_to_the_leg_that_takes_over_while_the_old_one_still_lives(role: Role) -> None:
    room = Room()
    room.open()
    first, other = room.customer, room.expert
    if role is Role.EXPERT:
        first, other = other, first
    room.session.select(first, room.host.now)
    room.send(other, key(1, transport=7))
    again = room.add(role, ("192.0.2.9", 9))
    for old in room.session.select(again, room.host.now):
        room.session.remove(old, room.host.now)
    before = len(room.media_to(again))
    room.send(other, key(2, transport=8))
    assert len(room.media_to(again)) == before + 1


def _flow(room: Room, start: int, seconds: float) -> int:
    for step in range(int(seconds * 50)):
        room.send(room.expert, audio(start + step), 20 * NS_PER_MS)
        room.tick()
    return start + int(seconds * 50)


def test_withheld_acknowledgements_stop_the_media_until_a_report_is_echoed() -> None:
    room = Room()
    room.open()
    sequence = _flow(room, 1, 6)
    assert room.of(AcksWithheld) == [AcksWithheld("ses")]
    sent = len(room.media_to(room.customer))
    assert 240 < sent <= 251
    sequence = _flow(room, sequence, 1)
    assert len(room.media_to(room.customer)) == sent
    room.control(room.expert, rtcp.build_sr(rtcp.SenderInfo(10, 0x1111_2222_3333_4444, 0, 0, 0)))
    assert room.control_to(room.customer)[-2][0] == rtcp.SR, "a sign of life, without media"
    room.control(room.customer, report(room.customer, AUDIO, 0, last_sr=0x2222_3333))
    sequence = _flow(room, sequence, 1)
    assert len(room.media_to(room.customer)) == sent + 50
    assert room.of(FirstFrame) == []


def test_a_new_ssrc_takes_over_and_the_old_one_comes_back_only_when_idle() -> None:
    room = Room()
    room.open()
    room.send(room.expert, audio(1, ssrc=10))
    room.send(room.expert, audio(500, ssrc=11), NS_PER_MS)
    room.send(room.expert, audio(2, ssrc=10), NS_PER_MS)
    assert len(room.media_to(room.customer)) == 2
    room.send(room.expert, audio(3, ssrc=10), limits.SOURCE_IDLE_NS + 1)
    room.send(room.expert, audio(4, ssrc=10), NS_PER_MS)
    sequences = [int.from_bytes(p[2:4], "big") for p in room.media_to(room.customer)]
    assert sequences == list(range(sequences[0], sequences[0] + 3))


def test_ssrcs_of_a_leg_are_bounded() -> None:
    room = Room()
    room.open()
    for ssrc in range(1, 200):
        room.send(room.expert, audio(1, ssrc=ssrc), NS_PER_MS)
    assert room.counter("ssrc_evicted") == 199 - limits.MAX_SSRCS_PER_LEG


def test_a_stream_whose_mid_contradicts_its_payload_type_is_not_learnt() -> None:
    room = Room()
    room.open()
    room.send(room.expert, packets.rtp(payload_type=OPUS, mid=b"1", payload=b"x"))
    room.send(room.expert, packets.rtp(payload_type=77, sequence=1, payload=b"x"))
    assert room.expert.path.stats().packets_in == 0
    assert room.counter("rtp_unknown_payload_type") == 2
    room.send(room.expert, packets.rtp(payload_type=OPUS, sequence=2, mid=b"0", payload=b"x"))
    assert room.expert.path.stats().packets_in == 1


def test_an_audio_session_relays_no_video() -> None:
    room = Room(video=False)
    room.open()
    room.send(room.expert, key(1))
    assert room.media_to(room.customer) == []
    assert room.counter("internal_errors") == 0


def test_repairs_of_another_stream_than_the_source_are_not_forwarded() -> None:
    room = Room()
    room.open()
    room.send(room.expert, key(1, ssrc=20))
    everything = frozenset(codecs.BY_PAYLOAD_TYPE), frozenset(codecs.BY_RTX_PAYLOAD_TYPE)
    room.expert.path.negotiate(VIDEO, *everything, {30: 21})
    probe = packets.rtp(payload_type=97, ssrc=30, payload=b"", padding=50)
    room.send(room.expert, probe)
    assert len(room.media_to(room.customer)) == 1
    room.expert.path.negotiate(VIDEO, *everything, {30: 20})
    room.send(room.expert, probe.replace(b"\x00\x00", b"\x00\x01", 1))
    assert len(room.media_to(room.customer)) == 2


def test_receiver_reports_describe_what_came_in() -> None:
    room = Room()
    for sequence in (1, 2, 4):
        room.send(room.expert, audio(sequence), NS_PER_MS)
    room.tick(NS_PER_S)
    kind, count, block = room.control_to(room.expert)[-1]
    (described,) = rtcp.report_blocks(kind, count, block)
    assert (described.ssrc, described.lost, described.highest) == (10, 1, 4)


def test_stats_tell_rates_loss_and_jitter() -> None:
    room = Room()
    room.open()
    room.tick()
    for sequence in range(50):
        room.send(room.expert, audio(sequence), 20 * NS_PER_MS)
    block = rtcp.ReportBlock(room.customer.streams[AUDIO].ssrc, 64, 12, 0, 0, 0, 0)
    room.control(room.customer, rtcp.build_rr(1, [block]))
    room.tick(20 * NS_PER_MS)
    room.tick(NS_PER_S)
    inbound, outbound = room.expert.path.stats(), room.customer.path.stats()
    assert inbound.packets_in == outbound.packets_out == 50
    assert inbound.bytes_in == 50 * 16, "in plain"
    assert (outbound.expected_out, outbound.lost_out) == (50, 12)
    assert inbound.jitter_in_ms is not None
    assert outbound.rtt_ms is None


def test_a_closed_leg_neither_sends_nor_receives() -> None:
    room = Room()
    room.open()
    room.send(room.expert, audio(1))
    room.customer.close(room.host.now)
    room.session.route(room.host.now)
    room.send(room.expert, audio(2))
    assert len(room.media_to(room.customer)) == 1
    assert not room.customer.connected


def test_a_tap_gets_what_each_party_is_sent() -> None:
    room = Room()
    room.open()
    seen: list[tuple[Role, MediaKind, bytes, int]] = []
    room.session.set_tap(lambda *packet: seen.append(packet), room.host.now)
    room.send(room.expert, audio(1))
    room.send(room.expert, key(1), NS_PER_MS)
    room.send(room.customer, audio(1), NS_PER_MS)
    got, heard = room.media_to(room.customer), room.media_to(room.expert)
    assert seen == [
        (Role.EXPERT, AUDIO, got[0], 1),
        (Role.EXPERT, VIDEO, got[1], 1 + NS_PER_MS),
        (Role.CUSTOMER, AUDIO, heard[0], 1 + 2 * NS_PER_MS),
    ]
    room.session.set_tap(None, room.host.now)
    room.send(room.expert, audio(2))
    assert len(seen) == 3


def test_a_tap_follows_the_leg_that_takes_over_and_hears_nothing_forbidden() -> None:
    room = Room(one_way=True)
    room.open()
    seen: list[tuple[Role, MediaKind, bytes, int]] = []
    room.session.set_tap(lambda *packet: seen.append(packet), room.host.now)
    room.send(room.customer, audio(1))
    assert seen == []
    again = room.add(Role.CUSTOMER, ("192.0.2.9", 9))
    for old in room.session.select(again, room.host.now):
        room.session.remove(old, room.host.now)
    room.send(room.expert, audio(1))
    assert [packet for _, _, packet, _ in seen] == room.media_to(again)


def test_a_tap_gets_the_sender_reports_in_the_terms_of_its_stream() -> None:
    room = Room()
    room.open()
    seen: list[tuple[Role, MediaKind, bytes, int]] = []
    room.session.set_tap(lambda *packet: seen.append(packet), room.host.now)
    room.send(room.expert, audio(1))
    ntp = 0x0001_0002_0003_0004
    room.send(room.expert, rtcp.build_sr(rtcp.SenderInfo(10, ntp, 960, 1, 10)), NS_PER_MS)
    reports = [block for _, _, block in room.control_to(room.customer)]
    (_, _, packet, _), (role, kind, block, at_ns) = seen
    assert (role, kind, at_ns) == (Role.EXPERT, AUDIO, 1 + NS_PER_MS)
    assert block in reports
    info = rtcp.sender_info(block)
    assert info is not None
    assert (info.ssrc, info.ntp) == (room.customer.streams[AUDIO].ssrc, ntp)
    timestamp = int.from_bytes(packet[4:8], "big")
    assert (info.rtp_timestamp - timestamp) & 0xFFFFFFFF == 960


def test_a_tap_begins_with_a_keyframe() -> None:
    room = Room()
    room.open()
    room.send(room.expert, key(1))
    before = len(room.control_to(room.expert))
    room.host.now += NS_PER_S
    room.session.set_tap(lambda *_: None, room.host.now)
    assert [kind for kind, _, _ in room.control_to(room.expert)[before:]] == [rtcp.PSFB]
