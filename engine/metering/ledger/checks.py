"""What must be true of every ledger, each as a query that finds the exceptions.

The checks share nothing with the code that moves money: balances are recomputed from the entries,
holds from their moves, and each kind of transfer is compared with who should have paid whom. A
query yields rows of ``(subject, expected, found)``; no row means that the promise is kept.

What belongs to nothing is found by outer joins: `NOT IN` over a table of millions is a loop in a
loop on PostgreSQL.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa

from engine.metering.ledger.business_checks import BUSINESS
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
from engine.store import tables as t

_a, _e, _r = t.accounts.c, t.entries.c, t.transfers.c
_h, _m = t.holds.c, t.hold_moves.c


def _entries_by_account() -> sa.Subquery:
    return (
        sa.select(_e.account_id, summed(_e.amount_minor).label("total"))
        .group_by(_e.account_id)
        .subquery()
    )


def _transfers_sum_to_zero() -> Query:
    total = sa.func.sum(_e.amount_minor)
    wrong = named(_e.transfer_id, sa.literal(0), total)
    return wrong.group_by(_e.transfer_id).having(total != 0)


def _accounts_sum_to_zero() -> Query:
    """Over the balances as the accounts state them, not as the entries would have them."""
    entries = _entries_by_account()
    balance = sa.func.coalesce(_a.balance_minor, entries.c.total, 0)
    total = sa.func.sum(balance)
    return (
        named(_a.currency, sa.literal(0), total)
        .select_from(t.accounts.outerjoin(entries, entries.c.account_id == _a.id))
        .group_by(_a.currency)
        .having(total != 0)
    )


def _balances_follow_entries() -> Query:
    entries = _entries_by_account()
    folded = [kind.value for kind in AccountKind if kind.folded]
    total = sa.func.coalesce(entries.c.total, 0)
    expected = sa.case((_a.kind.in_(folded), total), else_=sa.null())
    return differing(_a.id, expected, _a.balance_minor).select_from(
        t.accounts.outerjoin(entries, entries.c.account_id == _a.id)
    )


def _held_follows_holds() -> Query:
    open_holds = (
        sa.select(_h.account_id, summed(remaining()).label("total"))
        .where(_h.state == HoldState.GRANTED.value)
        .group_by(_h.account_id)
        .subquery()
    )
    total = sa.func.coalesce(open_holds.c.total, 0)
    return differing(_a.id, total, _a.held_minor).select_from(
        t.accounts.outerjoin(open_holds, open_holds.c.account_id == _a.id)
    )


def _wallets_within_bounds() -> Query:
    within = sa.and_(_a.balance_minor >= 0, _a.held_minor >= 0, _a.held_minor <= _a.balance_minor)
    expected = sa.literal("0 <= held <= balance")
    found = text(_a.held_minor) + " held of " + text(_a.balance_minor)
    return named(_a.id, expected, found, _a.kind == AccountKind.WALLET.value, sa.not_(within))


def _hold_parts_follow_moves() -> Query:
    def part(kind: str, stated: sa.ColumnElement[Any]) -> sa.Select[Any]:
        moves = (
            sa.select(_m.hold_id, summed(_m.amount_minor).label("total"))
            .where(_m.kind == kind)
            .group_by(_m.hold_id)
            .subquery()
        )
        total = sa.func.coalesce(moves.c.total, 0)
        return differing(_h.id, total, stated).select_from(
            t.holds.outerjoin(moves, moves.c.hold_id == _h.id)
        )

    return sa.union_all(part("capture", _h.captured_minor), part("release", _h.released_minor))


def _hold_states() -> Query:
    state = sa.case(
        (_h.shortfall_minor > 0, HoldState.REFUSED.value),
        (remaining() == 0, HoldState.RESOLVED.value),
        else_=HoldState.GRANTED.value,
    )
    return differing(_h.id, state, _h.state)


def _captures_come_from_holds() -> Query:
    moves = (
        sa.select(_m.transfer_id, summed(_m.amount_minor).label("total"))
        .where(_m.kind == "capture")
        .group_by(_m.transfer_id)
        .subquery()
    )
    total = sa.func.coalesce(moves.c.total, 0)
    captured = differing(
        _r.id, total, _r.amount_minor, _r.kind == TransferKind.CAPTURE.value
    ).select_from(t.transfers.outerjoin(moves, moves.c.transfer_id == _r.id))
    taken = _m.kind == "capture"
    unpaid = differing(_m.hold_id, _m.amount_minor, sa.literal(0), taken, _r.id.is_(None))
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
    moved = _moved(sides)
    expected, found = [], []
    for kind, whens in sides.items():
        amounts = [(_r.kind == transfer.value, value) for transfer, value in whens.items()]
        expected.append(sa.case(*amounts, else_=0))
        found.append(sa.func.coalesce(moved.c[kind.value], 0))
    wrong = [one.is_distinct_from(other) for one, other in zip(expected, found, strict=True)]
    stated = _r.kind != TransferKind.ADJUST.value
    return named(
        _r.id, _listed(sides, expected), _listed(sides, found), stated, sa.or_(*wrong)
    ).select_from(t.transfers.outerjoin(moved, moved.c.transfer_id == _r.id))


def _moved(kinds: Iterable[AccountKind]) -> sa.Subquery:
    """By transfer what it moved on accounts of each kind: all entries are read once."""

    def part(kind: AccountKind) -> sa.ColumnElement[Any]:
        return summed(sa.case((_a.kind == kind.value, _e.amount_minor), else_=0)).label(kind.value)

    return (
        sa.select(_e.transfer_id, *(part(kind) for kind in kinds))
        .join_from(t.entries, t.accounts, _a.id == _e.account_id)
        .group_by(_e.transfer_id)
        .subquery()
    )


def _listed(
    kinds: Iterable[AccountKind], amounts: Iterable[sa.ColumnElement[Any]]
) -> sa.ColumnElement[str]:
    """For people: ``wallet -300 earnings 270 payouts 0 fees 30 psp 0``."""
    words = [
        sa.literal(f"{kind.value} ") + text(amount)
        for kind, amount in zip(kinds, amounts, strict=True)
    ]
    return functools.reduce(lambda said, word: said + " " + word, words)


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
    broken = sa.func.coalesce(whole, sa.false()).is_(False)
    return named(
        _r.id, _r.amount_minor, moved.c.most, _r.kind == TransferKind.ADJUST.value, broken
    ).select_from(t.transfers.outerjoin(moved, moved.c.transfer_id == _r.id))


def _one_currency() -> Query:
    return differing(_r.id, _r.currency, _a.currency).select_from(
        t.entries.join(t.transfers, _r.id == _e.transfer_id).join(
            t.accounts, _a.id == _e.account_id
        )
    )


def _reversals_within_captures() -> Query:
    back = t.transfers.alias()
    total, fees = sa.func.sum(back.c.amount_minor), sa.func.sum(back.c.fee_minor)
    over = sa.or_(fees > _r.fee_minor, total - fees > _r.amount_minor - _r.fee_minor)
    exceeded = (
        named(_r.id, _r.amount_minor, total)
        .join_from(t.transfers, back, back.c.reverses_id == _r.id)
        .group_by(_r.id)
        .having(over)
    )
    of_capture = sa.and_(_r.id == back.c.reverses_id, _r.kind == TransferKind.CAPTURE.value)
    reversal = back.c.kind == TransferKind.REVERSE.value
    orphans = named(back.c.id, sa.literal(0), back.c.amount_minor, reversal, _r.id.is_(None))
    return sa.union_all(exceeded, orphans.select_from(back.outerjoin(t.transfers, of_capture)))


BOOKS: Final = (
    Check(
        "transfers_sum_to_zero",
        "the entries of each transfer sum to zero",
        count(t.transfers),
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
        count(t.accounts),
        _balances_follow_entries(),
    ),
    Check(
        "held_follows_holds",
        "an account's held part is what its open holds have left",
        count(t.accounts),
        _held_follows_holds(),
    ),
    Check(
        "wallets_within_bounds",
        "a wallet is never negative and never holds more than it has",
        count(t.accounts, _a.kind == AccountKind.WALLET.value),
        _wallets_within_bounds(),
    ),
    Check(
        "hold_parts_follow_moves",
        "what a hold captured and released is the sum of its moves",
        count(t.holds),
        _hold_parts_follow_moves(),
    ),
    Check(
        "hold_states",
        "a hold is resolved when nothing is left, refused when it lacked money, else granted",
        count(t.holds),
        _hold_states(),
    ),
    Check(
        "captures_come_from_holds",
        "a capture is the sum of what it took from holds, and every such part belongs to a capture",
        count(t.transfers, _r.kind == TransferKind.CAPTURE.value),
        _captures_come_from_holds(),
    ),
    Check(
        "transfers_move_what_they_say",
        "customer's debit = expert's credit + platform's fee, as the transfer states",
        count(t.transfers),
        _transfers_move_what_they_say(),
    ),
    Check(
        "adjustments_are_whole",
        "an adjustment moves its amount between one account and the fees, for a reason",
        count(t.transfers, _r.kind == TransferKind.ADJUST.value),
        _adjustments_are_whole(),
    ),
    Check(
        "one_currency",
        "a transfer touches accounts of its own currency only",
        count(t.entries),
        _one_currency(),
    ),
    Check(
        "reversals_within_captures",
        "nobody gives back more of a capture than they got",
        count(t.transfers, _r.kind == TransferKind.REVERSE.value),
        _reversals_within_captures(),
    ),
)
"""The ledger agrees with itself."""

CHECKS: Final = (*BOOKS, *BUSINESS)


def totals() -> sa.Select[Any]:
    """Rows of ``(currency, kind, balance, held)`` over all accounts of a kind."""
    entries = _entries_by_account()
    balance = sa.func.coalesce(_a.balance_minor, entries.c.total, 0)
    return (
        sa.select(_a.currency, _a.kind, summed(balance).label("balance"))
        .add_columns(summed(_a.held_minor).label("held"))
        .select_from(t.accounts.outerjoin(entries, entries.c.account_id == _a.id))
        .group_by(_a.currency, _a.kind)
        .order_by(_a.currency, _a.kind)
    )
