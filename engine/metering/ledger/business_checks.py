"""Whether the money moved as orders, sessions and payments say that it must.

What a session costs is worked out here from the order's tariff, in SQL and without the code that
charges it: an audit reads millions of rows.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from engine.metering.ledger.checking import (
    Check,
    Query,
    count,
    differing,
    named,
    remaining,
    summed,
    text,
)
from engine.metering.ledger.model import AccountKind, HoldState, TransferKind
from engine.metering.ledger.price_checks import PRICES
from engine.store import tables as t

_a, _e, _r = t.accounts.c, t.entries.c, t.transfers.c
_h, _s, _o, _p = t.holds.c, t.sessions.c, t.orders.c, t.payments.c


def _right_parties() -> Query:
    """What an order paid came from its customer and went to its expert."""
    party = sa.case(
        (_a.kind == AccountKind.WALLET.value, _o.customer_id),
        (_a.kind == AccountKind.EARNINGS.value, _o.expert_id),
        else_=_a.owner_id,
    )
    return differing(_r.id, party, _a.owner_id).select_from(
        t.entries.join(t.transfers, _r.id == _e.transfer_id)
        .join(t.accounts, _a.id == _e.account_id)
        .join(t.orders, _o.id == _r.order_id)
    )


_ENDED: Final = _s.state == "ended"
_captured_by_session: Final = (
    sa.select(_r.session_id)
    .add_columns(summed(_r.amount_minor).label("amount"), summed(_r.fee_minor).label("fee"))
    .where(_r.kind == TransferKind.CAPTURE.value, _r.session_id.is_not(None))
    .group_by(_r.session_id)
    .subquery()
)


def _sessions_state_their_captures() -> Query:
    sums = _captured_by_session.c
    joined = t.sessions.outerjoin(_captured_by_session, sums.session_id == _s.id)
    amounts = differing(_s.id, sa.func.coalesce(sums.amount, 0), _s.captured_minor, _ENDED)
    fees = differing(_s.id, sa.func.coalesce(sums.fee, 0), _s.fee_minor, _ENDED)
    unknown = differing(sums.session_id, sa.literal(0), sums.amount, _s.id.is_(None)).select_from(
        _captured_by_session.outerjoin(t.sessions, _s.id == sums.session_id)
    )
    return sa.union_all(amounts.select_from(joined), fees.select_from(joined), unknown)


_UNPAID: Final = sa.and_(_ENDED, sa.or_(_s.end_reason == "void", _s.metered_at_ms.is_(None)))


def _void_sessions_move_nothing() -> Query:
    moved = (
        sa.select(_r.session_id, summed(_r.amount_minor).label("total"))
        .group_by(_r.session_id)
        .subquery()
    )
    return differing(_s.id, sa.literal(0), moved.c.total, _UNPAID).select_from(
        t.sessions.join(moved, moved.c.session_id == _s.id)
    )


def _ended_sessions_hold_nothing() -> Query:
    return (
        differing(_h.id, sa.literal(0), remaining(), _ENDED)
        .select_from(t.holds.join(t.sessions, _s.id == _h.session_id))
        .where(_h.state == HoldState.GRANTED.value)
    )


_CLOSED: Final = _o.state.in_(["completed", "cancelled"])


def _closed_orders_hold_nothing() -> Query:
    return (
        differing(_h.id, sa.literal(0), remaining(), _CLOSED)
        .select_from(t.holds.join(t.orders, _o.id == _h.order_id))
        .where(_h.state == HoldState.GRANTED.value)
    )


def _payments_post_once() -> Query:
    posted = (
        sa.select(_r.payment_id, summed(_r.amount_minor).label("total"))
        .where(_r.kind == TransferKind.TOPUP.value, _r.payment_id.is_not(None))
        .group_by(_r.payment_id)
        .subquery()
    )
    succeeded = sa.and_(_p.direction == "in", _p.state == "succeeded")
    due = sa.case((succeeded, _p.amount_minor), else_=0)
    known = differing(_p.id, due, sa.func.coalesce(posted.c.total, 0)).select_from(
        t.payments.outerjoin(posted, posted.c.payment_id == _p.id)
    )
    unknown = differing(
        posted.c.payment_id, sa.literal(0), posted.c.total, _p.id.is_(None)
    ).select_from(posted.outerjoin(t.payments, _p.id == posted.c.payment_id))
    unpaid = named(
        _r.id,
        sa.literal("a payment"),
        sa.literal("none"),
        _r.kind == TransferKind.TOPUP.value,
        _r.payment_id.is_(None),
    )
    return sa.union_all(*(_in_words(query) for query in (known, unknown)), unpaid)


def _in_words(query: sa.Select[Any]) -> sa.Select[Any]:
    """Amounts as text, to stand in one list with words."""
    found = query.subquery().c
    return named(found.subject, text(found.expected), text(found.found))


_UNDER_WAY: Final = ("requested", "approved", "sent")
_OUT: Final = ("payout", "payout_paid", "payout_returned")
_ORDERED: Final = ("capture", "reverse")


def _payouts_follow_payments() -> Query:
    """What left the earnings is on its way, at the bank, or back, as the payout's state says."""

    def moved(kind: AccountKind) -> sa.ScalarSelect[Any]:
        return (
            sa.select(summed(_e.amount_minor))
            .join_from(t.entries, t.transfers, _r.id == _e.transfer_id)
            .join(t.accounts, _a.id == _e.account_id)
            .where(_r.payment_id == _p.id, _a.kind == kind.value)
            .correlate(t.payments)
            .scalar_subquery()
        )

    out = _p.direction == "out"
    on_its_way = sa.case((_p.state.in_(_UNDER_WAY), _p.amount_minor), else_=0)
    arrived = sa.case((_p.state == "paid", _p.amount_minor), else_=0)
    ours = sa.and_(_p.id == _r.payment_id, out)
    unknown = named(_r.id, sa.literal(0), _r.amount_minor, _r.kind.in_(_OUT), _p.id.is_(None))
    return sa.union_all(
        differing(_p.id, on_its_way, moved(AccountKind.PAYOUTS), out),
        differing(_p.id, arrived, moved(AccountKind.PSP), out),
        unknown.select_from(t.transfers.outerjoin(t.payments, ours)),
    )


