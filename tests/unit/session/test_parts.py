"""The small parts of the service: mailbox, event log, registry's counts, evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from engine.errors import Conflict
from engine.media.interface import Role
from engine.metering import signals as s
from engine.session import effects as e
from engine.session.eventlog import PartyLog
from engine.session.mailbox import Mailbox
from engine.session.records import droppable, durable


class Post:
    """A mailbox and what became of its jobs."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.faults: list[Exception] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.box = Mailbox(self._spawn, self._fault)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.append(task)
        return task

    async def _fault(self, error: Exception) -> None:
        self.faults.append(error)

    async def job(self, name: str, *, error: Exception | None = None) -> str:
        await asyncio.sleep(0)
        self.done.append(name)
        if error is not None:
            raise error
        return name

    async def quiet(self) -> None:
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_jobs_run_one_by_one_in_order_and_leave_no_task() -> None:
    post = Post()

    async def quick() -> None:
        post.done.append("posted")

    results = asyncio.gather(
        post.box.call(lambda: post.job("first"), 1), post.box.call(lambda: post.job("second"), 2)
    )
    await asyncio.sleep(0)
    post.box.post(quick, 3)
    assert await results == ["first", "second"]
    await post.quiet()
    assert post.done == ["first", "second", "posted"]
    assert len(post.tasks) == 1
    assert post.box.idle


async def test_the_next_stamp_is_that_of_the_job_that_waits() -> None:
    post = Post()
    seen: list[int | None] = []

    async def look() -> None:
        seen.append(post.box.next_stamp_ns)

    post.box.post(look, 10)
    post.box.post(look, 20)
    await post.quiet()
    assert seen == [20, None]


async def test_a_refusal_goes_to_its_caller_and_a_defect_to_both() -> None:
    post = Post()
    with pytest.raises(Conflict):
        await post.box.call(lambda: post.job("refused", error=Conflict("no", "no")), 1)
    assert post.faults == []
    with pytest.raises(ZeroDivisionError):
        await post.box.call(lambda: post.job("broken", error=ZeroDivisionError()), 2)
    await post.quiet()
    assert [type(error) for error in post.faults] == [ZeroDivisionError]
    assert await post.box.call(lambda: post.job("after"), 3) == "after"
    await post.quiet()


async def test_a_caller_that_gives_up_does_not_stop_its_job() -> None:
    post = Post()
    caller = asyncio.ensure_future(post.box.call(lambda: post.job("anyway"), 1))
    await asyncio.sleep(0)
    caller.cancel()
    await post.quiet()
    assert post.done == ["anyway"]
    assert post.faults == []


async def test_when_the_node_stops_nobody_waits_for_ever() -> None:
    post = Post()
    never = asyncio.Event()

    async def hang() -> None:
        await never.wait()

    callers = [asyncio.ensure_future(post.box.call(hang, at)) for at in (1, 2)]
    await asyncio.sleep(0.001)
    post.tasks[0].cancel()
    await post.quiet()
    assert [
        isinstance(one, asyncio.CancelledError)
        for one in await asyncio.gather(*callers, return_exceptions=True)
    ] == [True, True]
    assert post.box.idle


def test_a_log_numbers_everything_and_keeps_the_newest() -> None:
    log = PartyLog(3)
    for number in range(5):
        log.append("meter.tick", {"n": number}, "now")
    log.append("typing", {}, "now")
    assert log.last_seq == 6
    assert [payload["seq"] for _, payload in log.after(0)] == [3, 4, 5]
    assert [payload["n"] for _, payload in log.after(4)] == [4]
    log.trim(1)
    assert [payload["seq"] for _, payload in log.after(0)] == [5]


def test_what_a_client_can_do_at_will_is_evidence_only_up_to_a_bound() -> None:
    assert durable(e.TrackChanged(Role.EXPERT, "audio", published=True))
    assert droppable(e.TrackChanged(Role.EXPERT, "audio", published=True))
    assert droppable(e.Turned(one_way=True))
    assert not droppable(s.Capture(1, 1, 1, 0, ()))
    assert not durable(s.CutoffMoved(1))
    assert not durable(e.Stated())
