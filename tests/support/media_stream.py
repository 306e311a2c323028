"""TCP clients of the media plane: one by hand, and a bridge for peers that know UDP only."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

from engine.media.tcp import StreamServer


def frame(datagram: bytes) -> bytes:
    """RFC 4571: behind its length."""
    return len(datagram).to_bytes(2) + datagram


class TcpClient:
    """A connection that a test drives by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.local: tuple[str, int] = writer.get_extra_info("sockname")[:2]

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1") -> TcpClient:
        return cls(*await asyncio.open_connection(host, port))

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def send(self, datagram: bytes) -> None:
        await self.write(frame(datagram))

    async def receive(self) -> bytes:
        size = int.from_bytes(await self._reader.readexactly(2))
        return await self._reader.readexactly(size)

    async def ended(self, timeout_s: float = 10.0) -> bool:
        """Waits until the other side has ended the connection, however rudely."""
        try:
            async with asyncio.timeout(timeout_s):
                while await self._reader.read(65_536):
                    pass
        except ConnectionError:
            pass
        await self.close()
        return True

    def cut(self) -> None:
        """End the connection without a word."""
        self._writer.transport.abort()

    async def close(self) -> None:
        self.cut()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class Bridge(asyncio.DatagramProtocol):
    """UDP on the peer's side, one TCP connection to the worker: an offer `between` leads here."""

    def __init__(self, worker_port: int) -> None:
        self.port = 0
        self._worker_port = worker_port
        self._peer: tuple[str, int] | None = None
        self._datagrams: asyncio.DatagramTransport | None = None
        self._client: TcpClient | None = None
        self._pump: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, worker_port: int) -> Bridge:
        bridge = cls(worker_port)
        loop = asyncio.get_running_loop()
        bridge._client = await TcpClient.open(worker_port)
        await loop.create_datagram_endpoint(lambda: bridge, local_addr=("127.0.0.1", 0))
        bridge._pump = loop.create_task(bridge._from_worker())
        return bridge

    def between(self, offer: str) -> str:
        """The offer with this bridge instead of the worker's UDP candidates."""
        lines = [line for line in offer.split("\r\n") if "tcptype" not in line]
        return "\r\n".join(lines).replace(
            f" {self._worker_port} typ host", f" {self.port} typ host"
        )

    def cut(self) -> None:
        assert self._client is not None
        self._client.cut()

    async def close(self) -> None:
        assert self._pump is not None
        assert self._client is not None
        await self._client.close()
        self._pump.cancel()
        await asyncio.wait([self._pump])
        if self._datagrams is not None:
            self._datagrams.close()

    async def _from_worker(self) -> None:
        assert self._client is not None
        try:
            while True:
                datagram = await self._client.receive()
                if self._peer is not None and self._datagrams is not None:
                    self._datagrams.sendto(datagram, self._peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._datagrams = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._peer = addr
        assert self._client is not None
        self._client._writer.write(frame(data))


def open_streams(server: StreamServer) -> int:
    return len(server._streams)
