"""Several writes that hang on one key, in one round trip where the store can do that.

PostgreSQL answers a statement in a fraction of the time that asking for it takes, so the writes go
there as one statement of data-modifying WITH clauses. SQLite has no such clauses and no network
either: it gets them one after the other.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from engine.store.database import Tx, insert_once
from engine.store.prepared import Prepared

Row = Mapping[str, object]


class Update(NamedTuple):
    """A statement made once, with the values of its named parameters."""

    statement: sa.Update
    values: Row


class Insert(NamedTuple):
    """Rows with the same columns."""

    table: sa.Table
    rows: Sequence[Row]


async def write_once(
    tx: Tx,
    table: sa.Table,
    row: Row,
    updates: Sequence[Update] = (),
    inserts: Sequence[Insert] = (),
) -> bool:
    """INSERT the row unless a unique key is taken, and only then do the rest; whether it was done.

    The writes do not see each other: no two of them touch the same row. Different statements among
    the updates have different parameters; one that occurs twice is executed twice.
    """
    if tx.dialect.name == "sqlite":
        if not await insert_once(tx, table, row):
            return False
        await _one_by_one(tx, updates, inserts)
        return True
    together = {update.statement: update for update in reversed(updates)}
    values = {f"once_{name}": value for name, value in row.items()}
    for update in together.values():
        values |= update.values
    shapes = []
    for number, insert in enumerate(inserts):
        shapes.append((insert.table, tuple(insert.rows[0]), len(insert.rows)))
        for index, added in enumerate(insert.rows):
            values |= {f"row_{number}_{index}_{name}": value for name, value in added.items()}
    statement = _statement(table, tuple(row), tuple(together), tuple(shapes))
    if not (await statement.rows(tx, values))[0].done:
        return False
    await _one_by_one(tx, [one for one in updates if together[one.statement] is not one], ())
    return True


async def _one_by_one(tx: Tx, updates: Sequence[Update], inserts: Sequence[Insert]) -> None:
    for update in updates:
        await tx.execute(update.statement, update.values)
    for insert in inserts:
        rows = [dict(row) for row in insert.rows]
        await tx.execute(_plain_insert(insert.table), rows[0] if len(rows) == 1 else rows)


@functools.cache
def _plain_insert(table: sa.Table) -> sa.Insert:
    return sa.insert(table).inline()  # nobody asks for the rows' numbers


@functools.cache
def _statement(
    table: sa.Table,
    columns: tuple[str, ...],
    updates: tuple[sa.Update, ...],
    inserts: tuple[tuple[sa.Table, tuple[str, ...], int], ...],
) -> Prepared:
    once = (
        postgresql.insert(table)
        .values({name: _parameter(f"once_{name}", table, name) for name in columns})
        .on_conflict_do_nothing()
        .returning(sa.literal_column("1").label("one"))
        .cte("once")
    )
    done = sa.exists().select_from(once)
    query = sa.select(sa.func.count().label("done")).select_from(once)
    for number, update in enumerate(updates):
        query = query.add_cte(update.where(done).cte(f"update_{number}"))
    for number, (target, names, count) in enumerate(inserts):
        rows = sa.union_all(
            *(
                sa.select(
                    *(_parameter(f"row_{number}_{row}_{name}", target, name) for name in names)
                ).where(done)
                for row in range(count)
            )
        )
        added = _plain_insert(target).from_select(names, rows)
        query = query.add_cte(added.cte(f"insert_{number}"))
    return Prepared(query)


def _parameter(name: str, table: sa.Table, column: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=table.c[column].type)
