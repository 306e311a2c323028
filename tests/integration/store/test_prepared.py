"""Statements made once: the same rows, transactions and errors as SQLAlchemy's own way."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa

from engine.errors import Unavailable
from engine.store import tables as t
from engine.store.batch import write_once
from engine.store.database import Store, Tx
from engine.store.prepared import Prepared
from tests.support.postgres import Cluster

_a = t.accounts.c
_OWNER = Prepared(sa.select(_a.owner_id, _a.balance_minor).where(_a.id == sa.bindparam("account")))


def _account(name: str) -> dict[str, object]:
    ids = {"id": name, "owner_id": name, "kind": "wallet", "currency": "TRY"}
    return {**ids, "balance_minor": 7, "created_at_ms": 0}


async def _known(store: Store, name: str) -> bool:
    async with store.reading() as tx:
        return len(await _OWNER.rows(tx, {"account": name})) == 1


async def test_rows_have_the_statements_labels(any_store: Store) -> None:
    async with any_store.transaction() as tx:
        await write_once(tx, t.accounts, _account("ann"))
        (row,) = await _OWNER.rows(tx, {"account": "ann"})
        assert (row.owner_id, row.balance_minor) == ("ann", 7)
        assert await _OWNER.rows(tx, {"account": "bob"}) == []


async def test_it_opens_the_transaction_that_the_block_commits_or_rolls_back(
    any_store: Store,
) -> None:
    async def add(name: str, *, fail: bool) -> None:
        async with any_store.transaction() as tx:
            await write_once(tx, t.accounts, _account(name))
            if fail:
                raise LookupError(name)

    with pytest.raises(LookupError):
        await add("lost", fail=True)
    await add("kept", fail=False)
    assert await _known(any_store, "kept")
    assert not await _known(any_store, "lost")


async def test_it_sees_and_keeps_to_a_savepoint_of_the_transaction(any_store: Store) -> None:
    async with any_store.transaction() as tx:
        await tx.execute(sa.insert(t.accounts).values(_account("ann")))
        assert len(await _OWNER.rows(tx, {"account": "ann"})) == 1
        async with tx.begin_nested() as nested:
            await write_once(tx, t.accounts, _account("bob"))
            await nested.rollback()
    assert await _known(any_store, "ann")
    assert not await _known(any_store, "bob")


@pytest.mark.postgres
async def test_a_cancelled_statement_leaves_nothing_and_the_next_one_works(
    postgres_store: Store,
) -> None:
    locked = asyncio.Event()
    async with postgres_store.transaction() as tx:
        await write_once(tx, t.accounts, _account("taken"))

        async def wait_for_the_key() -> None:
            async with postgres_store.transaction() as other:
                await write_once(other, t.accounts, _account("lost"))
                locked.set()
                await write_once(other, t.accounts, _account("taken"))

        task = asyncio.create_task(wait_for_the_key())
        await locked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await _known(postgres_store, "lost") is False
    async with postgres_store.transaction() as tx:
        assert await write_once(tx, t.accounts, _account("lost")) is True


@pytest.mark.postgres
async def test_a_connection_cut_before_the_statement_is_unavailable_and_the_next_one_works(
    postgres_store: Store, postgres_cluster: Cluster
) -> None:
    async def be_cut() -> None:
        async with postgres_store.transaction() as tx:
            await write_once(tx, t.accounts, _account("lost"))
            await asyncio.to_thread(
                postgres_cluster.execute,
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname LIKE 'test_%' AND state LIKE 'idle in%'",
            )
            await _OWNER.rows(tx, {"account": "lost"})

    with pytest.raises(Unavailable) as refusal:
        await be_cut()
    assert refusal.value.code == "store_unavailable"
    assert await _known(postgres_store, "lost") is False


@pytest.mark.postgres
async def test_a_deadlock_is_a_fault_to_be_repeated(postgres_store: Store) -> None:
    """Each waits for the key that the other one has just inserted."""
    barrier = asyncio.Barrier(2)

    async def insert(first: str, second: str) -> None:
        async with postgres_store.transaction() as tx:
            await write_once(tx, t.accounts, _account(first))
            await barrier.wait()
            await write_once(tx, t.accounts, _account(second))

    results = await asyncio.gather(
        insert("ann", "bob"), insert("bob", "ann"), return_exceptions=True
    )
    (fault,) = [result for result in results if result is not None]
    assert isinstance(fault, Unavailable)


@pytest.mark.postgres
async def test_a_driver_that_cannot_take_a_statement_is_a_fault_to_be_repeated(
    postgres_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        # What asyncpg says between the server's farewell and the end of the stream.
        raise asyncpg.InternalClientError("cannot switch to state 15; another operation (2) ...")

    async def look(tx: Tx) -> None:
        await _OWNER.rows(tx, {"account": "ann"})

    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Connection, "fetch", broken)
        with pytest.raises(Unavailable):
            async with postgres_store.transaction() as tx:
                await look(tx)
    async with postgres_store.transaction() as tx:
        await look(tx)


@pytest.mark.postgres
async def test_a_wrong_statement_is_not_mistaken_for_a_fault(postgres_store: Store) -> None:
    wrong = Prepared(sa.select(sa.literal_column("1").label("one")).where(sa.text("nothing = 1")))
    with pytest.raises(sa.exc.ProgrammingError):
        async with postgres_store.transaction() as tx:
            await wrong.rows(tx, {})
