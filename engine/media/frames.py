"""Frame boundaries from RTP payload descriptors: where a frame begins that can be decoded alone.

VP8: RFC 7741. H.264: RFC 6184. VP9: RFC 9628. AV1: the AOMedia RTP payload specification. Nothing
is decoded; a payload too short to tell is neither a start nor a key.
"""

from __future__ import annotations

from typing import Final

from engine.media import codecs
from engine.media.rtp import Buffer

# A frame that can be decoded without any other begins in this packet.
START: Final = 1
# The packet holds data of such a frame (for H.264 an IDR slice; parameter sets alone are no frame).
KEY: Final = 2

_NAL_IDR = 5
_NAL_SPS = 7
_NAL_STAP_A = 24
_NAL_FU_A = 28


def inspect(payload_type: int, data: Buffer, start: int, end: int) -> int:
    """`START` and `KEY` flags of the payload ``data[start:end]`` of an engine-assigned video
    type.
    """
    if payload_type == codecs.VP8.payload_type:
        return _vp8(data, start, end)
    if payload_type == codecs.H264.payload_type:
        return _h264(data, start, end)
    if payload_type == codecs.VP9.payload_type:
        return _vp9(data, start, end)
    if payload_type == codecs.AV1.payload_type:
        return _av1(data, start, end)
    return 0


def _vp8(data: Buffer, at: int, end: int) -> int:
    if at >= end:
        return 0
    descriptor = data[at]
    if not descriptor & 0x10 or descriptor & 0x07:  # S set, partition 0
        return 0
    at += 1
    if descriptor & 0x80:
        if at >= end:
            return 0
        extended = data[at]
        at += 1
        if extended & 0x80:  # picture id, one or two bytes
            if at >= end:
                return 0
            at += 2 if data[at] & 0x80 else 1
        at += bool(extended & 0x40)  # TL0PICIDX
        at += bool(extended & 0x30)  # TID or KEYIDX
    # The P bit of the frame header: 0 for a key frame (RFC 6386 section 9.1).
    return START | KEY if at < end and not data[at] & 0x01 else 0


def _h264(data: Buffer, at: int, end: int) -> int:
    if at >= end:
        return 0
    kind = data[at] & 0x1F
    if kind == _NAL_STAP_A:
        return _h264_aggregate(data, at + 1, end)
    if kind == _NAL_FU_A:
        if at + 1 >= end or data[at + 1] & 0x1F != _NAL_IDR:
            return 0
        return START | KEY if data[at + 1] & 0x80 else KEY
    return _h264_flags(kind)


def _h264_flags(kind: int) -> int:
    if kind == _NAL_IDR:
        return START | KEY
    return START if kind == _NAL_SPS else 0


def _h264_aggregate(data: Buffer, at: int, end: int) -> int:
    flags = 0
    while at + 2 < end:
        size = data[at] << 8 | data[at + 1]
        if size == 0 or at + 2 + size > end:
            return 0
        flags |= _h264_flags(data[at + 2] & 0x1F)
        at += 2 + size
    return flags


def _vp9(data: Buffer, at: int, end: int) -> int:
    if at + 1 >= end:
        return 0
    descriptor = data[at]
    inter_predicted, layered, begins = descriptor & 0x40, descriptor & 0x20, descriptor & 0x08
    if inter_predicted or not begins:
        return 0
    if layered:
        at += 1
        if descriptor & 0x80:
            at += 2 if data[at] & 0x80 else 1
        if at >= end or data[at] >> 1 & 0x07:  # a higher spatial layer is no start
            return 0
    return START | KEY


def _av1(data: Buffer, at: int, end: int) -> int:
    # Aggregation header Z Y W W N: N marks the first packet of a coded video sequence.
    return START | KEY if at + 1 < end and data[at] & 0x88 == 0x08 else 0
