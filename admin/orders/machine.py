"""The life of an order: the table of its moves, for REST, staff pages, webhooks and timers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import sqlalchemy as sa
from msgspec import Meta

from admin import queries
from admin.cases.records import UNDECIDED
from admin.http.bodies import Body
from admin.market.transitions import Actor, Machine, Move, Subject
from admin.orders import deliveries, disputes, effects
from admin.orders.states import (
    Facts,
    Fulfilment,
    OrderState,
    billed,
    delivered_something,
    due,
    experienced,
    idle,
    no_session,
    not_agreed,
    not_billed,
    not_own,
    not_reviewed,
    not_ruled,
    not_started,
    not_started_or_late_or_agreed,
    opened_the_dispute,
    rework_left,
    within_dispute_window,
)
from admin.ports import AdminDeps
from admin.queries import Row
from admin.reviews import effects as reviews
from admin.reviews.schemas import NewReview
from engine.errors import Conflict, TalktimeError
from engine.store.database import Tx
from engine.store.market_tables import cases
from engine.store.market_tables import reviews as review_rows
from engine.store.tables import conversations, messages, orders, sessions, transfers

RUNNING_SESSION = ("ringing", "connecting", "in_progress")

_S = OrderState
_LIVE, _WORK, _FILES = (Fulfilment.LIVE,), (Fulfilment.WORK,), (Fulfilment.FILES,)

Reason = Annotated[str, Meta(max_length=2_000)]


class ReasonGiven(Body):
    """Of a refusal or a return: what the other party reads."""

    reason: Reason = ""


class Complaint(Body):
    """Of a dispute, and of what staff do on their own account."""

    reason: Annotated[str, Meta(min_length=1, max_length=2_000)]


class Ruling(Body):
    """What arbitration decides. `refund_minor`: of a split, what goes back to the customer."""

    ruling: Literal["release", "refund", "split", "rework"]
    reason: Annotated[str, Meta(min_length=1, max_length=2_000)]
    refund_minor: Annotated[int, Meta(ge=0)] = 0


class Requirements(Body):
    """PUT /orders/{id}/requirements."""

    requirements: Annotated[str, Meta(min_length=1, max_length=8_000)]


class Refund(Body):
    """What staff give back of an order, paid out to the expert or not. `once` names the refund,
    so that the same form sent twice gives back once.
    """

    amount_minor: Annotated[int, Meta(ge=1)]
    reason: Annotated[str, Meta(min_length=1, max_length=200)]
    once: Annotated[str, Meta(max_length=64, pattern="^[0-9A-Za-z_-]*$")] = ""


MOVES = (
    Move(
        action="pay",
        frm=(_S.PENDING_PAYMENT,),
        to=_S.OPEN,
        by=("customer",),
        kinds=(*_LIVE, *_WORK),
        effects=(effects.hold_prepayment, effects.opened),
        event="order.paid",
    ),
    Move(
        action="pay",
        frm=(_S.PENDING_PAYMENT,),
        to=_S.COMPLETED,
        by=("customer",),
        kinds=_FILES,
        effects=(effects.hold_prepayment, effects.capture_rest, effects.closed),
        reason="purchased",
        event="order.paid",
    ),
    Move(
        action="expire",
        frm=(_S.PENDING_PAYMENT,),
        to=_S.CANCELLED,
        by=("system",),
        guards=(due,),
        effects=(effects.closed,),
        reason="unpaid",
        event="order.cancelled",
    ),
    Move(
        action="require",
        frm=(_S.PENDING_PAYMENT, _S.OPEN),
        by=("customer",),
        kinds=_WORK,
        guards=(not_started,),
        effects=(effects.require,),
        event="order.requirements_changed",
        body=Requirements,
    ),
    Move(
        action="start",
        frm=(_S.OPEN,),
        by=("expert",),
        kinds=_WORK,
        guards=(not_started,),
        effects=(effects.started,),
        event="order.started",
    ),
    Move(
        action="add_delivery",
        frm=(_S.OPEN,),
        by=("expert",),
        kinds=_WORK,
        effects=(deliveries.add,),
        event="order.delivery_added",
        body=deliveries.NewDelivery,
    ),
    Move(
        action="deliver",
        frm=(_S.OPEN,),
        to=_S.DELIVERED,
        by=("expert",),
        kinds=_WORK,
        guards=(delivered_something,),
        effects=(effects.delivered,),
        event="order.delivered",
    ),
    Move(
        action="return",
        frm=(_S.DELIVERED,),
        to=_S.OPEN,
        by=("customer",),
        kinds=_WORK,
        guards=(rework_left,),
        effects=(effects.returned,),
        event="order.returned",
        body=ReasonGiven,
    ),
    Move(
        action="accept",
        frm=(_S.DELIVERED,),
        to=_S.COMPLETED,
        by=("customer",),
        kinds=_WORK,
        effects=(effects.capture_rest, effects.closed),
        reason="accepted",
        event="order.completed",
    ),
    Move(
        action="accept_by_silence",
        frm=(_S.DELIVERED,),
        to=_S.COMPLETED,
        by=("system",),
        kinds=_WORK,
        guards=(due,),
        effects=(effects.capture_rest, effects.closed),
        reason="accepted_by_silence",
        event="order.completed",
    ),
    Move(
        action="refuse",
        frm=(_S.OPEN,),
        to=_S.CANCELLED,
        by=("expert",),
        kinds=(*_WORK, *_LIVE),
        guards=(no_session,),
        effects=(effects.release_rest, effects.count_refusal, effects.closed),
        reason="refused",
        event="order.refused",
        body=ReasonGiven,
    ),
    Move(
        action="agree_to_cancel",
        frm=(_S.OPEN,),
        by=("expert",),
        kinds=_WORK,
        guards=(not_agreed,),
        effects=(effects.cancel_agreed,),
        event="order.cancel_agreed",
    ),
    Move(
        action="cancel",
        frm=(_S.PENDING_PAYMENT,),
        to=_S.CANCELLED,
        by=("customer",),
        guards=(no_session,),
        effects=(effects.closed,),
        reason="by_customer",
        event="order.cancelled",
    ),
    Move(
        action="cancel",
        frm=(_S.OPEN,),
        to=_S.CANCELLED,
        by=("customer",),
        kinds=_LIVE,
        guards=(no_session,),
        effects=(effects.release_rest, effects.closed),
        reason="by_customer",
        event="order.cancelled",
    ),
    Move(
        action="cancel",
        frm=(_S.OPEN,),
        to=_S.CANCELLED,
        by=("customer",),
        kinds=_WORK,
        guards=(not_started_or_late_or_agreed,),
        effects=(effects.release_rest, effects.closed),
        reason="by_customer",
        event="order.cancelled",
    ),
    Move(
        action="close",
        frm=(_S.OPEN,),
        to=_S.COMPLETED,
        by=("customer",),
        kinds=_LIVE,
        guards=(no_session, billed),
        effects=(effects.release_rest, effects.closed),
        reason="closed",
        event="order.completed",
    ),
    Move(
        action="idle_out",
        frm=(_S.OPEN,),
        to=_S.COMPLETED,
        by=("system",),
        kinds=_LIVE,
        guards=(no_session, idle, billed),
        effects=(effects.release_rest, effects.closed),
        reason="idle",
        event="order.completed",
    ),
    Move(
        action="idle_out",
        frm=(_S.OPEN,),
        to=_S.CANCELLED,
        by=("system",),
        kinds=_LIVE,
        guards=(no_session, idle, not_billed),
        effects=(effects.release_rest, effects.closed),
        reason="idle",
        event="order.cancelled",
    ),
    Move(
        action="dispute",
        frm=(_S.OPEN, _S.DELIVERED, _S.COMPLETED),
        to=_S.DISPUTED,
        by=("customer", "expert"),
        guards=(no_session, not_ruled, within_dispute_window),
        effects=(disputes.open_case,),
        event="order.disputed",
        body=Complaint,
    ),
    Move(
        action="withdraw_dispute",
        frm=(_S.DISPUTED,),
        by=("customer", "expert"),
        guards=(opened_the_dispute,),
        effects=(disputes.withdraw,),
        event="order.dispute_withdrawn",
    ),
    Move(
        action="rule",
        frm=(_S.DISPUTED,),
        permission="disputes.decide",
        guards=(not_own,),
        effects=(disputes.rule,),
        event="order.ruled",
        body=Ruling,
    ),
    Move(
        action="review",
        frm=tuple(_S),
        by=("customer",),
        guards=(not_reviewed, experienced),
        effects=(reviews.create,),
        event="review.created",
        body=NewReview,
    ),
    Move(
        action="refund",
        frm=(_S.OPEN, _S.DELIVERED, _S.COMPLETED, _S.CANCELLED),
        permission="finance",
        guards=(not_own, no_session),
        effects=(effects.refund_part,),
        event="order.refunded",
        body=Refund,
    ),
    Move(
        action="call_off",
        frm=(_S.PENDING_PAYMENT, _S.OPEN, _S.DELIVERED),
        to=_S.CANCELLED,
        permission="finance",
        guards=(not_own, no_session),
        effects=(effects.release_rest, effects.closed),
        reason="by_staff",
        event="order.cancelled",
        body=Complaint,
    ),
)

_REFUSALS = {
    _S.PENDING_PAYMENT: ("order_not_paid", "This order is not paid yet."),
    _S.OPEN: ("order_open", "This order is not that far yet."),
    _S.DELIVERED: ("order_delivered", "This order is delivered and waits for its customer."),
    _S.COMPLETED: ("order_closed", "This order is completed."),
    _S.CANCELLED: ("order_closed", "This order was cancelled."),
    _S.DISPUTED: ("order_disputed", "This order is in dispute: arbitration decides."),
}


def _wrong_state(row: Row, action: str) -> TalktimeError:
    if action == "pay" and row.state in (_S.OPEN, _S.DELIVERED, _S.DISPUTED):
        return Conflict("already_paid", "This order is paid already.")
    return Conflict(*_REFUSALS[OrderState(row.state)])


def parties(row: Row, actor: Actor) -> frozenset[str]:
    mine = {"customer": row.customer_id, "expert": row.expert_id}
    return frozenset(party for party, user_id in mine.items() if user_id == actor.id)


async def facts(_deps: AdminDeps, tx: Tx, rows: Sequence[Row]) -> Mapping[str, Facts]:
    """By order id."""
    ids = [row.id for row in rows]
    live = [row.id for row in rows if row.fulfilment == Fulfilment.LIVE]
    calls = await _calls(tx, live)
    paid = await queries.pairs(
        tx,
        sa.select(transfers.c.order_id, sa.func.count())
        .where(transfers.c.order_id.in_(ids), transfers.c.kind == "capture")
        .where(transfers.c.amount_minor > 0)
        .group_by(transfers.c.order_id),
    )
    disputes_of = await _disputes(tx, [row.id for row in rows if row.state == _S.DISPUTED])
    delivered = await _deliveries(tx, [row.id for row in rows if row.fulfilment == Fulfilment.WORK])
    query = sa.select(review_rows.c.order_id).where(review_rows.c.order_id.in_(ids))
    reviewed = set((await tx.execute(query)).scalars())
    found = {}
    for order_id in ids:
        running, last_ms = calls.get(order_id, (False, None))
        dispute_id, dispute_by = disputes_of.get(order_id, (None, None))
        found[order_id] = Facts(
            session_running=running,
            billed=order_id in paid,
            deliveries=delivered.get(order_id, 0),
            dispute_by=dispute_by,
            dispute_id=dispute_id,
            reviewed=order_id in reviewed,
            last_session_ms=last_ms,
        )
    return found


async def _calls(tx: Tx, ids: Sequence[str]) -> Mapping[str, tuple[bool, int | None]]:
    """Whether a session runs, and when there was one last."""
    if not ids:
        return {}
    s = sessions.c
    running = sa.func.sum(sa.case((s.state.in_(RUNNING_SESSION), 1), else_=0))
    last = sa.func.max(sa.func.coalesce(s.ended_at_ms, s.rung_at_ms))
    query = sa.select(s.order_id, running, last).where(s.order_id.in_(ids)).group_by(s.order_id)
    return {row[0]: (bool(row[1]), row[2]) for row in await tx.execute(query)}


async def _disputes(tx: Tx, ids: Sequence[str]) -> Mapping[str, tuple[str, str]]:
    """The open dispute's case and who opened it."""
    if not ids:
        return {}
    query = (
        sa.select(cases.c.subject_id, cases.c.id, cases.c.opened_by)
        .where(cases.c.kind == "dispute", cases.c.subject_id.in_(ids))
        .where(cases.c.state.in_(UNDECIDED))
    )
    return {row[0]: (row[1], row[2]) for row in await tx.execute(query)}


async def _deliveries(tx: Tx, ids: Sequence[str]) -> Mapping[str, int]:
    """Delivery messages that came after the work was last delivered and returned."""
    if not ids:
        return {}
    query = (
        sa.select(conversations.c.order_id, sa.func.count())
        .join(messages, messages.c.conversation_id == conversations.c.id)
        .join(orders, orders.c.id == conversations.c.order_id)
        .where(conversations.c.order_id.in_(ids), messages.c.kind == "delivery")
        .where(messages.c.created_at_ms > sa.func.coalesce(orders.c.delivered_at_ms, 0))
        .group_by(conversations.c.order_id)
    )
    return await queries.pairs(tx, query)


ORDER = Machine(
    name="order",
    table=orders,
    moves=MOVES,
    parties=parties,
    facts=facts,
    kind=lambda row: str(row.fulfilment),
    wrong_state=_wrong_state,
    reason_column="closed_reason",
)


def order_of(order_id: str) -> Subject:
    return Subject(ORDER, order_id)
