"""The DTLS server of one leg: aiortc's transport over a pipe instead of an ICE agent.

aiortc keeps what it is good at: the handshake, checking the fingerprint, deriving the SRTP keys
and, afterwards, late records such as close_notify. It never sees media: the pipe is given DTLS
records only, and the two SRTP sessions are taken over once the handshake is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pylibsrtp
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)
from OpenSSL import SSL

from engine.media import limits
from engine.media.sdp import Fingerprint

logger = logging.getLogger(__name__)


class _Pipe:
    """The part of `aiortc.RTCIceTransport` that its DTLS transport uses."""

    role = "controlled"

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._deliver = send
        self._backlog: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def feed(self, record: bytes) -> bool:
        """False if the backlog is full: DTLS recovers by retransmission."""
        if self._closed or len(self._backlog) >= limits.MAX_DTLS_BACKLOG:
            return False
        self._backlog.append(record)
        self._wake()
        return True

    def close(self) -> None:
        self._closed = True
        self._backlog.clear()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _recv(self) -> bytes:
        while not self._backlog:
            if self._closed:
                raise ConnectionError
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._backlog.popleft()

    async def _send(self, record: bytes) -> None:
        if self._closed:
            raise ConnectionError
        self._deliver(record)


class DtlsServer:
    """One leg's DTLS association. States: new, connecting, connected, closed, failed."""

    def __init__(
        self,
        certificate: RTCCertificate,
        *,
        send: Callable[[bytes], None],
        on_change: Callable[[str], None],
    ) -> None:
        self.state = "new"
        self._on_change = on_change
        self._pipe = _Pipe(send)
        self._transport = RTCDtlsTransport(self._pipe, [certificate])  # type: ignore[arg-type]
        self._transport._set_role("server")
        self._task: asyncio.Task[None] | None = None

    def start(self, fingerprints: Sequence[Fingerprint]) -> asyncio.Task[None]:
        """Begin the handshake; the task ends when the association is closed."""
        parameters = RTCDtlsParameters(
            fingerprints=[RTCDtlsFingerprint(f.algorithm, f.value) for f in fingerprints]
        )
        self.state = "connecting"
        self._task = asyncio.get_running_loop().create_task(self._run(parameters))
        return self._task

    def feed(self, record: bytes) -> bool:
        return self._pipe.feed(record)

    def sessions(self) -> tuple[pylibsrtp.Session, pylibsrtp.Session]:
        """The SRTP sessions for receiving and sending; only when connected."""
        return self._transport._rx_srtp, self._transport._tx_srtp

    def profile(self) -> str:
        """The negotiated SRTP profile's OpenSSL name; only when connected."""
        selected: Any = self._transport._ssl and self._transport._ssl.get_selected_srtp_profile()
        return selected.decode("ascii") if selected else ""

    def close(self) -> None:
        """Send close_notify if there is anything to close; safe at any moment, never reports."""
        connection = self._transport._ssl
        if connection is not None and self.state in ("connecting", "connected"):
            self.state = "closed"
            _shut_down(connection, self._pipe)
        self.state = "closed"
        self._pipe.close()
        if self._task is not None:
            self._task.cancel()

    async def _run(self, parameters: RTCDtlsParameters) -> None:
        try:
            async with asyncio.timeout(limits.HANDSHAKE_TIMEOUT_S):
                await self._transport.start(parameters)
        except TimeoutError:
            self._report("failed")
            return
        except Exception:
            # Whatever a hostile handshake provokes inside OpenSSL stays with this leg.
            logger.debug("DTLS handshake failed", exc_info=True)
            self._report("failed")
            return
        finally:
            self._stop_pump_if_cancelled()
        if self._transport.state != "connected":
            self._report("failed")
            return
        self._report("connected")
        await self._until_closed()

    async def _until_closed(self) -> None:
        pump = self._transport._task
        try:
            if pump is not None:
                await asyncio.wait([pump])
                if not pump.cancelled():
                    pump.exception()  # retrieved: a broken record is no news for the log
        finally:
            if pump is not None and not pump.done():
                pump.cancel()
                await asyncio.wait([pump])
        self._report("closed")

    def _stop_pump_if_cancelled(self) -> None:
        if self.state == "closed" and self._transport._task is not None:
            self._transport._task.cancel()

    def _report(self, state: str) -> None:
        if self.state != "closed":
            self.state = state
            self._on_change(state)


def _shut_down(connection: SSL.Connection, pipe: _Pipe) -> None:
    try:
        connection.shutdown()
        record = connection.bio_read(limits.MAX_DATAGRAM_BYTES)
    except SSL.Error:
        return
    if record:
        pipe._deliver(record)
