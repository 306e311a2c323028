"""Offers and answers."""

from __future__ import annotations

import re

import pytest
from aiortc.sdp import SessionDescription

from engine.errors import BadInput
from engine.media import codecs, ice, limits, sdp
from engine.media.interface import IceCandidate, MediaKind

KINDS = (MediaKind.AUDIO, MediaKind.VIDEO)
TYPES = frozenset({111, 63, 96, 97, 102, 103})
DIGEST = ":".join(["AB"] * 32)


def offer(kinds: tuple[MediaKind, ...] = KINDS, **changes: object) -> str:
    names = ("opus", "red", "vp8", "h264")
    parameters = {
        "session_number": 1,
        "version": 1,
        "credentials": ice.Credentials("ufrag", "p" * 24),
        "fingerprint": DIGEST,
        "candidates": (IceCandidate("192.0.2.1", 5004), IceCandidate("2001:db8::1", 5004)),
        "media": tuple(
            sdp.LocalMedia(k, 100 + i, 200 if k is MediaKind.VIDEO else None)
            for i, k in enumerate(kinds)
        ),
        "codecs": tuple(codecs.CODECS[n] for n in names),
        "cname": "talktime",
    }
    return sdp.build_offer(sdp.OfferParameters(**{**parameters, **changes}))  # type: ignore[arg-type]


ANSWER = f"""v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111 63
a=mid:0
a=ice-ufrag:abcd
a=ice-pwd:{"p" * 24}
a=fingerprint:sha-256 {DIGEST}
a=setup:active
a=sendrecv
a=rtcp-mux
a=extmap:3 {codecs.EXTENSION_URIS[3]}
a=ssrc:11 cname:x
m=video 9 UDP/TLS/RTP/SAVPF 96 97
a=mid:1
a=ice-ufrag:abcd
a=ice-pwd:{"p" * 24}
a=fingerprint:sha-256 {DIGEST}
a=setup:active
a=sendrecv
a=rtcp-mux
a=ssrc-group:FID 21 22
a=ssrc:21 cname:x
a=ssrc:22 cname:x
""".replace("\n", "\r\n")


def parse(text: str) -> sdp.Answer:
    return sdp.parse_answer(text, KINDS, TYPES)


def test_the_offer_is_well_formed_and_complete() -> None:
    parsed = SessionDescription.parse(offer())
    audio, video = parsed.media
    assert [c.payloadType for c in video.rtp.codecs] == [96, 97, 102, 103]
    assert [c.payloadType for c in audio.rtp.codecs] == [111, 63]
    assert video.rtcp_mux
    assert video.ice.iceLite
    assert video.dtls is not None
    assert video.dtls.role == "server"
    assert [c.ip for c in video.ice_candidates] == ["192.0.2.1", "2001:db8::1"]
    priorities = [c.priority for c in video.ice_candidates]
    assert priorities == sorted(priorities, reverse=True)
    assert [s.ssrc for s in video.ssrc] == [101, 200]
    assert str(parsed.group[0]) == "BUNDLE 0 1"


def test_all_legs_are_offered_the_same_numbers() -> None:
    def numbers(text: str) -> list[str]:
        return re.findall(r"^a=(?:rtpmap|extmap|mid).*$", text, re.MULTILINE)

    other = offer(media=(sdp.LocalMedia(KINDS[0], 7, None), sdp.LocalMedia(KINDS[1], 8, 9)))
    assert numbers(offer()) == numbers(other)


def test_an_audio_call_offers_audio_only() -> None:
    text = offer((MediaKind.AUDIO,))
    assert "m=video" not in text
    assert "a=group:BUNDLE 0\r\n" in text


def test_the_start_bitrate_is_a_hint_for_video_codecs() -> None:
    text = offer(start_bitrate_kbps=900)
    assert "a=fmtp:96 x-google-start-bitrate=900\r\n" in text
    assert "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1\r\n" in text


