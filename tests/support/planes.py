"""Packet planes without a socket or a thread: datagrams in, datagrams out, time as an argument.

`RigPlane` is what a test drives. Peers are given real SRTP keys, so that a plane sees what it would
see on the wire; a `Peer` protects what it sends and reads what it is sent.
"""

from __future__ import annotations

from typing import Protocol

import pylibsrtp

from engine.media import rtcp, rtp
from engine.media.ice import Address
from engine.media.native import NativePlane
from engine.media.plane import Plane
from engine.media.reference import PythonPlane
from tests.support.virtual_clock import VirtualClock

_PROFILE = pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM
_KEY_BYTES = 32 + 12


class RigPlane(Plane, Protocol):
    """A plane that is fed by hand."""

    def feed(self, datagram: bytes, address: Address, now_ns: int) -> None: ...

    def tick(self, now_ns: int) -> None: ...

    def take_sent(self) -> list[tuple[Address, bytes]]:
        """What left since the last call, in order."""
        ...


class PythonRig(PythonPlane):
    """The reference, fed by hand."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 0, VirtualClock())
        self._sent: list[tuple[Address, bytes]] = []

    def feed(self, datagram: bytes, address: Address, now_ns: int) -> None:
        self.handle(self.buffer.load(datagram), address, now_ns)

    def transmit(self, length: int, address: Address) -> bool:
        return self.send(bytes(self.buffer.view[:length]), address)

    def send(self, datagram: bytes, address: Address) -> bool:
        self._sent.append((address, datagram))
        self.counts["datagrams_out"] += 1
        return True

    def take_sent(self) -> list[tuple[Address, bytes]]:
        sent, self._sent = self._sent, []
        return sent


def srtp_session(key: bytes, *, inbound: bool) -> pylibsrtp.Session:
    """As aiortc sets them up."""
    direction = pylibsrtp.Policy.SSRC_ANY_INBOUND if inbound else pylibsrtp.Policy.SSRC_ANY_OUTBOUND
    policy = pylibsrtp.Policy(key=key, ssrc_type=direction, srtp_profile=_PROFILE)
    policy.allow_repeat_tx = True
    policy.window_size = 1024
    return pylibsrtp.Session(policy)


class Peer:
    """The far end of one path: keys, and what it was sent, in plain."""

    def __init__(self, number: int) -> None:
        self.to_engine = bytes([number]) * _KEY_BYTES
        self.from_engine = bytes([number, 255]) * (_KEY_BYTES // 2)
        self.media: list[bytes] = []
        self.control: list[bytes] = []
        self._tx = srtp_session(self.to_engine, inbound=False)
        self._rx = srtp_session(self.from_engine, inbound=True)

    def engine_sessions(self) -> tuple[pylibsrtp.Session, pylibsrtp.Session]:
        """The engine's side of the two keys: receiving, sending."""
        return (
            srtp_session(self.to_engine, inbound=True),
            srtp_session(self.from_engine, inbound=False),
        )

    def protect(self, packet: bytes) -> bytes:
        """RTP or RTCP, told apart by its payload type (RFC 5761)."""
        if 192 <= packet[1] < 224:
            return bytes(self._tx.protect_rtcp(packet))
        return bytes(self._tx.protect(packet))

    def take(self, datagram: bytes) -> None:
        """A datagram of the engine arrived."""
        if 192 <= datagram[1] < 224:
            self.control.append(bytes(self._rx.unprotect_rtcp(datagram)))
        else:
            self.media.append(bytes(self._rx.unprotect(datagram)))

    def blocks(self) -> list[tuple[int, int, bytes]]:
        """All RTCP blocks so far: type, count or format, block."""
        return [block for compound in self.control for block in rtcp.split(compound)]

    def sequences(self) -> list[int]:
        return [rtp.HEADER.unpack_from(packet)[2] for packet in self.media]


class NativeRig(NativePlane):
    """The compiled twin, fed by hand: no thread runs."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 0)

    def feed(self, datagram: bytes, address: Address, now_ns: int) -> None:
        self.core.feed(datagram, address, now_ns)
        self.deliver(1000)

    def tick(self, now_ns: int) -> None:
        self.core.tick(now_ns)
        self.deliver(1000)

    def send(self, datagram: bytes, address: Address) -> bool:
        return bool(self.core.send(datagram, address))

    def take_sent(self) -> list[tuple[Address, bytes]]:
        sent: list[tuple[Address, bytes]] = self.core.take_sent()
        return sent


RIGS: dict[str, type[RigPlane]] = {"python": PythonRig, "native": NativeRig}
