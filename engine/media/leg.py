"""One party's media connection: ICE agent, DTLS server, what was offered and answered.

What becomes of its packets is up to its `path`, in the packet plane.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

from aiortc.rtcdtlstransport import RTCCertificate

from engine.media.codecs import Codec
from engine.media.dtls import DtlsServer
from engine.media.ice import Address, IceLite
from engine.media.interface import IceCandidate, MediaKind, Role
from engine.media.path import CNAME
from engine.media.plane import PathSpec, Plane, StreamSpec
from engine.media.sdp import Answer, LocalMedia, OfferParameters, build_offer, parse_answer

if TYPE_CHECKING:
    from engine.media.session import MediaSession


class LegHost(Protocol):
    """What a leg needs of its worker."""

    plane: Plane
    counters: dict[str, int]
    certificate: RTCCertificate
    certificate_digest: str
    consent_timeout_ns: int

    def now_ns(self) -> int: ...

    def handshake_allowed(self, leg: Leg) -> bool: ...

    def leg_changed(self, leg: Leg, state: str) -> None:
        """DTLS reached `state`: connected, failed or closed."""
        ...


class Leg:
    """States: waiting for the answer, connecting, connected, lost (may heal), closed."""

    def __init__(
        self,
        host: LegHost,
        session: MediaSession,
        leg_id: str,
        role: Role,
        *,
        offered: tuple[Codec, ...],
    ) -> None:
        self.leg_id = leg_id
        self.role = role
        self.session = session
        self.counters = host.counters
        self.ice = IceLite(host.now_ns(), host.consent_timeout_ns)
        self.address: Address | None = None
        self.closed = False
        self.secured = False
        self.consented = False
        self.answer: Answer | None = None
        self._host = host
        self._codecs = offered
        self.streams = {kind: _new_stream(kind) for kind in session.kinds}
        self.path = host.plane.new_path(PathSpec(self.streams, offered), self)
        self._offers = 0
        self._offered_ufrag = self.ice.current.ufrag
        self._session_number = secrets.randbits(62)
        self._early_records: list[bytes] = []
        self.dtls = DtlsServer(host.certificate, send=self._send_dtls, on_change=self._dtls_changed)

    @property
    def connected(self) -> bool:
        return self.secured and self.consented and not self.closed

    # --- negotiation ---

    def offer(self, candidates: tuple[IceCandidate, ...], start_bitrate_kbps: int | None) -> str:
        self._offers += 1
        self._offered_ufrag = self.ice.offered.ufrag
        return build_offer(
            OfferParameters(
                session_number=self._session_number,
                version=self._offers,
                credentials=self.ice.offered,
                fingerprint=self._host.certificate_digest,
                candidates=candidates,
                media=tuple(
                    LocalMedia(kind, s.ssrc, s.rtx_ssrc) for kind, s in self.streams.items()
                ),
                codecs=self._codecs,
                cname=CNAME,
                start_bitrate_kbps=start_bitrate_kbps,
            )
        )

    def apply_answer(self, sdp: str) -> None:
        """Raises `BadInput` code ``invalid_sdp``; nothing changed then."""
        types = frozenset(c.payload_type for c in self._codecs)
        repairs = frozenset(
            c.rtx_payload_type for c in self._codecs if c.rtx_payload_type is not None
        )
        answer = parse_answer(sdp, self.session.kinds, types | repairs)
        self.ice.set_remote(self._offered_ufrag, answer.ufrag)
        self.answer = answer
        for media in answer.media:
            self.path.negotiate(
                media.kind,
                media.payload_types & types,
                media.payload_types & repairs,
                {repair: main for main, repair in media.rtx_pairs},
            )
        early, self._early_records = self._early_records, []
        for record in early:
            self.on_dtls(record)

    def reports_only(self, kinds: Collection[MediaKind]) -> bool:
        """While it is sent these, the peer acknowledges by audio receiver reports alone, which are
        rare. Browsers may give transport-wide feedback for video and none for audio.
        """
        if self.answer is None:
            return False
        taken = [m for m in self.answer.media if m.accepted and m.kind in kinds]
        return all(m.kind is MediaKind.AUDIO and not m.transport_cc for m in taken)

    # --- transport ---

    def set_address(self, address: Address | None) -> None:
        self.address = address
        self.path.set_address(address)

    def set_consent(self, consented: bool) -> None:
        """Whether checks still come (RFC 7675); without them nothing may be sent."""
        self.consented = consented
        self.path.set_live(self.connected)

    def on_dtls(self, record: bytes) -> None:
        """A DTLS record from one of this leg's validated addresses."""
        if self.closed or self.dtls.state in ("closed", "failed"):
            return
        if self.answer is None:
            # The handshake may overtake the answer; the fingerprint is needed before it can start.
            if len(self._early_records) < 4:
                self._early_records.append(record)
            return
        if self.dtls.state == "new":
            if not self._host.handshake_allowed(self):
                self.counters["dtls_refused_busy"] += 1
                return
            self.counters["dtls_started"] += 1
            self.session.adopt_task(self.dtls.start(self.answer.fingerprints))
        if not self.dtls.feed(record):
            self.counters["dtls_records_dropped"] += 1

    def _send_dtls(self, record: bytes) -> None:
        if self.address is not None:
            self._host.plane.send(record, self.address)

    def _dtls_changed(self, state: str) -> None:
        if self.closed:
            return
        self.secured = state == "connected"
        if self.secured:
            self.path.secure(*self.dtls.sessions())
            self.set_consent(True)
        else:
            self.path.set_live(False)
        self._host.leg_changed(self, state)

    # --- what the path reports ---

    def first_frame(self, kind: MediaKind, sent_at_ns: int, acked_at_ns: int) -> None:
        self.session.first_frame(self, kind, sent_at_ns, acked_at_ns)

    def delivered(self, last_acked_at_ns: int) -> None:
        self.session.delivered(self, last_acked_at_ns, self._host.now_ns())

    def acks_withheld(self) -> None:
        self.session.acks_withheld(self)

    # --- the end ---

    def close(self, now_ns: int) -> None:
        """close_notify and silence; the worker drops its table entries."""
        if self.closed:
            return
        self.dtls.close()
        self.closed = True
        self.secured = False
        self.path.close(now_ns)


def _new_stream(kind: MediaKind) -> StreamSpec:
    return StreamSpec(
        ssrc=_new_ssrc(),
        rtx_ssrc=_new_ssrc() if kind is MediaKind.VIDEO else None,
        first_sequence=secrets.randbelow(1 << 15),
        first_timestamp=secrets.randbits(32),
        first_rtx_sequence=secrets.randbelow(1 << 15),
    )


def _new_ssrc() -> int:
    return secrets.randbelow(0xFFFFFFFE) + 1
