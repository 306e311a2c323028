"""From the packets of one stream to its frames. Pure; never raises on any bytes.

VP8: RFC 7741. H.264: RFC 6184. VP9: RFC 9628. AV1: the AOMedia RTP payload specification. Opus: RFC
7587, as the newest block of RED (RFC 2198) as well. Packets may come late and out of order, within
bounds; a frame of which a packet is missing is dropped, and with it everything up to the next frame
that needs no other. Lost sound leaves a gap: what follows keeps its timestamps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from engine.clock import NS_PER_MS
from engine.media import codecs, frames, rtcp, rtp
from engine.media.interface import MediaKind

# How long a missing packet is waited for, from when the first one behind it came. Sound is never
# sent again, so this is for jitter; a picture is mended by retransmissions, which may be lost too.
PATIENCE_NS: Final = {MediaKind.AUDIO: 200 * NS_PER_MS, MediaKind.VIDEO: 1000 * NS_PER_MS}
# And no more packets than that wait: a second at 5 Mbit/s.
WINDOW_PACKETS: Final = 512
# No frame is larger: 700 kB, as for the first frame.
MAX_FRAME_BYTES: Final = 700_000

_MASK32 = 0xFFFFFFFF
_START_CODE = b"\x00\x00\x00\x01"


class Frame(msgspec.Struct, frozen=True):
    """`timestamp` counts on past 32 bits, within one `ssrc`; `codec` names the entry of
    `codecs.CODECS`. `arrived_ns` is when the last of its packets came, however long others were
    waited for.
    """

    codec: str
    data: bytes
    timestamp: int
    key: bool
    ssrc: int = 0
    arrived_ns: int = 0


class Report(msgspec.Struct, frozen=True):
    """A sender report (RFC 3550 section 6.4.1): what was sampled at `ntp` of the sender's clock has
    `timestamp`, which counts as a frame's does.
    """

    ssrc: int
    ntp: int
    timestamp: int


class Depacketizer:
    """What one party is sent of one kind. A new SSRC begins anew: the party came back."""

    def __init__(self, kind: MediaKind) -> None:
        self.dropped = 0
        self._video = kind is MediaKind.VIDEO
        self._patience_ns = PATIENCE_NS[kind]
        self._ssrc = -1
        self._begin_anew()

    @property
    def needs_keyframe(self) -> bool:
        """Whether nothing comes out before a frame that needs no other."""
        return self._video and self._ssrc >= 0 and not self._synced

    def _begin_anew(self) -> None:
        # In the order in which they came.
        self._waiting: dict[int, tuple[bytes, int]] = {}
        self._next = -1
        self._last_timestamp: int | None = None
        self._parts: list[bytes] = []
        self._part_bytes = 0
        self._frame_timestamp: int | None = None
        self._frame_codec: codecs.Codec | None = None
        self._broken = True
        self._synced = False

    def push(self, packet: bytes, now_ns: int = 0) -> list[Frame]:
        """One packet that came now; the frames that are complete by it, in order."""
        if len(packet) < rtp.HEADER_BYTES:
            return []
        sequence = packet[2] << 8 | packet[3]
        ssrc = int.from_bytes(packet[8:12], "big")
        told: list[Frame] = []
        if ssrc != self._ssrc:
            told = self.flush()
            self._ssrc = ssrc
            self._begin_anew()
        if self._next < 0:
            self._next = sequence
        if rtp.sequence_distance(sequence, self._next) >= 0:
            self._waiting.setdefault(sequence, (packet, now_ns))
            told += self._drain(now_ns)
        return told

    def expire(self, now_ns: int) -> list[Frame]:
        """The frames that waited for packets which are now given up."""
        return list(self._drain(now_ns)) if self._waiting else []

    def flush(self) -> list[Frame]:
        """All that waits, whatever is missing: nothing comes any more."""
        return list(self._drain(None))

    def report(self, block: bytes) -> Report | None:
        """A sender report's block; None if it says nothing of the frames that came out."""
        info = rtcp.sender_info(block)
        if info is None or info.ssrc != self._ssrc or not info.ntp or self._last_timestamp is None:
            return None
        return Report(info.ssrc, info.ntp, self._near(info.rtp_timestamp))

    def _drain(self, now_ns: int | None) -> Iterator[Frame]:
        """`now_ns`: None to wait for nothing."""
        while self._waiting:
            waiting = self._waiting.pop(self._next, None)
            if waiting is None:
                if now_ns is not None and not self._overdue(now_ns):
                    return
                self._give_up()
                continue
            self._next = (self._next + 1) & 0xFFFF
            yield from self._take(*waiting)

    def _overdue(self, now_ns: int) -> bool:
        _, oldest_ns = next(iter(self._waiting.values()))
        return now_ns - oldest_ns >= self._patience_ns or len(self._waiting) >= WINDOW_PACKETS

    def _give_up(self) -> None:
        """Go on with the oldest packet there is."""
        self._next = min(self._waiting, key=lambda s: rtp.sequence_distance(s, self._next))
        self._lose()

    def _lose(self) -> None:
        self.dropped += 1
        self._broken, self._synced = True, False
        self._parts.clear()

    def _take(self, packet: bytes, now_ns: int) -> Iterator[Frame]:
        start, end = rtp.payload_bounds(packet, len(packet))
        codec = codecs.BY_PAYLOAD_TYPE.get(packet[1] & 0x7F)
        if start < 0 or start == end or codec is None:
            return
        timestamp = self._unwrap(int.from_bytes(packet[4:8], "big"))
        if self._video:
            for frame in self._take_video(codec, packet, start, end, timestamp):
                yield msgspec.structs.replace(frame, arrived_ns=now_ns)
            return
        data = packet[start:end] if codec is codecs.OPUS else _newest_of_red(packet[start:end])
        if data:
            yield Frame("opus", data, timestamp, True, self._ssrc, now_ns)

    def _unwrap(self, timestamp: int) -> int:
        if self._last_timestamp is not None:
            timestamp = self._near(timestamp)
        self._last_timestamp = timestamp
        return timestamp

    def _near(self, timestamp: int) -> int:
        """With the upper bits that bring it closest to the last one."""
        last = self._last_timestamp or 0
        return last + (timestamp - last + 0x80000000 & _MASK32) - 0x80000000

    def _take_video(
        self, codec: codecs.Codec, packet: bytes, start: int, end: int, timestamp: int
    ) -> Iterator[Frame]:
        if timestamp != self._frame_timestamp or codec is not self._frame_codec:
            begins = frames.inspect(packet[1] & 0x7F, packet, start, end) & frames.START
            self._begin(codec, timestamp, begins=bool(begins))
        if not self._broken:
            self._part_bytes += end - start
            self._parts.append(packet[start:end])
            if self._part_bytes > MAX_FRAME_BYTES:
                self._lose()
        if packet[1] & 0x80 and not self._broken:
            yield from self._finish()

    def _begin(self, codec: codecs.Codec, timestamp: int, *, begins: bool) -> None:
        """`begins`: with this packet, a frame that needs no other."""
        if codec is not self._frame_codec:
            self._synced = False  # no frame of one codec is any use to another
        whole = self._synced or begins
        if self._parts:  # the end of the frame before never came
            self._lose()
            whole = begins
        self._frame_timestamp, self._frame_codec = timestamp, codec
        self._parts, self._part_bytes, self._broken = [], 0, not whole

    def _finish(self) -> Iterator[Frame]:
        parts, self._parts = self._parts, []
        self._broken = True  # until the next frame begins
        assert self._frame_codec is not None
        built = _BUILDERS[self._frame_codec.name](parts)
        if built is None:
            self._lose()
            return
        data, key = built
        if data and (key or self._synced):
            self._synced = True
            assert self._frame_timestamp is not None
            yield Frame(self._frame_codec.name, data, self._frame_timestamp, key, self._ssrc)


