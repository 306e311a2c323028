"""ICE over TCP, the passive side (RFC 6544): a way in from networks that let no UDP through.

Every datagram travels behind its length in two bytes (RFC 4571 section 2). The datagrams of a
connection enter the packet plane like those of UDP, from an address of their own kind:
``("tcp:<host>", number)``. What is sent to such an address leaves on its connection.

A connection is a stranger until an authenticated request came over it (`keep`): it may say nothing
but binding requests, and not for long. Nothing waits without a bound: a frame that is too long, or
a peer that reads slower than it is sent to, ends its connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import cast

from engine.media import ice, limits
from engine.media.ice import Address
from engine.media.sockets import open_socket

_HEAD_BYTES = 2


class StreamServer:
    """All TCP connections of a worker. `keep` and `drop` of unknown addresses do nothing."""

    def __init__(
        self,
        inject: Callable[[bytes, Address], None],
        on_lost: Callable[[Address], None],
        counters: dict[str, int],
    ) -> None:
        """`on_lost` is called once for every kept connection that ends, never from within a call
        of this object.
        """
        self.inject = inject
        self.counters = counters
        self._on_lost = on_lost
        self._server: asyncio.Server | None = None
        self._streams: dict[Address, _Stream] = {}
        self._strangers: dict[_Stream, None] = {}
        self._per_source: Counter[str] = Counter()
        self._serial = 0

    async def open(self, host: str, port: int, *, reuse: bool = False) -> None:
        """`reuse`: see `open_socket`. Raises `Unavailable` code ``media_port``."""
        if self._server is not None:
            return
        listener = open_socket(host, port, socket.SOCK_STREAM, reuse=reuse)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Stream(self), sock=listener)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for stream in list(self._streams.values()):
            stream.abort()

    # --- for the media plane ---

    def send(self, datagram: bytes | memoryview, address: Address) -> bool:
        """Whether the connection took it; one that is too far behind ends here."""
        stream = self._streams.get(address)
        return stream is not None and stream.send(datagram)

    def keep(self, address: Address) -> None:
        """An authenticated request came from there: it is a stranger no more."""
        stream = self._streams.get(address)
        if stream is not None:
            self._strangers.pop(stream, None)
            stream.keep()

    def drop(self, address: Address) -> None:
        """Nobody is interested in this connection any more."""
        stream = self._streams.get(address)
        if stream is not None:
            stream.abort()

    # --- for the connections ---

    def admit(self, stream: _Stream, host: str, port: int) -> Address | None:
        """The address of a new connection, None if it is one too many."""
        source = ice.source_of((host, port))
        full = len(self._streams) >= limits.MAX_STREAMS
        if full or self._per_source[source] >= limits.MAX_STREAMS_PER_SOURCE:
            self.counters["tcp_refused"] += 1
            return None
        if len(self._strangers) >= limits.MAX_STRANGER_STREAMS:
            # The oldest had the longest time to prove itself: a flood lives shorter than a caller.
            next(iter(self._strangers)).fail()
        address = self._new_address(host, port)
        self._streams[address] = stream
        self._strangers[stream] = None
        self._per_source[source] += 1
        self.counters["tcp_opened"] += 1
        return address

    def _new_address(self, host: str, port: int) -> Address:
        """The lower half of the number is the port: STUN answers tell the peer where it comes
        from.
        """
        while True:
            self._serial = (self._serial + 1) & 0xFFFF
            address = (ice.STREAM_PREFIX + host, self._serial << 16 | port)
            if address not in self._streams:
                return address

    def forget(self, stream: _Stream, address: Address, *, kept: bool) -> None:
        """A connection has ended."""
        del self._streams[address]
        self._strangers.pop(stream, None)
        source = ice.source_of(address)
        self._per_source[source] -= 1
        if not self._per_source[source]:
            del self._per_source[source]
        if kept:
            self._on_lost(address)

    def leave(self, stream: _Stream) -> None:
        """A stranger was shown the door: its place is free before the socket is."""
        self._strangers.pop(stream, None)


class _Stream(asyncio.BufferedProtocol):
    """One connection: its frames, and how much of each direction may wait."""

    def __init__(self, server: StreamServer) -> None:
        self._server = server
        self._buffer = bytearray(limits.STREAM_BUFFER_BYTES)
        self._filled = 0
        self._kept = False
        self._address: Address | None = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    # --- life ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._address = self._server.admit(self, peer[0], peer[1]) if peer else None
        if self._address is None:
            self._transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(limits.STREAM_PROOF_S, self.fail)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        if self._address is not None:
            self._server.forget(self, self._address, kept=self._kept)
            self._address = None

    def keep(self) -> None:
        self._kept = True
        self._stop_clock()

    def fail(self) -> None:
        """End a connection that did not behave."""
        if self._transport is not None and not self._transport.is_closing():
            self._server.counters["tcp_dropped"] += 1
        self.abort()

    def abort(self) -> None:
        self._server.leave(self)
        if self._transport is not None:
            self._transport.abort()

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # --- in ---

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        at = self._take_frames()
        rest = self._buffer[at : self._filled]
        self._buffer[: len(rest)] = rest
        self._filled = len(rest)

    def _take_frames(self) -> int:
        """Handle every whole frame in the buffer; returns where the unfinished one begins."""
        at = 0
        while self._transport is not None and not self._transport.is_closing():
            start = at + _HEAD_BYTES
            if start > self._filled:
                break
            size = int.from_bytes(self._buffer[at:start])
            if not 0 < size <= limits.MAX_DATAGRAM_BYTES:
                self.fail()
                break
            if start + size > self._filled:
                break
            self._take(bytes(self._buffer[start : start + size]))
            at = start + size
        return at

    def _take(self, datagram: bytes) -> None:
        if not self._kept and ice.local_ufrag(datagram) is None:
            self.fail()
        elif self._address is not None:
            self._server.inject(datagram, self._address)

    # --- out ---

    def send(self, datagram: bytes | memoryview) -> bool:
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() + len(datagram) > limits.MAX_STREAM_BACKLOG_BYTES:
            self._server.counters["tcp_slow"] += 1
            self.abort()
            return False
        transport.write(b"".join((len(datagram).to_bytes(_HEAD_BYTES), datagram)))
        return True
