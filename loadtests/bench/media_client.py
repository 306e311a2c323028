"""A bare media client for benchmarks: ICE checks, DTLS by aiortc, then raw SRTP on a socket."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
from typing import Any

from aioice import stun
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)


class _SocketPipe:
    """What aiortc's DTLS transport needs of an ICE transport, over a connected UDP socket."""

    role = "controlling"

    def __init__(self, client: MediaClient) -> None:
        self._client = client
        self._sock = client.sock

    async def _recv(self) -> bytes:
        while True:
            data = await asyncio.get_running_loop().sock_recv(self._sock, 2048)
            if data and 20 <= data[0] < 64:
                return data
            self._client.answer_check(data)

    async def _send(self, data: bytes) -> None:
        self._sock.send(data)


class MediaClient:
    """Meets one server; afterwards `sock` is connected and `tx`, `rx` are its SRTP sessions.

    It answers `offer`, or makes an offer of its own from `transport_lines` and is told the
    server's description by `meet`.
    """

    def __init__(self, offer: str = "", certificate: RTCCertificate | None = None) -> None:
        self.ufrag, self.password = secrets.token_hex(4), secrets.token_hex(12)
        self.certificate = certificate or RTCCertificate.generateCertificate()
        self.tx: Any = None
        self.rx: Any = None
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.setblocking(False)
        self.offer = ""
        if offer:
            self.meet(offer)

    def meet(self, description: str) -> None:
        """The server's offer or answer: with whom to connect."""
        self.offer = description
        self._remote_ufrag = self._attribute("ice-ufrag:(\\S+)")
        self._remote_password = self._attribute("ice-pwd:(\\S+)")
        host, port = re.findall(r"a=candidate:1 1 udp \d+ (\S+) (\d+)", description)[0]
        self.sock.connect((host, int(port)))

    def _attribute(self, pattern: str) -> str:
        return str(re.findall(f"a={pattern}", self.offer)[0])

    def remote_ssrc(self, kind: str) -> int:
        section = self.offer[self.offer.index(f"m={kind}") :]
        return int(re.findall(r"a=ssrc:(\d+) cname", section)[0])

    def transport_lines(self) -> list[str]:
        """What a media section of this client says: always the DTLS client, always both ways."""
        digest = self.certificate.getFingerprints()[0]
        return [
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.password}",
            f"a=fingerprint:{digest.algorithm} {digest.value}",
            "a=setup:active",
            "a=sendrecv",
            "a=rtcp-mux",
        ]

    def answer(self) -> str:
        """Accepts everything offered."""
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
        mids = re.findall(r"a=mid:(\S+)", self.offer)
        lines.append(f"a=group:BUNDLE {' '.join(mids)}")
        for mid, media in zip(mids, re.findall(r"m=\S+ \d+ \S+ [0-9 ]+", self.offer), strict=True):
            lines += [media, f"a=mid:{mid}", *self.transport_lines()]
        return "\r\n".join(lines) + "\r\n"

    async def connect(self) -> None:
        """Check, nominate, and run the DTLS handshake as the client."""
        loop = asyncio.get_running_loop()
        self.sock.send(self.check())
        async with asyncio.timeout(5):
            while not self.answer_check(await loop.sock_recv(self.sock, 2048)):
                pass
        pipe: Any = _SocketPipe(self)
        transport = RTCDtlsTransport(pipe, [self.certificate])
        transport._set_role("client")
        algorithm, value = self._attribute("fingerprint:(\\S+ \\S+)").split()
        checking = asyncio.create_task(self._check_on())
        await transport.start(RTCDtlsParameters([RTCDtlsFingerprint(algorithm, value)]))
        checking.cancel()
        assert transport.state == "connected"
        if transport._task is not None:
            transport._task.cancel()
            await asyncio.wait([transport._task])
        self.rx, self.tx = transport._rx_srtp, transport._tx_srtp

    def answer_check(self, data: bytes) -> bool:
        """Answer the server's own check, if `data` is one; True if it is the answer to ours."""
        if not data or data[0] > 3:
            return False
        message = stun.parse_message(data)
        if message.message_class is not stun.Class.REQUEST:
            return bool(message.message_class is stun.Class.RESPONSE)
        response = stun.Message(
            message.message_method, stun.Class.RESPONSE, transaction_id=message.transaction_id
        )
        response.attributes["XOR-MAPPED-ADDRESS"] = self.sock.getpeername()
        response.add_message_integrity(self.password.encode())
        self.sock.send(bytes(response))
        return False

    async def _check_on(self) -> None:
        """A server may forget a check that comes before it knows its client."""
        while True:
            await asyncio.sleep(0.1)
            self.sock.send(self.check())

    def check(self) -> bytes:
        """One nominating connectivity check."""
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{self._remote_ufrag}:{self.ufrag}"
        message.attributes["PRIORITY"] = 1
        message.attributes["ICE-CONTROLLING"] = 1
        message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(self._remote_password.encode())
        return bytes(message)
