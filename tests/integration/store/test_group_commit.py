"""SQLite transactions that queue for the writer share a commit, and nothing else."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa

from engine.errors import Conflict, Unavailable
from engine.store import tables as t
from engine.store import writer
from engine.store.database import Store, Tx


def _account(owner: str) -> dict[str, object]:
    ids = {"id": f"acc_{owner}", "owner_id": owner, "kind": "wallet", "currency": "TRY"}
    return {**ids, "balance_minor": 0, "created_at_ms": 0}


async def _add(tx: Tx, owner: str) -> None:
    await tx.execute(sa.insert(t.accounts), _account(owner))


async def _owners(tx: Tx) -> list[str]:
    return list(await tx.scalars(sa.select(t.accounts.c.owner_id).order_by(t.accounts.c.owner_id)))


async def _durable(store: Store) -> list[str]:
    async with store.reading() as tx:
        return await _owners(tx)


@pytest.fixture
def commits(store: Store) -> list[int]:
    """Grows by one for every commit."""
    seen: list[int] = []
    sa.event.listen(store.engine.sync_engine, "commit", lambda _: seen.append(1))
    return seen


@pytest.fixture
async def gate(store: Store) -> AsyncIterator[asyncio.Event]:
    """The writer is taken until the event is set: whoever comes meanwhile queues up."""
    opened, taken = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with store.transaction():
            taken.set()
            await opened.wait()

    task = asyncio.create_task(hold())
    await taken.wait()
    yield opened
    opened.set()
    await asyncio.gather(task, return_exceptions=True)  # it shares the fate of the others


async def _queue(*work: Any) -> list[asyncio.Task[Any]]:
    """Start them in this order; each is waiting for its turn when this returns."""
    tasks = []
    for one in work:
        tasks.append(asyncio.create_task(one))
        await asyncio.sleep(0)
    return tasks


async def _write(store: Store, owner: str, *, fail: BaseException | None = None) -> str:
    async with store.transaction() as tx:
        await _add(tx, owner)
        if fail is not None:
            raise fail
    assert owner in await _durable(store), "answered before the commit"
    return owner


async def test_those_who_queue_share_a_commit(
    store: Store, gate: asyncio.Event, commits: list[int]
) -> None:
    tasks = await _queue(*(_write(store, f"o{n:02}") for n in range(20)))
    gate.set()
    assert await asyncio.gather(*tasks) == [f"o{n:02}" for n in range(20)]
    assert await _durable(store) == [f"o{n:02}" for n in range(20)]
    assert len(commits) == 1


async def test_a_commit_waits_for_a_bounded_number_of_transactions(
    store: Store, gate: asyncio.Event, commits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_GROUP", 4)
    tasks = await _queue(*(_write(store, f"o{n:02}") for n in range(11)))
    gate.set()
    await asyncio.gather(*tasks)
    assert len(commits) == 3  # the gate's own transaction is one of twelve


async def test_without_a_queue_every_transaction_has_its_own_commit(
    store: Store, commits: list[int]
) -> None:
    for n in range(3):
        await _write(store, f"o{n}")
    assert len(commits) == 3


@pytest.mark.parametrize("place", [0, 1, 3])
async def test_one_that_fails_undoes_its_own_work_only(
    store: Store, gate: asyncio.Event, commits: list[int], place: int
) -> None:
    faults = {place: Conflict("later", "later")}
    tasks = await _queue(*(_write(store, f"o{n}", fail=faults.get(n)) for n in range(4)))
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results].count(Conflict) == 1
    assert await _durable(store) == [f"o{n}" for n in range(4) if n != place]
    assert len(commits) == 1


async def test_a_broken_constraint_in_a_group_reaches_its_caller_only(
    store: Store, gate: asyncio.Event
) -> None:
    tasks = await _queue(*(_write(store, owner) for owner in ("ann", "bob", "ann", "eva")))
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, sa.exc.IntegrityError) for result in results] == [0, 0, 1, 0]
    assert await _durable(store) == ["ann", "bob", "eva"]


async def test_a_savepoint_left_open_by_one_that_fails_is_undone_with_it(
    store: Store, gate: asyncio.Event
) -> None:
    async def nested() -> None:
        async with store.transaction() as tx:
            await _add(tx, "outer")
            await tx.begin_nested()
            await _add(tx, "inner")
            raise Conflict("later", "later")

    tasks = await _queue(_write(store, "ann"), nested(), _write(store, "eva"))
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], Conflict)
    assert await _durable(store) == ["ann", "eva"]


async def test_one_that_reads_only_leaves_the_work_of_the_others(
    store: Store, gate: asyncio.Event
) -> None:
    async def idle() -> None:
        async with store.transaction():
            pass

    async def idle_and_fail() -> None:
        async with store.transaction():
            raise Conflict("later", "later")

    tasks = await _queue(_write(store, "ann"), idle(), idle_and_fail(), _write(store, "eva"))
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[2], Conflict)
    assert await _durable(store) == ["ann", "eva"]


async def test_one_cancelled_in_mid_statement_undoes_its_own_work_only(
    store: Store, gate: asyncio.Event, commits: list[int]
) -> None:
    slow = sa.text(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 300000)"
        " SELECT count(*) FROM n"
    )
    writing = asyncio.Event()

    async def be_cancelled() -> None:
        async with store.transaction() as tx:
            await _add(tx, "lost")
            writing.set()
            await tx.execute(slow)
            pytest.fail("the statement ended before the cancellation")

    tasks = await _queue(_write(store, "ann"), be_cancelled(), _write(store, "eva"))
    gate.set()
    await writing.wait()
    await asyncio.sleep(0)  # the slow statement is on its way
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert await _durable(store) == ["ann", "eva"]
    assert len(commits) == 1


async def test_one_cancelled_in_its_very_first_statement_undoes_it(
    store: Store, gate: asyncio.Event
) -> None:
    begun = asyncio.Event()

    async def be_cancelled() -> None:
        async with store.transaction() as tx:
            begun.set()
            await _add(tx, "lost")
            pytest.fail("the statement ended before the cancellation")

    tasks = await _queue(_write(store, "ann"), be_cancelled(), _write(store, "eva"))
    gate.set()
    await begun.wait()
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert await _durable(store) == ["ann", "eva"]


async def test_the_first_one_cancelled_while_it_waits_for_the_others_still_commits(
    store: Store, gate: asyncio.Event
) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def hesitate() -> None:
        async with store.transaction() as tx:
            await _add(tx, "bob")
            inside.set()
            await go_on.wait()

    tasks = await _queue(_write(store, "ann"), hesitate(), _write(store, "eva"))
    gate.set()
    await inside.wait()
    assert not tasks[0].done()
    tasks[0].cancel()
    await asyncio.sleep(0)
    go_on.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert await _durable(store) == ["ann", "bob", "eva"]


async def test_those_who_give_up_in_the_queue_leave_nobody_waiting(
    store: Store, gate: asyncio.Event
) -> None:
    tasks = await _queue(*(_write(store, f"o{n}") for n in range(4)))
    gate.set()
    await asyncio.sleep(0)  # the gate's transaction now counts on the four
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(5):
        assert await _write(store, "later") == "later"


async def test_a_commit_that_fails_is_told_to_all_of_the_group(
    store: Store, gate: asyncio.Event
) -> None:
    def fail(_: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        raise sa.exc.OperationalError("COMMIT", None, error)

    async def refused() -> None:
        async with store.transaction():
            raise Conflict("taken", "this is about what another one has written")

    tasks = await _queue(_write(store, "ann"), refused(), _write(store, "eva"))
    sa.event.listen(store.engine.sync_engine, "commit", fail)
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 3
    sa.event.remove(store.engine.sync_engine, "commit", fail)
    assert await _durable(store) == []
    assert await _write(store, "later") == "later"


async def test_a_transaction_that_sqlite_gave_up_is_never_taken_for_committed(
    store: Store, gate: asyncio.Event
) -> None:
    """As after a full disk, when the statement that met it was passed over."""

    async def lose_everything() -> None:
        async with store.transaction() as tx:
            await _add(tx, "bob")
            await tx.exec_driver_sql("ROLLBACK")

    tasks = await _queue(_write(store, "ann"), lose_everything())
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 2
    assert await _durable(store) == []
    assert await _write(store, "later") == "later"


async def test_one_that_fails_on_a_transaction_sqlite_gave_up_takes_the_group_with_it(
    store: Store, gate: asyncio.Event
) -> None:
    async def lose_everything_and_fail() -> None:
        async with store.transaction() as tx:
            await _add(tx, "bob")
            await tx.exec_driver_sql("ROLLBACK")
            raise Conflict("later", "later")

    tasks = await _queue(_write(store, "ann"), lose_everything_and_fail(), _write(store, "eva"))
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable, str]
    assert await _durable(store) == ["eva"]


async def test_what_is_not_yet_committed_is_not_there_after_a_crash(
    store: Store, gate: asyncio.Event, sqlite_url: str
) -> None:
    """Another connection sees what a process that starts after a kill would recover."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def hesitate() -> None:
        async with store.transaction() as tx:
            assert await _owners(tx) == ["ann"]
            inside.set()
            await go_on.wait()

    tasks = await _queue(_write(store, "ann"), hesitate())
    gate.set()
    await inside.wait()
    path = sa.make_url(sqlite_url).database
    assert path is not None
    other = sqlite3.connect(path)
    assert other.execute("SELECT count(*) FROM accounts").fetchone() == (0,)
    assert not tasks[0].done(), "answered before the commit"
    go_on.set()
    await asyncio.gather(*tasks)
    assert other.execute("SELECT count(*) FROM accounts").fetchone() == (1,)
    other.close()


async def test_a_crowd_with_failures_and_cancellations_keeps_exactly_what_was_answered(
    store: Store,
) -> None:
    async def one(n: int) -> str:
        await asyncio.sleep(0)
        return await _write(store, f"o{n:03}", fail=Conflict("x", "x") if n % 7 == 3 else None)

    tasks = [asyncio.create_task(one(n)) for n in range(200)]
    for n in range(0, 200, 9):
        for _ in range(n % 5 + 1):
            await asyncio.sleep(0)
        tasks[n].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    there = set(await _durable(store))
    answered = {result for result in results if isinstance(result, str)}
    refused = {f"o{n:03}" for n, result in enumerate(results) if isinstance(result, Conflict)}
    assert answered
    assert refused
    assert answered <= there
    assert not refused & there
