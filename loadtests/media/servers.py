"""The engine's workers and the floor, each with its legs connected; Janus is in janus.py."""

from __future__ import annotations

import contextlib
import functools
import secrets
import socket
import sys
from collections.abc import AsyncIterator

from aiortc.rtcdtlstransport import RTCCertificate

from engine.media import srtp
from loadtests.bench.media_client import MediaClient
from loadtests.bench.media_floor import KEY_BYTES, session
from loadtests.media import child
from loadtests.media.child import NotHere, running
from loadtests.media.rig import Rig


def crossed(legs: int) -> list[tuple[int, int]]:
    """Who sends to whom: pairs of legs that send to each other; one leg alone to a silent one."""
    if legs == 1:
        return [(0, 1)]
    return [(leg, leg ^ 1) for leg in range(legs - legs % 2)]


@contextlib.asynccontextmanager
async def engine(worker: str, host: str, legs: int) -> AsyncIterator[Rig]:
    """`legs` sending legs of calls on a worker ("native" or "python").

    Raises `NotHere` if that worker does not run here.
    """
    command = (sys.executable, "-m", "loadtests.media.engine_server", host)
    async with running(*command, env={"TALKTIME_MEDIA": worker}) as server:
        await _expect(server, worker)
        offers = await server.ask(max(1, legs // 2))
        certificate = RTCCertificate.generateCertificate()
        clients = [MediaClient(offer, certificate) for offer in offers]
        with contextlib.ExitStack() as sockets:
            for client in clients:
                sockets.enter_context(client.sock)
            await server.ask([client.answer() for client in clients])
            for client in clients:
                await client.connect()
            await server.ask("open")
            lag_ms = functools.partial(server.ask, "lag")
            yield Rig(clients, crossed(legs), pid=server.pid, acks=True, lag_ms=lag_ms)


async def _expect(server: child.Child, worker: str) -> None:
    try:
        runs = await server.read()
    except RuntimeError:
        runs = "nothing"
    if runs != worker:
        raise NotHere(f"asked for the {worker} worker, {runs} runs")


class _FloorPeer:
    """A client of the floor: a socket and a key, agreed without ICE or DTLS."""

    def __init__(self, relay: tuple[str, int]) -> None:
        import pylibsrtp

        self.key = secrets.token_bytes(KEY_BYTES)
        self.tx = session(self.key, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.setblocking(False)
        self.sock.bind((relay[0], 0))
        self.sock.connect(relay)

    def check(self) -> bytes:
        return b""


@contextlib.asynccontextmanager
async def floor(host: str, legs: int) -> AsyncIterator[Rig]:
    """`legs` sending legs on the native floor. Raises `NotHere` with another libsrtp."""
    if not srtp.DIRECT:
        raise NotHere("the floor needs libsrtp 2 inside pylibsrtp")
    async with running(sys.executable, "-m", "loadtests.media.floor", host) as server:
        relay = (host, int(await server.read()))
        peers = [_FloorPeer(relay) for _ in range(max(2, legs))]
        with contextlib.ExitStack() as sockets:
            for peer in peers:
                sockets.enter_context(peer.sock)
            rows = [
                (peer.sock.getsockname()[1], index ^ 1, peer.key.hex())
                for index, peer in enumerate(peers)
            ]
            await server.ask(rows)
            yield Rig(peers, crossed(legs), pid=server.pid, acks=False)
