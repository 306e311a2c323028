"""Receipts as the parties see them, read in one snapshot of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from admin import schemas
from admin.http.times import money, rfc3339
from admin.live import sessions
from admin.orders import views as orders
from admin.orders.states import Fulfilment
from admin.ports import AdminDeps
from admin.queries import Row, pairs, rows
from admin.receipts.lines import Account, Ending, Posting, account, order_account
from admin.receipts.timeline import Happening, timeline
from engine.errors import Conflict
from engine.metering.tariff import Tariff
from engine.store import tables
from engine.store.database import Tx
from engine.store.tables import session_events, transfers, users


@dataclass(frozen=True)
class _Order:
    row: Row
    tariff: Tariff | None
    """Of consultations."""
    names: dict[str, str]
    sessions: Sequence[Row]


async def of_session(
    deps: AdminDeps, tx: Tx, user_id: str, session_id: str, *, staff: bool = False
) -> schemas.Receipt:
    """The receipt of an ended session; staff see it with the expert's figures and the
    quality of both connections.

    Raises `NotFound("session_not_found")`, `Conflict("session_live")`.
    """
    if staff:
        user_id = await _expert_of(tx, session_id) or user_id
    row = await sessions.find(tx, user_id, session_id)
    if row.state != "ended":
        raise Conflict("session_live", "This session has not ended yet.")
    order = await _order(tx, row.order_id)
    return await _receipt(deps, tx, user_id, order, row, for_staff=staff)


async def of_order(deps: AdminDeps, tx: Tx, user_id: str, order_id: str) -> schemas.OrderReceipt:
    """The order, the receipts of its answered, ended sessions, and what moved beside them.

    Raises `NotFound("order_not_found")`.
    """
    view = await orders.one(deps, tx, user_id, order_id)
    order = await _order(tx, order_id)
    row = order.row
    answered = [row for row in order.sessions if row.state == "ended" and row.answered_at_ms]
    receipts = [await _receipt(deps, tx, user_id, order, row) for row in answered]
    everything = await _posted(tx, order_id)
    whole = order_account(row.prepay_minor, [p for _, p in everything], ended_ms=row.closed_at_ms)
    own = [posting for session_id, posting in everything if session_id is None]
    live = row.fulfilment == Fulfilment.LIVE
    ended_ms = None if live else row.closed_at_ms
    beside = order_account(row.prepay_minor, own, ended_ms=ended_ms)
    for_expert = user_id == row.expert_id
    return schemas.OrderReceipt(
        order=view,
        sessions=receipts,
        lines=_lines(beside, row.currency),
        total=money(whole.total_minor, row.currency),
        fee=money(whole.fee_minor, row.currency) if for_expert else None,
        earned=money(whole.earned_minor, row.currency) if for_expert else None,
        url=deps.receipt_links.order_url(user_id, order_id),
    )


async def _posted(tx: Tx, order_id: str) -> list[tuple[str | None, Posting]]:
    """Every transfer of the order with the session that it is of."""
    t = transfers.c
    query = (
        sa.select(t.session_id, t.kind, t.amount_minor, t.fee_minor, t.reason)
        .add_columns(t.created_at_ms.label("at_ms"))
        .where(t.order_id == order_id, t.kind.in_(("capture", "reverse")))
        .order_by(t.created_at_ms, t.id)
    )
    return [
        (row.session_id, Posting(row.kind, row.amount_minor, row.fee_minor, row.at_ms, row.reason))
        for row in await rows(tx, query)
    ]


def _lines(sums: Account, currency: str) -> list[schemas.ReceiptLine]:
    return [
        schemas.ReceiptLine(rfc3339(line.at_ms), line.text, money(line.amount_minor, currency))
        for line in sums.lines
    ]


async def _expert_of(tx: Tx, session_id: str) -> str | None:
    query = sa.select(tables.sessions.c.expert_id).where(tables.sessions.c.id == session_id)
    found: str | None = await tx.scalar(query)
    return found


async def _order(tx: Tx, order_id: str) -> _Order:
    row = (await tx.execute(sa.select(tables.orders).where(tables.orders.c.id == order_id))).one()
    people = sa.select(users.c.id, users.c.display_name).where(
        users.c.id.in_((row.customer_id, row.expert_id))
    )
    names = await pairs(tx, people)
    tariff = None if row.tariff is None else msgspec.convert(row.tariff, Tariff)
    return _Order(row, tariff, names, await sessions.of_order(tx, order_id))


async def _receipt(
    deps: AdminDeps, tx: Tx, user_id: str, order: _Order, row: Row, *, for_staff: bool = False
) -> schemas.Receipt:
    sums = await _account(tx, order, row)
    currency = order.row.currency
    customer_id, expert_id = order.row.customer_id, order.row.expert_id
    for_expert = user_id == expert_id
    number = 1 + [session.id for session in order.sessions].index(row.id)
    return schemas.Receipt(
        number=f"{order.row.number}-{number:02}",
        session=sessions.view(deps, user_id, row, sums.total_minor),
        order_number=order.row.number,
        title=order.row.title,
        customer=schemas.PartyCard(customer_id, order.names[customer_id]),
        expert=schemas.PartyCard(expert_id, order.names[expert_id]),
        lines=_lines(sums, currency),
        total=money(sums.total_minor, currency),
        fee=money(sums.fee_minor, currency) if for_expert else None,
        earned=money(sums.earned_minor, currency) if for_expert else None,
        timeline=await _timeline(tx, order, row, for_expert=for_expert, for_staff=for_staff),
        url=deps.receipt_links.session_url(user_id, row.id),
    )


async def _account(tx: Tx, order: _Order, row: Row) -> Account:
    t = transfers.c
    query = (
        sa.select(t.kind, t.amount_minor, t.fee_minor, t.created_at_ms, t.reason)
        .where(t.session_id == row.id, t.kind.in_(("capture", "reverse")))
        .order_by(t.created_at_ms, t.id)
    )
    postings = [Posting(*found) for found in await tx.execute(query)]
    ended_at_ms = row.ended_at_ms or row.rung_at_ms
    ending = Ending(ended_at_ms, row.end_reason, row.metered_at_ms is not None, row.billed_seconds)
    assert order.tariff is not None, "only consultations have sessions"
    return account(order.tariff, postings, ending)


async def _timeline(
    tx: Tx, order: _Order, row: Row, *, for_expert: bool, for_staff: bool
) -> list[schemas.TimelineEntry]:
    e = session_events.c
    query = sa.select(e.type, e.at_ms, e.data).where(e.session_id == row.id).order_by(e.seq)
    happenings = [Happening(*found) for found in await tx.execute(query)]
    names = order.names
    told = timeline(
        happenings,
        customer=names[order.row.customer_id],
        expert=names[order.row.expert_id],
        currency=order.row.currency,
        for_expert=for_expert,
        for_staff=for_staff,
    )
    return [schemas.TimelineEntry(rfc3339(at_ms), type_, text) for at_ms, type_, text in told]
