"""The process of the engine's media worker: `python -m loadtests.media.engine_server HOST`.

JSON lines: it prints which worker runs; a number of sessions is answered with their offers; the
clients' answers, and then anything to open the gates, with true. It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from engine.media.interface import Role
from engine.media.worker import WorkerConfig, new_worker


async def serve(host: str) -> None:
    worker = new_worker(WorkerConfig(host=host), os.environ.get("TALKTIME_MEDIA", "auto"))
    await worker.start()
    _print(worker.media)
    count = await _read()
    legs: list[str] = []
    for number in range(count):
        worker.add_session(f"bench_{number}", one_way=False, video=True)
        legs += [worker.add_leg(f"bench_{number}", role) for role in (Role.EXPERT, Role.CUSTOMER)]
    _print([await worker.offer(leg) for leg in legs])
    for leg, answer in zip(legs, await _read(), strict=True):
        await worker.answer(leg, answer)
    _print(True)
    await _read()
    for number in range(count):
        worker.open_gate(f"bench_{number}")
    _print(True)
    lag = _Lag()
    # The input ends when the benchmark does.
    while await asyncio.to_thread(sys.stdin.readline):
        _print(lag.take_ms())
    await worker.stop()


class _Lag:
    """How late the event loop ran what was due, at most, while packets were relayed."""

    def __init__(self) -> None:
        self._most_s = 0.0
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def take_ms(self) -> float:
        """Since the last look."""
        most_s, self._most_s = self._most_s, 0.0
        return round(most_s * 1e3, 3)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + 0.05
            await asyncio.sleep(0.05)
            self._most_s = max(self._most_s, loop.time() - due_s)


async def _read() -> Any:
    return json.loads(await asyncio.to_thread(sys.stdin.readline))


def _print(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(sys.argv[1]))
