"""The states of an order and what its guards look at; no I/O, no clock.

Four kinds of fulfilment share six states; `admin.orders.machine` has the moves between them.

    (new) ─> pending_payment ─pay─> open ─deliver─> delivered ─accept─> completed
                    │                 │ ^──return──────┘                    │
                    └──── cancel ─────┴─> cancelled              dispute ───┴──> disputed

    live   any number of sessions while open; ends by cancel or close
    work   paid into escrow, delivered, accepted or returned for rework
    files  paid and handed over at once: pay leads straight to completed
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from admin.market.terms import DAY_S, Terms, of_order
from admin.market.transitions import Situation
from engine.errors import Conflict, Forbidden, TalktimeError

MS_PER_S = 1_000
RULED = "ruled_"
"""How the closing reason of an order begins that arbitration ended."""


class OrderState(StrEnum):
    PENDING_PAYMENT = "pending_payment"
    OPEN = "open"
    DELIVERED = "delivered"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DISPUTED = "disputed"


class Fulfilment(StrEnum):
    LIVE = "live"
    WORK = "work"
    FILES = "files"


@dataclass(frozen=True)
class Facts:
    """What the order's row does not say."""

    session_running: bool = False
    """A session of the order rings, connects or is in progress."""
    billed: bool = False
    """Something was captured for the order."""
    deliveries: int = 0
    """Delivery messages since the work was last returned."""
    dispute_by: str | None = None
    """Who opened the dispute that is open."""
    dispute_id: str | None = None
    """Its case."""
    reviewed: bool = False
    """Its customer reviewed it."""
    last_session_ms: int | None = None
    """When the last session ended, or rang if none of them ended yet."""


def no_session(situation: Situation) -> TalktimeError | None:
    if situation.facts.session_running:
        return Conflict("session_live", "A call of this order is under way: end it first.")
    return None


def billed(situation: Situation) -> TalktimeError | None:
    if not situation.facts.billed:
        return Conflict("nothing_billed", "No session was billed yet: cancel the order instead.")
    return None


def not_billed(situation: Situation) -> TalktimeError | None:
    if situation.facts.billed:
        return Conflict("billed", "A session was billed: this order is completed, not cancelled.")
    return None


def not_started_or_late_or_agreed(situation: Situation) -> TalktimeError | None:
    """A customer cancels work only before it began, once it is overdue, or by consent (Tx, Pc).

    Work that was delivered is not overdue any more: who returned it has it in their hands.
    """
    row = situation.row
    due_ms = row.delivery_by_ms if row.delivered_at_ms is None else None
    late = due_ms is not None and situation.now_ms > due_ms
    if row.started_at_ms is None or late or row.cancel_agreed_at_ms is not None:
        return None
    return Conflict("work_started", "The expert has begun: ask them to agree, or open a dispute.")


def not_started(situation: Situation) -> TalktimeError | None:
    if situation.row.started_at_ms is not None:
        return Conflict("already_started", "The work on this order has begun already.")
    return None


def not_agreed(situation: Situation) -> TalktimeError | None:
    if situation.row.cancel_agreed_at_ms is not None:
        return Conflict("already_agreed", "You have agreed to a cancellation already.")
    return None


def delivered_something(situation: Situation) -> TalktimeError | None:
    if not situation.facts.deliveries:
        return Conflict("nothing_delivered", "Send a delivery first: a text, a file or both.")
    return None


def rework_left(situation: Situation) -> TalktimeError | None:
    limit = terms_of(situation).rework_limit
    if limit is not None and situation.row.rework_count >= limit:
        return Conflict("rework_limit", "This work was returned as often as was agreed.")
    return None


def within_dispute_window(situation: Situation) -> TalktimeError | None:
    """An ended order may be disputed for so long; a running one at any time."""
    closed = situation.row.closed_at_ms
    window_ms = terms_of(situation).dispute_window_s * MS_PER_S
    if closed is not None and situation.now_ms - closed > window_ms:
        days = window_ms // (DAY_S * MS_PER_S)
        return Conflict("dispute_window_over", f"A dispute is opened within {days} days.")
    return None


def not_ruled(situation: Situation) -> TalktimeError | None:
    """A ruling that ended an order is final."""
    if (situation.row.closed_reason or "").startswith(RULED):
        return Conflict("already_ruled", "Arbitration has decided on this order.")
    return None


def opened_the_dispute(situation: Situation) -> TalktimeError | None:
    if situation.facts.dispute_by not in (
        getattr(situation.row, f"{party}_id", None) for party in situation.parties
    ):
        return Conflict("not_your_dispute", "Only who opened the dispute may withdraw it.")
    return None


def not_reviewed(situation: Situation) -> TalktimeError | None:
    if situation.facts.reviewed:
        return Conflict("already_reviewed", "You have reviewed this order: edit your review.")
    return None


def experienced(situation: Situation) -> TalktimeError | None:
    """Who reviews has had the service: a completed order, or a billed session (C32)."""
    row = situation.row
    if row.state == OrderState.COMPLETED:
        return None
    if row.fulfilment == Fulfilment.LIVE and situation.facts.billed:
        return None
    return Forbidden("not_reviewable", "Review what you have received.")


def not_own(situation: Situation) -> TalktimeError | None:
    """Staff decide nothing about orders of their own."""
    if situation.parties:
        return Forbidden("own_order", "Somebody else must decide about an order of your own.")
    return None


def due(situation: Situation) -> TalktimeError | None:
    """Timers only: the instant has come. A later pay or return has moved it on."""
    at = situation.row.due_at_ms
    if at is None or situation.now_ms < at:
        return Conflict("not_due", "It is not time yet.")
    return None


def idle(situation: Situation) -> TalktimeError | None:
    """Timers only: nobody called for as long as the terms say; the refusal tells until when."""
    row, idle_s = situation.row, terms_of(situation).order_idle_close_s
    if row.due_at_ms is None or idle_s is None:
        return Conflict("not_due", "This order may stay open.")
    last_ms = situation.facts.last_session_ms
    at_ms = max(row.due_at_ms, 0 if last_ms is None else last_ms + idle_s * MS_PER_S)
    if situation.now_ms < at_ms:
        return Conflict("not_due", "It is not time yet.", due_at_ms=at_ms)
    return None


def due_after(fulfilment: str, state: str, terms: Terms, now_ms: int) -> int | None:
    """When a timer is to look at an order that enters `state` now; None: never."""
    after_s = None
    if state == OrderState.PENDING_PAYMENT:
        after_s = terms.pay_within_s
    elif state == OrderState.DELIVERED:
        after_s = terms.auto_accept_after_s
    elif state == OrderState.OPEN and fulfilment == Fulfilment.LIVE:
        after_s = terms.order_idle_close_s
    return None if after_s is None else now_ms + after_s * MS_PER_S


def terms_of(situation: Situation) -> Terms:
    return of_order(situation.row.terms)
