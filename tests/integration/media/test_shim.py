"""The relay that stands for a bad network, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from tests.support.impair import Impairment, Line
from tests.support.media_shim import Shim

COUNT = 50


class Ends:
    """A peer and a worker with a shim between them."""

    def __init__(self, peer: socket.socket, worker: socket.socket, shim: Shim) -> None:
        self.peer, self.worker, self.shim = peer, worker, shim

    async def receive(self, sock: socket.socket) -> bytes:
        async with asyncio.timeout(10):
            return await asyncio.get_running_loop().sock_recv(sock, 2048)


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    with socket.socket(type=socket.SOCK_DGRAM) as peer, socket.socket(type=socket.SOCK_DGRAM) as w:
        for sock in (peer, w):
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
        shim = await Shim.open(w.getsockname()[1])
        peer.connect(("127.0.0.1", shim.port))
        w.connect(("127.0.0.1", shim.port))
        yield Ends(peer, w, shim)
        shim.close()


async def test_both_directions_pass(ends: Ends) -> None:
    ends.peer.send(b"\x80 there")
    assert await ends.receive(ends.worker) == b"\x80 there"
    ends.worker.send(b"\x80 back")
    assert await ends.receive(ends.peer) == b"\x80 back"


async def test_a_delay_keeps_the_order(ends: Ends) -> None:
    ends.shim.worker_line = Line(Impairment(delay_ms=5, jitter_ms=3))
    for number in range(COUNT):
        ends.peer.send(bytes([0x80, number]))
    got = [(await ends.receive(ends.worker))[1] for _ in range(COUNT)]
    assert got == list(range(COUNT))


async def test_a_line_loses_on_its_way_only(ends: Ends) -> None:
    ends.peer.send(b"\x80 hello")
    await ends.receive(ends.worker)
    ends.shim.peer_line = Line(Impairment(loss=1.0))
    for _ in range(COUNT):
        ends.worker.send(b"\x80 lost")
        ends.peer.send(b"\x80 heard")
    for _ in range(COUNT):
        assert await ends.receive(ends.worker) == b"\x80 heard"
    ends.shim.peer_line = None
    ends.worker.send(b"\x80 again")
    assert await ends.receive(ends.peer) == b"\x80 again"
    assert ends.shim.dropped == COUNT


async def test_checks_from_elsewhere_do_not_divert_the_media(ends: Ends) -> None:
    ends.peer.send(b"\x80 media")
    await ends.receive(ends.worker)
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.sendto(b"\x00\x01 a check", ("127.0.0.1", ends.shim.port))
        await ends.receive(ends.worker)
    ends.worker.send(b"\x80 media")
    assert await ends.receive(ends.peer) == b"\x80 media"
