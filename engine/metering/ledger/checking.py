"""A check of the audit: a query that finds what is not as it must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from engine.store import tables as t

Query = sa.Select[Any] | sa.CompoundSelect[Any]


@dataclass(frozen=True, slots=True)
class Check:
    """`name` is stable; `promise` is for people; `examined` counts the rows it looked at.

    `differences` yields rows of ``(subject, expected, found)``; it may ask for the store's time as
    the parameter `now_ms`.
    """

    name: str
    promise: str
    examined: sa.Select[Any]
    differences: Query


def count(table: sa.Table, *where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(table).where(*where)


def summed(amount: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(sa.func.sum(amount), 0)


def differing(
    subject: sa.ColumnElement[Any],
    expected: sa.ColumnElement[Any],
    found: sa.ColumnElement[Any],
    *where: sa.ColumnElement[bool],
) -> sa.Select[Any]:
    return named(subject, expected, found, expected.is_distinct_from(found), *where)


def named(
    subject: sa.ColumnElement[Any],
    expected: sa.ColumnElement[Any],
    found: sa.ColumnElement[Any],
    *where: sa.ColumnElement[bool],
) -> sa.Select[Any]:
    """What `where` finds is a difference, whatever is said of it."""
    columns = (subject.label("subject"), expected.label("expected"), found.label("found"))
    return sa.select(*columns).where(*where)


def text(value: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    return sa.func.coalesce(sa.cast(value, sa.String), "none")


def remaining() -> sa.ColumnElement[Any]:
    """What is left of a hold."""
    h = t.holds.c
    return h.amount_minor - h.captured_minor - h.released_minor
