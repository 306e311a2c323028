"""What a server under test offers to the load: connected legs, and the flows between them."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from engine.media import codecs, rtcp
from engine.media.interface import MediaKind

_HEADER = struct.Struct("!BBHII")
_TRANSPORT_CC = struct.Struct("!HHBHx")
_TAG_BYTES = 16
# VP8 payload descriptors and the first byte of the frame (RFC 7741): a key frame begins, another
# frame begins, a frame goes on.
KEY, DELTA, MIDDLE = b"\x10\x00", b"\x10\x01", b"\x00\x01"
_LEARN_TIMEOUT_S = 10.0


class Peer(Protocol):
    """One leg from the client's side: a connected socket and the SRTP session of what it sends."""

    sock: socket.socket
    tx: Any

    def check(self) -> bytes:
        """A connectivity check, empty if the server knows no such thing."""
        ...


class Flow:
    """One RTP stream from `sender` to `viewer` (indices of legs; with an echo the same one).

    `out_ssrc` and `offset` are what the server makes of it, once `learn` has seen a packet back.
    """

    def __init__(self, peer: Peer, sender: int, viewer: int, kind: MediaKind) -> None:
        video = kind is MediaKind.VIDEO
        self.sender, self.viewer, self.kind = sender, viewer, kind
        self.ssrc = video_ssrc(sender) if video else video_ssrc(sender) + 1
        self.sequence = 1
        self.packets = self.octets = 0
        self.timestamp = 0
        self.out_ssrc = 0
        self.offset = 0
        self._payload_type = (codecs.VP8 if video else codecs.OPUS).payload_type
        self._protect = peer.tx.protect

    @property
    def out_sequence(self) -> int:
        """Under which number the next packet will come back."""
        return (self.sequence + self.offset) & 0xFFFF

    def packet(
        self, size: int, start: bytes, *, marker: bool = False, transport: int | None = None
    ) -> bytes:
        """The next packet, protected: `size` bytes on the wire, its payload begins with `start`."""
        extension = b""
        if transport is not None:
            element = codecs.TRANSPORT_CC_EXTENSION << 4 | 1
            extension = _TRANSPORT_CC.pack(0xBEDE, 1, element, transport & 0xFFFF)
        head = _HEADER.pack(
            0x90 if extension else 0x80,
            (0x80 if marker else 0) | self._payload_type,
            self.sequence & 0xFFFF,
            self.timestamp & 0xFFFFFFFF,
            self.ssrc,
        )
        fill = bytes(size - _TAG_BYTES - len(head) - len(extension) - len(start))
        self.sequence += 1
        self.packets += 1
        self.octets += len(start) + len(fill)
        protected: bytes = self._protect(head + extension + start + fill)
        return protected


class Rig:
    """The legs and flows of one server; `pid` is the server's, `acks` whether it wants RTCP."""

    def __init__(
        self,
        peers: Sequence[Peer],
        pairs: Sequence[tuple[int, int]],
        *,
        pid: int,
        acks: bool,
        lag_ms: Callable[[], Awaitable[float]] | None = None,
    ) -> None:
        self.peers = peers
        self.lag_ms = lag_ms
        self.pid = pid
        self.acks = acks
        self.video = [Flow(peers[s], s, v, MediaKind.VIDEO) for s, v in pairs]
        self.audio = [Flow(peers[s], s, v, MediaKind.AUDIO) for s, v in pairs]
        self._checks = [peer.check() for peer in peers]

    def check(self, leg: int) -> bytes:
        """A consent check of this leg; the same bytes each time, which STUN allows."""
        return self._checks[leg]

    def fds(self) -> list[int]:
        return [peer.sock.fileno() for peer in self.peers]

    def report(self, flow: Flow, highest: int) -> bytes:
        """The viewer's receiver report on `flow` up to the number `highest`, protected."""
        block = rtcp.ReportBlock(flow.out_ssrc, 0, 0, highest & 0xFFFF, 0, 0, 0)
        return bytes(self.peers[flow.viewer].tx.protect_rtcp(rtcp.build_rr(1, [block])))

    async def learn(self, flows: Sequence[Flow]) -> None:
        """Send one packet of each flow until it comes back: consent, numbering, first frame.

        Raises `RuntimeError` if a flow does not come back.
        """
        self._arrived(0.01)  # what an earlier run left behind
        for leg, peer in enumerate(self.peers):
            if self._checks[leg]:
                peer.sock.send(self._checks[leg])
        waiting = {(flow.viewer, flow.kind): flow for flow in flows}
        deadline = asyncio.get_running_loop().time() + _LEARN_TIMEOUT_S
        while waiting:
            for flow in waiting.values():
                self._probe(flow)
            await asyncio.sleep(0.02)
            newest = {(leg, _kind(packet)): packet for leg, packet in self._arrived(0.1)}
            for key in newest.keys() & waiting.keys():
                self._learned(waiting.pop(key), newest[key])
            if asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"{len(waiting)} of {len(flows)} streams do not come back")

    def _probe(self, flow: Flow) -> None:
        start = KEY if flow.kind is MediaKind.VIDEO else b"\xfc"
        self.peers[flow.sender].sock.send(flow.packet(120, start, marker=True))

    def _learned(self, flow: Flow, packet: bytes) -> None:
        """`packet` is what came back of the newest one sent."""
        flow.out_ssrc = int.from_bytes(packet[8:12], "big")
        highest = packet[2] << 8 | packet[3]
        flow.offset = (highest - (flow.sequence - 1)) & 0xFFFF
        if self.acks:
            self.peers[flow.viewer].sock.send(self.report(flow, highest))

    def _arrived(self, quiet_s: float) -> list[tuple[int, bytes]]:
        """RTP packets by leg, until nothing came for `quiet_s`."""
        poll = select.poll()
        by_fd = {peer.sock.fileno(): leg for leg, peer in enumerate(self.peers)}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        found = []
        while ready := poll.poll(quiet_s * 1000):
            for fd, _ in ready:
                data = self.peers[by_fd[fd]].sock.recv(2048)
                if 128 <= data[0] < 192 and not 192 <= data[1] < 224:
                    found.append((by_fd[fd], data))
        return found


def video_ssrc(leg: int) -> int:
    """Under which a leg sends its video; its audio is the next."""
    return 2 * leg + 1000


def _kind(packet: bytes) -> MediaKind:
    video = packet[1] & 0x7F == codecs.VP8.payload_type
    return MediaKind.VIDEO if video else MediaKind.AUDIO
