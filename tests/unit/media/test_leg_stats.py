"""The figures of a leg, on every packet plane: both hops apart, and freezes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.clock import NS_PER_MS, NS_PER_S
from engine.media import rtcp
from engine.media.interface import Role
from tests.support import media_packets as packets
from tests.support.planes import RIGS
from tests.unit.media.test_session import AUDIO, Host, Room, audio, key

FRAME_NS = 40 * NS_PER_MS


@pytest.fixture(autouse=True, params=RIGS)
def _plane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "new_plane", RIGS[request.param], raising=False)


def test_what_a_leg_sends_is_counted_apart_from_what_it_is_sent() -> None:
    room = Room()
    room.open()
    for sequence in (1, 2, 5, 6):
        room.send(room.expert, audio(sequence))
    expert, customer = room.expert.path.stats(), room.customer.path.stats()
    assert (expert.packets_in, expert.expected_in, expert.lost_in) == (4, 6, 2)
    assert (expert.packets_out, expert.expected_out, expert.lost_out) == (0, 0, 0)
    assert (customer.packets_in, customer.expected_in, customer.lost_in) == (0, 0, 0)
    assert customer.packets_out == 4
    assert (customer.jitter_in_ms, customer.jitter_out_ms, customer.rtt_ms) == (None, None, None)


def test_a_late_packet_is_no_loss() -> None:
    room = Room()
    room.open()
    for sequence in (1, 3, 2):
        room.send(room.expert, audio(sequence))
    assert room.expert.path.stats().lost_in == 0


def test_what_a_leg_misses_is_what_it_reports() -> None:
    room = Room()
    room.open()
    for sequence in range(1, 101):
        room.send(room.expert, audio(sequence))
    ssrc = room.customer.streams[AUDIO].ssrc
    report = rtcp.ReportBlock(ssrc, 0, 7, 100, 480, 0, 0)
    room.control(room.customer, rtcp.build_rr(1, [report]))
    stats = room.customer.path.stats()
    assert (stats.expected_out, stats.lost_out, stats.jitter_out_ms) == (100, 7, 10.0)
    assert room.expert.path.stats().expected_out == 0


@pytest.mark.parametrize(("claimed", "counted"), [(5_000, 100), (-3, 0)])
def test_nobody_misses_more_than_was_sent(claimed: int, counted: int) -> None:
    room = Room()
    room.open()
    for sequence in range(1, 101):
        room.send(room.expert, audio(sequence))
    report = rtcp.ReportBlock(room.customer.streams[AUDIO].ssrc, 0, claimed, 100, 0, 0, 0)
    room.control(room.customer, rtcp.build_rr(1, [report]))
    assert room.customer.path.stats().lost_out == counted


def test_the_round_trip_is_told_by_the_echo_of_a_sender_report() -> None:
    room = Room()
    room.open()
    room.send(room.expert, audio(1))
    room.control(room.expert, rtcp.build_sr(rtcp.SenderInfo(10, 0x1111_2222_3333_4444, 0, 1, 9)))
    ssrc = room.customer.streams[AUDIO].ssrc
    report = rtcp.ReportBlock(ssrc, 0, 0, 1, 0, 0x2222_3333, 65536)
    room.host.now += NS_PER_S + 80 * NS_PER_MS
    room.control(room.customer, rtcp.build_rr(1, [report]))
    assert room.customer.path.stats().rtt_ms == 80
    assert room.expert.path.stats().rtt_ms is None


def test_bitrates_are_those_of_the_last_second() -> None:
    room = Room()
    room.open()
    room.tick(NS_PER_S)
    for sequence in range(50):
        room.send(room.expert, audio(sequence), 20 * NS_PER_MS)
    room.tick()
    bits = 8 * 50 * (12 + len(b"tone"))
    assert room.expert.path.stats().bitrate_in_bps == bits
    assert room.expert.path.stats().bitrate_out_bps == 0
    assert room.customer.path.stats().bitrate_out_bps > bits, "the tag comes on top"


def play(room: Room, start: int, frames: int) -> int:
    """Frames of two packets each."""
    for number in range(frames):
        sequence = start + 2 * number
        head = packets.VP8_KEY if number == 0 else packets.VP8_DELTA
        room.send(room.expert, packets.rtp(sequence=sequence, ssrc=20, payload=head), FRAME_NS)
        tail = packets.rtp(
            sequence=sequence + 1, ssrc=20, payload=packets.VP8_CONTINUED, marker=True
        )
        room.send(room.expert, tail)
    return start + 2 * frames


def freezes(room: Room) -> tuple[int, int]:
    stats = room.customer.path.stats()
    return stats.freezes, stats.frozen_ms


def test_a_gap_in_the_video_that_a_leg_is_sent_is_a_freeze_of_its_picture() -> None:
    room = Room()
    room.open()
    sequence = play(room, 1, 30)
    room.host.now += NS_PER_S
    sequence = play(room, sequence, 30)
    assert freezes(room) == (1, 1_040)
    assert room.expert.path.stats().freezes == 0


def test_audio_has_no_picture_to_freeze() -> None:
    room = Room()
    room.open()
    for number in range(60):
        after_ns = 20 * NS_PER_MS if number != 40 else NS_PER_S
        marked = packets.rtp(payload_type=111, sequence=number, ssrc=10, marker=True, payload=b"x")
        room.send(room.expert, marked, after_ns)
    assert freezes(room) == (0, 0)


def _camera(room: Room, *, on: bool) -> None:
    room.session.set_publishing(Role.EXPERT, audio=True, video=on, now_ns=room.host.now)


def _cutoff(room: Room, *, on: bool) -> None:
    cutoff_ns = None if on else room.host.now
    room.session.set_cutoff(cutoff_ns, room.host.now)


def _consent(room: Room, *, on: bool) -> None:
    room.expert.set_consent(on)
    room.session.route(room.host.now)


@pytest.mark.parametrize("switch", [_camera, _cutoff, _consent])
def test_a_picture_that_is_not_to_be_sent_does_not_freeze(switch: Callable[..., None]) -> None:
    room = Room()
    room.open()
    sequence = play(room, 1, 30)
    switch(room, on=False)
    sequence = play(room, sequence, 10)
    room.host.now += 5 * NS_PER_S
    switch(room, on=True)
    room.host.now += 5 * NS_PER_S
    play(room, sequence, 30)
    assert freezes(room) == (0, 0)


def test_a_publisher_who_comes_back_on_another_leg_left_a_freeze() -> None:
    room = Room()
    room.session.select(room.expert, room.host.now)
    room.open()
    play(room, 1, 30)
    again = room.add(Role.EXPERT, ("192.0.2.9", 9))
    for old in room.session.select(again, room.host.now):
        room.session.remove(old, room.host.now)
    room.expert = again
    room.host.now += 2 * NS_PER_S
    play(room, 1, 30)
    assert freezes(room) == (1, 2_040)


def test_before_the_first_frame_nothing_is_frozen() -> None:
    room = Room()
    room.open()
    room.host.now += 20 * NS_PER_S
    room.send(room.expert, key(1))
    assert freezes(room) == (0, 0)
