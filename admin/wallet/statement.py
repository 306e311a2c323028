"""A user's statement: what moved their money, from the ledger's own rows, newest first.

Entries on the user's accounts are shown as they were posted, except that the captures of one
session are one line: by-the-second billing captures several times a minute. Amounts set aside for
orders are shown too, since they change what is available; what a running session sets aside for its
next blocks is not, since it is spent or released within minutes.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from admin import schemas
from admin.http import cursors
from admin.http.cursors import Cursor
from admin.http.times import money, rfc3339
from admin.ports import AdminDeps
from admin.queries import Row, later_than, total
from engine.metering.ledger import AccountKind
from engine.store.database import Tx
from engine.store.tables import accounts, entries, hold_moves, holds, orders, transfers

_OWN_KINDS = (AccountKind.WALLET.value, AccountKind.EARNINGS.value)


async def wallet(deps: AdminDeps, tx: Tx, user_id: str) -> schemas.Wallet:
    """Balances in the platform's currency."""
    currency = deps.settings.currency
    own = await deps.ledger.wallet(tx, user_id, currency)
    earned_minor = await deps.ledger.balance(tx, AccountKind.EARNINGS, user_id, currency)
    return schemas.Wallet(
        available=money(own.available_minor, currency),
        held=money(own.held_minor, currency),
        earned=money(earned_minor, currency),
    )


async def transactions(
    tx: Tx, user_id: str, after: Cursor | None, limit: int, *, account: str | None = None
) -> schemas.WalletTransactionPage:
    """One page of the statement; of one `account` its entries alone, so that they sum to its
    balance: what was set aside and then captured would count twice among them."""
    sources = [_transfers(user_id), _sessions(user_id)]
    if account is None:
        sources += [_holds(user_id), _releases(user_id)]
    lines = sa.union_all(*sources).subquery("lines")
    query = (
        sa.select(lines, orders.c.number, orders.c.title)
        .outerjoin(orders, orders.c.id == lines.c.order_id)
        .order_by(lines.c.at_ms.desc(), lines.c.id.desc())
        .limit(limit + 1)
    )
    if account is not None:
        query = query.where(lines.c.account == account)
    if after is not None:
        query = query.where(later_than(lines.c.at_ms, lines.c.id, after))
    rows = (await tx.execute(query)).all()
    shown = rows[:limit]
    rest = cursors.encode(Cursor(shown[-1].at_ms, shown[-1].id)) if len(rows) > limit else None
    return schemas.WalletTransactionPage([_line(row) for row in shown], rest)


def _own(user_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(accounts.c.owner_id == user_id, accounts.c.kind.in_(_OWN_KINDS))


def _columns(**of: Any) -> list[sa.ColumnElement[Any]]:
    """The same columns from every source, in one order."""
    names = ("id", "kind", "account", "amount", "currency", "order_id", "session_id", "at_ms")
    return [of[name].label(name) for name in names]


def _transfers(user_id: str) -> sa.Select[Any]:
    """Every transfer but captures of sessions."""
    t = transfers.c
    return (
        sa.select(
            *_columns(
                id=t.id,
                kind=t.kind,
                account=accounts.c.kind,
                amount=entries.c.amount_minor,
                currency=t.currency,
                order_id=t.order_id,
                session_id=t.session_id,
                at_ms=t.created_at_ms,
            )
        )
        .join_from(entries, transfers, t.id == entries.c.transfer_id)
        .join(accounts, accounts.c.id == entries.c.account_id)
        .where(_own(user_id), sa.or_(t.kind != "capture", t.session_id.is_(None)))
    )


def _sessions(user_id: str) -> sa.Select[Any]:
    """The captures of each session, together."""
    t = transfers.c
    return (
        sa.select(
            *_columns(
                id=t.session_id,
                kind=sa.literal("capture"),
                account=accounts.c.kind,
                amount=total(entries.c.amount_minor),
                currency=t.currency,
                order_id=sa.func.max(t.order_id),
                session_id=t.session_id,
                at_ms=sa.func.max(t.created_at_ms),
            )
        )
        .join_from(entries, transfers, t.id == entries.c.transfer_id)
        .join(accounts, accounts.c.id == entries.c.account_id)
        .where(_own(user_id), t.kind == "capture", t.session_id.is_not(None))
        .group_by(t.session_id, accounts.c.kind, t.currency)
    )


def _holds(user_id: str) -> sa.Select[Any]:
    """What orders set aside."""
    h = holds.c
    return (
        sa.select(
            *_columns(
                id=h.id,
                kind=sa.literal("hold"),
                account=accounts.c.kind,
                amount=-h.amount_minor,
                currency=accounts.c.currency,
                order_id=h.order_id,
                session_id=h.session_id,
                at_ms=h.created_at_ms,
            )
        )
        .join_from(holds, accounts, accounts.c.id == h.account_id)
        .where(_own(user_id), h.session_id.is_(None), h.state != "refused")
    )


def _releases(user_id: str) -> sa.Select[Any]:
    """What returned from orders."""
    m, h = hold_moves.c, holds.c
    return (
        sa.select(
            *_columns(
                id=sa.literal("rel_") + sa.cast(m.id, sa.String),
                kind=sa.literal("release"),
                account=accounts.c.kind,
                amount=m.amount_minor,
                currency=accounts.c.currency,
                order_id=h.order_id,
                session_id=h.session_id,
                at_ms=m.created_at_ms,
            )
        )
        .join_from(hold_moves, holds, h.id == m.hold_id)
        .join(accounts, accounts.c.id == h.account_id)
        .where(_own(user_id), h.session_id.is_(None), m.kind == "release")
    )


_TEXTS = {
    ("topup", "wallet"): "Top-up",
    ("hold", "wallet"): "Set aside for order {number}",
    ("release", "wallet"): "Returned from order {number}",
    ("capture", "wallet"): "{title}: session of order {number}",
    ("capture", "earnings"): "Earned: {title}, order {number}",
    ("reverse", "wallet"): "Given back: {title}, order {number}",
    ("reverse", "earnings"): "Given back to the customer: {title}, order {number}",
    ("payout", "earnings"): "Payout",
    ("payout_returned", "earnings"): "Payout returned",
    ("adjust", "wallet"): "Set right by our staff",
    ("adjust", "earnings"): "Set right by our staff",
}
_WHOLE = "Paid: {title}, order {number}"
"""A capture that no session was the reason of."""


def _line(row: Row) -> schemas.WalletTransaction:
    words = _TEXTS[row.kind, row.account]
    if (row.kind, row.account, row.session_id) == ("capture", "wallet", None):
        words = _WHOLE
    text = words.format(title=row.title, number=row.number)
    return schemas.WalletTransaction(
        id=row.id,
        kind=row.kind,
        account=row.account,
        text=text,
        amount=money(row.amount, row.currency),
        order_id=row.order_id,
        order_number=row.number,
        order_title=row.title,
        session_id=row.session_id,
        at=rfc3339(row.at_ms),
    )
