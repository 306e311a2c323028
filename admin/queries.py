"""Typed shortcuts over SQLAlchemy's results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from engine.store.database import Tx

Row = sa.Row[Any]


async def rows(tx: Tx, query: sa.Select[Any]) -> Sequence[Row]:
    found: Sequence[Row] = (await tx.execute(query)).all()
    return found


async def row(tx: Tx, query: sa.Select[Any]) -> Row | None:
    """The only row, or None. Raises `MultipleResultsFound`."""
    found: Row | None = (await tx.execute(query)).one_or_none()
    return found


async def pairs(tx: Tx, query: sa.Select[Any]) -> dict[str, Any]:
    """First column to second."""
    return {found[0]: found[1] for found in await tx.execute(query)}


def total(column: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """A sum as an integer: PostgreSQL makes it numeric otherwise."""
    return sa.cast(sa.func.sum(column), sa.BigInteger)


def later_than(at: sa.ColumnElement[Any], id_: sa.ColumnElement[Any], cursor: Any) -> Any:
    """Rows after the cursor in descending order of `at`, then `id_`."""
    return sa.tuple_(at, id_) < sa.tuple_(sa.literal(cursor.at), sa.literal(cursor.id))


async def literal(tx: Tx, **values: Any) -> Row:
    """A row of these values, for what takes rows of tables."""
    columns = [sa.literal(value).label(name) for name, value in values.items()]
    return (await tx.execute(sa.select(*columns))).one()
