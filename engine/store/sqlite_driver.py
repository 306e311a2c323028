"""A statement on SQLite in one step of the connection's thread, instead of four.

SQLAlchemy's own adapter of aiosqlite crosses to the thread and back to make a cursor, to execute,
to fetch and to close; each crossing costs more than the statement of a ledger. Here a cursor lives
within one crossing and hands back everything at once. Results are read whole, as there.

A connection can also be told to set a savepoint with its next statement (`mark`) and to undo what
was done since (`undo`), which is how several transactions share one commit; see
`engine.store.writer`.
"""

from __future__ import annotations

import collections
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiosqlite
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
)
from sqlalchemy.util.concurrency import await_

_MARK: Final = "one_of_group"


class OneStepCursor(AsyncAdapt_aiosqlite_cursor):
    """Keeps what a statement answered; there is no cursor in the driver behind it."""

    __slots__ = ("_answer", "_arraysize")

    def __init__(self, adapt_connection: OneStepConnection) -> None:
        self._adapt_connection: OneStepConnection = adapt_connection
        self._rows = collections.deque()
        self._answer: tuple[Any, int, int | None] = (None, -1, None)
        self._arraysize = 1

    @property
    def description(self) -> Any:
        return self._answer[0]

    @property
    def rowcount(self) -> int:
        return self._answer[1]

    @property
    def lastrowid(self) -> Any:
        return self._answer[2]

    @property
    def arraysize(self) -> int:
        return self._arraysize

    @arraysize.setter
    def arraysize(self, value: int) -> None:
        self._arraysize = value

    def execute(self, operation: Any, parameters: Any = None) -> None:
        self._run(sqlite3.Connection.execute, operation, () if parameters is None else parameters)

    def executemany(self, operation: Any, seq_of_parameters: Sequence[Any]) -> None:
        self._run(sqlite3.Connection.executemany, operation, seq_of_parameters)

    def _run(self, how: Callable[..., sqlite3.Cursor], operation: str, parameters: Any) -> None:
        def step(connection: sqlite3.Connection) -> tuple[list[Any], Any]:
            cursor = how(connection, operation, parameters)
            rows = cursor.fetchall() if cursor.description else []
            # Only after the last row of RETURNING does the driver know how many there were.
            answer = (cursor.description, cursor.rowcount, cursor.lastrowid)
            cursor.close()
            return rows, answer

        rows, self._answer = self._adapt_connection.step(step)
        self._rows.extend(rows)

    async def _async_soft_close(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        self._rows.clear()


class OneStepConnection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ("_clean", "_mark_due")

    _cursor_cls: type[AsyncAdapt_aiosqlite_cursor] = OneStepCursor

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self._clean = True  # nothing was asked of it since the last transaction ended
        self._mark_due = False

    def step(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run `work` in the connection's thread, after everything that was asked of it before."""
        self._clean = False
        try:
            return await_(self._in_thread(self._marked, work))
        except Exception as error:
            self._handle_exception(error)

    def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        # The driver has public calls for single steps only; SQLAlchemy too uses its queue.
        driver: Any = self._connection
        return driver._execute(lambda: work(driver._conn, *arguments))

    def _marked(
        self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Any]
    ) -> Any:
        if self._mark_due:
            connection.execute(f"SAVEPOINT {_MARK}")
            self._mark_due = False
        return work(connection)

    errors = (sqlite3.Error, ValueError)  # what `undo` raises; the latter: the connection is closed

    def mark(self) -> None:
        """Set a savepoint right before the next statement, if there is one."""
        self._mark_due = True

    async def undo(self) -> None:
        """Undo every statement since `mark`, one still under way included.

        Raises one of `errors` if SQLite has given up the whole transaction meanwhile.
        """
        await self._in_thread(self._undo)

    def _undo(self, connection: sqlite3.Connection) -> None:
        if not self._mark_due:
            connection.execute(f"ROLLBACK TO {_MARK}")
        self._mark_due = False

    def commit(self) -> None:
        """COMMIT; an error if SQLite has rolled the transaction back by itself."""
        self._mark_due = False
        self.step(lambda connection: connection.execute("COMMIT").close())
        self._clean = True

    def rollback(self) -> None:
        self._mark_due = False
        if self._connection._connection and not self._clean:
            self.step(sqlite3.Connection.rollback)
            self._clean = True


class OneStepDriver(AsyncAdapt_aiosqlite_dbapi):
    """What ``create_async_engine(module=…)`` takes."""

    def __init__(self) -> None:
        super().__init__(aiosqlite, sqlite3)

    def connect(self, *arg: Any, **kw: Any) -> OneStepConnection:
        opened = super().connect(*arg, **kw)
        return OneStepConnection(self, opened._connection)
