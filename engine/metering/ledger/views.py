"""What the ledger can be asked; nothing here writes: a read-only snapshot will do, unless
a lock is asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import sqlalchemy as sa

from engine.metering.ledger import accounts, holds
from engine.metering.ledger.model import (
    AccountKind,
    HoldState,
    HoldView,
    SessionTotal,
    StatementLine,
    TransferKind,
    WalletView,
)
from engine.store import tables as t
from engine.store.database import Tx

MAX_STATEMENT_LINES = 200


async def wallet(tx: Tx, user_id: str, currency: str, *, lock: bool) -> WalletView:
    found = await accounts.find(tx, AccountKind.WALLET, user_id, currency, lock=lock)
    if found is None or found.balance_minor is None:
        return WalletView(0, 0)
    return WalletView(found.balance_minor, found.held_minor)


async def balance(tx: Tx, kind: AccountKind, owner_id: str, currency: str) -> int:
    found = await accounts.find(tx, kind, owner_id, currency)
    if found is None:
        return 0
    if found.balance_minor is not None:
        return found.balance_minor
    return await accounts.entries_sum(tx, found.id)


_PERSONAL: Final = (AccountKind.WALLET, AccountKind.EARNINGS)
_OF_USERS: Final = sa.select(
    t.accounts.c.owner_id, t.accounts.c.kind, t.accounts.c.balance_minor, t.accounts.c.held_minor
).where(
    t.accounts.c.owner_id.in_(sa.bindparam("owners")),
    t.accounts.c.kind.in_([kind.value for kind in _PERSONAL]),
    t.accounts.c.currency == sa.bindparam("asked_currency"),
)


async def money_of(
    tx: Tx, user_ids: Collection[str], currency: str
) -> dict[str, tuple[WalletView, int]]:
    found = {user_id: (WalletView(0, 0), 0) for user_id in user_ids}
    asked = {"owners": list(found), "asked_currency": currency}
    for row in await tx.execute(_OF_USERS, asked):
        wallet, earned_minor = found[row.owner_id]
        if row.kind == AccountKind.WALLET.value:
            wallet = WalletView(row.balance_minor, row.held_minor)
        else:
            earned_minor = row.balance_minor
        found[row.owner_id] = wallet, earned_minor
    return found


async def holds_of_order(tx: Tx, order_id: str) -> list[HoldView]:
    h = t.holds.c
    return await holds.select(tx, h.order_id == order_id, h.state != HoldState.REFUSED.value)


async def open_holds(tx: Tx, *, order_id: str | None, session_id: str | None) -> list[HoldView]:
    h = t.holds.c
    where = [h.state == HoldState.GRANTED.value]
    if order_id is not None:
        where.append(h.order_id == order_id)
    if session_id is not None:
        where.append(h.session_id == session_id)
    return await holds.select(tx, *where)


async def session_total(tx: Tx, session_id: str) -> SessionTotal:
    c = t.transfers.c
    query = (
        sa.select(c.kind, sa.func.sum(c.amount_minor), sa.func.sum(c.fee_minor))
        .where(c.session_id == session_id)
        .group_by(c.kind)
    )
    sums = {kind: (int(amount), int(fee)) for kind, amount, fee in await tx.execute(query)}
    captured = sums.get(TransferKind.CAPTURE.value, (0, 0))
    given_back = sums.get(TransferKind.REVERSE.value, (0, 0))
    return SessionTotal(*captured, *given_back)


async def transactions(
    tx: Tx, user_id: str, currency: str, *, limit: int, before: int | None
) -> list[StatementLine]:
    e, r, a = t.entries.c, t.transfers.c, t.accounts.c
    query = (
        sa.select(e.id, e.amount_minor, e.transfer_id)
        .add_columns(r.kind, r.order_id, r.session_id, r.reason, r.created_at_ms)
        .join_from(t.entries, t.transfers, r.id == e.transfer_id)
        .join(t.accounts, a.id == e.account_id)
        .where(a.owner_id == user_id, a.kind == AccountKind.WALLET.value, a.currency == currency)
        .order_by(e.id.desc())
        .limit(max(1, min(limit, MAX_STATEMENT_LINES)))
    )
    if before is not None:
        query = query.where(e.id < before)
    return [
        StatementLine(
            cursor=row.id,
            transfer_id=row.transfer_id,
            kind=TransferKind(row.kind),
            amount_minor=row.amount_minor,
            order_id=row.order_id,
            session_id=row.session_id,
            reason=row.reason,
            at_ms=row.created_at_ms,
        )
        for row in await tx.execute(query)
    ]