def _payments_keep_their_owner() -> Query:
    """What came in is in the wallet of who paid it, what went out left the earnings of whose payout
    it was, in the payment's currency.
    """
    personal = _a.kind.in_([AccountKind.WALLET.value, AccountKind.EARNINGS.value])
    other = sa.or_(_a.owner_id != _p.user_id, _r.currency != _p.currency)
    expected = text(_p.user_id) + " in " + text(_p.currency)
    found = text(_a.owner_id) + " in " + text(_r.currency)
    return named(_r.id, expected, found, personal, other).select_from(
        t.payments.join(t.transfers, _r.payment_id == _p.id)
        .join(t.entries, _e.transfer_id == _r.id)
        .join(t.accounts, _a.id == _e.account_id)
    )


_STALE_MS: Final = 3_600_000
"""A session without a checkpoint for so long is nobody's. Nodes take over what a dead one left
within seconds, or a minute: whatever still waits then will not be settled by itself.
"""


def _money_belongs_to_orders() -> Query:
    """Held, captured or given back for an order, and for a session of it if it names one."""

    def astray(c: Any) -> sa.ColumnElement[bool]:
        other = sa.and_(c.session_id.is_not(None), _s.order_id.is_distinct_from(c.order_id))
        return sa.or_(_o.id.is_(None), other)

    def of(table: sa.Table, where: sa.ColumnElement[bool]) -> sa.Select[Any]:
        c = table.c
        expected = sa.literal("an order and a session of it")
        found = text(c.order_id) + " and " + text(c.session_id)
        return named(c.id, expected, found, where).select_from(
            table.outerjoin(t.orders, _o.id == c.order_id).outerjoin(
                t.sessions, _s.id == c.session_id
            )
        )

    # A consultation is paid by its sessions only, each of which has a price.
    priceless = sa.and_(
        _r.kind == TransferKind.CAPTURE.value, _r.session_id.is_(None), _o.fulfilment == "live"
    )
    return sa.union_all(
        of(t.holds, astray(_h)),
        of(t.transfers, sa.and_(_r.kind.in_(_ORDERED), sa.or_(astray(_r), priceless))),
    )


