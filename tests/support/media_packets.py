"""Packets for media tests: RTP, RTCP and STUN as a browser would send them."""

from __future__ import annotations

import struct

from aioice import stun

from engine.media import codecs
from engine.media.ice import Credentials

VP8_KEY = b"\x10\x00" + bytes(8)
VP8_DELTA = b"\x10\x01" + bytes(8)
VP8_CONTINUED = b"\x00" + bytes(9)


def rtp(
    *,
    payload_type: int = codecs.VP8.payload_type,
    sequence: int = 0,
    timestamp: int = 0,
    ssrc: int = 1,
    marker: bool = False,
    transport: int | None = None,
    mid: bytes | None = None,
    payload: bytes = VP8_DELTA,
    padding: int = 0,
) -> bytes:
    """One RTP packet with one-byte header extensions where asked for."""
    elements = b""
    if mid is not None:
        elements += bytes([codecs.MID_EXTENSION << 4 | len(mid) - 1]) + mid
    if transport is not None:
        elements += bytes([codecs.TRANSPORT_CC_EXTENSION << 4 | 1]) + struct.pack("!H", transport)
    extension = b""
    if elements:
        elements += bytes(-len(elements) % 4)
        extension = struct.pack("!HH", 0xBEDE, len(elements) // 4) + elements
    first = 0x80 | (0x10 if extension else 0) | (0x20 if padding else 0)
    head = struct.pack(
        "!BBHII",
        first,
        (0x80 if marker else 0) | payload_type,
        sequence & 0xFFFF,
        timestamp & 0xFFFFFFFF,
        ssrc,
    )
    tail = bytes(padding - 1) + bytes([padding]) if padding else b""
    return head + extension + payload + tail


def transport_feedback(
    base: int, received: list[bool], *, sender: int = 1, media: int = 2
) -> bytes:
    """Transport-wide feedback in one-bit vector chunks, with one small delta per packet."""
    chunks = b""
    for at in range(0, len(received), 14):
        bits = received[at : at + 14]
        word = 0x8000
        for index, got in enumerate(bits):
            word |= got << (13 - index)
        chunks += struct.pack("!H", word)
    body = struct.pack("!HHI", base & 0xFFFF, len(received), 0) + chunks + bytes(sum(received))
    body += bytes(-len(body) % 4)
    return struct.pack("!BBHII", 0x8F, 205, 2 + len(body) // 4, sender, media) + body


def binding_request(
    local: Credentials,
    remote_ufrag: str = "browser0",
    *,
    use_candidate: bool = False,
    controlled: bool = False,
    password: str | None = None,
    fingerprint: bool = True,
) -> bytes:
    """A connectivity check as the browser sends it to the engine's `local` credentials."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{local.ufrag}:{remote_ufrag}"
    message.attributes["PRIORITY"] = 1
    message.attributes["ICE-CONTROLLED" if controlled else "ICE-CONTROLLING"] = 1
    if use_candidate:
        message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity((password or local.password).encode())
    if not fingerprint:
        del message.attributes["FINGERPRINT"]
    return bytes(message)
