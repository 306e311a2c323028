"""Looking at RTP packets: bounds, extensions, retransmission payloads."""

from __future__ import annotations

from engine.media import codecs, rtp
from tests.support import media_packets as packets


def test_payload_lies_between_extensions_and_padding() -> None:
    packet = packets.rtp(transport=7, mid=b"1", payload=b"abc", padding=5)
    start, end = rtp.payload_bounds(packet, len(packet))
    assert packet[start:end] == b"abc"


def test_packets_that_promise_more_than_they_hold_have_no_payload() -> None:
    packet = bytearray(packets.rtp(transport=7))
    packet[15] = 200  # extension words
    assert rtp.payload_bounds(packet, len(packet)) == (-1, -1)
    assert rtp.payload_bounds(packet, 11) == (-1, -1)
    too_much_padding = bytearray(packets.rtp(payload=b"xy", padding=2))
    too_much_padding[-1] = 99
    assert rtp.payload_bounds(too_much_padding, len(too_much_padding)) == (-1, -1)
    no_padding = bytearray(packets.rtp(payload=b"xy", padding=2))
    no_padding[-1] = 0
    assert rtp.payload_bounds(no_padding, len(no_padding)) == (-1, -1)


def test_extensions_are_found_in_both_header_forms() -> None:
    one_byte = packets.rtp(mid=b"video", transport=0xABCD)
    assert rtp.transport_sequence(one_byte, len(one_byte), codecs.TRANSPORT_CC_EXTENSION) == 0xABCD
    at, size = rtp.find_extension(one_byte, len(one_byte), codecs.MID_EXTENSION)
    assert one_byte[at : at + size] == b"video"
    elements = bytes([0, codecs.TRANSPORT_CC_EXTENSION, 2, 0x12, 0x34, 0, 0, 0])
    two_byte = bytes([0x90, 96]) + bytes(10) + b"\x10\x00\x00\x02" + elements
    assert rtp.transport_sequence(two_byte, len(two_byte), codecs.TRANSPORT_CC_EXTENSION) == 0x1234


def test_absent_and_truncated_extensions_are_absent() -> None:
    plain = packets.rtp()
    assert rtp.find_extension(plain, len(plain), 1) == (-1, 0)
    packet = packets.rtp(transport=1)
    assert rtp.find_extension(packet, 17, codecs.TRANSPORT_CC_EXTENSION) == (-1, 0)
    assert rtp.find_extension(packet, len(packet), 9) == (-1, 0)
    stop = bytes([0x90, 96]) + bytes(10) + b"\xbe\xde\x00\x01" + bytes([0xF0, 0x31, 1, 2])
    assert rtp.find_extension(stop, len(stop), 3) == (-1, 0)


def test_retransmission_names_the_original_and_carries_no_transport_number() -> None:
    packet = packets.rtp(
        sequence=500, timestamp=90, marker=True, transport=9, payload=b"data", padding=3
    )
    wrapped = rtp.build_rtx(packet, payload_type=97, ssrc=77, sequence=65536 + 4)
    assert wrapped is not None
    first, second, sequence, timestamp, ssrc = rtp.HEADER.unpack_from(wrapped)
    assert (first, second, sequence, timestamp, ssrc) == (0x80, 0x80 | 97, 4, 90, 77)
    assert wrapped[12:] == (500).to_bytes(2, "big") + b"data"


def test_malformed_packets_are_not_wrapped() -> None:
    assert rtp.build_rtx(b"\x80", payload_type=97, ssrc=1, sequence=1) is None


def test_sequence_distance_is_signed_and_wraps() -> None:
    assert rtp.sequence_distance(2, 65534) == 4
    assert rtp.sequence_distance(65534, 2) == -4
    assert rtp.sequence_distance(7, 7) == 0
