"""A real TURN server for tests: coturn on free ports of 127.0.0.1, with a shared secret."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aioice import stun

PROGRAM = shutil.which("turnserver")
SECRET = "a shared secret of the tests"


class Coturn:
    """A running server: where it is, and what it has said."""

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self._log = log

    def url(self, transport: str = "udp") -> str:
        return f"turn:127.0.0.1:{self.port}?transport={transport}"

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


def require_coturn() -> str:
    """The program's path; skips the test without it, fails it in CI."""
    if PROGRAM is None:
        if os.environ.get("CI"):
            pytest.fail("coturn is not installed, and in CI it has to be")
        pytest.skip("coturn is not installed")
    return PROGRAM


@contextlib.asynccontextmanager
async def coturn(folder: Path) -> AsyncIterator[Coturn]:
    """The server runs until the end of the block; `folder` takes its files."""
    program, port, log = require_coturn(), _free_port(), folder / "turn.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            program, *_options(port, folder), stdout=out, stderr=out
        )
    try:
        await _answers(port, process)
        yield Coturn(port, log)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _options(port: int, folder: Path) -> list[str]:
    return [
        "-n",  # no configuration file
        "--listening-ip=127.0.0.1",
        "--relay-ip=127.0.0.1",
        f"--listening-port={port}",
        "--use-auth-secret",
        f"--static-auth-secret={SECRET}",
        "--realm=talktime.test",
        "--fingerprint",
        "--no-tls",
        "--no-dtls",
        "--no-cli",
        # The engine under test is on the loopback interface as well.
        "--allow-loopback-peers",
        "--log-file=stdout",
        "--verbose",
        f"--pidfile={folder / 'turn.pid'}",
        f"--userdb={folder / 'turn.db'}",
    ]


def _free_port() -> int:
    """Free for TCP and for UDP, at least now."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = int(tcp.getsockname()[1])
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                return port


async def _answers(port: int, process: asyncio.subprocess.Process) -> None:
    """Wait until the server answers a binding request."""
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))
        for _ in range(200):
            assert process.returncode is None, "coturn did not start"
            with contextlib.suppress(ConnectionError, TimeoutError):
                sock.send(bytes(stun.Message(stun.Method.BINDING, stun.Class.REQUEST)))
                async with asyncio.timeout(0.1):
                    await loop.sock_recv(sock, 2000)
                return
            await asyncio.sleep(0.05)
    raise AssertionError("coturn does not answer")
