"""RTCP on the wire (RFC 3550 section 6, RFC 4585, transport-wide feedback): parse and build.

`split` walks a compound; the readers take one block that `split` has bounded. Nothing raises on any
input: what is malformed is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from engine.media import limits

SR: Final = 200
RR: Final = 201
SDES: Final = 202
BYE: Final = 203
RTPFB: Final = 205
PSFB: Final = 206

NACK: Final = 1
TRANSPORT_CC: Final = 15
PLI: Final = 1
FIR: Final = 4

_REPORT = struct.Struct("!IIIIII")
_SENDER = struct.Struct("!IQIII")


class ReportBlock(msgspec.Struct, frozen=True):
    """RFC 3550 section 6.4.1. `last_sr` and `delay` are in 1/65536 s; `lost` is cumulative."""

    ssrc: int
    fraction: int
    lost: int
    highest: int
    jitter: int
    last_sr: int
    delay: int


class SenderInfo(msgspec.Struct, frozen=True):
    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int


def split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Each block of a compound as (packet type, count or format, whole block); bounded."""
    at = 0
    for _ in range(limits.MAX_RTCP_BLOCKS):
        if at + 4 > len(data) or data[at] >> 6 != 2:
            return
        size = 4 * (1 + (data[at + 2] << 8 | data[at + 3]))
        if at + size > len(data):
            return
        yield data[at + 1], data[at] & 0x1F, data[at : at + size]
        at += size


def sender_info(block: bytes) -> SenderInfo | None:
    """The sender's part of an SR block."""
    return SenderInfo(*_SENDER.unpack_from(block, 4)) if len(block) >= 28 else None


def report_blocks(kind: int, count: int, block: bytes) -> list[ReportBlock]:
    """The report blocks of an SR or RR block, as many as really are there."""
    start = 28 if kind == SR else 8
    count = max(0, min(count, (len(block) - start) // 24))
    return [_report(block, start + 24 * i) for i in range(count)]


def _report(block: bytes, at: int) -> ReportBlock:
    ssrc, loss, highest, jitter, last_sr, delay = _REPORT.unpack_from(block, at)
    lost = loss & 0xFFFFFF
    if lost & 0x800000:  # a signed 24-bit number: duplicates make it negative
        lost -= 1 << 24
    return ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last_sr, delay)


def media_ssrc(block: bytes) -> int:
    """The media SSRC of a feedback block (RFC 4585 section 6.1), 0 when it is too short."""
    return int.from_bytes(block[8:12], "big") if len(block) >= 12 else 0


def fir_ssrcs(block: bytes) -> list[int]:
    """The SSRCs that a full intra request names (RFC 5104 section 4.3.1)."""
    end = min(len(block) - 7, 12 + 8 * limits.MAX_RTCP_BLOCKS)
    return [int.from_bytes(block[at : at + 4], "big") for at in range(12, end, 8)]


def nack_sequences(block: bytes) -> list[int]:
    """Sequence numbers of a generic NACK (RFC 4585 section 6.2.1), bounded, in wire order."""
    wanted: list[int] = []
    for at in range(12, len(block) - 3, 4):
        first, mask = struct.unpack_from("!HH", block, at)
        wanted.append(first)
        wanted.extend((first + bit + 1) & 0xFFFF for bit in range(16) if mask >> bit & 1)
        if len(wanted) >= limits.MAX_NACK_SEQUENCES:
            return wanted[: limits.MAX_NACK_SEQUENCES]
    return wanted


def transport_received(block: bytes) -> list[int]:
    """Transport-wide numbers that a feedback block reports as received, oldest first; bounded.

    draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1; arrival times are not needed.
    """
    if len(block) < 20:
        return []
    base, count = struct.unpack_from("!HH", block, 12)
    count = min(count, limits.ACK_WINDOW_PACKETS)
    received: list[int] = []
    index, at = 0, 20
    while index < count and at + 2 <= len(block):
        chunk = block[at] << 8 | block[at + 1]
        at += 2
        if not chunk & 0x8000:
            run = min(chunk & 0x1FFF, count - index)
            if chunk >> 13 & 0x03 in (1, 2):
                received.extend((base + index + i) & 0xFFFF for i in range(run))
            index += run
        else:
            index = _read_vector(chunk, base, index, count, received)
    return received


def _read_vector(chunk: int, base: int, index: int, count: int, received: list[int]) -> int:
    bits = 2 if chunk & 0x4000 else 1
    mask = (1 << bits) - 1
    for shift in range(14 - bits, -1, -bits):
        if index >= count:
            break
        if chunk >> shift & mask in (1, 2):
            received.append((base + index) & 0xFFFF)
        index += 1
    return index


def with_ssrcs(block: bytes, sender: int, media: int) -> bytes:
    """The same feedback block under other SSRCs."""
    return b"".join((block[:4], struct.pack("!II", sender, media), block[12:]))


def build_pli(sender: int, media: int) -> bytes:
    return struct.pack("!BBHII", 0x80 | PLI, PSFB, 2, sender, media)


def build_nack(sender: int, media: int, sequences: Iterable[int]) -> bytes:
    """A generic NACK for `sequences` (ascending in sequence order, at most the limit's number)."""
    pairs: list[list[int]] = []
    for sequence in list(sequences)[: limits.MAX_NACK_SEQUENCES]:
        ahead = (sequence - pairs[-1][0]) & 0xFFFF if pairs else 0
        if pairs and 1 <= ahead <= 16:
            pairs[-1][1] |= 1 << (ahead - 1)
        else:
            pairs.append([sequence, 0])
    fields = b"".join(struct.pack("!HH", first, mask) for first, mask in pairs)
    return struct.pack("!BBHII", 0x80 | NACK, RTPFB, 2 + len(pairs), sender, media) + fields


def build_sr(info: SenderInfo) -> bytes:
    return struct.pack(
        "!BBHIQIII",
        0x80,
        SR,
        6,
        info.ssrc,
        info.ntp,
        info.rtp_timestamp & 0xFFFFFFFF,
        info.packets & 0xFFFFFFFF,
        info.octets & 0xFFFFFFFF,
    )


def build_rr(sender: int, reports: list[ReportBlock]) -> bytes:
    """A receiver report with at most 31 blocks."""
    reports = reports[:31]
    head = struct.pack("!BBHI", 0x80 | len(reports), RR, 1 + 6 * len(reports), sender)
    return head + b"".join(
        _REPORT.pack(
            r.ssrc, r.fraction << 24 | r.lost & 0xFFFFFF, r.highest, r.jitter, r.last_sr, r.delay
        )
        for r in reports
    )


def build_sdes(ssrc: int, cname: str) -> bytes:
    item = bytes([1, len(cname)]) + cname.encode("ascii")
    chunk = ssrc.to_bytes(4, "big") + item
    chunk += bytes(4 - len(chunk) % 4)  # at least one zero ends the list (RFC 3550 section 6.5)
    return struct.pack("!BBH", 0x81, SDES, len(chunk) // 4) + chunk
