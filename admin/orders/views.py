"""What the parties see of orders: every figure of money comes from the ledger's own rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from admin import queries, schemas
from admin.catalogue.listings import tariff_view
from admin.catalogue.presence import availability
from admin.http import cursors
from admin.http.cursors import Cursor
from admin.http.times import money, rfc3339, rfc3339_or_none
from admin.market.actors import Actor
from admin.market.transitions import possible, situation_of
from admin.orders import deliveries
from admin.orders.machine import ORDER, RUNNING_SESSION
from admin.orders.machine import facts as order_facts
from admin.orders.schemas import OrderDetail
from admin.orders.states import Facts, Fulfilment, OrderState
from admin.ports import AdminDeps
from admin.queries import Row, later_than, pairs, total
from admin.reviews import views as reviews
from engine.errors import NotFound
from engine.metering.tariff import Tariff
from engine.store.database import Tx
from engine.store.tables import conversations, experts, holds, orders, sessions, transfers, users


@dataclass
class _Around:
    """What belongs to some orders, by order id."""

    facts: Mapping[str, Facts] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    captured: dict[str, int] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)
    conversation: dict[str, str] = field(default_factory=dict)
    name: dict[str, str] = field(default_factory=dict)
    """By user id."""
    presence: dict[str, str] = field(default_factory=dict)
    """By expert id."""


@dataclass(frozen=True)
class Wanted:
    """Which of the user's orders; None: all."""

    role: str | None = None
    states: tuple[str, ...] = tuple(OrderState)
    fulfilment: str | None = None
    listing_id: str | None = None


async def one(deps: AdminDeps, tx: Tx, user_id: str, order_id: str) -> OrderDetail:
    """The order as its party sees it. Raises `NotFound("order_not_found")`."""
    row = await find(tx, user_id, order_id)
    around = await _around(deps, tx, [row])
    shown = _view(deps, user_id, row, around)
    fields = {name: getattr(shown, name) for name in shown.__struct_fields__}
    work = row.fulfilment == Fulfilment.WORK
    return OrderDetail(
        **fields,
        deliveries=await deliveries.of_order(deps, tx, user_id, shown.conversation_id)
        if work
        else [],
        review=await reviews.of_order(deps, tx, user_id, order_id),
    )


async def find(tx: Tx, user_id: str, order_id: str) -> Row:
    """The stored order of a party. Raises `NotFound("order_not_found")`."""
    mine = sa.or_(orders.c.customer_id == user_id, orders.c.expert_id == user_id)
    row = await queries.row(tx, sa.select(orders).where(orders.c.id == order_id, mine))
    if row is None:
        raise NotFound("order_not_found", "There is no such order.")
    return row


async def page(
    deps: AdminDeps, tx: Tx, user_id: str, wanted: Wanted, *, after: Cursor | None, limit: int
) -> schemas.OrderPage:
    """The user's orders (T44, T59), newest first.

    Each role and state is read along its own index from where the page begins, and what they found
    is merged: a page costs the same however many orders there are.
    """
    mine = {"customer": orders.c.customer_id, "expert": orders.c.expert_id}
    roles = [column for role, column in mine.items() if wanted.role in (None, role)]
    parts = [
        part(column == user_id, state, wanted, after, limit + 1)
        for column in roles
        for state in wanted.states
    ]
    found = sa.union_all(*(sa.select(part.subquery()) for part in parts)).subquery()
    query = (
        sa.select(orders)
        .join(found, found.c.id == orders.c.id)
        .order_by(orders.c.created_at_ms.desc(), orders.c.id.desc())
        .limit(limit + 1)
    )
    rows = await queries.rows(tx, query)
    shown = rows[:limit]
    around = await _around(deps, tx, shown)
    rest = None
    if len(rows) > limit:
        rest = cursors.encode(Cursor(shown[-1].created_at_ms, shown[-1].id))
    return schemas.OrderPage([_view(deps, user_id, row, around) for row in shown], rest)


def part(
    mine: sa.ColumnElement[bool], state: str, wanted: Wanted, after: Cursor | None, limit: int
) -> sa.Select[Any]:
    """Up to `limit` ids of one role and state; they lie one after another in an index."""
    query = sa.select(orders.c.id).where(mine, orders.c.state == state)
    if wanted.fulfilment is not None:
        query = query.where(orders.c.fulfilment == wanted.fulfilment)
    if wanted.listing_id is not None:
        query = query.where(orders.c.listing_id == wanted.listing_id)
    if after is not None:
        query = query.where(later_than(orders.c.created_at_ms, orders.c.id, after))
    return query.order_by(orders.c.created_at_ms.desc(), orders.c.id.desc()).limit(limit)


