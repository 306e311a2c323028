"""Units of work, readers beside a writer, and faults with one stable code."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa

from engine.app import Application
from engine.clock import SystemClock
from engine.config import Settings
from engine.errors import Unavailable
from engine.store import faults
from engine.store import tables as t
from engine.store.database import Store, Tx, async_url, insert_once
from tests.support.media_peer import eventually
from tests.support.postgres import Cluster


def _account(owner: str) -> dict[str, object]:
    ids = {"id": f"acc_{owner}", "owner_id": owner, "kind": "wallet", "currency": "TRY"}
    return {**ids, "balance_minor": 0, "created_at_ms": 0}


async def _owners(tx: Tx) -> list[str]:
    return list(await tx.scalars(sa.select(t.accounts.c.owner_id).order_by(t.accounts.c.owner_id)))


async def _add(tx: Tx, owner: str) -> None:
    await tx.execute(sa.insert(t.accounts).values(_account(owner)))


async def test_a_transaction_commits_on_a_clean_exit_only(any_store: Store) -> None:
    async def add(owner: str, *, fail: bool) -> None:
        async with any_store.transaction() as tx:
            await _add(tx, owner)
            if fail:
                raise LookupError(owner)

    await add("kept", fail=False)
    with pytest.raises(LookupError):
        await add("lost", fail=True)
    async with any_store.reading() as tx:
        assert await _owners(tx) == ["kept"]


async def test_a_cancelled_transaction_leaves_nothing_and_the_next_one_works(
    any_store: Store,
) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with any_store.transaction() as tx:
            await _add(tx, "lost")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with any_store.transaction() as tx:
        await _add(tx, "kept")
    async with any_store.reading() as tx:
        assert await _owners(tx) == ["kept"]


async def test_a_reader_sees_one_snapshot_and_does_not_wait_for_the_writer(
    any_store: Store,
) -> None:
    async with any_store.reading() as before:
        assert await _owners(before) == []
        async with any_store.transaction() as tx:
            await _add(tx, "ann")
            assert await _owners(before) == []
        assert await _owners(before) == []
    async with any_store.reading() as after:
        assert await _owners(after) == ["ann"]


async def test_a_reader_cannot_write(any_store: Store) -> None:
    with pytest.raises(sa.exc.DBAPIError, match=r"read-?only"):
        async with any_store.reading() as tx:
            await _add(tx, "ann")
    async with any_store.transaction() as tx:
        assert await _owners(tx) == []


async def test_a_broken_constraint_reaches_the_caller_as_it_is(any_store: Store) -> None:
    for attempt in range(2):
        try:
            async with any_store.transaction() as tx:
                await _add(tx, "ann")
        except sa.exc.IntegrityError:
            assert attempt == 1
            break
    else:
        pytest.fail("the second insert was accepted")


async def test_a_wrong_statement_is_not_mistaken_for_a_fault(any_store: Store) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="nonsense"):
        async with any_store.transaction() as tx:
            await tx.exec_driver_sql("SELECT * FROM nonsense")


async def test_insert_once_inserts_once(any_store: Store) -> None:
    async with any_store.transaction() as tx:
        assert await insert_once(tx, t.accounts, _account("ann")) is True
        assert await insert_once(tx, t.accounts, _account("ann")) is False
        assert await _owners(tx) == ["ann"]


async def test_many_writers_at_once_all_get_their_turn(any_store: Store) -> None:
    async def add(owner: str) -> None:
        async with any_store.transaction() as tx:
            count = len(await _owners(tx))
            await asyncio.sleep(0)
            await _add(tx, owner)
            assert len(await _owners(tx)) > count

    async def look() -> None:
        async with any_store.reading() as tx:
            await _owners(tx)

    owners = [f"owner{n:03}" for n in range(150)]
    await asyncio.gather(*map(add, owners), *(look() for _ in range(50)))
    async with any_store.reading() as tx:
        assert await _owners(tx) == owners


async def test_two_stores_on_one_file_take_turns(
    any_store: Store, open_store: Callable[[], Store]
) -> None:
    other = open_store()

    async def add(store: Store, owner: str) -> None:
        async with store.transaction() as tx:
            await _owners(tx)
            await _add(tx, owner)

    owners = [f"owner{n:03}" for n in range(40)]
    stores = [any_store, other] * 20
    await asyncio.gather(*map(add, stores, owners))
    async with any_store.reading() as tx:
        assert await _owners(tx) == owners
    await other.close()


async def test_a_transaction_inside_a_transaction_is_a_defect_not_a_deadlock(
    store: Store,
) -> None:
    async with store.transaction():
        with pytest.raises(RuntimeError, match="inside a transaction"):
            async with store.transaction():
                pass
    async with store.transaction() as tx:
        await _add(tx, "ann")


async def test_closing_folds_the_log_into_the_file(store: Store, store_directory: Path) -> None:
    async with store.transaction() as tx:
        await _add(tx, "ann")
    async with store.reading() as tx:
        await _owners(tx)
    await store.close()
    assert [path.name for path in store_directory.iterdir()] == ["store.db"]


@pytest.fixture
async def foreign_lock(sqlite_url: str) -> AsyncIterator[sqlite3.Connection]:
    """Another program that holds the file's write lock."""
    path = sa.make_url(sqlite_url).database
    assert path is not None
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