Built = tuple[bytes, bool] | None
"""A frame's bytes and whether it needs no other; None if it cannot be put together."""


def _newest_of_red(payload: bytes) -> bytes:
    at, skipped = 0, 0
    while at < len(payload) and payload[at] & 0x80:
        if at + 4 > len(payload):
            return b""
        skipped += (payload[at + 2] & 0x03) << 8 | payload[at + 3]
        at += 4
    return payload[at + 1 + skipped :]


def _vp8(parts: list[bytes]) -> Built:
    bodies = [part[_vp8_descriptor(part) :] for part in parts]
    data = b"".join(bodies)
    return (data, not data[0] & 0x01) if data else None


def _vp8_descriptor(part: bytes) -> int:
    at = 1
    if part[0] & 0x80 and len(part) > 1:
        extended, at = part[1], 2
        if extended & 0x80 and len(part) > at:
            at += 2 if part[at] & 0x80 else 1
        at += bool(extended & 0x40) + bool(extended & 0x30)
    return at


def _vp9(parts: list[bytes]) -> Built:
    key = not parts[0][0] & 0x40
    bodies = [part[_vp9_descriptor(part) :] for part in parts]
    data = b"".join(bodies)
    return (data, key) if data else None


def _vp9_descriptor(part: bytes) -> int:
    """RFC 9628 section 4.2: I P L F B E V Z and what they announce."""
    padded = part + bytes(64)
    flags, at = padded[0], 1
    if flags & 0x80:
        at += 2 if padded[at] & 0x80 else 1
    if flags & 0x20:
        at += 1 if flags & 0x10 else 2
    if flags & 0x10 and flags & 0x40:
        for _ in range(3):
            at += 1
            if not padded[at - 1] & 0x01:
                break
    if flags & 0x02:
        at = _vp9_structure(padded, at)
    return at


