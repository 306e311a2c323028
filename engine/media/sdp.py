"""Offers that the engine makes and the answers it takes (RFC 8866, RFC 8829, RFC 8839, RFC 8842).

The engine always offers, so an answer is only a selection from what it said itself. That makes a
strict reader small: sections in the offered order under the offered MIDs, numbers that the offer
assigned, one transport for all (BUNDLE, rtcp-mux), the browser as DTLS client. aiortc's parser is
not used here because its time grows with the square of a hostile answer's length.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence

import msgspec

from engine.errors import BadInput
from engine.media import codecs, limits
from engine.media.codecs import Codec
from engine.media.ice import Credentials
from engine.media.interface import IceCandidate, MediaKind

_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}\Z")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}\Z")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31,63}\Z")
_NUMBER = re.compile(r"[0-9]{1,10}\Z")
# Preference first; weaker digests are not accepted (RFC 8122 section 5).
_DIGESTS = {"sha-256": 32, "sha-384": 48, "sha-512": 64}


class LocalMedia(msgspec.Struct, frozen=True):
    """What the engine sends to one leg in one media section."""

    kind: MediaKind
    ssrc: int
    rtx_ssrc: int | None


class OfferParameters(msgspec.Struct, frozen=True):
    """All that an offer says. `version` grows with every offer on the leg."""

    session_number: int
    version: int
    credentials: Credentials
    fingerprint: str
    candidates: tuple[IceCandidate, ...]
    media: tuple[LocalMedia, ...]
    codecs: tuple[Codec, ...]
    cname: str
    start_bitrate_kbps: int | None = None


class Fingerprint(msgspec.Struct, frozen=True):
    algorithm: str
    value: str


class AnswerMedia(msgspec.Struct, frozen=True):
    """One section of an answer. `ssrcs` and `rtx_pairs` are empty if the browser announces none."""

    kind: MediaKind
    accepted: bool
    payload_types: frozenset[int]
    transport_cc: bool
    ssrcs: tuple[int, ...]
    rtx_pairs: tuple[tuple[int, int], ...]


class Answer(msgspec.Struct, frozen=True):
    ufrag: str
    password: str
    fingerprints: tuple[Fingerprint, ...]
    media: tuple[AnswerMedia, ...]

    def of_kind(self, kind: MediaKind) -> AnswerMedia | None:
        return next((m for m in self.media if m.kind is kind), None)


# --- offer ---


def build_offer(offer: OfferParameters) -> str:
    """The SDP text. ``a=setup:passive`` makes the browser the DTLS client, so the engine chooses
    the SRTP profile (RFC 5763 section 5)."""
    bundle = " ".join(codecs.MIDS[m.kind] for m in offer.media)
    lines = [
        "v=0",
        f"o=- {offer.session_number} {offer.version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        f"a=group:BUNDLE {bundle}",
        "a=msid-semantic: WMS *",
    ]
    for media in offer.media:
        lines.extend(_media_section(offer, media))
    return "\r\n".join(lines) + "\r\n"


def _media_section(offer: OfferParameters, media: LocalMedia) -> Iterator[str]:
    chosen = [c for c in offer.codecs if c.kind is media.kind]
    types: list[int] = []
    for codec in chosen:
        types.append(codec.payload_type)
        if codec.rtx_payload_type is not None:
            types.append(codec.rtx_payload_type)
    yield f"m={media.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, types))}"
    yield "c=IN IP4 0.0.0.0"
    yield "a=rtcp:9 IN IP4 0.0.0.0"
    yield f"a=mid:{codecs.MIDS[media.kind]}"
    yield from _transport_lines(offer)
    yield "a=sendrecv"
    yield "a=rtcp-mux"
    yield "a=rtcp-rsize"
    for identifier in codecs.KIND_EXTENSIONS[media.kind]:
        yield f"a=extmap:{identifier} {codecs.EXTENSION_URIS[identifier]}"
    for codec in chosen:
        yield from _codec_lines(codec, offer.start_bitrate_kbps)
    yield f"a=msid:{offer.cname} {media.kind}"
    yield from _ssrc_lines(offer.cname, media)


def _transport_lines(offer: OfferParameters) -> Iterator[str]:
    yield f"a=ice-ufrag:{offer.credentials.ufrag}"
    yield f"a=ice-pwd:{offer.credentials.password}"
    yield f"a=fingerprint:sha-256 {offer.fingerprint}"
    yield "a=setup:passive"
    for index, candidate in enumerate(offer.candidates):
        yield _candidate_line(index, candidate)
    yield "a=end-of-candidates"


def _candidate_line(index: int, candidate: IceCandidate) -> str:
    """A host candidate; of one transport the first is preferred (RFC 8445 section 5.1.2.1), TCP
    never to anything that UDP can do (RFC 6544 section 4.2)."""
    if candidate.tcp:
        # The local preference of a passive candidate begins with direction preference 4.
        priority = 90 << 24 | (4 << 13 | 8191 - index) << 8 | 255
        transport, ending = "tcp", " tcptype passive"
    else:
        priority = 126 << 24 | (65535 - index) << 8 | 255
        transport, ending = "udp", ""
    head = f"a=candidate:{index + 1} 1 {transport} {priority}"
    return f"{head} {candidate.host} {candidate.port} typ host{ending}"


def _codec_lines(codec: Codec, start_bitrate_kbps: int | None) -> Iterator[str]:
    number = codec.payload_type
    yield f"a=rtpmap:{number} {codec.encoding}"
    video = codec.kind is MediaKind.VIDEO
    for feedback in codecs.VIDEO_FEEDBACK if video else codecs.AUDIO_FEEDBACK:
        yield f"a=rtcp-fb:{number} {feedback}"
    parameters = [codec.fmtp] if codec.fmtp else []
    if video and start_bitrate_kbps:
        parameters.append(f"x-google-start-bitrate={start_bitrate_kbps}")
    if parameters:
        yield f"a=fmtp:{number} {';'.join(parameters)}"
    if codec.rtx_payload_type is not None:
        yield f"a=rtpmap:{codec.rtx_payload_type} rtx/{codec.clock_rate_hz}"
        yield f"a=fmtp:{codec.rtx_payload_type} apt={number}"


def _ssrc_lines(cname: str, media: LocalMedia) -> Iterator[str]:
    ssrcs = [media.ssrc]
    if media.rtx_ssrc is not None:
        ssrcs.append(media.rtx_ssrc)
        yield f"a=ssrc-group:FID {media.ssrc} {media.rtx_ssrc}"
    for ssrc in ssrcs:
        yield f"a=ssrc:{ssrc} cname:{cname}"
        yield f"a=ssrc:{ssrc} msid:{cname} {media.kind}"


def usable_address(text: str) -> bool:
    """Whether `text` can stand in a candidate line: an IP address that is not "any"."""
    try:
        return not ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return False


# --- answer ---


class _Section:
    """Attributes of the session part or of one media section, in lists by name."""

    def __init__(self, head: str = "") -> None:
        self.head = head
        self.attributes: dict[str, list[str]] = {}

    def values(self, name: str) -> list[str]:
        return self.attributes.get(name, [])

    def one(self, name: str, default: str | None = None) -> str | None:
        values = self.values(name)
        return values[0] if values else default


def parse_answer(sdp: str, offered: Sequence[MediaKind], offered_types: frozenset[int]) -> Answer:
    """The browser's selection. Raises `BadInput` code ``invalid_sdp`` and nothing else."""
    session, sections = _sections(sdp)
    if len(sections) != len(offered):
        raise _invalid("the answer has other media sections than the offer")
    media = tuple(
        _parse_media(section, kind, offered_types)
        for section, kind in zip(sections, offered, strict=True)
    )
    live = [s for s, m in zip(sections, media, strict=True) if m.accepted]
    if not live:
        raise _invalid("the answer accepts no media")
    _check_bundle(session, live)
    return _transport(session, live, media)


