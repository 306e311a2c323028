"""What the parties see of sessions; totals are the ledger's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from admin import queries, schemas
from admin.http.times import money, rfc3339, rfc3339_or_none
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import NotFound
from engine.store.database import Tx
from engine.store.tables import orders, sessions, transfers


async def find(tx: Tx, user_id: str, session_id: str) -> Row:
    """The session of a party, with its order's currency. Raises `NotFound("session_not_found")`."""
    mine = sa.or_(sessions.c.customer_id == user_id, sessions.c.expert_id == user_id)
    query = _query().where(sessions.c.id == session_id, mine)
    row = await queries.row(tx, query)
    if row is None:
        raise NotFound("session_not_found", "There is no such session.")
    return row


async def of_order(tx: Tx, order_id: str) -> Sequence[Row]:
    """The order's sessions, oldest first."""
    query = _query().where(sessions.c.order_id == order_id)
    return await queries.rows(tx, query.order_by(sessions.c.rung_at_ms, sessions.c.id))


def _query() -> sa.Select[Any]:
    return sa.select(sessions, orders.c.currency).join(orders, orders.c.id == sessions.c.order_id)


async def totals(tx: Tx, session_ids: Sequence[str]) -> dict[str, int]:
    """What each session cost its customer: captures less what was given back."""
    signed = sa.case((transfers.c.kind == "reverse", -1), else_=1) * transfers.c.amount_minor
    query = (
        sa.select(transfers.c.session_id, queries.total(signed))
        .where(transfers.c.session_id.in_(session_ids))
        .group_by(transfers.c.session_id)
    )
    return await queries.pairs(tx, query)


def view(deps: AdminDeps, user_id: str, row: Row, total_minor: int) -> schemas.SessionView:
    ended = row.state == "ended"
    return schemas.SessionView(
        id=row.id,
        order_id=row.order_id,
        ordinal=row.ordinal,
        mode=row.mode,
        direction=row.direction,
        state=row.state,
        end_reason=row.end_reason,
        ended_by=row.ended_by,
        rung_at=rfc3339(row.rung_at_ms),
        answered_at=rfc3339_or_none(row.answered_at_ms),
        started_at=rfc3339_or_none(row.started_at_ms),
        metered_at=rfc3339_or_none(row.metered_at_ms),
        ended_at=rfc3339_or_none(row.ended_at_ms),
        billed_seconds=row.billed_seconds,
        blocks=row.blocks,
        total=money(total_minor, row.currency),
        receipt_url=deps.receipt_links.session_url(user_id, row.id) if ended else None,
    )
