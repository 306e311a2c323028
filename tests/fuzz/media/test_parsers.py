"""No bytes from the network make a parser raise, loop or grow: only the declared error escapes."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadInput
from engine.media import codecs, feedback, frames, ice, limits, rtcp, rtp, sdp
from engine.media.ice import IceLite
from engine.media.interface import MediaKind
from tests.support import media_packets as packets
from tests.unit.media.test_outgoing import Relay
from tests.unit.media.test_sdp import ANSWER, KINDS, TYPES

ANY = st.binary(max_size=200)
PAYLOAD_TYPES = st.sampled_from([*codecs.BY_PAYLOAD_TYPE, *codecs.BY_RTX_PAYLOAD_TYPE, 0, 127])


@st.composite
def bent(draw: st.DrawFn, good: bytes) -> bytes:
    """A valid message with some bytes changed, cut short or with something behind it."""
    data = bytearray(good)
    for _ in range(draw(st.integers(0, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    end = draw(st.integers(0, len(data)))
    return bytes(data[:end]) if draw(st.booleans()) else bytes(data) + draw(ANY)


GOOD_RTP = packets.rtp(mid=b"1", transport=9, payload=packets.VP8_KEY, padding=7)


@given(st.one_of(ANY, bent(GOOD_RTP)), st.integers(0, 255))
def test_rtp(data: bytes, extension: int) -> None:
    start, end = rtp.payload_bounds(data, len(data))
    assert (start, end) == (-1, -1) or 12 <= start <= end <= len(data)
    at, size = rtp.find_extension(data, len(data), extension)
    assert at == -1 or 16 <= at <= at + size <= len(data)
    if len(data) >= rtp.HEADER_BYTES:
        rtp.build_rtx(data, payload_type=97, ssrc=1, sequence=1)


@given(PAYLOAD_TYPES, st.binary(max_size=60))
def test_frame_descriptors(payload_type: int, payload: bytes) -> None:
    flags = frames.inspect(payload_type, payload, 0, len(payload))
    assert flags in (0, frames.START, frames.KEY, frames.START | frames.KEY)


GOOD_RTCP = (
    rtcp.build_sr(rtcp.SenderInfo(1, 2, 3, 4, 5))
    + rtcp.build_rr(1, [rtcp.ReportBlock(1, 2, 3, 4, 5, 6, 7)])
    + rtcp.build_nack(1, 2, [3, 4, 90])
    + packets.transport_feedback(3, [True, False] * 20)
)


@given(st.one_of(ANY, bent(GOOD_RTCP)))
def test_rtcp(data: bytes) -> None:
    for kind, count, block in rtcp.split(data):
        assert len(rtcp.report_blocks(kind, count, block)) <= 31
        assert len(rtcp.nack_sequences(block)) <= limits.MAX_NACK_SEQUENCES
        assert len(rtcp.transport_received(block)) <= limits.ACK_WINDOW_PACKETS
        rtcp.sender_info(block)
        rtcp.fir_ssrcs(block)
        rtcp.media_ssrc(block)


AGENT = IceLite(0)
GOOD_STUN = packets.binding_request(AGENT.current, use_candidate=True)


@given(st.one_of(ANY, bent(GOOD_STUN)))
def test_stun(data: bytes) -> None:
    agent = IceLite(0)
    agent.current = AGENT.current
    named = ice.local_ufrag(data)
    reply = agent.handle_request(data, ("192.0.2.1", 1), 1)
    if reply.accepted:
        assert named == AGENT.current.ufrag
    else:
        assert agent.addresses == []


LINES = st.sampled_from(
    [*ANSWER.split("\r\n"), "a=", "m=", "m=audio", "a=ssrc:", "a=ssrc-group:FID"]
)
NOISE = st.text(st.characters(max_codepoint=300), max_size=40)


@settings(max_examples=300)
@given(st.one_of(st.lists(st.one_of(LINES, NOISE), max_size=40).map("\r\n".join), st.text()))
def test_sdp_of_known_lines_in_any_order(text: str) -> None:
    with contextlib.suppress(BadInput):
        sdp.parse_answer(text, KINDS, TYPES)


@settings(max_examples=300)
@given(bent(ANSWER.encode()))
def test_sdp_with_changed_bytes(data: bytes) -> None:
    with contextlib.suppress(BadInput):
        sdp.parse_answer(data.decode("latin-1"), KINDS, TYPES)


@given(
    st.lists(
        st.tuples(st.booleans(), PAYLOAD_TYPES, st.integers(0, 400), ANY, st.booleans()),
        max_size=40,
    )
)
def test_relaying_any_authenticated_packets(
    steps: list[tuple[bool, int, int, bytes, bool]],
) -> None:
    """A hostile publisher reaches the viewer with at most one packet per packet, never twice."""
    relay = Relay(MediaKind.VIDEO)
    for now, (repair, payload_type, sequence, payload, marker) in enumerate(steps):
        packet = packets.rtp(
            payload_type=payload_type, sequence=sequence, payload=payload, marker=marker
        )
        (relay.push_repair if repair else relay.push)(packet, now)
    sent = [(ssrc, sequence) for _, sequence, _, ssrc in relay.viewer.headers()]
    assert len(sent) == len(set(sent)) <= len(steps)


class _Deaf:
    """A path to which no report means anything: feedback must survive all the same."""

    def __init__(self) -> None:
        self.tracks: dict[int, object] = {}
        self.out_by_ssrc: dict[int, object] = {}
        self.counters = {"nacks_received": 0}

    def sent_publisher(self) -> None:
        return None

    def transport_acked(self, block: bytes, _now_ns: int) -> None:
        rtcp.transport_received(block)


@given(st.one_of(ANY, bent(GOOD_RTCP)))
def test_feedback_of_unknown_streams(data: bytes) -> None:
    feedback.handle(_Deaf(), data, 0)  # type: ignore[arg-type]
