from __future__ import annotations

import asyncio

from engine.session.turns import WriteTurns


class Queue:
    """Writers that hold their turn until `end`; `began` lists them in the order of their turns."""

    def __init__(self, at_once: int) -> None:
        self.turns = WriteTurns(at_once)
        self.began: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def come(self, *names: str, urgent: bool = True) -> None:
        for name in names:
            self._ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._write(name, urgent))
        await self._rest()

    async def _write(self, name: str, urgent: bool) -> None:
        async with self.turns.turn(urgent=urgent):
            self.began.append(name)
            await self._ends[name].wait()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._rest()

    async def cancel(self, name: str) -> None:
        self.tasks[name].cancel()
        await self._rest()

    async def _rest(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_no_more_than_so_many_write_at_once() -> None:
    queue = Queue(2)
    await queue.come("a", "b", "c", "d")
    assert queue.began == ["a", "b"]
    await queue.end("b")
    assert queue.began == ["a", "b", "c"]
    for name in ("a", "c", "d"):
        await queue.end(name)
    await queue.come("e", "f", "g")
    assert queue.began[3:] == ["d", "e", "f"]
    for name in ("e", "f", "g"):
        await queue.end(name)


async def test_those_that_run_go_before_those_that_ended() -> None:
    queue = Queue(1)
    await queue.come("first")
    await queue.come("ended", urgent=False)
    await queue.come("running")
    await queue.end("first")
    await queue.end("running")
    assert queue.began == ["first", "running", "ended"]
    await queue.end("ended")


async def test_those_that_ended_are_not_kept_waiting_for_ever() -> None:
    queue = Queue(1)
    await queue.come("first")
    await queue.come("ended", urgent=False)
    running = [f"running{n}" for n in range(8)]
    await queue.come(*running)
    for name in list(queue.began) + running[:3]:
        await queue.end(name)
    assert queue.began == ["first", *running[:3], "ended"]
    for name in ("ended", *running[3:]):
        await queue.end(name)
    assert queue.began[5:] == running[3:]


async def test_a_turn_that_nobody_waits_for_any_more_goes_to_the_next() -> None:
    queue = Queue(1)
    await queue.come("first", "gone", "also gone", "next")
    await queue.cancel("gone")
    queue._ends["first"].set()
    await asyncio.sleep(0)  # the turn is handed over, and its owner is cancelled before it runs
    queue.tasks["also gone"].cancel()
    await queue._rest()
    assert queue.began == ["first", "next"]
    await queue.end("next")
    await queue.come("after")
    assert queue.began[-1] == "after"
    await queue.end("after")