def _invalid(reason: str) -> BadInput:
    return BadInput("invalid_sdp", f"Unusable SDP answer: {reason}")


def _sections(sdp: object) -> tuple[_Section, list[_Section]]:
    if not isinstance(sdp, str) or len(sdp) > limits.MAX_SDP_BYTES or not sdp.isascii():
        raise _invalid("too long, or not ASCII text")
    lines = sdp.replace("\r\n", "\n").split("\n")
    if len(lines) > limits.MAX_SDP_LINES or lines[0] != "v=0":
        raise _invalid("too many lines, or no version line")
    session = current = _Section()
    sections: list[_Section] = []
    for line in lines:
        if len(line) > limits.MAX_SDP_LINE_BYTES:
            raise _invalid("a line is too long")
        if line.startswith("m="):
            current = _Section(line)
            sections.append(current)
        elif line.startswith("a="):
            name, _, value = line[2:].partition(":")
            current.attributes.setdefault(name, []).append(value.strip())
    return session, sections


def _parse_media(section: _Section, kind: MediaKind, offered_types: frozenset[int]) -> AnswerMedia:
    words = section.head[2:].split()
    if len(words) < 4 or words[0] != kind or words[2] != "UDP/TLS/RTP/SAVPF":
        raise _invalid("a media line does not match the offer")
    if section.one("mid") != codecs.MIDS[kind]:
        raise _invalid("a MID does not match the offer")
    types = frozenset(_number(word) for word in words[3:])
    accepted = words[1] != "0"
    if accepted and not types <= offered_types:
        raise _invalid("a payload type was not offered")
    if accepted and "rtcp-mux" not in section.attributes:
        raise _invalid("rtcp-mux is required")
    return AnswerMedia(
        kind=kind,
        accepted=accepted,
        payload_types=types if accepted else frozenset(),
        transport_cc=_has_transport_cc(section),
        ssrcs=_ssrcs(section),
        rtx_pairs=_rtx_pairs(section),
    )


