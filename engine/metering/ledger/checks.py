"""What must be true of every ledger, each as a query that finds the exceptions.

The checks share nothing with the code that moves money: balances are recomputed from the entries,
holds from their moves, and each kind of transfer is compared with who should have paid whom. A
query yields rows of ``(subject, expected, found)``; no row means that the promise is kept.

What belongs to nothing is found by outer joins: `NOT IN` over a table of millions is a loop in a
loop on PostgreSQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from engine.metering.ledger.model import AccountKind, HoldState, TransferKind
from engine.store import tables as t

_a, _e, _r = t.accounts.c, t.entries.c, t.transfers.c
_h, _m, _s, _o, _p = t.holds.c, t.hold_moves.c, t.sessions.c, t.orders.c, t.payments.c

Query = sa.Select[Any] | sa.CompoundSelect[Any]


@dataclass(frozen=True, slots=True)
class Check:
    """`name` is stable; `promise` is for people; `examined` counts the rows it looked at."""

    name: str
    promise: str
    examined: sa.Select[Any]
    differences: Query


def _count(table: sa.Table, *where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(table).where(*where)


def _sum(amount: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(sa.func.sum(amount), 0)


def _differing(
    subject: sa.ColumnElement[Any],
    expected: sa.ColumnElement[Any],
    found: sa.ColumnElement[Any],
    *where: sa.ColumnElement[bool],
) -> sa.Select[Any]:
    columns = (subject.label("subject"), expected.label("expected"), found.label("found"))
    return sa.select(*columns).where(expected.is_distinct_from(found), *where)


def _entries_by_account() -> sa.Subquery:
    return (
        sa.select(_e.account_id, _sum(_e.amount_minor).label("total"))
        .group_by(_e.account_id)
        .subquery()
    )


def _transfers_sum_to_zero() -> Query:
    total = sa.func.sum(_e.amount_minor)
    return (
        sa.select(_e.transfer_id.label("subject"), sa.literal(0).label("expected"))
        .add_columns(total.label("found"))
        .group_by(_e.transfer_id)
        .having(total != 0)
    )


def _accounts_sum_to_zero() -> Query:
    """Over the balances as the accounts state them, not as the entries would have them."""
    entries = _entries_by_account()
    balance = sa.func.coalesce(_a.balance_minor, entries.c.total, 0)
    total = sa.func.sum(balance)
    return (
        sa.select(_a.currency.label("subject"), sa.literal(0).label("expected"))
        .add_columns(total.label("found"))
        .select_from(t.accounts.outerjoin(entries, entries.c.account_id == _a.id))
        .group_by(_a.currency)
        .having(total != 0)
    )


def _balances_follow_entries() -> Query:
    entries = _entries_by_account()
    folded = [kind.value for kind in AccountKind if kind.folded]
    total = sa.func.coalesce(entries.c.total, 0)
    expected = sa.case((_a.kind.in_(folded), total), else_=sa.null())
    return _differing(_a.id, expected, _a.balance_minor).select_from(
        t.accounts.outerjoin(entries, entries.c.account_id == _a.id)
    )


def _remaining() -> sa.ColumnElement[Any]:
    return _h.amount_minor - _h.captured_minor - _h.released_minor


def _held_follows_holds() -> Query:
    open_holds = (
        sa.select(_h.account_id, _sum(_remaining()).label("total"))
        .where(_h.state == HoldState.GRANTED.value)
        .group_by(_h.account_id)
        .subquery()
    )
    total = sa.func.coalesce(open_holds.c.total, 0)
    return _differing(_a.id, total, _a.held_minor).select_from(
        t.accounts.outerjoin(open_holds, open_holds.c.account_id == _a.id)
    )


def _wallets_within_bounds() -> Query:
    within = sa.and_(_a.balance_minor >= 0, _a.held_minor >= 0, _a.held_minor <= _a.balance_minor)
    expected = sa.literal("0 <= held <= balance")
    found = sa.cast(_a.held_minor, sa.String) + " held of " + sa.cast(_a.balance_minor, sa.String)
    columns = (_a.id.label("subject"), expected.label("expected"), found.label("found"))
    return sa.select(*columns).where(_a.kind == AccountKind.WALLET.value, sa.not_(within))


def _hold_parts_follow_moves() -> Query:
    def part(kind: str, stated: sa.ColumnElement[Any]) -> sa.Select[Any]:
        moves = (
            sa.select(_m.hold_id, _sum(_m.amount_minor).label("total"))
            .where(_m.kind == kind)
            .group_by(_m.hold_id)
            .subquery()
        )
        total = sa.func.coalesce(moves.c.total, 0)
        return _differing(_h.id, total, stated).select_from(
            t.holds.outerjoin(moves, moves.c.hold_id == _h.id)
        )

    return sa.union_all(part("capture", _h.captured_minor), part("release", _h.released_minor))


def _hold_states() -> Query:
    state = sa.case(
        (_h.shortfall_minor > 0, HoldState.REFUSED.value),
        (_remaining() == 0, HoldState.RESOLVED.value),
        else_=HoldState.GRANTED.value,
    )
    return _differing(_h.id, state, _h.state)


def _captures_come_from_holds() -> Query:
    moves = (
        sa.select(_m.transfer_id, _sum(_m.amount_minor).label("total"))
        .where(_m.kind == "capture")
        .group_by(_m.transfer_id)
        .subquery()
    )
    total = sa.func.coalesce(moves.c.total, 0)
    captured = _differing(
        _r.id, total, _r.amount_minor, _r.kind == TransferKind.CAPTURE.value
    ).select_from(t.transfers.outerjoin(moves, moves.c.transfer_id == _r.id))
    taken = _m.kind == "capture"
    unpaid = _differing(_m.hold_id, _m.amount_minor, sa.literal(0), taken, _r.id.is_(None))
    paid = sa.and_(_r.id == _m.transfer_id, _r.kind == TransferKind.CAPTURE.value)
    return sa.union_all(captured, unpaid.select_from(t.hold_moves.outerjoin(t.transfers, paid)))


def _transfers_move_what_they_say() -> Query:
    """Customer's debit = expert's credit + fee, for each transfer and each kind of account.

    Adjustments go either way between two accounts: `_adjustments_are_whole` looks at those.
    """
    amount, fee = _r.amount_minor, _r.fee_minor
    sides: dict[AccountKind, dict[TransferKind, sa.ColumnElement[Any]]] = {
        AccountKind.WALLET: {
            TransferKind.TOPUP: amount,
            TransferKind.CAPTURE: -amount,
            TransferKind.REVERSE: amount,
        },
        AccountKind.EARNINGS: {
            TransferKind.CAPTURE: amount - fee,
            TransferKind.REVERSE: fee - amount,
            TransferKind.PAYOUT: -amount,
            TransferKind.PAYOUT_RETURNED: amount,
        },
        AccountKind.PAYOUTS: {
            TransferKind.PAYOUT: amount,
            TransferKind.PAYOUT_PAID: -amount,
            TransferKind.PAYOUT_RETURNED: -amount,
        },
        AccountKind.FEES: {TransferKind.CAPTURE: fee, TransferKind.REVERSE: -fee},
        AccountKind.PSP: {TransferKind.TOPUP: -amount, TransferKind.PAYOUT_PAID: amount},
    }
    return sa.union_all(*(_moved(kind, expected) for kind, expected in sides.items()))


def _moved(
    kind: AccountKind, expected: dict[TransferKind, sa.ColumnElement[Any]]
) -> sa.Select[Any]:
    sums = (
        sa.select(_e.transfer_id, _sum(_e.amount_minor).label("total"))
        .join_from(t.entries, t.accounts, _a.id == _e.account_id)
        .where(_a.kind == kind.value)
        .group_by(_e.transfer_id)
        .subquery()
    )
    whens = [(_r.kind == transfer.value, value) for transfer, value in expected.items()]
    return _differing(
        _r.id,
        sa.case(*whens, else_=0),
        sa.func.coalesce(sums.c.total, 0),
        _r.kind != TransferKind.ADJUST.value,
    ).select_from(t.transfers.outerjoin(sums, sums.c.transfer_id == _r.id))


def _adjustments_are_whole() -> Query:
    """One account gets what the fees give, or the other way round, and somebody said why."""
    moved = (
        sa.select(_e.transfer_id, sa.func.max(_e.amount_minor).label("most"))
        .add_columns(sa.func.sum(sa.case((_a.kind == "fees", 1), else_=0)).label("fees"))
        .add_columns(sa.func.count().label("legs"))
        .join_from(t.entries, t.accounts, _a.id == _e.account_id)
        .group_by(_e.transfer_id)
        .subquery()
    )
    whole = sa.and_(
        moved.c.most == _r.amount_minor,
        moved.c.fees == 1,
        moved.c.legs == 2,
        sa.func.length(sa.func.coalesce(_r.reason, "")) > 0,
    )
    columns = (
        _r.id.label("subject"),
        _r.amount_minor.label("expected"),
        moved.c.most.label("found"),
    )
    return (
        sa.select(*columns)
        .select_from(t.transfers.outerjoin(moved, moved.c.transfer_id == _r.id))
        .where(_r.kind == TransferKind.ADJUST.value, sa.func.coalesce(whole, sa.false()).is_(False))
    )


def _one_currency() -> Query:
    return _differing(_r.id, _r.currency, _a.currency).select_from(
        t.entries.join(t.transfers, _r.id == _e.transfer_id).join(
            t.accounts, _a.id == _e.account_id
        )
    )


def _right_parties() -> Query:
    """What an order paid came from its customer and went to its expert."""
    party = sa.case(
        (_a.kind == AccountKind.WALLET.value, _o.customer_id),
        (_a.kind == AccountKind.EARNINGS.value, _o.expert_id),
        else_=_a.owner_id,
    )
    return _differing(_r.id, party, _a.owner_id).select_from(
        t.entries.join(t.transfers, _r.id == _e.transfer_id)
        .join(t.accounts, _a.id == _e.account_id)
        .join(t.orders, _o.id == _r.order_id)
    )


def _reversals_within_captures() -> Query:
    back = t.transfers.alias("back")
    total, fees = sa.func.sum(back.c.amount_minor), sa.func.sum(back.c.fee_minor)
    over = sa.or_(fees > _r.fee_minor, total - fees > _r.amount_minor - _r.fee_minor)
    columns = (_r.id.label("subject"), _r.amount_minor.label("expected"), total.label("found"))
    exceeded = (
        sa.select(*columns)
        .join_from(t.transfers, back, back.c.reverses_id == _r.id)
        .group_by(_r.id, _r.amount_minor, _r.fee_minor)
        .having(over)
    )
    of_capture = sa.and_(_r.id == back.c.reverses_id, _r.kind == TransferKind.CAPTURE.value)
    columns = (
        back.c.id.label("subject"),
        sa.literal(0).label("expected"),
        back.c.amount_minor.label("found"),
    )
    orphans = (
        sa.select(*columns)
        .select_from(back.outerjoin(t.transfers, of_capture))
        .where(back.c.kind == TransferKind.REVERSE.value, _r.id.is_(None))
    )
    return sa.union_all(exceeded, orphans)


_ENDED: Final = _s.state == "ended"
_captured_by_session: Final = (
    sa.select(_r.session_id)
    .add_columns(_sum(_r.amount_minor).label("amount"), _sum(_r.fee_minor).label("fee"))
    .where(_r.kind == TransferKind.CAPTURE.value, _r.session_id.is_not(None))
    .group_by(_r.session_id)
    .subquery()
)


def _sessions_state_their_captures() -> Query:
    sums = _captured_by_session.c
    joined = t.sessions.outerjoin(_captured_by_session, sums.session_id == _s.id)
    amounts = _differing(_s.id, sa.func.coalesce(sums.amount, 0), _s.captured_minor, _ENDED)
    fees = _differing(_s.id, sa.func.coalesce(sums.fee, 0), _s.fee_minor, _ENDED)
    unknown = _differing(sums.session_id, sa.literal(0), sums.amount, _s.id.is_(None)).select_from(
        _captured_by_session.outerjoin(t.sessions, _s.id == sums.session_id)
    )
    return sa.union_all(amounts.select_from(joined), fees.select_from(joined), unknown)


_UNPAID: Final = sa.and_(_ENDED, sa.or_(_s.end_reason == "void", _s.metered_at_ms.is_(None)))


def _void_sessions_move_nothing() -> Query:
    moved = (
        sa.select(_r.session_id, _sum(_r.amount_minor).label("total"))
        .where(_r.session_id.is_not(None))
        .group_by(_r.session_id)
        .subquery()
    )
    return _differing(_s.id, sa.literal(0), moved.c.total, _UNPAID).select_from(
        t.sessions.join(moved, moved.c.session_id == _s.id)
    )


def _ended_sessions_hold_nothing() -> Query:
    return (
        _differing(_h.id, sa.literal(0), _remaining(), _ENDED)
        .select_from(t.holds.join(t.sessions, _s.id == _h.session_id))
        .where(_h.state == HoldState.GRANTED.value)
    )


_CLOSED: Final = _o.state.in_(["completed", "cancelled"])


def _closed_orders_hold_nothing() -> Query:
    return (
        _differing(_h.id, sa.literal(0), _remaining(), _CLOSED)
        .select_from(t.holds.join(t.orders, _o.id == _h.order_id))
        .where(_h.state == HoldState.GRANTED.value)
    )


def _payments_post_once() -> Query:
    posted = (
        sa.select(_r.payment_id, _sum(_r.amount_minor).label("total"))
        .where(_r.kind == TransferKind.TOPUP.value, _r.payment_id.is_not(None))
        .group_by(_r.payment_id)
        .subquery()
    )
    succeeded = sa.and_(_p.direction == "in", _p.state == "succeeded")
    due = sa.case((succeeded, _p.amount_minor), else_=0)
    known = _differing(_p.id, due, sa.func.coalesce(posted.c.total, 0)).select_from(
        t.payments.outerjoin(posted, posted.c.payment_id == _p.id)
    )
    unknown = _differing(
        posted.c.payment_id, sa.literal(0), posted.c.total, _p.id.is_(None)
    ).select_from(posted.outerjoin(t.payments, _p.id == posted.c.payment_id))
    return sa.union_all(known, unknown)


_UNDER_WAY: Final = ("requested", "approved", "sent")


def _payouts_follow_payments() -> Query:
    """What left the earnings is on its way, at the bank, or back, as the payout's state says."""

    def total(kind: AccountKind) -> sa.ScalarSelect[Any]:
        return (
            sa.select(_sum(_e.amount_minor))
            .join_from(t.entries, t.transfers, _r.id == _e.transfer_id)
            .join(t.accounts, _a.id == _e.account_id)
            .where(_r.payment_id == _p.id, _a.kind == kind.value)
            .correlate(t.payments)
            .scalar_subquery()
        )

    out = _p.direction == "out"
    on_its_way = sa.case((_p.state.in_(_UNDER_WAY), _p.amount_minor), else_=0)
    arrived = sa.case((_p.state == "paid", _p.amount_minor), else_=0)
    return sa.union_all(
        _differing(_p.id, on_its_way, total(AccountKind.PAYOUTS), out),
        _differing(_p.id, arrived, total(AccountKind.PSP), out),
    )


