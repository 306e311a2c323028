"""A server under test: a process on the server's core that speaks JSON lines and ends with us."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from loadtests.media import cores

_ANSWER_TIMEOUT_S = 60.0
# The offers of 500 legs are one line.
_LINE_BYTES = 16 << 20


class NotHere(Exception):
    """This server is not installed, not built, or not able to run here."""


class Child:
    """Its standard input and output, one JSON value a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def read(self) -> Any:
        """Its next line. Raises `RuntimeError` if it ended, `TimeoutError` if it is stuck."""
        assert self._process.stdout is not None
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the server under test ended")
        return json.loads(line)

    async def ask(self, value: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value).encode() + b"\n")
        await self._process.stdin.drain()
        return await self.read()


@contextlib.asynccontextmanager
async def running(*command: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Child]:
    """`command` pinned to the server's core; killed at the end, for it has nothing to keep."""
    with cores.pinned(cores.SERVER):
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **(env or {})},
            limit=_LINE_BYTES,
        )
    try:
        yield Child(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
