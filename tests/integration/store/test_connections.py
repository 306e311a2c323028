"""Connections to PostgreSQL: used in turn, kept while they are sound, closed when they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.errors import Conflict, Unavailable
from engine.store.connections import Connections
from engine.store.database import Store, Tx
from tests.support.media_peer import eventually

pytestmark = pytest.mark.postgres


def _some(store: Store, most: int, patience_s: float = 10.0) -> Connections:
    return Connections(store.engine, most, patience_s)


async def _server_process(tx: Tx) -> int:
    found = await tx.scalar(sa.select(sa.func.pg_backend_pid()))
    assert isinstance(found, int)
    return found


async def _used_next(store: Store) -> int:
    async with store.transaction() as tx:
        return await _server_process(tx)


async def _manual_begin(tx: Tx) -> None:
    """As a driver is left whose COMMIT was never answered."""
    raw = await tx.get_raw_connection()
    assert raw.driver_connection is not None
    await raw.driver_connection.execute("BEGIN")


async def test_one_transaction_after_another_uses_the_same_connection(
    postgres_store: Store,
) -> None:
    assert len({await _used_next(postgres_store) for _ in range(3)}) == 1


async def test_a_refused_transaction_keeps_its_connection(postgres_store: Store) -> None:
    async def refused() -> None:
        async with postgres_store.transaction() as tx:
            await _server_process(tx)
            raise Conflict("taken", "somebody else has it")

    used = await _used_next(postgres_store)
    with pytest.raises(Conflict):
        await refused()
    assert await _used_next(postgres_store) == used


async def test_a_connection_left_within_a_transaction_is_not_used_again(
    postgres_store: Store,
) -> None:
    used = await _used_next(postgres_store)
    async with postgres_store.transaction() as tx:
        await _manual_begin(tx)
    assert await _used_next(postgres_store) != used


async def test_a_cancelled_transaction_gives_its_connection_up(postgres_store: Store) -> None:
    used: list[int] = []
    ready = asyncio.Event()

    async def hang() -> None:
        async with postgres_store.transaction() as tx:
            used.append(await _server_process(tx))
            ready.set()
            await tx.execute(sa.select(sa.func.pg_sleep(60)))

    task = asyncio.create_task(hang())
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _used_next(postgres_store) not in used


async def test_who_finds_all_in_use_waits_for_one(postgres_store: Store) -> None:
    connections, at_once = _some(postgres_store, 2), set[AsyncConnection]()

    async def work() -> None:
        async with connections.connection() as connection:
            at_once.add(connection)
            assert len(at_once) <= 2
            await asyncio.sleep(0)
            at_once.discard(connection)

    await asyncio.gather(*(work() for _ in range(20)))
    await connections.close()


async def test_who_waits_too_long_for_a_connection_is_told_so(postgres_store: Store) -> None:
    connections = _some(postgres_store, 1, patience_s=0.01)
    async with connections.connection():
        with pytest.raises(Unavailable) as refusal:
            async with connections.connection():
                pass
    assert refusal.value.code == "store_unavailable"
    async with connections.connection():
        pass
    await connections.close()


async def test_one_that_could_not_be_opened_keeps_nobody_waiting(postgres_store: Store) -> None:
    nowhere = Store("postgresql://nobody@127.0.0.1:1/none", postgres_store.clock)
    connections = _some(nowhere, 1)
    for _ in range(2):
        with pytest.raises(Unavailable):
            async with connections.connection():
                pass


@pytest.mark.parametrize("in_use", [False, True], ids=["kept", "in use"])
async def test_closing_leaves_none_open(postgres_store: Store, *, in_use: bool) -> None:
    connections = _some(postgres_store, 1)
    async with connections.connection() as connection:
        closed = _closed(connection)
        if in_use:
            await connections.close()
            assert not closed()
    if not in_use:
        assert not closed()
        await connections.close()
    await eventually(closed)


def _closed(connection: AsyncConnection) -> Callable[[], bool]:
    assert connection.sync_connection is not None
    driver = connection.sync_connection.connection.driver_connection
    assert driver is not None

    def answer() -> bool:
        return bool(driver.is_closed())

    return answer


@pytest.mark.parametrize("error", [TimeoutError, asyncpg.InternalClientError, OSError])
async def test_when_one_does_not_answer_none_of_the_others_is_waited_for(
    postgres_store: Store, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """A network has forgotten them all; each would take as long to find out."""
    connections = _some(postgres_store, 4)

    async def use() -> None:
        async with connections.connection():
            await together.wait()

    together = asyncio.Barrier(4)
    await asyncio.gather(*(use() for _ in range(4)))
    asked = []

    async def silent(*_: object, **__: object) -> None:
        asked.append(1)
        raise error

    monkeypatch.setattr("engine.store.connections._REST_S", -1.0)
    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Connection, "execute", silent)
        async with connections.connection():
            pass
    assert len(asked) == 1
    await connections.close()
