"""The codecs the engine may offer, with the payload types and extension ids of every leg.

The engine assigns all numbers, and the same ones on every leg: a forwarded packet then needs no
other change than its SSRC, sequence number and timestamp.
"""

from __future__ import annotations

from typing import Final

import msgspec

from engine.media.interface import MediaKind

MID_EXTENSION: Final = 1
AUDIO_LEVEL_EXTENSION: Final = 2
TRANSPORT_CC_EXTENSION: Final = 3
ORIENTATION_EXTENSION: Final = 4

EXTENSION_URIS: Final[dict[int, str]] = {
    MID_EXTENSION: "urn:ietf:params:rtp-hdrext:sdes:mid",
    AUDIO_LEVEL_EXTENSION: "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    TRANSPORT_CC_EXTENSION: (
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    ),
    ORIENTATION_EXTENSION: "urn:3gpp:video-orientation",
}

KIND_EXTENSIONS: Final[dict[MediaKind, tuple[int, ...]]] = {
    MediaKind.AUDIO: (MID_EXTENSION, AUDIO_LEVEL_EXTENSION, TRANSPORT_CC_EXTENSION),
    MediaKind.VIDEO: (MID_EXTENSION, TRANSPORT_CC_EXTENSION, ORIENTATION_EXTENSION),
}

MIDS: Final[dict[MediaKind, str]] = {MediaKind.AUDIO: "0", MediaKind.VIDEO: "1"}

AUDIO_FEEDBACK: Final = ("transport-cc",)
VIDEO_FEEDBACK: Final = ("transport-cc", "nack", "nack pli", "ccm fir")


class Codec(msgspec.Struct, frozen=True):
    """One codec as offered. `payload_type` and `rtx_payload_type` are unique in the whole offer."""

    name: str
    kind: MediaKind
    payload_type: int
    rtx_payload_type: int | None
    encoding: str
    fmtp: str

    @property
    def clock_rate_hz(self) -> int:
        return 48_000 if self.kind is MediaKind.AUDIO else 90_000


OPUS: Final = Codec(
    "opus", MediaKind.AUDIO, 111, None, "opus/48000/2", "minptime=10;useinbandfec=1;usedtx=1"
)
RED: Final = Codec("red", MediaKind.AUDIO, 63, None, "red/48000/2", "111/111")
VP8: Final = Codec("vp8", MediaKind.VIDEO, 96, 97, "VP8/90000", "")
H264: Final = Codec(
    "h264",
    MediaKind.VIDEO,
    102,
    103,
    "H264/90000",
    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
)
VP9: Final = Codec("vp9", MediaKind.VIDEO, 98, 99, "VP9/90000", "profile-id=0")
AV1: Final = Codec("av1", MediaKind.VIDEO, 100, 101, "AV1/90000", "")

CODECS: Final[dict[str, Codec]] = {c.name: c for c in (OPUS, RED, VP8, H264, VP9, AV1)}
DEFAULT_CODECS: Final = ("opus", "red", "vp8", "h264")

BY_PAYLOAD_TYPE: Final[dict[int, Codec]] = {c.payload_type: c for c in CODECS.values()}
BY_RTX_PAYLOAD_TYPE: Final[dict[int, Codec]] = {
    c.rtx_payload_type: c for c in CODECS.values() if c.rtx_payload_type is not None
}

# 64 to 95 would be read as RTCP on a multiplexed port (RFC 5761 section 4); 63 is the last below.
assert all(pt < 64 or 96 <= pt < 128 for pt in (*BY_PAYLOAD_TYPE, *BY_RTX_PAYLOAD_TYPE))
assert not set(BY_PAYLOAD_TYPE) & set(BY_RTX_PAYLOAD_TYPE)