def test_an_answer_is_read() -> None:
    answer = parse(ANSWER)
    assert (answer.ufrag, answer.password) == ("abcd", "p" * 24)
    assert answer.fingerprints == (sdp.Fingerprint("sha-256", DIGEST),)
    audio, video = answer.media
    assert audio.payload_types == {111, 63}
    assert audio.transport_cc
    assert audio.ssrcs == (11,)
    assert not video.transport_cc
    assert video.ssrcs == (21, 22)
    assert video.rtx_pairs == ((21, 22),)


def test_an_answer_without_ssrcs_is_good() -> None:
    answer = parse(re.sub(r"a=ssrc.*\r\n", "", ANSWER))
    assert all(m.ssrcs == () and m.rtx_pairs == () for m in answer.media)


def test_a_refused_section_is_not_accepted() -> None:
    answer = parse(ANSWER.replace("m=video 9", "m=video 0"))
    video = answer.of_kind(MediaKind.VIDEO)
    assert video is not None
    assert not video.accepted
    assert video.payload_types == frozenset()


def test_transport_attributes_may_stand_in_the_session_part() -> None:
    line = f"a=fingerprint:sha-256 {DIGEST}\r\n"
    moved = ANSWER.replace(line, "").replace("t=0 0\r\n", f"t=0 0\r\n{line}")
    assert parse(moved).fingerprints[0].value == DIGEST


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("v=0", "v=1"),
        ("m=video 9", "m=audio 9"),
        ("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=video 9 RTP/AVP 96"),
        ("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=video"),
        ("96 97\r\n", "96 99\r\n"),
        ("96 97\r\n", "96 x\r\n"),
        ("a=mid:1", "a=mid:0"),
        ("a=rtcp-mux\r\n", ""),
        ("a=setup:active", "a=setup:passive"),
        ("a=setup:active\r\n", ""),
        ("a=ice-ufrag:abcd", "a=ice-ufrag:abc"),
        ("a=ice-ufrag:abcd", "a=ice-ufrag:ab d!"),
        ("a=ice-ufrag:abcd", "a=ice-ufrag:" + "a" * 300),
        (f"a=ice-pwd:{'p' * 24}", "a=ice-pwd:short"),
        (f"sha-256 {DIGEST}", "sha-1 " + ":".join(["AB"] * 20)),
        (f"sha-256 {DIGEST}", "sha-256 AB:CD"),
        (f"sha-256 {DIGEST}", "sha-512 " + DIGEST),
        ("a=group:BUNDLE 0 1", "a=group:BUNDLE 0"),
        ("a=ssrc:21 cname:x", "a=ssrc:4294967296 cname:x"),
        ("a=ssrc:21 cname:x", "a=ssrc:many cname:x"),
        ("a=ssrc-group:FID 21 22", "a=ssrc-group:FID 21 -1"),
        ("a=ssrc:21 cname:x", "\r\n".join(f"a=ssrc:{i} cname:x" for i in range(50))),
        ("t=0 0", "t=0 0\r\na=ice-lite"),
        ("s=-", "s=\u00e9"),
        ("s=-", "s=" + "x" * limits.MAX_SDP_LINE_BYTES),
        ("s=-", "s=-" + "\r\nb=x" * limits.MAX_SDP_LINES),
        ("s=-", "s=-" + "\r\na=x" * limits.MAX_SDP_BYTES),
        (ANSWER, ""),
        (ANSWER[ANSWER.index("m=video") :], ""),
    ],
)
def test_unusable_answers_are_refused_with_one_code(old: str, new: str) -> None:
    text = ANSWER.replace(old, new)
    assert text != ANSWER
    with pytest.raises(BadInput) as refused:
        parse(text)
    assert refused.value.code == "invalid_sdp"


def test_an_answer_that_accepts_nothing_is_refused() -> None:
    text = ANSWER.replace("m=video 9", "m=video 0").replace("m=audio 9", "m=audio 0")
    with pytest.raises(BadInput):
        parse(text)


def test_only_real_addresses_become_candidates() -> None:
    assert sdp.usable_address("192.0.2.1")
    assert sdp.usable_address("2001:db8::1")
    assert not sdp.usable_address("0.0.0.0")
    assert not sdp.usable_address("::")
    assert not sdp.usable_address("media.example")
