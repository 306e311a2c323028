"""What a party sends while a call is recorded: real encoders, real payload formats, sender reports.

A `Stream` knows when each of its frames was sampled; a test says when its packets come.
"""

from __future__ import annotations

import fractions
import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import av

from engine.clock import NS_PER_S
from engine.media import codecs, rtcp
from engine.media.interface import MediaKind, Role
from tests.support import media_packets

FPS = 25
CHUNK = 500
_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    "h264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"}),
    "av1": ("libsvtav1", {"preset": "12", "svtav1-params": "pred-struct=1:rc=2:lp=1"}),
}
Encoded = list[tuple[bytes, bool]]


@functools.cache
def picture(codec: str, frames: int = 2 * FPS) -> Encoded:
    """A moving gradient, 160 by 120, one keyframe at its beginning: bytes and whether it is one."""
    # For root the AV1 encoder makes the thread that opens it a real-time one, and with it every
    # process that this thread starts later: two of those that spin stop a machine of two cores.
    with ThreadPoolExecutor(max_workers=1) as encoder:
        return encoder.submit(_encoded, codec, frames).result()


def _encoded(codec: str, frames: int) -> Encoded:
    name, options = _ENCODERS[codec]
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 160, 120, "yuv420p"
    encoder.time_base = fractions.Fraction(1, FPS)
    encoder.framerate = fractions.Fraction(FPS)
    encoder.bit_rate, encoder.gop_size, encoder.options = 400_000, 10_000, options
    packets: list[Any] = []
    for number in range(frames):
        frame = av.VideoFrame(160, 120, "yuv420p")
        for index, plane in enumerate(frame.planes):
            shift = 5 * number if index == 0 else 0
            row = bytes((7 * x + shift) % 256 for x in range(plane.line_size))
            plane.update(row * (plane.buffer_size // plane.line_size))
        frame.pts, frame.time_base = number, encoder.time_base
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    assert len(packets) == frames
    return [(bytes(packet), packet.is_keyframe) for packet in packets]


@functools.cache
def sound(frames: int = 50) -> Encoded:
    """Silence in packets of 20 ms."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "stereo", "s16"
    packets: list[Any] = []
    for number in range(frames):
        frame = av.AudioFrame("s16", "stereo", 960)
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        frame.sample_rate, frame.pts = 48_000, 960 * number
        packets += encoder.encode(frame)
    return [(bytes(packet), True) for packet in packets]


def payloads(codec: str, data: bytes, *, key: bool) -> list[bytes]:
    """A frame as RTP payloads."""
    if codec == "opus":
        return [data]
    if codec == "h264":
        return list(_h264(data))
    if codec == "av1":
        return list(_av1(data, key=key))
    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    if codec == "vp8":
        return [(b"\x00" if n else b"\x10") + chunk for n, chunk in enumerate(chunks)]
    inter = 0 if key else 0x40
    last = len(chunks) - 1
    return [
        bytes([inter | (0 if n else 0x08) | (0x04 if n == last else 0)]) + chunk
        for n, chunk in enumerate(chunks)
    ]


def _h264(data: bytes) -> Iterator[bytes]:
    for unit in filter(None, data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")):
        if len(unit) <= CHUNK:
            yield unit
            continue
        chunks = [unit[at : at + CHUNK] for at in range(1, len(unit), CHUNK)]
        for n, chunk in enumerate(chunks):
            edges = (0x80 if n == 0 else 0) | (0x40 if n == len(chunks) - 1 else 0)
            yield bytes([unit[0] & 0xE0 | 28, edges | unit[0] & 0x1F]) + chunk


def _av1(data: bytes, *, key: bool) -> Iterator[bytes]:
    """One OBU element a packet; without sizes and temporal delimiters, as senders have to."""
    first = True
    for unit in _obus(data):
        chunks = [unit[at : at + CHUNK] for at in range(0, len(unit), CHUNK)]
        for n, chunk in enumerate(chunks):
            head = 0x10 | (0x80 if n else 0) | (0x40 if n < len(chunks) - 1 else 0)
            yield bytes([head | (0x08 if first and key else 0)]) + chunk
            first = False


def _obus(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        head = data[at]
        assert head & 0x02, "encoders write sizes"
        at += 1
        size, shift = 0, 0
        while True:
            size |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not data[at - 1] & 0x80:
                break
        if head >> 3 & 0x0F != 2:
            yield bytes([head & 0xFD]) + data[at : at + size]
        at += size


class Stream:
    """One stream of a party. Its clock reads `ntp_s` when the recording begins at 0."""

    def __init__(
        self, role: Role, codec: str, *, ssrc: int = 7, first_timestamp: int = 0, ntp_s: int = 0
    ) -> None:
        self.role = role
        self.kind = MediaKind.AUDIO if codec == "opus" else MediaKind.VIDEO
        self.codec = codec
        self.ssrc = ssrc
        self.sequence = 65_500  # so that it wraps
        self.rate_hz = codecs.CODECS[codec].clock_rate_hz
        self.per_s = 50 if codec == "opus" else FPS
        self._first_timestamp = first_timestamp
        self._ntp_s = ntp_s

    @property
    def frames(self) -> Encoded:
        return sound() if self.codec == "opus" else picture(self.codec)

    def change_codec(self, codec: str) -> None:
        self.codec = codec

    def timestamp(self, sampled_ns: int) -> int:
        return (self._first_timestamp + sampled_ns * self.rate_hz // NS_PER_S) & 0xFFFFFFFF

    def frame(self, number: int) -> list[bytes]:
        """The packets of the frame sampled `number` frames after the beginning."""
        data, key = self.frames[number % len(self.frames)]
        parts = payloads(self.codec, data, key=key)
        sampled_ns = number * NS_PER_S // self.per_s
        packets = []
        for n, payload in enumerate(parts):
            packets.append(
                media_packets.rtp(
                    payload_type=codecs.CODECS[self.codec].payload_type,
                    sequence=self.sequence & 0xFFFF,
                    timestamp=self.timestamp(sampled_ns),
                    ssrc=self.ssrc,
                    marker=n == len(parts) - 1 and self.kind is MediaKind.VIDEO,
                    payload=payload,
                )
            )
            self.sequence += 1
        return packets

    def report(self, sampled_ns: int) -> bytes:
        """The sender report of that instant."""
        ntp = (self._ntp_s << 32) + (sampled_ns << 32) // NS_PER_S
        info = rtcp.SenderInfo(self.ssrc, ntp, self.timestamp(sampled_ns), 1, 1)
        return rtcp.build_sr(info)
