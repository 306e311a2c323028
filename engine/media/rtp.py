"""RTP on the wire (RFC 3550 section 5, RFC 8285, RFC 4588): looking at packets, never objects.

All functions take any buffer holding the whole packet and its length, read within it and answer
with a value that says "malformed" instead of raising.
"""

from __future__ import annotations

import struct
from typing import Final

Buffer = bytes | bytearray | memoryview

HEADER: Final = struct.Struct("!BBHII")
HEADER_BYTES: Final = 12
ONE_BYTE_PROFILE: Final = 0xBEDE
TWO_BYTE_PROFILE: Final = 0x100

_EXTENSION_HEADER = struct.Struct("!HH")


def payload_bounds(data: Buffer, length: int) -> tuple[int, int]:
    """Start and end of the payload without padding; ``(-1, -1)`` when the packet is malformed."""
    if length < HEADER_BYTES or data[0] >> 6 != 2:
        return -1, -1
    start = HEADER_BYTES + 4 * (data[0] & 0x0F)
    if data[0] & 0x10:
        if start + 4 > length:
            return -1, -1
        start += 4 + 4 * _EXTENSION_HEADER.unpack_from(data, start)[1]
    end = length
    if data[0] & 0x20:
        padding = data[length - 1]
        if padding == 0:
            return -1, -1
        end -= padding
    return (start, end) if start <= end else (-1, -1)


def find_extension(data: Buffer, length: int, wanted: int) -> tuple[int, int]:
    """Offset and size of the header extension `wanted`; ``(-1, 0)`` when absent or malformed."""
    if length < HEADER_BYTES or not data[0] & 0x10:
        return -1, 0
    at = HEADER_BYTES + 4 * (data[0] & 0x0F)
    if at + 4 > length:
        return -1, 0
    profile, words = _EXTENSION_HEADER.unpack_from(data, at)
    at += 4
    end = at + 4 * words
    if end > length:
        return -1, 0
    if profile == ONE_BYTE_PROFILE:
        return _find_one_byte(data, at, end, wanted)
    if profile >> 4 == TWO_BYTE_PROFILE:
        return _find_two_byte(data, at, end, wanted)
    return -1, 0


def _find_one_byte(data: Buffer, at: int, end: int, wanted: int) -> tuple[int, int]:
    while at < end:
        head = data[at]
        if head == 0:
            at += 1
            continue
        identifier = head >> 4
        size = (head & 0x0F) + 1
        if identifier == 15:  # RFC 8285 section 4.2: processing stops
            return -1, 0
        if identifier == wanted:
            return (at + 1, size) if at + 1 + size <= end else (-1, 0)
        at += 1 + size
    return -1, 0


def _find_two_byte(data: Buffer, at: int, end: int, wanted: int) -> tuple[int, int]:
    while at + 1 < end:
        identifier = data[at]
        if identifier == 0:
            at += 1
            continue
        size = data[at + 1]
        if identifier == wanted:
            return (at + 2, size) if at + 2 + size <= end else (-1, 0)
        at += 2 + size
    return -1, 0


def transport_sequence(data: Buffer, length: int, extension_id: int) -> int:
    """The transport-wide sequence number, -1 when there is none."""
    at, size = find_extension(data, length, extension_id)
    return (data[at] << 8 | data[at + 1]) if size == 2 else -1


def build_rtx(packet: bytes, *, payload_type: int, ssrc: int, sequence: int) -> bytes | None:
    """`packet` as a retransmission (RFC 4588 section 4), None when it is malformed.

    Header extensions are left out: the number for transport-wide feedback belongs to the first
    sending, and the SSRC alone identifies the stream.
    """
    start, end = payload_bounds(packet, len(packet))
    if start < 0:
        return None
    _, second, original, timestamp, _ = HEADER.unpack_from(packet)
    header = HEADER.pack(
        0x80, (second & 0x80) | payload_type, sequence & 0xFFFF, timestamp, ssrc & 0xFFFFFFFF
    )
    return b"".join((header, original.to_bytes(2, "big"), packet[start:end]))


def sequence_distance(newer: int, older: int) -> int:
    """How far `newer` is ahead of `older`, in [-32768, 32767]."""
    return ((newer - older + 0x8000) & 0xFFFF) - 0x8000
