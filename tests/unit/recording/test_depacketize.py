"""Packets to frames: in order, whole or not at all, and never an exception."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.media import codecs, rtcp
from engine.media.interface import MediaKind
from engine.recording.depacketize import PATIENCE_NS, WINDOW_PACKETS, Depacketizer, Frame, Report
from tests.support import media_packets as packets

VP8, H264, VP9, AV1 = (
    codec.payload_type for codec in (codecs.VP8, codecs.H264, codecs.VP9, codecs.AV1)
)


def vp8(
    sequence: int, timestamp: int, *, key: bool = False, begin: bool = True, last: bool = True
) -> bytes:
    payload = (
        (b"\x10" if begin else b"\x00") + (b"\x00" if key else b"\x01") + bytes([sequence & 255])
    )
    return packets.rtp(sequence=sequence, timestamp=timestamp, marker=last, payload=payload)


def feed(stream: Depacketizer, *given_packets: bytes) -> list[Frame]:
    return [frame for packet in given_packets for frame in stream.push(packet)]


def test_frames_come_out_in_order_however_the_packets_came() -> None:
    whole = [vp8(n, n // 2 * 3000, key=n < 2, begin=n % 2 == 0, last=n % 2 == 1) for n in range(40)]
    expected = feed(Depacketizer(MediaKind.VIDEO), *whole)
    assert [frame.timestamp for frame in expected] == [n * 3000 for n in range(20)]
    shuffled = whole[1:]
    random.Random(1).shuffle(shuffled)
    assert feed(Depacketizer(MediaKind.VIDEO), whole[0], *shuffled) == expected


def test_numbers_and_timestamps_may_wrap() -> None:
    stream = Depacketizer(MediaKind.VIDEO)
    start = (1 << 32) - 3000
    told = feed(
        stream,
        *(
            vp8((65_534 + n) & 65_535, (start + n * 3000) & 0xFFFFFFFF, key=n == 0)
            for n in range(4)
        ),
    )
    assert [frame.timestamp - start for frame in told] == [0, 3000, 6000, 9000]


def test_after_a_loss_nothing_comes_until_the_next_keyframe() -> None:
    stream = Depacketizer(MediaKind.VIDEO)
    told = feed(stream, vp8(0, 0, key=True), vp8(1, 3000))
    told += feed(stream, *(vp8(n, n * 3000) for n in range(3, 3 + WINDOW_PACKETS)))
    assert [frame.timestamp for frame in told] == [0, 3000]
    later = 3 + WINDOW_PACKETS
    assert [f.key for f in feed(stream, vp8(later, later * 3000, key=True))] == [True]
    assert stream.dropped == 1


def opus(sequence: int) -> bytes:
    payload = bytes([sequence & 255])
    return packets.rtp(
        payload_type=111, sequence=sequence, timestamp=960 * sequence, payload=payload
    )


@pytest.mark.parametrize("kind", MediaKind)
def test_a_missing_packet_is_waited_for_only_so_long(kind: MediaKind) -> None:
    """From when the first one behind it came; it costs nothing but its own place."""
    stream, patience_ns = Depacketizer(kind), PATIENCE_NS[kind]
    made = opus if kind is MediaKind.AUDIO else lambda n: vp8(n, 960 * n, key=n != 1)
    assert len(stream.push(made(0), 0)) == 1
    assert stream.push(made(2), 7) == []
    assert stream.push(made(3), 7 + patience_ns - 1) == []
    assert stream.expire(7 + patience_ns - 1) == []
    told = stream.expire(7 + patience_ns)
    assert [frame.timestamp for frame in told] == [1920, 2880]
    assert [frame.arrived_ns for frame in told] == [7, 7 + patience_ns - 1]
    assert stream.push(made(1), 8 + patience_ns) == [], "too late"
    assert [frame.timestamp for frame in stream.push(made(4), 9 + patience_ns)] == [3840]


def test_every_gap_is_waited_for_on_its_own() -> None:
    stream, patience_ns = Depacketizer(MediaKind.AUDIO), PATIENCE_NS[MediaKind.AUDIO]
    stream.push(opus(0), 0)
    assert stream.push(opus(2), 0) == []
    assert stream.push(opus(4), patience_ns // 2) == []
    assert [frame.timestamp for frame in stream.expire(patience_ns)] == [1920]
    assert [frame.timestamp for frame in stream.push(opus(3), patience_ns + 1)] == [2880, 3840]


def test_what_waits_at_the_end_comes_out() -> None:
    stream = Depacketizer(MediaKind.AUDIO)
    assert len(feed(stream, opus(0), opus(2), opus(5))) == 1
    assert [frame.timestamp for frame in stream.flush()] == [1920, 4800]
    assert stream.flush() == []


def test_what_waits_comes_out_before_a_viewer_that_came_back() -> None:
    stream = Depacketizer(MediaKind.AUDIO)
    feed(stream, opus(0), opus(2))
    again = packets.rtp(payload_type=111, sequence=9, timestamp=5, ssrc=2, payload=b"again")
    assert [(frame.ssrc, frame.timestamp) for frame in feed(stream, again)] == [(1, 1920), (2, 5)]


def test_frames_of_another_codec_begin_with_a_keyframe() -> None:
    stream = Depacketizer(MediaKind.VIDEO)
    slice_, idr = (
        packets.rtp(payload_type=H264, sequence=n, timestamp=3000 * n, marker=True, payload=payload)
        for n, payload in ((1, b"\x41slice"), (2, b"\x65idr"))
    )
    told = feed(stream, vp8(0, 0, key=True), slice_)
    assert stream.needs_keyframe
    told += feed(stream, idr, vp8(3, 9000))
    assert stream.needs_keyframe
    told += feed(stream, vp8(4, 12_000, key=True), vp8(5, 15_000))
    assert [(frame.codec, frame.key) for frame in told] == [
        ("vp8", True),
        ("h264", True),
        ("vp8", True),
        ("vp8", False),
    ]


def test_a_report_counts_as_the_frames_do() -> None:
    stream = Depacketizer(MediaKind.VIDEO)
    start = (1 << 32) - 3000
    block = rtcp.build_sr(rtcp.SenderInfo(1, 5 << 32, 1500, 1, 1))
    assert stream.report(block) is None, "of nothing that was seen"
    feed(stream, vp8(0, start, key=True), vp8(1, 0), vp8(2, 3000))
    assert stream.report(block) == Report(1, 5 << 32, (1 << 32) + 1500)
    assert stream.report(rtcp.build_sr(rtcp.SenderInfo(2, 5 << 32, 1500, 1, 1))) is None
    assert stream.report(rtcp.build_sr(rtcp.SenderInfo(1, 0, 1500, 1, 1))) is None, "no clock"
    assert stream.report(block[:20]) is None


def test_a_video_begins_with_a_keyframe() -> None:
    stream = Depacketizer(MediaKind.VIDEO)
    assert feed(stream, vp8(0, 0), vp8(1, 3000)) == []


def test_h264_gets_start_codes() -> None:
    stream = Depacketizer(MediaKind.VIDEO)
    aggregate = b"\x78\x00\x02\x67\x01\x00\x02\x68\x02"
    told = feed(
        stream,
        packets.rtp(payload_type=H264, sequence=0, payload=aggregate),
        packets.rtp(payload_type=H264, sequence=1, payload=b"\x7c\x85one"),
        packets.rtp(payload_type=H264, sequence=2, payload=b"\x7c\x45two", marker=True),
    )
    (frame,) = told
    assert frame.key
    assert frame.data == b"\0\0\0\1\x67\x01\0\0\0\1\x68\x02\0\0\0\1\x65onetwo"


def test_av1_gets_sizes_and_loses_delimiters() -> None:
    stream = Depacketizer(MediaKind.VIDEO)
    # Two elements, the second continued in the next packet: a sequence header and a frame.
    told = feed(
        stream,
        packets.rtp(payload_type=AV1, sequence=0, payload=b"\x68\x03\x08ab\x30cd"),
        packets.rtp(payload_type=AV1, sequence=1, payload=b"\x90ef", marker=True),
    )
    (frame,) = told
    assert frame.key
    assert frame.data == b"\x0a\x02ab\x32\x04cdef"


def test_vp9_descriptors_are_stripped() -> None:
    stream = Depacketizer(MediaKind.VIDEO)
    told = feed(
        stream,
        packets.rtp(payload_type=VP9, sequence=0, payload=b"\x88\x05first"),
        packets.rtp(payload_type=VP9, sequence=1, payload=b"\x84\x05last", marker=True),
    )
    assert [(frame.data, frame.key) for frame in told] == [(b"firstlast", True)]


def test_the_newest_block_of_red_is_the_sound() -> None:
    stream = Depacketizer(MediaKind.AUDIO)
    redundant = bytes([0x80 | 111, 0, 0, 3]) + bytes([111]) + b"old" + b"new"
    told = feed(
        stream,
        packets.rtp(payload_type=63, sequence=0, payload=redundant),
        packets.rtp(payload_type=111, sequence=1, payload=b"plain"),
    )
    assert [frame.data for frame in told] == [b"new", b"plain"]


@pytest.mark.parametrize("kind", MediaKind)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([VP8, H264, VP9, AV1, 111, 63, 0]),
            st.integers(0, 12),
            st.integers(0, 3),
            st.booleans(),
            st.binary(max_size=40),
        ),
        max_size=60,
    )
)
def test_no_bytes_raise(kind: MediaKind, steps: list[tuple[int, int, int, bool, bytes]]) -> None:
    stream = Depacketizer(kind)
    for payload_type, sequence, timestamp, marker, payload in steps:
        stream.push(
            packets.rtp(
                payload_type=payload_type,
                sequence=sequence,
                timestamp=timestamp,
                marker=marker,
                payload=payload,
            )
        )
        stream.push(payload)
        stream.report(payload)
    stream.flush()


def test_a_viewer_that_came_back_is_a_new_beginning() -> None:
    stream = Depacketizer(MediaKind.VIDEO)
    feed(stream, vp8(40_000, 0, key=True))
    again = packets.rtp(sequence=7, timestamp=99, ssrc=2, marker=True, payload=packets.VP8_KEY)
    (frame,) = feed(stream, again)
    assert (frame.ssrc, frame.timestamp) == (2, 99)
