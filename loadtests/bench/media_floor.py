"""The floor of a Python relay: receive, decrypt, encrypt, send; nothing is rewritten."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from multiprocessing.connection import Connection
from typing import Any

import pylibsrtp

from engine.media import srtp

_PROFILE = pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM
KEY_BYTES = 32 + 12


def session(key: bytes, direction: int) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(key=key, ssrc_type=direction, srtp_profile=_PROFILE)
    policy.allow_repeat_tx = True
    policy.window_size = 1024
    return pylibsrtp.Session(policy)


class BarePeer:
    """A client of the floor relay: a socket and keys, agreed without ICE or DTLS."""

    def __init__(self, agreed: tuple[tuple[str, int], bytes]) -> None:
        relay, key = agreed
        self.tx: Any = session(key, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.setblocking(False)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.connect(relay)
        self.address = self.sock.getsockname()

    def remote_ssrc(self, _kind: str) -> int:
        return 1

    def check(self) -> bytes:
        """Keeps the packet count the same as that of a real client."""
        return bytes(20)


def run_floor(control: Connection) -> None:
    """The relay's process; it speaks the same commands as the worker's."""
    import uvloop

    uvloop.run(_serve(control))


async def _serve(control: Connection) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind(("127.0.0.1", 0))
    key = secrets.token_bytes(KEY_BYTES)
    for _ in range(2):
        control.send((sock.getsockname(), key))
    viewer, publisher = control.recv()
    loop = asyncio.get_running_loop()
    loop.add_reader(sock.fileno(), _relay(sock, key, viewer, publisher))
    commands: asyncio.Queue[Any] = asyncio.Queue()
    loop.add_reader(control.fileno(), lambda: commands.put_nowait(control.recv()))
    control.send("open")
    while await commands.get() == "cpu":
        control.send(time.process_time())
    loop.remove_reader(control.fileno())
    loop.remove_reader(sock.fileno())
    sock.close()


def _relay(sock: socket.socket, key: bytes, viewer: Any, publisher: Any) -> Any:
    buffer = srtp.DatagramBuffer()
    unprotect = srtp.unprotector(session(key, pylibsrtp.Policy.SSRC_ANY_INBOUND), buffer)
    protect = srtp.protector(session(key, pylibsrtp.Policy.SSRC_ANY_OUTBOUND), buffer)

    def drain() -> None:
        while True:
            try:
                length, address = sock.recvfrom_into(buffer.data, 1501)
            except BlockingIOError:
                return
            if address == publisher:
                sock.sendto(buffer.view[: protect(unprotect(length))], viewer)

    return drain
