"""One way into the SQL store: SQLite (WAL, one writer) or PostgreSQL, chosen by URL.

`Store.transaction()` is the unit of work: it commits on a clean exit and rolls back on anything
else. `Store.reading()` sees one snapshot and cannot write.

SQLite has one writer. Transactions of this process queue for it in Python, first come first served,
so that a waiting task costs nothing and cannot starve, and those that queue share a commit (see
`engine.store.writer`); BEGIN IMMEDIATE takes the file's lock at once, so that a transaction never
fails half-way with SQLITE_BUSY after having read. Another process (the audit, a second engine) is
waited for with the busy timeout. Readers have connections of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from engine.clock import Clock
from engine.store import faults, migrate
from engine.store.connections import Connections
from engine.store.sqlite_driver import OneStepDriver
from engine.store.url import async_url
from engine.store.writer import Writer

__all__ = ["Store", "Tx", "async_url", "insert_once"]

Tx = AsyncConnection
"""A connection inside `Store.transaction()`; functions that take a `Tx` never commit."""

_SQLITE_BUSY_TIMEOUT_S = 5
_WAIT_S = 10
_PATIENCE_S = 10.0
# Connections of a process to PostgreSQL.
_WRITING, _READING = 16, 8
_SNAPSHOT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


class Store:
    """The engine's database.

    `url` is ``sqlite:///path`` or ``postgresql://user:password@host/name``; the async driver is
    chosen here, so that configuration stays free of it. Nothing is opened before the first use.
    `patience_s` is how long one statement may take on PostgreSQL.
    Raises `sqlalchemy.exc.ArgumentError` for any other URL, SQLite in memory included.
    """

    def __init__(self, url: str, clock: Clock, *, patience_s: float = _PATIENCE_S) -> None:
        self.url = async_url(url)
        self.clock = clock
        self.engine: AsyncEngine = _create_engine(self.url, patience_s)
        self._writer: Writer | None = None
        if self.is_sqlite:
            self._writer = Writer(self.engine)
            self._reader = _create_reader(self.url)
        else:
            self._writing = Connections(self.engine, _WRITING, _WAIT_S)
            self._reading = Connections(self.engine, _READING, _WAIT_S, **_SNAPSHOT)

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """A read-write transaction; rolls back unless the block ends without an exception.

        Raises `Unavailable("store_unavailable")` when the store is out of reach or too busy; if
        that happens at the commit, whether it took place is unknown. `IntegrityError` passes
        unchanged. Keep the block short and wait in it for nothing but the store.
        """
        if self._writer is not None:
            with faults.working():
                async with self._writer.transaction(_WAIT_S) as tx:
                    yield tx
            return
        async with self._writing.connection() as connection:
            with faults.working():
                async with connection.begin():
                    yield connection

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[Tx]:
        """One unchanging snapshot that refuses writes; on SQLite it does not wait for the writer.

        Raises `Unavailable("store_unavailable")`.
        """
        reader = _connected(self._reader) if self.is_sqlite else self._reading.connection()
        async with reader as connection:
            with faults.working():
                async with connection.begin() as look:
                    yield connection
                    await look.rollback()

    async def migrate(self, revision: str = "head") -> None:
        """Bring the schema to `revision`, creating the SQLite file and its directory if needed.

        Raises `Unavailable("store_unavailable")`; a migration that fails raises as it is, and
        leaves the store as it was.
        """
        await migrate.upgrade_async(self.url, revision)

    async def close(self) -> None:
        """Close every connection; with the last one SQLite folds its write-ahead log away."""
        if self.is_sqlite:
            await self._reader.dispose()
        else:
            await self._reading.close()
            await self._writing.close()
        await self.engine.dispose()


@contextlib.asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with contextlib.AsyncExitStack() as stack:
        with faults.connecting():
            connection = await stack.enter_async_context(engine.connect())
        yield connection


async def insert_once(tx: Tx, table: sa.Table, values: Mapping[str, object]) -> bool:
    """INSERT unless a unique key is taken; whether a row was inserted.

    On PostgreSQL it waits for a transaction that is inserting the same key; what that one committed
    is visible to the next statement.
    """
    result = await tx.execute(_insert_once(table, tx.dialect.name), values)
    return result.rowcount == 1


@functools.cache
def _insert_once(table: sa.Table, dialect: str) -> sa.Insert:
    make = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return make(table).on_conflict_do_nothing()


def _create_engine(url: sa.URL, patience_s: float) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return _create_postgresql_engine(url, patience_s)
    engine = _create_sqlite_engine(url, pool_size=1)
    sa.event.listen(engine.sync_engine, "begin", _begin_immediate)
    sa.event.listen(engine.sync_engine, "handle_error", _outlive_cancellation)
    return engine


def _create_postgresql_engine(url: sa.URL, patience_s: float) -> AsyncEngine:
    return create_async_engine(
        url, poolclass=sa.NullPool, connect_args=_postgresql_arguments(patience_s)
    )


def _postgresql_arguments(patience_s: float) -> dict[str, Any]:
    return {
        "timeout": 5,
        "command_timeout": patience_s + 5,  # a dead network; the server's own limits come first
        "server_settings": {
            "application_name": "talktime",
            "lock_timeout": "5000",
            "statement_timeout": f"{patience_s * 1000:.0f}",
            # A frozen process must not keep a wallet locked.
            "idle_in_transaction_session_timeout": "30000",
        },
    }


def _create_reader(url: sa.URL) -> AsyncEngine:
    engine = _create_sqlite_engine(url, pool_size=4)
    sa.event.listen(engine.sync_engine, "connect", _refuse_writes)
    sa.event.listen(engine.sync_engine, "begin", _begin_deferred)
    return engine


def _create_sqlite_engine(url: sa.URL, *, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        # One more while a cancelled transaction is still rolling back.
        max_overflow=1,
        pool_timeout=_WAIT_S,
        connect_args={"timeout": _SQLITE_BUSY_TIMEOUT_S},
        module=OneStepDriver(),
    )
    sa.event.listen(engine.sync_engine, "do_connect", migrate.create_directory)
    sa.event.listen(engine.sync_engine, "connect", _on_sqlite_connect)
    return engine


def _on_sqlite_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins transactions, not the driver
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # a commit that was answered survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _refuse_writes(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _outlive_cancellation(context: sa.engine.ExceptionContext) -> None:
    # The statement goes on in its thread, and whatever comes next waits for it there: the
    # connection, and with it the transactions that share it, need not be given up.
    if isinstance(context.original_exception, asyncio.CancelledError):
        context.is_disconnect = False


def _begin_deferred(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")
