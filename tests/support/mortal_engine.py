"""A real engine in a process of its own that can be killed and started again in the same place."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from engine.clock import SystemClock
from engine.store.database import Store
from tests.support.running_app import RunningApp

_RUN = Path(__file__).parents[2] / "run_engine.py"


class MortalEngine(RunningApp):
    """`kill` is `kill -9`; `start` goes on with the same data directory, port and address.

    The test has a way of its own into the store.
    """

    def __init__(self, data_dir: Path, *options: str) -> None:
        self._data_dir = data_dir
        self._options = options
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.store = Store(f"sqlite:///{data_dir / 'talktime.db'}", SystemClock())
        super().__init__(cast(Any, self))
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns once it listens."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_RUN),
            *("--demo", "--port", str(self.port), "--data-dir", str(self._data_dir)),
            *("--log-level", "warning", "--media-start-bitrate-kbps", "0", *self._options),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            while b"Ctrl-C" not in (line := await self._process.stdout.readline()):
                assert line, "the engine did not start"

    async def kill(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.communicate()
        self._process = None

    async def freeze(self, seconds: float) -> None:
        """It stands still for so long, and knows nothing of it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    async def close(self) -> None:
        if self._process is not None:
            await self.kill()
        await self.store.close()


@contextlib.asynccontextmanager
async def mortal_engine(data_dir: Path, *options: str) -> AsyncIterator[MortalEngine]:
    """Started; killed at the end of the block if it lives."""
    engine = MortalEngine(data_dir, *options)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
