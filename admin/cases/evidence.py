"""What happened around a disputed order, as sentences in order of time: its own events, sessions,
deliveries, money, and how much was written (never what)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from admin import queries
from admin.http.times import money_text, rfc3339
from admin.queries import Row
from admin.receipts.timeline import Happening, timeline
from admin.schemas import TimelineEntry
from engine.store.database import Tx
from engine.store.tables import (
    conversations,
    hold_moves,
    holds,
    messages,
    orders,
    outbox,
    session_events,
    sessions,
    transfers,
    users,
)

Entry = tuple[int, str, str]
"""Instant, type, sentence."""

_QUOTED_CHARACTERS = 120
_SENTENCES = {
    "order.created": "{customer} ordered.",
    "order.paid": "{customer} paid.",
    "order.requirements_changed": "{customer} told what is needed for the work.",
    "order.started": "{expert} began the work.",
    "order.delivered": "{expert} said that the work is done.",
    "order.returned": "{customer} returned the work for rework{because}",
    "order.completed": "The order was completed.",
    "order.refused": "{expert} refused the order{because}",
    "order.cancelled": "The order was cancelled{because}",
    "order.cancel_agreed": "{expert} agreed to a cancellation.",
    "order.disputed": "{who} opened a dispute{because}",
    "order.dispute_withdrawn": "{who} withdrew the dispute.",
    "order.ruled": "Arbitration decided: {ruling}{because}",
    "order.refunded": "The platform's staff gave back a part{because}",
}


@dataclass(frozen=True)
class _Around:
    order: Row
    names: Mapping[str, str]
    for_expert: bool
    for_staff: bool

    @property
    def people(self) -> dict[str, str]:
        order = self.order
        return {"customer": self.names[order.customer_id], "expert": self.names[order.expert_id]}

    def text(self, amount_minor: int) -> str:
        return money_text(amount_minor, self.order.currency)


async def of_order(
    tx: Tx, order_id: str, *, viewer_id: str, for_staff: bool
) -> list[TimelineEntry]:
    """Commission is told to the expert and to staff, the quality of connections to staff."""
    query = sa.select(orders).where(orders.c.id == order_id)
    order = (await tx.execute(query)).one()
    people = sa.select(users.c.id, users.c.display_name).where(
        users.c.id.in_((order.customer_id, order.expert_id))
    )
    names = await queries.pairs(tx, people)
    around = _Around(order, names, viewer_id == order.expert_id, for_staff)
    found = [
        *await _order_events(tx, around),
        *await _session_events(tx, around),
        *await _written(tx, around),
        *await _set_aside(tx, around),
        *await _moved(tx, around),
    ]
    found.sort(key=lambda entry: entry[0])
    return [TimelineEntry(rfc3339(at_ms), type_, text) for at_ms, type_, text in found]


async def _order_events(tx: Tx, around: _Around) -> list[Entry]:
    o = outbox.c
    query = sa.select(o.type, o.actor, o.data, o.at_ms).where(o.subject_id == around.order.id)
    rows = await queries.rows(tx, query.order_by(o.seq))
    return [
        (row.at_ms, row.type, _order_sentence(row, around))
        for row in rows
        if row.type in _SENTENCES
    ]


def _order_sentence(row: Row, around: _Around) -> str:
    reason = row.data.get("reason") or ""
    words: dict[str, Any] = {
        **around.people,
        "who": around.names.get(row.actor, "The platform's staff"),
        "ruling": row.data.get("ruling", ""),
        "because": f": {reason}" if reason else ".",
    }
    return _SENTENCES[row.type].format(**words)


async def _session_events(tx: Tx, around: _Around) -> list[Entry]:
    e = session_events.c
    query = (
        sa.select(e.type, e.at_ms, e.data)
        .join(sessions, sessions.c.id == e.session_id)
        .where(sessions.c.order_id == around.order.id)
        .order_by(sessions.c.rung_at_ms, sessions.c.id, e.seq)
    )
    happenings = [Happening(*row) for row in await tx.execute(query)]
    return timeline(
        happenings,
        **around.people,
        currency=around.order.currency,
        for_expert=around.for_expert or around.for_staff,
        for_staff=around.for_staff,
    )


async def _written(tx: Tx, around: _Around) -> list[Entry]:
    """Each delivery, and how many messages each party wrote until when."""
    m = messages.c
    mine = sa.select(conversations.c.id).where(conversations.c.order_id == around.order.id)
    deliveries = await queries.rows(
        tx,
        sa.select(m.body, m.files, m.created_at_ms)
        .where(m.conversation_id.in_(mine), m.kind == "delivery")
        .order_by(m.seq),
    )
    counts = await queries.rows(
        tx,
        sa.select(
            m.author_id,
            sa.func.count().label("written"),
            sa.func.max(m.created_at_ms).label("last_ms"),
        )
        .where(m.conversation_id.in_(mine), m.kind == "text", m.author_id.is_not(None))
        .group_by(m.author_id),
    )
    expert = around.people["expert"]
    found = [
        (row.created_at_ms, "delivery", f"{expert} delivered {_delivered(row)}")
        for row in deliveries
    ]
    for row in counts:
        name = around.names.get(row.author_id, "The platform's staff")
        text = "a message" if row.written == 1 else f"{row.written} messages"
        found.append((row.last_ms, "messages", f"{name} wrote {text}, the last one now."))
    return found


def _delivered(row: Row) -> str:
    parts = []
    if row.body:
        cut = row.body[:_QUOTED_CHARACTERS]
        parts.append(f"“{cut}{'…' if cut != row.body else ''}”")
    if row.files:
        parts.append("a file" if len(row.files) == 1 else f"{len(row.files)} files")
    return " and ".join(parts) + "."


async def _set_aside(tx: Tx, around: _Around) -> list[Entry]:
    """The order's own hold and what returned from it; sessions tell of theirs."""
    h, moves = holds.c, hold_moves.c
    own = sa.and_(h.order_id == around.order.id, h.session_id.is_(None), h.state != "refused")
    held = sa.select(h.created_at_ms, h.amount_minor).where(own)
    released = (
        sa.select(moves.created_at_ms, moves.amount_minor)
        .join(holds, h.id == moves.hold_id)
        .where(own, moves.kind == "release")
    )
    customer = around.people["customer"]
    return [
        *(
            (at_ms, "hold", f"{around.text(amount)} of {customer} set aside.")
            for at_ms, amount in await tx.execute(held)
        ),
        *(
            (at_ms, "release", f"{around.text(amount)} returned to {customer}.")
            for at_ms, amount in await tx.execute(released)
        ),
    ]


async def _moved(tx: Tx, around: _Around) -> list[Entry]:
    """Captures outside sessions, and whatever was given back."""
    t = transfers.c
    query = (
        sa.select(t.kind, t.amount_minor, t.fee_minor, t.reason, t.created_at_ms)
        .where(t.order_id == around.order.id, t.amount_minor > 0)
        .where(sa.or_(t.kind == "reverse", sa.and_(t.kind == "capture", t.session_id.is_(None))))
        .order_by(t.created_at_ms, t.id)
    )
    return [
        (row.created_at_ms, row.kind, _money_sentence(row, around))
        for row in await queries.rows(tx, query)
    ]


def _money_sentence(row: Row, around: _Around) -> str:
    people, amount = around.people, around.text(row.amount_minor)
    if row.kind == "reverse":
        return f"{amount} given back to {people['customer']}: {row.reason or 'part of a charge'}"
    shown = around.for_expert or around.for_staff
    part = f", {around.text(row.fee_minor)} of it commission" if shown else ""
    return f"{amount} paid to {people['expert']}{part}."
