"""PostgreSQL's connections, which transactions use in turn.

A connection is opened when all others are in use, and kept as one SQLAlchemy connection. Taking one
out of SQLAlchemy's pool for each transaction and putting it back costs as much processor time as
the rest of a short transaction does, BEGIN and COMMIT included.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, cast

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.store import faults
from engine.store.steps import to_the_end

_REST_S = 30.0
"""After that long a network may have forgotten the connection."""
_ANSWER_S = 5.0


class _Idle(NamedTuple):
    connection: AsyncConnection
    since_s: float


class Connections:
    """At most `most` of them; who finds all in use waits `patience_s` for one, in order of arrival.

    `engine` has no pool of its own. `options`: execution options of each connection.
    """

    def __init__(self, engine: AsyncEngine, most: int, patience_s: float, **options: Any) -> None:
        self._engine = engine
        self._patience_s = patience_s
        self._options = options
        self._turns = asyncio.Semaphore(most)
        self._idle: list[_Idle] = []
        self._closed = False

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Outside any transaction. Raises `Unavailable("store_unavailable")` if there is none."""
        connection = await self._take()
        sound = False  # if cancelled: its last statement may still be on its way
        try:
            yield connection
            sound = True
        except Exception:
            sound = True
            raise
        finally:
            await self._give(connection, sound=sound)

    async def close(self) -> None:
        """Those in use are closed when they come back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().connection.close()

    async def _take(self) -> AsyncConnection:
        with faults.connecting():
            async with asyncio.timeout(self._patience_s):
                await self._turns.acquire()
        try:
            return await self._answering() or await self._open()
        except BaseException:
            self._turns.release()
            raise

    async def _answering(self) -> AsyncConnection | None:
        """The one used last of those that are still connected."""
        while self._idle:
            connection, since_s = self._idle.pop()
            answers = False
            try:
                answers = await _answers(connection, time.monotonic() - since_s)
            finally:
                if not answers:
                    await to_the_end(self._lose(connection))
            if answers:
                return connection
        return None

    async def _lose(self, connection: AsyncConnection) -> None:
        lost = [connection]
        if not _driver(connection).is_closed():
            # It did not answer. The others have rested for longer, and waiting for each of them
            # would take a minute.
            lost += [idle.connection for idle in self._idle]
            self._idle.clear()
        await asyncio.gather(*(_drop(one) for one in lost))

    async def _open(self) -> AsyncConnection:
        with faults.connecting():
            connection = await self._engine.connect()
            return await connection.execution_options(**self._options)

    async def _give(self, connection: AsyncConnection, *, sound: bool) -> None:
        try:
            if sound and not self._closed and _is_clean(connection):
                self._idle.append(_Idle(connection, time.monotonic()))
            else:
                await to_the_end(_drop(connection))
        finally:
            self._turns.release()


async def _answers(connection: AsyncConnection, rested_s: float) -> bool:
    driver = _driver(connection)
    if driver.is_closed():  # by the server
        return False
    if rested_s > _REST_S:
        try:
            await driver.execute("SELECT 1", timeout=_ANSWER_S)
        except Exception:  # whatever it is, another connection is better
            return False
    return True


def _is_clean(connection: AsyncConnection) -> bool:
    """Whether the next transaction may begin on it."""
    if connection.closed or connection.invalidated or connection.in_transaction():
        return False
    driver = _driver(connection)
    return not driver.is_closed() and not driver.is_in_transaction()


def _driver(connection: AsyncConnection) -> asyncpg.Connection[Any]:
    assert connection.sync_connection is not None
    driver: Any = connection.sync_connection.connection.driver_connection
    return cast("asyncpg.Connection[Any]", driver)


async def _drop(connection: AsyncConnection) -> None:
    """Close it without waiting long for an answer; whatever it was doing is rolled back."""
    with contextlib.suppress(Exception):  # there is nothing else to be done with it
        await connection.invalidate()
        await connection.close()