def _vp9_structure(padded: bytes, at: int) -> int:
    head = padded[at]
    at += 1
    if head & 0x10:
        at += 4 * ((head >> 5) + 1)
    if head & 0x08:
        pictures = padded[at] if at < len(padded) else 0
        at += 1
        for _ in range(pictures):
            if at >= len(padded):
                break
            at += 1 + (padded[at] >> 2 & 0x03)
    return at


def _h264(parts: list[bytes]) -> Built:
    units: list[bytearray] = []
    for part in parts:
        kind = part[0] & 0x1F
        if kind == 24:
            units.extend(map(bytearray, _stap_units(part)))
        elif kind == 28 and len(part) > 2:
            if part[1] & 0x80:
                units.append(bytearray([part[0] & 0xE0 | part[1] & 0x1F]))
            elif not units:
                return None
            units[-1] += part[2:]
        else:
            units.append(bytearray(part))
    data = b"".join(_START_CODE + bytes(unit) for unit in units if unit)
    return (data, any(unit and unit[0] & 0x1F == 5 for unit in units)) if data else None


def _stap_units(part: bytes) -> Iterator[bytes]:
    at = 1
    while at + 2 < len(part):
        size = part[at] << 8 | part[at + 1]
        yield part[at + 2 : at + 2 + size]
        at += 2 + size


def _av1(parts: list[bytes]) -> Built:
    units: list[bytearray] = []
    for part in parts:
        continues = bool(part[0] & 0x80)
        for element in _av1_elements(part):
            if continues and units:
                units[-1] += element
            else:
                units.append(bytearray(element))
            continues = False
    data = b"".join(_sized_obu(bytes(unit)) for unit in units)
    return (data, bool(parts[0][0] & 0x08)) if data else None


def _av1_elements(part: bytes) -> Iterator[bytes]:
    count, at, index = part[0] >> 4 & 0x03, 1, 1
    while at < len(part):
        size = len(part) - at
        if not count or index < count:
            size, at = _leb128(part, at)
        yield part[at : at + size]
        at += size
        index += 1


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            break
    return value, at


def _sized_obu(unit: bytes) -> bytes:
    """An OBU as files have it: with its size, and without temporal delimiters."""
    if not unit or unit[0] >> 3 & 0x0F == 2:
        return b""
    if unit[0] & 0x02:
        return unit
    head = 2 if unit[0] & 0x04 else 1
    body = unit[head:]
    size, rest = bytearray(), len(body)
    while rest > 0x7F:
        size.append(rest & 0x7F | 0x80)
        rest >>= 7
    size.append(rest)
    return bytes([unit[0] | 0x02]) + unit[1:head] + bytes(size) + body


_BUILDERS: Final[dict[str, Callable[[list[bytes]], Built]]] = {
    "vp8": _vp8,
    "vp9": _vp9,
    "h264": _h264,
    "av1": _av1,
    "opus": lambda parts: None,
    "red": lambda parts: None,
}