def _number(text: str, limit: int = 1 << 32) -> int:
    if not _NUMBER.match(text) or int(text) >= limit:
        raise _invalid("a number is malformed")
    return int(text)


def _has_transport_cc(section: _Section) -> bool:
    uri = codecs.EXTENSION_URIS[codecs.TRANSPORT_CC_EXTENSION]
    return any(
        value.split() == [str(codecs.TRANSPORT_CC_EXTENSION), uri]
        for value in section.values("extmap")
    )


def _ssrcs(section: _Section) -> tuple[int, ...]:
    found = dict.fromkeys(_number(v.partition(" ")[0]) for v in section.values("ssrc"))
    if len(found) > limits.MAX_SSRCS_PER_LEG:
        raise _invalid("too many SSRCs")
    return tuple(found)


def _rtx_pairs(section: _Section) -> tuple[tuple[int, int], ...]:
    pairs: list[tuple[int, int]] = []
    for value in section.values("ssrc-group")[: limits.MAX_SSRCS_PER_LEG]:
        words = value.split()
        if len(words) == 3 and words[0] == "FID":
            pairs.append((_number(words[1]), _number(words[2])))
    return tuple(pairs)


def _check_bundle(session: _Section, live: Sequence[_Section]) -> None:
    """Every accepted section shares one transport (RFC 9143); one section needs no group."""
    bundled: set[str] = set()
    for group in session.values("group"):
        words = group.split()
        if words and words[0] == "BUNDLE":
            bundled.update(words[1:])
    if len(live) > 1 and not all((s.one("mid") or "") in bundled for s in live):
        raise _invalid("BUNDLE is required")


def _transport(
    session: _Section, live: Sequence[_Section], media: tuple[AnswerMedia, ...]
) -> Answer:
    first = live[0]
    ufrag = first.one("ice-ufrag", session.one("ice-ufrag")) or ""
    password = first.one("ice-pwd", session.one("ice-pwd")) or ""
    if not _UFRAG.match(ufrag) or not _PASSWORD.match(password):
        raise _invalid("ICE credentials are missing or malformed")
    if first.one("setup", session.one("setup")) != "active":
        raise _invalid("a=setup:active is required")
    if "ice-lite" in session.attributes:
        raise _invalid("two ICE-lite agents cannot connect")
    return Answer(
        ufrag=ufrag,
        password=password,
        fingerprints=_fingerprints(first.values("fingerprint") or session.values("fingerprint")),
        media=media,
    )


def _fingerprints(values: Sequence[str]) -> tuple[Fingerprint, ...]:
    found: list[Fingerprint] = []
    for value in values[: limits.MAX_SDP_FINGERPRINTS]:
        algorithm, _, digest = value.partition(" ")
        algorithm = algorithm.lower()
        size = _DIGESTS.get(algorithm)
        if size is None:
            continue
        if not _FINGERPRINT.match(digest) or len(digest) != 3 * size - 1:
            raise _invalid("a fingerprint is malformed")
        found.append(Fingerprint(algorithm, digest.upper()))
    if not found:
        raise _invalid("no usable fingerprint")
    return tuple(found)