async def _around(deps: AdminDeps, tx: Tx, rows: Sequence[Row]) -> _Around:
    ids = [row.id for row in rows]
    people = {row.customer_id for row in rows} | {row.expert_id for row in rows}
    found = _Around()
    if not ids:
        return found
    found.facts = await order_facts(deps, tx, rows)
    found.held = await _held(tx, ids)
    found.captured = await _captured(tx, ids)
    found.running = await pairs(
        tx,
        sa.select(sessions.c.order_id, sessions.c.id)
        .where(sessions.c.order_id.in_(ids), sessions.c.state.in_(RUNNING_SESSION))
        .order_by(sessions.c.rung_at_ms),
    )
    found.conversation = await pairs(
        tx,
        sa.select(conversations.c.order_id, conversations.c.id).where(
            conversations.c.order_id.in_(ids)
        ),
    )
    found.name = await pairs(
        tx, sa.select(users.c.id, users.c.display_name).where(users.c.id.in_(people))
    )
    found.presence = await pairs(
        tx,
        sa.select(experts.c.user_id, experts.c.presence_status).where(
            experts.c.user_id.in_(people)
        ),
    )
    return found


async def _held(tx: Tx, ids: Sequence[str]) -> dict[str, int]:
    """What is left of each order's own hold: a session's further holds are not the order's."""
    left = holds.c.amount_minor - holds.c.captured_minor - holds.c.released_minor
    return await pairs(
        tx,
        sa.select(holds.c.order_id, total(left))
        .where(holds.c.order_id.in_(ids), holds.c.session_id.is_(None))
        .where(holds.c.state == "granted")
        .group_by(holds.c.order_id),
    )


async def _captured(tx: Tx, ids: Sequence[str]) -> dict[str, int]:
    """What each order cost so far: captures less what was given back."""
    signed = sa.case(
        (transfers.c.kind == "capture", transfers.c.amount_minor),
        (transfers.c.kind == "reverse", -transfers.c.amount_minor),
        else_=0,
    )
    return await pairs(
        tx,
        sa.select(transfers.c.order_id, total(signed))
        .where(transfers.c.order_id.in_(ids))
        .group_by(transfers.c.order_id),
    )


def _view(deps: AdminDeps, user_id: str, row: Row, around: _Around) -> schemas.Order:
    by_customer = row.customer_id == user_id
    state = OrderState(row.state)
    expert = availability(deps, row.expert_id, around.presence.get(row.expert_id, "undefined"))
    free = by_customer and state is OrderState.OPEN and row.id not in around.running
    # Staff see an order as everybody does: what they may decide is on their own pages.
    viewer = Actor(user_id)
    situation = situation_of(deps, ORDER, row, around.facts, viewer)
    actions = possible(ORDER, situation, viewer)
    return schemas.Order(
        id=row.id,
        number=row.number,
        title=row.title,
        listing_id=row.listing_id,
        fulfilment=row.fulfilment,
        mode=row.mode,
        state=row.state,
        closed_reason=row.closed_reason,
        role="customer" if by_customer else "expert",
        customer=schemas.PartyCard(row.customer_id, around.name[row.customer_id]),
        expert=schemas.PartyCard(row.expert_id, around.name[row.expert_id]),
        tariff=_tariff(row),
        price=money(row.prepay_minor, row.currency),
        held=money(around.held.get(row.id, 0), row.currency),
        captured=money(around.captured.get(row.id, 0), row.currency),
        metered_sessions=row.metered_sessions,
        live_session_id=around.running.get(row.id),
        conversation_id=around.conversation[row.id],
        requirements=row.requirements,
        delivery_by=rfc3339_or_none(row.delivery_by_ms),
        started_at=rfc3339_or_none(row.started_at_ms),
        delivered_at=rfc3339_or_none(row.delivered_at_ms),
        rework_count=row.rework_count,
        cancel_agreed=row.cancel_agreed_at_ms is not None,
        acts_at=rfc3339_or_none(row.due_at_ms),
        dispute_case_id=around.facts[row.id].dispute_id,
        can_call=free and row.fulfilment == "live" and expert.callable,
        can_cancel="cancel" in actions,
        can_review="review" in actions,
        actions=[action.replace("_", "-") for action in actions],
        created_at=rfc3339(row.created_at_ms),
        closed_at=rfc3339_or_none(row.closed_at_ms),
    )


def _tariff(row: Row) -> schemas.TariffView | None:
    if row.tariff is None:
        return None
    return tariff_view(row.mode, msgspec.convert(row.tariff, Tariff))
