"""What the staff pages show, read from the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from admin import queries
from admin.http.cursors import Cursor
from admin.orders.machine import RUNNING_SESSION
from admin.queries import Row, later_than, total
from engine.store.database import Tx
from engine.store.tables import orders, sessions, transfers, users

RECENT_PAGE = 50


@dataclass(frozen=True)
class Totals:
    """Of all time, per currency of the ledger."""

    currency: str
    captured_minor: int
    fee_minor: int


@dataclass(frozen=True)
class Today:
    sessions: int
    served_minutes: int
    orders: int


def _rows() -> sa.Select[Any]:
    customer, expert = users.alias("customer"), users.alias("expert")
    return (
        sa.select(
            sessions,
            orders.c.number,
            orders.c.title,
            orders.c.currency,
            orders.c.tariff,
            customer.c.display_name.label("customer_name"),
            expert.c.display_name.label("expert_name"),
        )
        .join(orders, orders.c.id == sessions.c.order_id)
        .join(customer, customer.c.id == sessions.c.customer_id)
        .join(expert, expert.c.id == sessions.c.expert_id)
    )


async def running(tx: Tx) -> Sequence[Row]:
    """Sessions that ring, connect or are in progress, oldest first."""
    query = _rows().where(
        sessions.c.state.in_(RUNNING_SESSION), sessions.c.quarantined_at_ms.is_(None)
    )
    return await queries.rows(tx, query.order_by(sessions.c.rung_at_ms).limit(200))


async def troubled(tx: Tx) -> Sequence[Row]:
    """Sessions in quarantine, the oldest first."""
    query = _rows().where(sessions.c.quarantined_at_ms.is_not(None))
    return await queries.rows(tx, query.order_by(sessions.c.quarantined_at_ms).limit(200))


async def recent(tx: Tx, after: Cursor | None) -> Sequence[Row]:
    """Ended sessions, newest first: one page and one more if there are more."""
    query = _rows().where(sessions.c.state == "ended")
    if after is not None:
        query = query.where(later_than(sessions.c.rung_at_ms, sessions.c.id, after))
    query = query.order_by(sessions.c.rung_at_ms.desc(), sessions.c.id.desc())
    return await queries.rows(tx, query.limit(RECENT_PAGE + 1))


async def one(tx: Tx, session_id: str) -> Row | None:
    return await queries.row(tx, _rows().where(sessions.c.id == session_id))


async def totals(tx: Tx) -> list[Totals]:
    t = transfers.c
    sign = sa.case((t.kind == "reverse", -1), else_=1)
    query = (
        sa.select(t.currency, total(sign * t.amount_minor), total(sign * t.fee_minor))
        .where(t.kind.in_(("capture", "reverse")))
        .group_by(t.currency)
        .order_by(t.currency)
    )
    return [Totals(*row) for row in await tx.execute(query)]


async def since(tx: Tx, at_ms: int) -> Today:
    """What happened since then: answered sessions, minutes of service, orders."""
    s = sessions.c
    query = sa.select(sa.func.count(), total(s.served_ns)).where(s.answered_at_ms >= at_ms)
    count, served_ns = (await tx.execute(query)).one()
    ordered = sa.select(sa.func.count()).select_from(orders)
    placed = await tx.scalar(ordered.where(orders.c.created_at_ms >= at_ms))
    return Today(count, round((served_ns or 0) / 60e9), placed or 0)
