"""What a stranger sends is answered, and leaves no traceback in the log of the real process."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

NONSENSE = {
    "an unknown method": b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
    "another version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    "an endless header": b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    "a broken length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a TLS greeting": bytes.fromhex("16030100c8010000c40303") + b"\0" * 64,
}

RAISING = """
import logging
from engine.telemetry import configure_logging
def fail(secret):
    raise RuntimeError(f"{len(secret)} characters")
configure_logging()
try:
    fail("hunter" + str(2))
except RuntimeError:
    logging.getLogger("test").exception("failed")
"""


async def test_what_is_not_http_leaves_no_traceback(tmp_path: Path) -> None:
    engine = await asyncio.create_subprocess_exec(
        *(sys.executable, "run_engine.py", "--port", "0", "--data-dir", str(tmp_path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert engine.stdout is not None
    try:
        async with asyncio.timeout(30):
            port = await _port(engine.stdout)
            for nonsense in NONSENSE.values():
                # First on a connection and later on it: the server treats them differently.
                for before in (b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"):
                    assert b" 500 " not in await _exchange(port, before + nonsense)
        engine.send_signal(signal.SIGINT)
        _, said = await asyncio.wait_for(engine.communicate(), 30)
    finally:
        if engine.returncode is None:
            engine.kill()
            await engine.wait()
    assert engine.returncode == 0
    assert b"serving" in said
    assert b"Traceback" not in said
    assert b"Error handling request" not in said


async def _port(stdout: asyncio.StreamReader) -> int:
    async for line in stdout:
        if b"listens on" in line:
            return int(line.rsplit(b":", 1)[1])
    raise AssertionError("the engine did not start")


async def _exchange(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def test_a_traceback_in_the_log_shows_no_local_variables() -> None:
    run = subprocess.run(
        [sys.executable, "-c", RAISING], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert "RuntimeError: 7 characters" in run.stderr
    assert "hunter2" not in run.stderr
