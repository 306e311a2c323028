"""The store's file without threads: real SQLite behind SQLAlchemy's asyncio dialect, each statement
run at once, after a seeded time and with whatever the seed has go wrong.

A `Link` is one process's way to the file. It can be slow, cut off or frozen; a statement or a
commit may fail; and when its process dies nothing that still waits ever reaches the file again.
"""

from __future__ import annotations

import asyncio
import random
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import LRUCache

from engine.clock import NS_PER_MS, NS_PER_S, Clock
from engine.store import database
from engine.store.database import Store
from tests.simulation.loop import SimLoop
from tests.simulation.trace import Trace

BUSY, LOCKED, IOERR = 5, 6, 10
_NEW_MESSAGE = re.compile(r"INSERT INTO messages .*? VALUES \('(\w+)'", re.DOTALL)
BUSY_TIMEOUT_NS = 5 * NS_PER_S


class Link:
    """`on_commit(link)` is called after each commit of a writing transaction."""

    def __init__(
        self,
        loop: SimLoop,
        path: Path,
        name: str,
        *,
        dice: random.Random,
        trace: Trace,
        on_commit: Callable[[Link], None],
    ) -> None:
        self.name = name
        self._loop = loop
        self._path = path
        self._dice = dice
        self._trace = trace
        self.on_commit = on_commit
        self._open: list[_Connection] = []
        self.dead = self.over = False
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.slow_until_ns = self.down_until_ns = 0
        self.slowness_ns = 0
        self.statement_fails = self.commit_fails = 0.0
        self.steps = 0
        self.die_at_step = -1
        self.die: Callable[[], None] = lambda: None
        self.begun_ns = 0
        """When the transaction that writes now (or wrote last) began."""
        self.unheard: set[int] = set()
        """When those began that were committed without anybody being told."""
        self.inserted: dict[str, int] = {}
        """When chat messages were written, by their ids: for their sender the last instant at
        which the engine can have asked whether they may be; a commit may take its time.
        """
        self.troubled_ns = 0
        """When something last went wrong, was slow, or will have been."""

    async def connect(self) -> _Connection:
        connection = _Connection(self)
        await self._step(connection)
        connection.opened(
            sqlite3.connect(self._path, timeout=0, check_same_thread=False, isolation_level=None)
        )
        self._open.append(connection)
        return connection

    def kill(self) -> None:
        """The process is gone: its transactions are rolled back, its locks released."""
        self.dead = True
        for connection in self._open:
            if connection.raw is not None:
                connection.raw.close()
        self._open.clear()

    async def run(self, connection: _Connection, work: Callable[[], Any]) -> Any:
        """Do one thing to the file; a lock that another process has is waited for."""
        await self._step(connection)
        deadline_ns = self._loop.now_ns + BUSY_TIMEOUT_NS
        while True:
            connection.statement = ""
            try:
                result = work()
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in {BUSY, LOCKED}:
                    raise
                self.troubled(0)
                if self._loop.now_ns >= deadline_ns:
                    self._trace(self.name, "store: locked for too long")
                    raise
            await self._loop.sleep_ns(self._dice.randrange(NS_PER_MS, 20 * NS_PER_MS))
            await self._wait()
        self._done(connection)
        return result

    def _done(self, connection: _Connection) -> None:
        if connection.statement.startswith("BEGIN IMMEDIATE"):
            connection.writes = True
            self.begun_ns = self._loop.now_ns
        message = _NEW_MESSAGE.match(connection.statement)
        if message is not None:
            self.inserted[message[1]] = self._loop.now_ns
        ended = connection.raw is not None and not connection.raw.in_transaction
        if not connection.writes or not ended:
            return
        connection.writes = False
        if connection.statement.startswith("COMMIT"):
            self._trace(self.name, "commit")
            self.on_commit(self)
            if self._dice.random() < self.commit_fails:
                self.unheard.add(self.begun_ns)
                raise self._fault(IOERR, "committed, but the answer is lost")

    async def _step(self, connection: _Connection) -> None:
        """Time passes, and the process may die in it; then the file may not answer."""
        self.steps += 1
        if self.steps == self.die_at_step:
            self.die()
        await self._wait()
        if connection.failed:
            connection.failed = False  # the rollback after a failure
        elif self._loop.now_ns < self.down_until_ns:
            connection.failed = connection.writes
            raise self._fault(IOERR, "the store is down")
        elif connection.writes and self._dice.random() < self.statement_fails:
            connection.failed = True
            raise self._fault(self._dice.choice([IOERR, BUSY]), "a statement fails")

    async def _wait(self) -> None:
        pause_ns = round(self._dice.expovariate(1 / 400_000))
        if self._loop.now_ns < self.slow_until_ns:
            pause_ns += round(self._dice.random() * self.slowness_ns)
        await self._loop.sleep_ns(pause_ns)
        await self.thawed.wait()
        while self.dead and not self.over:
            await asyncio.Event().wait()  # for ever: whoever waits is gone

    def _fault(self, code: int, text: str) -> sqlite3.OperationalError:
        self._trace(self.name, f"store: {text}")
        self.troubled(0)
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode = code
        return error

    def troubled(self, for_ns: int) -> None:
        self.troubled_ns = max(self.troubled_ns, self._loop.now_ns + for_ns)

    def close(self, connection: _Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
            if connection.raw is not None:
                connection.raw.close()


class _Connection:
    """What SQLAlchemy's aiosqlite dialect, and the engine's own driver, expect of a connection."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._tx = _Inline()
        self.raw: sqlite3.Connection | None = None
        self.writes = self.failed = False
        self.statement = ""

    def opened(self, raw: sqlite3.Connection) -> None:
        self.raw = raw
        raw.set_trace_callback(self._seen)

    def _seen(self, statement: str) -> None:
        self.statement = statement

    @property
    def _conn(self) -> sqlite3.Connection | None:
        return self.raw

    @property
    def _connection(self) -> sqlite3.Connection | None:
        return self.raw

    @property
    def isolation_level(self) -> str | None:
        return None if self.raw is None else self.raw.isolation_level

    async def _execute(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await self._link.run(self, lambda: work(*arguments))

    async def create_function(self, *args: Any, **kwargs: Any) -> None:
        if self.raw is not None:
            self.raw.create_function(*args, **kwargs)

    async def commit(self) -> None:
        if self.raw is not None:
            await self._link.run(self, self.raw.commit)

    async def rollback(self) -> None:
        if self.raw is not None:
            await self._link.run(self, self.raw.rollback)

    async def close(self) -> None:
        self._link.close(self)

    def stop(self) -> None:
        self._link.close(self)


class _Inline:
    """The dialect hands some work to the driver's thread; there is none."""

    def put_nowait(self, work: tuple[asyncio.Future[Any], Callable[[], Any]]) -> None:
        future, function = work
        future.set_result(function())


_COMPILED: LRUCache[Any, Any] = LRUCache(1_000)


class _AnyDialect(SQLiteDialect_aiosqlite):
    """Every process of the simulation, of every seed, speaks the same one."""

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _AnyDialect)

    def __hash__(self) -> int:
        return 1


def _share_compiled(engine: sa.Engine) -> None:
    """To compile the same statements in each process anew is most of what a short scene costs."""
    assert type(engine.dialect) is SQLiteDialect_aiosqlite
    engine.dialect.__class__ = _AnyDialect
    engine._compiled_cache = _COMPILED


class SimStore(Store):
    """The real store with its real pools, through a `Link`."""

    def __init__(self, path: Path, clock: Clock, link: Link) -> None:
        def engine(url: Any, **options: Any) -> Any:
            options.pop("connect_args")
            made = create_async_engine(url, async_creator=link.connect, **options)
            _share_compiled(made.sync_engine)
            return made

        with mock.patch.object(database, "create_async_engine", engine):
            super().__init__(f"sqlite:///{path}", clock)
        self.link = link
