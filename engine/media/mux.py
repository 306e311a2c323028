"""Which leg a datagram belongs to, and what strangers get.

The packet plane takes media by its source address; what else comes in reaches `signal`: STUN
requests that name a known ufrag, and DTLS records from claimed addresses. An address is claimed for
a leg by an authenticated request only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiortc.rtcdtlstransport import RTCCertificate

from engine.clock import Clock
from engine.media import ice, limits
from engine.media.counters import new_counters
from engine.media.ice import Address, IceReply
from engine.media.leg import Leg
from engine.media.plane import Plane
from engine.media.tcp import StreamServer

logger = logging.getLogger(__name__)


class Mux:
    """The tables of one socket. It is the `LegHost` of every leg on it."""

    def __init__(
        self,
        plane: Plane,
        *,
        clock: Clock,
        consent_timeout_ns: int,
        on_leg: Callable[[Leg, str], None],
    ) -> None:
        self.plane = plane
        self.counters = new_counters()
        self.certificate = RTCCertificate.generateCertificate()
        self.certificate_digest = next(
            f.value for f in self.certificate.getFingerprints() if f.algorithm == "sha-256"
        )
        self.consent_timeout_ns = consent_timeout_ns
        self.now_ns = clock.now_ns
        self.streams = StreamServer(plane.inject, self._stream_lost, self.counters)
        self._on_leg = on_leg
        self._by_ufrag: dict[str, Leg] = {}
        self._by_address: dict[Address, Leg] = {}
        self._handshakes: dict[Leg, str] = {}

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Raises `Unavailable` code ``media_port`` if the address cannot be bound."""
        self.plane.open(loop, self)

    # --- demultiplexing ---

    def signal(self, datagram: bytes, address: Address) -> None:
        """From the plane: a STUN request that names a known ufrag, or a DTLS record."""
        try:
            if datagram[0] < 4:
                self._on_stun(datagram, address)
            elif (leg := self._by_address.get(address)) is not None:
                leg.on_dtls(datagram)
        except Exception:
            # One broken datagram or a fault here must not take the other calls along.
            self.counters["internal_errors"] += 1
            logger.exception("a datagram could not be handled")

    def send_stream(self, datagram: bytes | memoryview, address: Address) -> bool:
        return self.streams.send(datagram, address)

    def _on_stun(self, request: bytes, address: Address) -> None:
        ufrag = ice.local_ufrag(request)
        leg = self._by_ufrag.get(ufrag) if ufrag is not None else None
        if leg is None:
            self.counters["stun_refused"] += 1
            return
        now_ns = self.now_ns()
        if not self._may_claim(leg, address, now_ns):
            self.counters["stun_address_conflicts"] += 1
            return
        reply = leg.ice.handle_request(request, address, now_ns)
        if reply.response is None:
            self.counters["stun_refused"] += 1
            return
        self.counters["stun_requests"] += 1
        if reply.accepted:
            self._apply(leg, address, reply)
        self.plane.send(reply.response, address)

    def _may_claim(self, leg: Leg, address: Address, now_ns: int) -> bool:
        """Another leg's address is taken over only once that leg has left it."""
        owner = self._by_address.get(address)
        if owner is None or owner is leg:
            return True
        return now_ns - owner.ice.checked_at_ns(address) > limits.ADDRESS_STALE_NS

    def _apply(self, leg: Leg, address: Address, reply: IceReply) -> None:
        owner = self._by_address.get(address)
        if owner is not leg:
            if owner is not None:
                owner.ice.forget(address)
                owner.set_address(owner.ice.selected)
            self._by_address[address] = leg
            self.plane.claim(address, leg.path)
            self.streams.keep(address)
        if reply.evicted is not None:
            self._release(reply.evicted)
        if reply.retired_ufrag is not None:
            self._forget_ufrag(reply.retired_ufrag)
        if reply.nominated:
            self.counters["ice_nominations"] += 1
        # Before the first nomination the newest validated address must do.
        selected = leg.ice.selected or address
        if selected != leg.address:
            leg.set_address(selected)
        if leg.secured and not leg.consented:
            leg.set_consent(True)
            self._on_leg(leg, "connected")

    def _release(self, address: Address) -> None:
        self._by_address.pop(address, None)
        self.plane.release(address)
        self.streams.drop(address)

    def _stream_lost(self, address: Address) -> None:
        """A connection ended: its leg goes on over another address, if it has one."""
        leg = self._by_address.pop(address, None)
        if leg is None:
            return
        self.plane.release(address)
        leg.ice.forget(address)
        if leg.address == address:
            leg.set_address(leg.ice.selected)

    def _forget_ufrag(self, ufrag: str) -> None:
        self._by_ufrag.pop(ufrag, None)
        self.plane.remove_ufrag(ufrag)

    # --- legs ---

    def register(self, leg: Leg) -> None:
        for ufrag in leg.ice.ufrags():
            self._by_ufrag[ufrag] = leg
            self.plane.add_ufrag(ufrag)

    def unregister(self, leg: Leg) -> None:
        """Forget a closed leg."""
        for ufrag in leg.ice.ufrags():
            self._forget_ufrag(ufrag)
        for address in leg.ice.addresses:
            if self._by_address.get(address) is leg:
                self._release(address)
        self._handshakes.pop(leg, None)

    def restart(self, leg: Leg) -> None:
        """Fresh ICE credentials beside the present ones."""
        dropped = leg.ice.restart()
        if dropped is not None:
            self._forget_ufrag(dropped)
        self.register(leg)

    def handshake_allowed(self, leg: Leg) -> bool:
        """Account for a handshake about to begin; False if too many are in flight."""
        source = ice.source_of(leg.address) if leg.address is not None else ""
        if len(self._handshakes) >= limits.MAX_HANDSHAKES:
            return False
        if sum(s == source for s in self._handshakes.values()) >= limits.MAX_HANDSHAKES_PER_SOURCE:
            return False
        self._handshakes[leg] = source
        return True

    def leg_changed(self, leg: Leg, state: str) -> None:
        self._handshakes.pop(leg, None)
        if state != "closed":
            self.counters["dtls_connected" if state == "connected" else "dtls_failed"] += 1
        self._on_leg(leg, state)

    def check_consent(self, leg: Leg, now_ns: int) -> None:
        """RFC 7675: without a check for the timeout, sending must cease until the next one."""
        if not leg.connected or now_ns < leg.ice.consent_deadline_ns():
            return
        address = leg.ice.give_up_path(now_ns)
        if address is not None:
            leg.set_address(address)
            return
        leg.set_consent(False)
        self.counters["ice_consent_lost"] += 1
        self._on_leg(leg, "consent")
