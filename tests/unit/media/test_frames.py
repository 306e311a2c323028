"""Where a frame begins that the customer can decode alone."""

from __future__ import annotations

import pytest

from engine.media import codecs
from engine.media.frames import KEY, START, inspect

VP8, H264 = codecs.VP8.payload_type, codecs.H264.payload_type
VP9, AV1 = codecs.VP9.payload_type, codecs.AV1.payload_type


def _nal(kind: int) -> bytes:
    return bytes([0x60 | kind, 1, 2])


def _stap(*kinds: int) -> bytes:
    return bytes([24]) + b"".join(len(_nal(k)).to_bytes(2, "big") + _nal(k) for k in kinds)


@pytest.mark.parametrize(
    ("payload_type", "payload", "flags"),
    [
        (VP8, b"\x10\x00", START | KEY),
        (VP8, b"\x10\x01", 0),  # an inter frame
        (VP8, b"\x00\x00", 0),  # the middle of a frame
        (VP8, b"\x11\x00", 0),  # the second partition
        (VP8, b"\x90\x80\x05\x00", START | KEY),  # one-byte picture id
        (VP8, b"\x90\x80\x85\x05\x00", START | KEY),  # two-byte picture id
        (VP8, b"\x90\xf0\x85\x05\x01\x20\x00", START | KEY),  # all fields
        (VP8, b"\x90\xf0\x85\x05\x01\x20\x01", 0),
        (VP8, b"\x90\xf0\x85", 0),  # cut off
        (VP8, b"", 0),
        (H264, _nal(5), START | KEY),
        (H264, _nal(7), START),
        (H264, _nal(8), 0),
        (H264, _nal(1), 0),
        (H264, _stap(7, 8), START),
        (H264, _stap(7, 8, 5), START | KEY),
        (H264, _stap(1, 1), 0),
        (H264, _stap(7, 5)[:-1], 0),  # an aggregate that was cut off
        (H264, bytes([28, 0x80 | 5, 1]), START | KEY),
        (H264, bytes([28, 5, 1]), KEY),
        (H264, bytes([28, 0x80 | 1, 1]), 0),
        (H264, bytes([28]), 0),
        (VP9, b"\x08\x00\x00", START | KEY),
        (VP9, b"\x48\x00\x00", 0),  # inter predicted
        (VP9, b"\x00\x00\x00", 0),  # does not begin a frame
        (VP9, b"\xa8\x05\x00\x00", START | KEY),  # picture id, base layer
        (VP9, b"\xa8\x05\x02\x00", 0),  # first spatial layer above
        (VP9, b"\xa8\x05", 0),
        (AV1, b"\x18\x0a", START | KEY),
        (AV1, b"\x10\x0a", 0),
        (AV1, b"\x98\x0a", 0),  # continues an OBU
        (AV1, b"", 0),
        (codecs.OPUS.payload_type, b"\x10\x00", 0),
    ],
)
def test_decodable_frame_starts(payload_type: int, payload: bytes, flags: int) -> None:
    assert inspect(payload_type, b"--" + payload, 2, 2 + len(payload)) == flags
