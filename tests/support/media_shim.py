"""A bad network between a media peer and the worker: a UDP relay that drops and delays.

What it does is told per direction: a `Drop` looks into each datagram, a `Line` (see impair.py)
knows only sizes and instants. Both may change at any time.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable
from typing import cast

from tests.support.impair import Line
from tests.support.media_trouble import HandshakeTrouble

Drop = Callable[[bytes], bool]
"""Sees every datagram; True drops it."""

Address = tuple[str, int]


def is_media(datagram: bytes) -> bool:
    """RTP, not RTCP (RFC 5761), STUN or DTLS."""
    return len(datagram) > 12 and 128 <= datagram[0] < 192 and not 192 <= datagram[1] < 224


def drop_every(count: int) -> Drop:
    """Drops every `count`-th media packet."""
    seen = 0

    def drop(datagram: bytes) -> bool:
        nonlocal seen
        seen += is_media(datagram)
        return is_media(datagram) and seen % count == 0

    return drop


def drop_some(share: float, seed: int = 1) -> Drop:
    """Drops each media packet with the probability `share`, by a seeded die."""
    dice = random.Random(seed)
    return lambda datagram: is_media(datagram) and dice.random() < share


class Shim(asyncio.DatagramProtocol):
    """Stands between one peer and the worker; put `port` into the offer instead of the worker's.

    `peer_line` and `worker_line` are the lines towards either, None while they are perfect.
    """

    def __init__(
        self,
        worker_port: int,
        *,
        to_peer: Drop | None = None,
        to_worker: Drop | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.port = 0
        self.dropped = 0
        self.to_peer = to_peer
        self.to_worker = to_worker
        self.trouble: tuple[HandshakeTrouble, HandshakeTrouble] | None = None
        """In what the worker's DTLS sends, and in what the peer's does."""
        self.peer_line: Line | None = None
        self.worker_line: Line | None = None
        self._worker = (host, worker_port)
        self._peer: Address | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._loop = asyncio.get_running_loop()
        self._under_way: list[tuple[int, int, bytes, Address]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def open(
        cls,
        worker_port: int,
        *,
        to_peer: Drop | None = None,
        to_worker: Drop | None = None,
        host: str = "127.0.0.1",
    ) -> Shim:
        shim = cls(worker_port, to_peer=to_peer, to_worker=to_worker, host=host)
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: shim, local_addr=(host, 0)
        )
        return shim

    def between(self, offer: str) -> str:
        """The offer with this shim's port in its candidates."""
        return offer.replace(f" {self._worker[1]} typ host", f" {self.port} typ host")

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Address) -> None:
        inbound = addr == self._worker
        # A browser checks from several addresses; the one that it chose sends more than checks.
        if not inbound and (self._peer is None or data[:1] > b"\x03"):
            self._peer = addr
        drop = self.to_peer if inbound else self.to_worker
        target = self._peer if inbound else self._worker
        if drop is not None and drop(data):
            self.dropped += 1
        elif target is not None:
            arriving = [data] if self.trouble is None else self.trouble[not inbound](data)
            for datagram in arriving:
                self._carry(datagram, target, self.peer_line if inbound else self.worker_line)

    def _carry(self, data: bytes, target: Address, line: Line | None) -> None:
        if line is None:
            self._send(data, target)
            return
        due_ns = line.carry(len(data), self._now_ns())
        if due_ns is None:
            self.dropped += 1
            return
        heapq.heappush(self._under_way, (due_ns, next(self._numbers), data, target))
        self._deliver()

    def _deliver(self) -> None:
        """Send what is due, and come back for the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._under_way and self._under_way[0][0] <= self._now_ns():
            _, _, data, target = heapq.heappop(self._under_way)
            self._send(data, target)
        if self._under_way:
            self._timer = self._loop.call_at(self._under_way[0][0] / 1e9, self._deliver)

    def _now_ns(self) -> int:
        return int(self._loop.time() * 1e9)

    def _send(self, data: bytes, target: Address) -> None:
        if self._transport is not None:
            self._transport.sendto(data, target)
