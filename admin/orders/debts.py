"""Earnings below zero: a refund of what was paid out already (C31)."""

from __future__ import annotations

import sqlalchemy as sa

from admin import events
from admin.cases import records
from admin.http.times import money_text
from admin.market.transitions import Step
from admin.notices import notify
from engine.metering.ledger import AccountKind
from engine.store.database import Tx
from engine.store.market_tables import cases

SUBJECT = "balance"


async def note(step: Step) -> None:
    """Should the expert owe money now, staff get a case about it, one at a time.

    The balance itself keeps anything from being paid out until it is made good.
    """
    deps, tx, row = step.deps, step.tx, step.row
    balance = await deps.ledger.balance(tx, AccountKind.EARNINGS, row.expert_id, row.currency)
    if balance >= 0 or await _known(tx, row.expert_id):
        return
    data = {"balance_minor": balance, "currency": row.currency, "order_id": row.id}
    owed = money_text(-balance, row.currency)
    await records.create(
        deps,
        tx,
        records.NewCase(
            kind="support",
            subject_type=SUBJECT,
            subject_id=row.expert_id,
            opened_by=None,
            title=f"An expert owes {owed}",
            body=f"After a refund of order {row.number} the earnings are below zero.",
            data={**data, records.CONCERNED: row.expert_id},
        ),
    )
    at_ms, actor_id = step.now_ms, step.actor.id
    await events.publish(
        tx, "wallet.negative", row.expert_id, actor=actor_id, at_ms=at_ms, data=data
    )
    step.after += await notify(deps, tx, "wallet.negative", row, actor_id=actor_id, data=data)


async def _known(tx: Tx, expert_id: str) -> bool:
    query = sa.select(cases.c.id).where(
        cases.c.subject_id == expert_id,
        cases.c.subject_type == SUBJECT,
        cases.c.state.in_(records.UNDECIDED),
    )
    return (await tx.execute(query.limit(1))).first() is not None