CHECKS: Final = (
    Check(
        "transfers_sum_to_zero",
        "the entries of each transfer sum to zero",
        _count(t.transfers),
        _transfers_sum_to_zero(),
    ),
    Check(
        "accounts_sum_to_zero",
        "the balances of all accounts of a currency sum to zero",
        sa.select(sa.func.count(sa.distinct(_a.currency))),
        _accounts_sum_to_zero(),
    ),
    Check(
        "balances_follow_entries",
        "a folded balance is the sum of the account's entries",
        _count(t.accounts),
        _balances_follow_entries(),
    ),
    Check(
        "held_follows_holds",
        "an account's held part is what its open holds have left",
        _count(t.accounts),
        _held_follows_holds(),
    ),
    Check(
        "wallets_within_bounds",
        "a wallet is never negative and never holds more than it has",
        _count(t.accounts, _a.kind == AccountKind.WALLET.value),
        _wallets_within_bounds(),
    ),
    Check(
        "hold_parts_follow_moves",
        "what a hold captured and released is the sum of its moves",
        _count(t.holds),
        _hold_parts_follow_moves(),
    ),
    Check(
        "hold_states",
        "a hold is resolved when nothing is left, refused when it lacked money, else granted",
        _count(t.holds),
        _hold_states(),
    ),
    Check(
        "captures_come_from_holds",
        "a capture is the sum of what it took from holds, and every such part belongs to a capture",
        _count(t.transfers, _r.kind == TransferKind.CAPTURE.value),
        _captures_come_from_holds(),
    ),
    Check(
        "transfers_move_what_they_say",
        "customer's debit = expert's credit + platform's fee, as the transfer states",
        _count(t.transfers),
        _transfers_move_what_they_say(),
    ),
    Check(
        "adjustments_are_whole",
        "an adjustment moves its amount between one account and the fees, for a reason",
        _count(t.transfers, _r.kind == TransferKind.ADJUST.value),
        _adjustments_are_whole(),
    ),
    Check(
        "one_currency",
        "a transfer touches accounts of its own currency only",
        _count(t.entries),
        _one_currency(),
    ),
    Check(
        "right_parties",
        "an order's money comes from its customer and goes to its expert",
        _count(t.transfers, _r.order_id.is_not(None)),
        _right_parties(),
    ),
    Check(
        "reversals_within_captures",
        "nobody gives back more of a capture than they got",
        _count(t.transfers, _r.kind == TransferKind.REVERSE.value),
        _reversals_within_captures(),
    ),
    Check(
        "sessions_state_their_captures",
        "an ended session states the amount and fee that the ledger captured for it",
        _count(t.sessions, _ENDED),
        _sessions_state_their_captures(),
    ),
    Check(
        "void_sessions_move_nothing",
        "a session that is void or was never metered moved no money",
        _count(t.sessions, _UNPAID),
        _void_sessions_move_nothing(),
    ),
    Check(
        "ended_sessions_hold_nothing",
        "no hold of an ended session is open",
        _count(t.sessions, _ENDED),
        _ended_sessions_hold_nothing(),
    ),
    Check(
        "closed_orders_hold_nothing",
        "no hold of a completed or cancelled order is open",
        _count(t.orders, _CLOSED),
        _closed_orders_hold_nothing(),
    ),
    Check(
        "payments_post_once",
        "a succeeded payment is posted once in full, any other not at all",
        _count(t.payments),
        _payments_post_once(),
    ),
    Check(
        "payouts_follow_payments",
        "a payout's money is on its way, at the bank or back, as its state says",
        _count(t.payments, _p.direction == "out"),
        _payouts_follow_payments(),
    ),
)


def totals() -> sa.Select[Any]:
    """Rows of ``(currency, kind, balance, held)`` over all accounts of a kind."""
    entries = _entries_by_account()
    balance = sa.func.coalesce(_a.balance_minor, entries.c.total, 0)
    return (
        sa.select(_a.currency, _a.kind, _sum(balance).label("balance"))
        .add_columns(_sum(_a.held_minor).label("held"))
        .select_from(t.accounts.outerjoin(entries, entries.c.account_id == _a.id))
        .group_by(_a.currency, _a.kind)
        .order_by(_a.currency, _a.kind)
    )
