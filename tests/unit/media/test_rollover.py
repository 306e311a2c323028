"""More than 65,536 packets under real SRTP: both directions roll over, with packets lost and in
disorder around it, and every one keeps its number (RFC 3711 section 3.3.1).
"""

from __future__ import annotations

import random

import pytest

from engine.clock import NS_PER_MS, NS_PER_S
from engine.media import codecs, rtcp, rtp
from engine.media.interface import MediaKind
from tests.support import media_packets as packets
from tests.support.planes import RIGS
from tests.unit.media.test_session import OPUS, VIDEO, Host, Room, key

FIRST = 65_000
COUNT = 70_000
WRAP = 0x10000
ROUGH = 120


@pytest.fixture(autouse=True, params=RIGS)
def _plane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "new_plane", RIGS[request.param], raising=False)


def packet(kind: MediaKind, number: int) -> bytes:
    """The stream's packet `number`, which says so itself."""
    return packets.rtp(
        payload_type=OPUS if kind is MediaKind.AUDIO else codecs.VP8.payload_type,
        sequence=FIRST + number,
        timestamp=960 * number,
        ssrc=20,
        payload=packets.VP8_KEY + number.to_bytes(4, "big"),
    )


def number_of(sent: bytes) -> int:
    return int.from_bytes(sent[-4:], "big")


def wraps(first_sequence: int) -> list[int]:
    """The numbers at which a stream that began with `first_sequence` has sequence number 0."""
    return list(range(WRAP - first_sequence, COUNT, WRAP))


def rough(rng: random.Random, at: list[int], kept: set[int]) -> list[int]:
    """Numbers in the order of their arrival: in disorder by up to 12 around these."""

    def place(number: int) -> float:
        return number + (rng.uniform(0, 12) if any(abs(number - w) < ROUGH for w in at) else 0)

    return sorted(kept, key=place)


def losses(rng: random.Random, at: list[int]) -> set[int]:
    """Every fifth around these numbers, among them the very packets of the wrap."""
    near = [n for w in at for n in range(w - ROUGH, w + ROUGH) if rng.random() < 0.2]
    return {n for n in (*near, *at, *(w - 1 for w in at)) if 0 < n < COUNT}


@pytest.mark.parametrize("kind", MediaKind)
def test_streams_roll_over_with_loss_and_disorder_on_both_sides(kind: MediaKind) -> None:
    rng = random.Random(7)
    room = Room()
    room.open()
    first_out = room.customer.streams[kind].first_sequence
    at_in, at_out = wraps(FIRST), wraps(first_out)
    assert min(len(at_in), len(at_out)) > 0, "both roll over"
    lost_in, lost_out = losses(rng, at_in), losses(rng, at_out)
    assert room.expert.address is not None
    sender, viewer = room.peer(room.expert), room.peer(room.customer)
    # A sender protects in its own order; the network disorders what is protected.
    wire = [sender.protect(packet(kind, number)) for number in range(COUNT)]
    order = rough(rng, at_in + at_out, set(range(COUNT)) - lost_in)
    left: list[int] = []
    for number in order:
        room.host.now += NS_PER_MS
        room.host.plane.feed(wire[number], room.expert.address, room.host.now)
        for address, datagram in room.host.plane.take_sent():
            if address != room.customer.address:
                continue
            left.append(number)
            if number not in lost_out:
                viewer.take(datagram)
    assert left == order, "each left at once and was taken for nothing else"
    assert [number_of(sent) for sent in viewer.media] == [n for n in order if n not in lost_out]
    for sent in viewer.media:
        sequence = rtp.HEADER.unpack_from(sent)[2]
        assert sequence == (first_out + number_of(sent)) & 0xFFFF
    stats = room.expert.path.stats()
    assert (stats.expected_in, stats.lost_in) == (COUNT, len(lost_in))
    assert room.counter("srtp_auth_failed") == room.counter("srtp_protect_failed") == 0
    assert room.counter("rtp_duplicate") == 0


@pytest.mark.parametrize("rtx", [True, False], ids=["RTX", "plain"])
def test_packets_from_before_a_wrap_are_mended_after_it(rtx: bool) -> None:
    """By the publisher's retransmissions as well as by the engine's own."""
    room = Room()
    room.open()
    types = frozenset(codecs.BY_PAYLOAD_TYPE)
    repairs = frozenset(codecs.BY_RTX_PAYLOAD_TYPE) if rtx else frozenset()
    room.customer.path.negotiate(VIDEO, types, repairs, {})
    stream = room.customer.streams[VIDEO]
    number_at_wrap = WRAP - stream.first_sequence
    missing, unheard = number_at_wrap - 3, number_at_wrap - 5
    room.send(room.expert, key(0))
    for number in range(1, number_at_wrap + 20):
        if number == unheard:
            room.media_to(room.customer)
        if number != missing:
            room.send(room.expert, packets.rtp(sequence=number, ssrc=20), NS_PER_MS)
        if number == unheard:
            room.host.plane.take_sent()  # lost on its way to the viewer
    before = len(room.media_to(room.customer))
    mended = missing.to_bytes(2, "big") + packets.VP8_DELTA
    room.send(room.expert, packets.rtp(payload_type=97, ssrc=31, payload=mended))
    room.host.now += NS_PER_S
    room.control(room.customer, rtcp.build_nack(1, stream.ssrc, [WRAP - 5]))
    again = room.media_to(room.customer)[before:]
    ssrcs, originals = zip(*(origin(sent) for sent in again), strict=True)
    assert set(ssrcs) == {stream.rtx_ssrc if rtx else stream.ssrc}
    assert originals == (WRAP - 3, WRAP - 5)


def origin(sent: bytes) -> tuple[int, int]:
    """SSRC of a packet, and the number of what it is or repeats."""
    _, second, sequence, _, ssrc = rtp.HEADER.unpack_from(sent)
    if second & 0x7F in codecs.BY_RTX_PAYLOAD_TYPE:
        start, _ = rtp.payload_bounds(sent, len(sent))
        sequence = int.from_bytes(sent[start : start + 2], "big")
    return ssrc, sequence
