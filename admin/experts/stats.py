"""An expert's own figures."""

from __future__ import annotations

import sqlalchemy as sa

from admin import queries
from admin.catalogue.listings import stars
from admin.experts import profile
from admin.experts.schemas import Stats
from admin.http.times import money
from admin.ports import AdminDeps
from engine.store.database import Tx
from engine.store.tables import accounts, entries, sessions, transfers

_EARNING = ("capture", "reverse")


async def mine(deps: AdminDeps, tx: Tx, user_id: str) -> Stats:
    """Calls that their customer gave up do not count. Raises `NotFound("not_expert")`."""
    row = await profile.row_of(tx, user_id)
    s = sessions.c
    calls = (
        await tx.execute(
            sa.select(sa.func.count(), sa.func.count(s.answered_at_ms)).where(
                s.expert_id == user_id,
                s.state == "ended",
                sa.func.coalesce(s.end_reason, "") != "canceled",
            )
        )
    ).one()
    currency = deps.settings.currency
    earned = await tx.scalar(
        sa.select(queries.total(entries.c.amount_minor))
        .join(accounts, accounts.c.id == entries.c.account_id)
        .join(transfers, transfers.c.id == entries.c.transfer_id)
        .where(accounts.c.owner_id == user_id, accounts.c.kind == "earnings")
        .where(accounts.c.currency == currency, transfers.c.kind.in_(_EARNING))
    )
    return Stats(
        calls=calls[0],
        answered=calls[1],
        answer_rate=round(calls[1] / calls[0], 3) if calls[0] else None,
        response_s=row.response_sum_s // row.response_count if row.response_count else None,
        completed_orders=row.completed_orders,
        refusals=row.refusal_count,
        rating=stars(row.rating_milli),
        review_count=row.review_count,
        earned=money(earned or 0, currency),
    )
