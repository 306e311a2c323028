"""The packet plane in Python: the reference for `engine.media.plane`.

The socket is drained until it would block, but never for longer than the loop can spare. A datagram
is taken by its source address when that is claimed for a path; anything else is looked at only if
it is a STUN binding request that names a known ufrag. So a stranger costs one dictionary lookup, at
most one bounded walk over a few bytes, and a counter; nothing is kept for one.

First byte (RFC 7983): 0..3 STUN, 20..63 DTLS, 128..191 RTP or RTCP; second byte (RFC 5761):
192..223 RTCP.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.clock import Clock
from engine.media import ice, limits, sockets
from engine.media.counters import new_counters
from engine.media.ice import Address
from engine.media.path import PythonPath
from engine.media.plane import Path, PathEvents, PathSpec, Plane, PlaneEvents
from engine.media.srtp import DatagramBuffer

logger = logging.getLogger(__name__)


class PythonPlane:
    """See `engine.media.plane.Plane` for the contract."""

    name = "python"

    def __init__(self, host: str, port: int, clock: Clock) -> None:
        self.buffer = DatagramBuffer()
        self.counts = new_counters()
        self.port = 0
        self._host = host
        self._wanted_port = port
        self._now_ns = clock.now_ns
        self._by_address: dict[Address, PythonPath] = {}
        self._paths: dict[PythonPath, None] = {}
        self._ufrags: set[str] = set()
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._events: PlaneEvents | None = None
        self._ticker: asyncio.TimerHandle | None = None

    # --- life ---

    def open(self, loop: asyncio.AbstractEventLoop, events: PlaneEvents) -> None:
        if self._socket is not None:
            return
        sock = sockets.open_socket(self._host, self._wanted_port)
        self._socket, self._loop, self._events = sock, loop, events
        self.port = sock.getsockname()[1]
        loop.add_reader(sock.fileno(), self._on_readable)

    def close(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        if self._socket is None or self._loop is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        self.port = 0

    def counters(self) -> dict[str, int]:
        return self.counts

    # --- tables ---

    def new_path(self, spec: PathSpec, events: PathEvents) -> PythonPath:
        path = PythonPath(self, spec, events)
        self._paths[path] = None
        self._schedule_tick()
        return path

    def claim(self, address: Address, path: Path) -> None:
        assert isinstance(path, PythonPath)
        self._by_address[address] = path

    def release(self, address: Address) -> None:
        self._by_address.pop(address, None)

    def add_ufrag(self, ufrag: str) -> None:
        self._ufrags.add(ufrag)

    def remove_ufrag(self, ufrag: str) -> None:
        self._ufrags.discard(ufrag)

    # --- sending ---

    def transmit(self, length: int, address: Address) -> bool:
        """Send the first `length` bytes of the buffer."""
        return self.send(self.buffer.view[:length], address)

    def send(self, datagram: bytes | memoryview, address: Address) -> bool:
        if self._socket is None:
            return False
        try:
            if not address[0].startswith(ice.STREAM_PREFIX):
                sockets.send(self._socket, datagram, address)
            elif self._events is None or not self._events.send_stream(datagram, address):
                self.counts["send_errors"] += 1
                return False
        except OSError as error:
            self._send_failed(error)
            return False
        self.counts["datagrams_out"] += 1
        return True

    def _send_failed(self, error: OSError) -> None:
        # A full socket buffer is loss like any other; the rest is the network's or the peer's.
        blocked = isinstance(error, BlockingIOError)
        self.counts["send_blocked" if blocked else "send_errors"] += 1

    # --- receiving ---

    def inject(self, datagram: bytes, address: Address) -> None:
        self.handle(self.buffer.load(datagram), address, self._now_ns())

    def _on_readable(self) -> None:
        sock = self._socket
        if sock is None:
            return
        room, counts = self.buffer.view[: limits.MAX_DATAGRAM_BYTES + 1], self.counts
        receive: Callable[[memoryview], tuple[int, Address]] = sock.recvfrom_into
        if sockets.serves_all_addresses(self._host):
            receive = functools.partial(sockets.receive, sock)
        for _ in range(limits.MAX_DATAGRAMS_PER_WAKEUP):
            try:
                length, address = receive(room)
            except BlockingIOError:
                return
            except OSError:
                counts["send_errors"] += 1  # an ICMP error of an earlier sending
                continue
            self.handle(length, address, self._now_ns())
            if self._socket is None:
                return

    def handle(self, length: int, address: Address, now_ns: int) -> None:
        """A datagram from `address` is in the buffer."""
        self.counts["datagrams_in"] += 1
        try:
            path, data = self._by_address.get(address), self.buffer.data
            if (
                path is not None
                and 12 <= length <= limits.MAX_DATAGRAM_BYTES
                and 128 <= data[0] < 192
                and not 192 <= data[1] < 224
            ):
                path.on_rtp(length, now_ns)
            else:
                self._dispatch(path, length, address, now_ns)
        except Exception:
            # One broken datagram or a fault here must not take the other calls along.
            self.counts["internal_errors"] += 1
            logger.exception("a datagram could not be handled")

    def _dispatch(
        self, path: PythonPath | None, length: int, address: Address, now_ns: int
    ) -> None:
        """Anything but the media of a known path, which never comes here."""
        if length > limits.MAX_DATAGRAM_BYTES:
            self.counts["datagrams_oversize"] += 1
            return
        first = self.buffer.data[0] if length else 0xFF
        if first < 4 and (path is not None or length >= limits.MIN_STUN_REQUEST_BYTES):
            self._on_stun(length, address)
        elif path is None:
            self.counts["datagrams_unknown_source"] += 1
        elif 128 <= first < 192:
            if length < 12:
                self.counts["rtp_malformed"] += 1
            else:
                path.on_rtcp(length, now_ns)
        elif 20 <= first < 64:
            self._signal(bytes(self.buffer.view[:length]), address)

    def _on_stun(self, length: int, address: Address) -> None:
        request = bytes(self.buffer.view[: min(length, limits.MAX_STUN_BYTES + 1)])
        if ice.local_ufrag(request) in self._ufrags:
            self._signal(request, address)
        else:
            self.counts["stun_refused"] += 1

    def _signal(self, datagram: bytes, address: Address) -> None:
        if self._events is not None:
            self._events.signal(datagram, address)

    # --- timers ---

    def _schedule_tick(self) -> None:
        if self._ticker is None and self._loop is not None:
            self._ticker = self._loop.call_later(limits.TICK_S, self._on_tick)

    def _on_tick(self) -> None:
        self._ticker = None
        self.tick(self._now_ns())
        if self._paths:
            self._schedule_tick()

    def tick(self, now_ns: int) -> None:
        """Whatever is due: repeated requests, reports, missing acknowledgements."""
        for path in list(self._paths):
            if path.closed:
                del self._paths[path]
            else:
                path.tick(now_ns)


if TYPE_CHECKING:
    # The type checker's word that the plane keeps the contract.
    _IMPLEMENTATION: type[Plane] = PythonPlane
