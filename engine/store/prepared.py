"""Statements of the common path: made once, and on PostgreSQL handed to the driver itself.

Between a statement and its rows SQLAlchemy's layers take four times the processor time that asyncpg
takes, and one Python process has one core. So what every hold and capture runs is compiled
once for the dialect, and executed on the driver's connection, inside the transaction that
SQLAlchemy has opened or is about to open on it. Errors are SQLAlchemy's, as everywhere else. SQLite
gets the same statements the ordinary way: there a statement's time is the file's.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from engine.store.database import Tx


class Prepared:
    """A SELECT, which may have writes in its WITH clauses, and its named parameters."""

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement
        self._row = _row_type(statement.selected_columns.keys())
        self._text: str | None = None
        self._parameters: list[tuple[str, Any]] = []
        self._fixed: dict[str, Any] = {}

    async def rows(self, tx: Tx, values: Mapping[str, object]) -> Sequence[Any]:
        """Every row, with the statement's labels as attributes."""
        if tx.dialect.name == "sqlite":
            return list(await tx.execute(self.statement, values))
        if self._text is None:
            self._compile(tx.dialect)
        named = self._fixed | dict(values)
        arguments = [
            named[name] if bind is None else bind(named[name]) for name, bind in self._parameters
        ]
        return [self._row(*record) for record in await self._fetch(tx, arguments)]

    def _compile(self, dialect: sa.Dialect) -> None:
        compiled: Any = self.statement.compile(dialect=dialect)
        for name in compiled.positiontup:
            kind = compiled.binds[name].type.dialect_impl(dialect)
            self._parameters.append((name, kind.bind_processor(dialect)))
        self._fixed = compiled.params
        self._text = compiled.string

    async def _fetch(self, tx: Tx, arguments: Sequence[object]) -> Sequence[Any]:
        # SQLAlchemy's adapter opens its transaction with the first statement it sees; there is no
        # public call for that, nor for translating the driver's errors.
        assert tx.sync_connection is not None
        adapter: Any = tx.sync_connection.connection.dbapi_connection
        try:
            if adapter._transaction is None:
                await adapter._start_transaction()
            records: Sequence[Any] = await adapter.driver_connection.fetch(self._text, *arguments)
        except Exception as error:
            translated = self._translated(tx.dialect, adapter, error)
            if translated is error:
                raise
            raise translated from error
        return records

    def _translated(self, dialect: Any, adapter: Any, error: Exception) -> Exception:
        """What SQLAlchemy would have raised; its rollback, which comes next, finds out by itself
        whether the connection is of any more use.
        """
        try:
            adapter._handle_exception(error)
        except Exception as translated:
            error = translated
        if not isinstance(error, dialect.loaded_dbapi.Error):
            return error
        made: Exception = sa.exc.DBAPIError.instance(
            self._text,
            None,
            error,
            dialect.loaded_dbapi.Error,
            connection_invalidated=dialect.is_disconnect(error, adapter, None),
            dialect=dialect,
        )
        return made


def _row_type(labels: Sequence[str]) -> Any:
    return collections.namedtuple("Row", labels)
