"""Two legs with real SRTP keys and sockets, for tests of the load generator's Python side."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

import pylibsrtp

from loadtests.bench.media_floor import KEY_BYTES, session
from loadtests.media.rig import Rig

KEY = bytes(KEY_BYTES)


class BarePeer:
    """A client whose server shares its one key."""

    def __init__(self, server: socket.socket) -> None:
        self.tx: Any = session(KEY, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.connect(server.getsockname())

    def check(self) -> bytes:
        return b"\x00\x01 a check"


@contextlib.contextmanager
def two_legs() -> Iterator[tuple[Rig, socket.socket]]:
    """A rig of two legs that send to each other, and the socket that they are connected to.

    The server's numbers are as if it had taken over the clients'.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        peers = [BarePeer(server), BarePeer(server)]
        with peers[0].sock, peers[1].sock:
            rig = Rig(peers, [(0, 1), (1, 0)], pid=os.getpid(), acks=True)
            for flow in (*rig.video, *rig.audio):
                flow.out_ssrc = flow.ssrc
            yield rig, server