def _ordinals_count_sessions() -> Query:
    """An order's metered sessions have the numbers from 1 to as many as it says, once each."""
    numbered = (
        sa.select(_s.order_id)
        .add_columns(
            sa.func.count().label("sessions"),
            sa.func.count(sa.distinct(_s.ordinal)).label("numbers"),
            sa.func.min(_s.ordinal).label("first"),
            sa.func.max(_s.ordinal).label("last"),
        )
        .where(sa.or_(_s.ordinal.is_not(None), _s.metered_at_ms.is_not(None)))
        .group_by(_s.order_id)
        .subquery()
    )
    n = numbered.c
    sessions, numbers = sa.func.coalesce(n.sessions, 0), sa.func.coalesce(n.numbers, 0)
    counted = sa.and_(
        sessions == _o.metered_sessions,
        numbers == _o.metered_sessions,
        sa.func.coalesce(n.first, 1) == 1,
        sa.func.coalesce(n.last, 0) == _o.metered_sessions,
    )
    expected = "1 to " + text(_o.metered_sessions) + ", once each"
    found = text(sessions) + " sessions with " + text(numbers) + " numbers to " + text(n.last)
    return named(_o.id, expected, found, sa.not_(counted)).select_from(
        t.orders.outerjoin(numbered, n.order_id == _o.id)
    )


_UNENDED: Final = _s.state != "ended"


def _sessions_are_run() -> Query:
    """One that nobody has run for so long keeps its money on hold and its expert busy."""
    stale = _s.checkpoint_at_ms < sa.bindparam("now_ms", type_=sa.BigInteger) - _STALE_MS
    expected = sa.literal("a checkpoint within an hour, or an end")
    at = "the last at " + text(_s.checkpoint_at_ms)
    return named(_s.id, expected, at, _UNENDED, _s.quarantined_at_ms.is_(None), stale)


def _none_is_quarantined() -> Query:
    found = "set aside: " + text(_s.trouble)
    return named(_s.id, sa.literal("settled"), found, _s.quarantined_at_ms.is_not(None))


BUSINESS: Final = (
    Check(
        "right_parties",
        "an order's money comes from its customer and goes to its expert",
        count(t.transfers, _r.order_id.is_not(None)),
        _right_parties(),
    ),
    Check(
        "sessions_state_their_captures",
        "an ended session states the amount and fee that the ledger captured for it",
        count(t.sessions, _ENDED),
        _sessions_state_their_captures(),
    ),
    Check(
        "void_sessions_move_nothing",
        "a session that is void or was never metered moved no money",
        count(t.sessions, _UNPAID),
        _void_sessions_move_nothing(),
    ),
    Check(
        "ended_sessions_hold_nothing",
        "no hold of an ended session is open",
        count(t.sessions, _ENDED),
        _ended_sessions_hold_nothing(),
    ),
    Check(
        "closed_orders_hold_nothing",
        "no hold of a completed or cancelled order is open",
        count(t.orders, _CLOSED),
        _closed_orders_hold_nothing(),
    ),
    Check(
        "payments_post_once",
        "a succeeded payment is posted once in full, any other not at all, and no top-up without",
        count(t.payments),
        _payments_post_once(),
    ),
    Check(
        "payouts_follow_payments",
        "a payout's money is on its way, at the bank or back, as its state says",
        count(t.payments, _p.direction == "out"),
        _payouts_follow_payments(),
    ),
    Check(
        "payments_keep_their_owner",
        "a payment's money is its user's, in its currency",
        count(t.payments),
        _payments_keep_their_owner(),
    ),
    Check(
        "money_belongs_to_orders",
        "what is held, captured or given back belongs to an order, and to a session of it if any",
        count(t.holds),
        _money_belongs_to_orders(),
    ),
    Check(
        "ordinals_count_sessions",
        "an order's metered sessions are numbered from 1 on, once each",
        count(t.orders),
        _ordinals_count_sessions(),
    ),
    Check(
        "sessions_are_run",
        "a session that has not ended was written down within the last hour",
        count(t.sessions, _UNENDED),
        _sessions_are_run(),
    ),
    Check(
        "none_is_quarantined",
        "no session waits for staff because it could not be settled",
        count(t.sessions),
        _none_is_quarantined(),
    ),
    *PRICES,
)
"""The money moved as orders, sessions and payments say."""
