"""One job at a time, in order of arrival; a task only while there is work."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from engine.errors import TalktimeError

T = TypeVar("T")
Job = Callable[[], Awaitable[None]]
Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Mailbox:
    """Serialises what happens to one session.

    A job is stamped with the instant of what it handles; stamps never decrease. `on_fault` hears of
    everything that a job raises, refusals to a caller apart.
    """

    def __init__(self, spawn: Spawn, on_fault: Callable[[Exception], Awaitable[None]]) -> None:
        self._spawn = spawn
        self._on_fault = on_fault
        self._jobs: deque[tuple[int, Job, asyncio.Future[Any] | None]] = deque()
        self._busy = False

    @property
    def idle(self) -> bool:
        return not self._busy

    @property
    def next_stamp_ns(self) -> int | None:
        """The instant of the next job that waits; nothing later may be handled before it."""
        return self._jobs[0][0] if self._jobs else None

    def post(self, job: Job, at_ns: int) -> None:
        """Have it done; nobody waits for it."""
        self._enqueue(at_ns, job, None)

    async def call(self, job: Callable[[], Awaitable[T]], at_ns: int) -> T:
        """Have it done and wait for its result. The job runs on even if the caller gives up."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            try:
                result = await job()
            except TalktimeError as refusal:
                if not done.cancelled():
                    done.set_exception(refusal)
            except Exception as error:
                if not done.cancelled():
                    done.set_exception(error)
                raise
            else:
                if not done.cancelled():
                    done.set_result(result)

        self._enqueue(at_ns, run, done)
        return await done

    def _enqueue(self, at_ns: int, job: Job, done: asyncio.Future[Any] | None) -> None:
        self._jobs.append((at_ns, job, done))
        if not self._busy:
            self._busy = True
            self._spawn(self._drain())

    async def _drain(self) -> None:
        done: asyncio.Future[Any] | None = None
        try:
            while self._jobs:
                _, job, done = self._jobs.popleft()
                try:
                    await job()
                except Exception as error:
                    await self._on_fault(error)
        finally:
            # Cancelled with the node: nobody waits for what will not happen.
            for waiting in (done, *(later for _, _, later in self._jobs)):
                if waiting is not None:
                    waiting.cancel()
            self._jobs.clear()
            self._busy = False
