"""SQLite's one writer: transactions in order of arrival, and one commit for those who wait.

A commit waits for the disk, and while it does nobody writes. So whoever ends a transaction while
others are queueing leaves theirs open: each of the others adds its own statements behind a
savepoint, and the first to leave, who queues up again behind them, commits for all. Without a
queue a transaction is committed at once, and alone.

What a caller may rely on is the same as with transactions of their own:

- It is answered only after the commit. If that fails all of the group hear of it, and none of
  them knows more than that the outcome is unknown.
- One that fails, or is cancelled in mid-statement, undoes its own savepoint and nothing else. Its
  error too waits for the commit: it may be about something that another one of the group has
  written, as "this key is taken" is.
- It sees what those before it have written, as it would have after their commits.
- After an error by which SQLite gives up the whole transaction (disk full, I/O) the next
  statement on the savepoint, or the commit, fails, and with it the group.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction

from engine.store import faults
from engine.store.sqlite_driver import OneStepConnection
from engine.store.steps import to_the_end

MAX_GROUP: Final = 32
"""Transactions that share a commit at most: the first of them waits for the last."""


@dataclass(eq=False, slots=True)
class _Group:
    connection: AsyncConnection
    root: AsyncTransaction
    driver: OneStepConnection
    members: int = 0  # whose statements stand
    failure: BaseException | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    async def outcome(self) -> None:
        await self.settled.wait()
        if self.failure is not None:
            raise faults.unavailable() from self.failure


class Writer:
    """`engine` begins its transactions with BEGIN IMMEDIATE and uses `OneStepDriver`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._holder: asyncio.Task[Any] | None = None
        self._group: _Group | None = None

    @contextlib.asynccontextmanager
    async def transaction(self, patience_s: float) -> AsyncIterator[AsyncConnection]:
        """Wait at most `patience_s` for the turn; see `Store.transaction`."""
        await self._take_turn(patience_s)
        try:
            group = await self._join()
        except BaseException:
            self._give_turn()
            raise
        try:
            yield group.connection
        except BaseException as error:
            await to_the_end(self._abandon(group))
            if isinstance(error, Exception):
                await group.outcome()
            raise
        group.members += 1
        if self._complete(group) or group.members == 1:
            await to_the_end(self._commit_in_turn(group))
        else:
            self._give_turn()
        await group.outcome()

    async def _take_turn(self, patience_s: float) -> None:
        task = asyncio.current_task()
        if task is not None and task is self._holder:
            raise RuntimeError("a transaction inside a transaction: pass the outer one on")
        self._waiting += 1
        try:
            with faults.connecting():
                async with asyncio.timeout(patience_s):
                    await self._turn.acquire()
        finally:
            self._waiting -= 1
        self._holder = task

    def _give_turn(self) -> None:
        self._holder = None
        self._turn.release()

    async def _join(self) -> _Group:
        group = self._group
        if group is None:
            group = self._group = await self._open()
        else:
            group.driver.mark()
        return group

    async def _open(self) -> _Group:
        with faults.connecting():
            connection = await self._engine.connect()
        try:
            with faults.working():
                root = await connection.begin()
                raw: Any = await connection.get_raw_connection()
        except BaseException:
            await to_the_end(connection.close())
            raise
        return _Group(connection, root, raw.dbapi_connection)

    def _complete(self, group: _Group) -> bool:
        """Whether it is this turn's holder who commits."""
        return not self._waiting or group.members >= MAX_GROUP

    async def _commit_in_turn(self, group: _Group) -> None:
        """Commit now, or after those who are waiting for their turn now; gives the turn back."""
        try:
            if self._complete(group):
                await self._commit(group)
        finally:
            self._give_turn()
        if not group.settled.is_set():
            async with self._turn:  # in order of arrival: behind those whom this commit is for
                if self._group is group:
                    await self._commit(group)

    async def _commit(self, group: _Group) -> None:
        try:
            await group.root.commit()
        except sa.exc.SQLAlchemyError as error:
            group.failure = error
        await self._close(group)

    async def _abandon(self, group: _Group) -> None:
        """Undo what this turn's holder did; gives the turn back."""
        try:
            if group.members and await self._undone(group):
                if self._complete(group):
                    await self._commit(group)
            else:
                await self._close(group)
        finally:
            self._give_turn()

    async def _undone(self, group: _Group) -> bool:
        """Whether the statements of those before are still there after an undo."""
        try:
            while (nested := group.connection.get_nested_transaction()) is not None:
                await nested.rollback()
            await group.driver.undo()
        except (sa.exc.SQLAlchemyError, *group.driver.errors) as error:
            group.failure = error
            return False
        return True

    async def _close(self, group: _Group) -> None:
        """Roll back what was not committed, and tell the group."""
        self._group = None
        try:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                if group.failure is not None:
                    await group.connection.invalidate()  # nobody knows what state it is in
                await group.connection.close()
        finally:
            group.settled.set()