async def test_a_file_locked_by_another_program_is_unavailable(
    foreign_lock: sqlite3.Connection, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.database._SQLITE_BUSY_TIMEOUT_S", 0.05)
    impatient = Store(sqlite_url, SystemClock())
    with pytest.raises(Unavailable) as refusal:
        async with impatient.transaction():
            pass
    assert refusal.value.code == "store_unavailable"
    foreign_lock.execute("ROLLBACK")
    async with impatient.transaction() as tx:
        await _add(tx, "ann")
    await impatient.close()


async def test_a_writer_that_waits_too_long_is_told_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.database._WAIT_S", 0.02)

    async def second() -> None:
        async with store.transaction():
            pytest.fail("two writers at once")

    async with store.transaction():
        with pytest.raises(Unavailable):
            await asyncio.create_task(second())
    async with store.transaction() as tx:
        await _add(tx, "ann")


@pytest.mark.parametrize(
    "url", ["mysql://localhost/x", "sqlite://", "sqlite:///:memory:", "nonsense"]
)
def test_other_stores_are_refused(url: str) -> None:
    with pytest.raises(sa.exc.ArgumentError):
        async_url(url)


async def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    blocked = Store(f"sqlite:///{tmp_path}/file/store.db", SystemClock())
    with pytest.raises(Unavailable):
        async with blocked.transaction():
            pass
    with pytest.raises(Unavailable):
        await blocked.migrate()
    await blocked.close()


@pytest.mark.postgres
@pytest.mark.parametrize("there", [False, True], ids=["no server", "no such database"])
async def test_a_store_that_is_not_there_is_unavailable(
    postgres_cluster: Cluster, there: bool
) -> None:
    url = postgres_cluster.url("none") if there else "postgresql://nobody@127.0.0.1:1/none"
    absent = Store(url, SystemClock())
    for work in (absent.transaction, absent.reading):
        with pytest.raises(Unavailable) as refusal:
            async with work():
                pass
        assert refusal.value.code == "store_unavailable"
    with pytest.raises(Unavailable):
        await absent.migrate()
    await absent.close()


@pytest.mark.postgres
async def test_a_connection_cut_in_mid_transaction_is_unavailable_and_the_next_one_works(
    postgres_store: Store, postgres_cluster: Cluster
) -> None:
    async def be_cut() -> None:
        async with postgres_store.transaction() as tx:
            await _add(tx, "lost")
            await _cut_all(postgres_cluster)
            await _owners(tx)

    with pytest.raises(Unavailable) as refusal:
        await be_cut()
    assert refusal.value.code == "store_unavailable"
    async with postgres_store.transaction() as tx:
        await _add(tx, "kept")
        assert await _owners(tx) == ["kept"]


@pytest.mark.postgres
@pytest.mark.parametrize("rest_s", [30.0, -1.0], ids=["just used", "after a rest"])
async def test_connections_cut_while_nobody_used_them_are_replaced(
    postgres_store: Store,
    postgres_cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    rest_s: float,
) -> None:
    monkeypatch.setattr("engine.store.connections._REST_S", rest_s)
    for _ in range(2):
        async with postgres_store.transaction() as tx:
            assert await _owners(tx) == []
            used = await _driver_connection(tx)
    await _cut_all(postgres_cluster)
    await eventually(used.is_closed)  # what happens before that is the next test
    async with postgres_store.transaction() as tx:
        assert await _owners(tx) == []


@pytest.mark.postgres
async def test_a_connection_about_to_close_is_a_fault_to_be_repeated(
    postgres_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(_: object) -> None:
        # What asyncpg says between the server's farewell and the end of the stream.
        raise asyncpg.InternalClientError("cannot switch to state 15; another operation (2) ...")

    async def look() -> list[str]:
        async with postgres_store.transaction() as tx:
            return await _owners(tx)

    assert await look() == []  # connected
    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.transaction.Transaction, "start", start)
        with pytest.raises(Unavailable) as caught:
            await look()
    assert caught.value.code == "store_unavailable"
    assert await look() == []


async def _driver_connection(tx: Tx) -> asyncpg.Connection:
    driver = (await tx.get_raw_connection()).driver_connection
    assert isinstance(driver, asyncpg.Connection)
    return driver


async def _cut_all(cluster: Cluster, state: str = "idle%") -> None:
    everyone_else = f"FROM pg_stat_activity WHERE datname LIKE 'test_%' AND state LIKE '{state}'"
    await asyncio.to_thread(
        cluster.execute, f"SELECT pg_terminate_backend(pid, 5000) {everyone_else}"
    )


def test_a_savepoint_that_cannot_be_rolled_back_is_a_fault_to_be_repeated() -> None:
    """Where SQLAlchemy finds out with the rollback that the connection is gone."""
    with pytest.raises(Unavailable), faults.working():
        raise sa.exc.PendingRollbackError("Can't reconnect")


async def test_a_connection_lost_within_a_savepoint_is_a_fault_to_be_repeated(store: Store) -> None:
    def lose(context: sa.ExceptionContext) -> None:
        context.is_disconnect = True

    async def work() -> None:
        async with store.transaction() as tx, tx.begin_nested():
            await tx.execute(sa.text("SELECT nothing FROM nowhere"))

    sa.event.listen(store.engine.sync_engine, "handle_error", lose)
    with pytest.raises(Unavailable) as fault:
        await work()
    sa.event.remove(store.engine.sync_engine, "handle_error", lose)
    assert fault.value.code == "store_unavailable"
    async with store.transaction() as tx:
        await _add(tx, "ann")


@pytest.mark.postgres
async def test_a_deadlock_is_a_fault_to_be_repeated(postgres_store: Store) -> None:
    async with postgres_store.transaction() as tx:
        for owner in ("ann", "bob"):
            await _add(tx, owner)
    barrier = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> None:
        async with postgres_store.transaction() as tx:
            for owner in (first, second):
                named = t.accounts.c.owner_id == owner
                await tx.execute(sa.update(t.accounts).where(named).values(balance_minor=1))
                if owner == first:
                    await barrier.wait()

    results = await asyncio.gather(lock("ann", "bob"), lock("bob", "ann"), return_exceptions=True)
    (fault,) = [result for result in results if result is not None]
    assert isinstance(fault, Unavailable)


@pytest.mark.postgres
async def test_the_audit_of_a_running_engine_outlasts_what_requests_may(
    postgres_url: str, tmp_path: Path
) -> None:
    """It reads the whole ledger: with the patience of requests a big one is never audited."""
    app = Application(Settings(store_url=postgres_url, data_dir=tmp_path))
    async with app.auditing._store.reading() as tx, app.store.reading() as other:
        show = sa.text("SHOW statement_timeout")
        assert await tx.scalar(show) == "10min"
        assert await other.scalar(show) == "10s"
    await app.auditing._store.close()
    await app.store.close()
