"""Rows of `accounts`: find, create, lock, change.

Statements are made once, with named parameters, so that SQLAlchemy compiles each of them once.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from engine.ids import new_id
from engine.metering.ledger.model import Account, AccountKind
from engine.store import tables as t
from engine.store.batch import Update
from engine.store.database import Tx, insert_once

_COLUMNS = (
    t.accounts.c.id,
    t.accounts.c.kind,
    t.accounts.c.owner_id,
    t.accounts.c.currency,
    t.accounts.c.balance_minor,
    t.accounts.c.held_minor,
)


def of_row(row: sa.Row[Any]) -> Account:
    return Account(
        id=row.id,
        kind=AccountKind(row.kind),
        owner_id=row.owner_id,
        currency=row.currency,
        balance_minor=row.balance_minor,
        held_minor=row.held_minor,
    )


def _locking(query: sa.Select[Any]) -> sa.Select[Any]:
    # FOR NO KEY UPDATE: rows that merely refer to the account do not wait. SQLite has no such
    # clause and needs none.
    return query.with_for_update(key_share=True)


def id_of(
    kind: AccountKind, owner_id: sa.ColumnElement[Any], currency: sa.ColumnElement[Any]
) -> sa.ScalarSelect[Any]:
    """An account's id as a part of another statement; NULL if there is no account yet."""
    other = t.accounts.alias()
    return (
        sa.select(other.c.id)
        .where(
            other.c.owner_id == owner_id,
            other.c.kind == kind.value,
            other.c.currency == currency,
        )
        .scalar_subquery()
    )


_a = t.accounts.c
_FIND: Final = sa.select(*_COLUMNS).where(
    _a.owner_id == sa.bindparam("owner"),
    _a.kind == sa.bindparam("kind"),
    _a.currency == sa.bindparam("currency"),
)
_FIND_LOCKED: Final = _locking(_FIND)
_LOCK: Final = _locking(sa.select(_a.id).where(_a.id == sa.bindparam("id")))
_of_hold = sa.select(t.holds.c.account_id).where(t.holds.c.id == sa.bindparam("hold"))
_LOCK_BY_HOLD: Final = _locking(sa.select(_a.id).where(_a.id == _of_hold.scalar_subquery()))


async def find(
    tx: Tx, kind: AccountKind, owner_id: str, currency: str, *, lock: bool = False
) -> Account | None:
    named = {"owner": owner_id, "kind": kind.value, "currency": currency}
    row = (await tx.execute(_FIND_LOCKED if lock else _FIND, named)).one_or_none()
    return None if row is None else of_row(row)


async def ensure(
    tx: Tx, kind: AccountKind, owner_id: str, currency: str, at_ms: int, *, lock: bool = False
) -> Account:
    """The account, created if it is not there yet; two creators end up with one row."""
    found = await find(tx, kind, owner_id, currency, lock=lock)
    if found is None:
        values = {
            "id": new_id("acc"),
            "kind": kind.value,
            "owner_id": owner_id,
            "currency": currency,
            "balance_minor": 0 if kind.folded else None,
            "created_at_ms": at_ms,
        }
        await insert_once(tx, t.accounts, values)
        found = await find(tx, kind, owner_id, currency, lock=lock)
    assert found is not None
    return found


async def lock(tx: Tx, account_id: str) -> None:
    """Lock the account until the transaction ends."""
    await tx.execute(_LOCK, {"id": account_id})


async def lock_by_hold(tx: Tx, hold_id: str) -> None:
    """Lock the wallet that the hold belongs to until the transaction ends."""
    await tx.execute(_LOCK_BY_HOLD, {"hold": hold_id})


# Relative, and balance and held together: the store's constraints hold after each statement.
_MOVE: Final = (
    sa.update(t.accounts)
    .where(_a.id.in_([sa.bindparam("one"), sa.bindparam("other")]))
    .values(
        balance_minor=_a.balance_minor
        + sa.case(
            (_a.id == sa.bindparam("one"), sa.bindparam("one_minor", type_=sa.BigInteger)),
            else_=sa.bindparam("other_minor", type_=sa.BigInteger),
        ),
        held_minor=_a.held_minor
        + sa.case(
            (_a.id == sa.bindparam("one"), sa.bindparam("one_held", type_=sa.BigInteger)),
            else_=0,
        ),
    )
)


def moving(one: str, one_minor: int, one_held: int, other: tuple[str, int] | None = None) -> Update:
    """Change the folded balance of an account or two, and what the first one has held, by these
    amounts.
    """
    other_id, other_minor = other or (one, one_minor)
    changes = {
        "one": one,
        "one_minor": one_minor,
        "one_held": one_held,
        "other": other_id,
        "other_minor": other_minor,
    }
    return Update(_MOVE, changes)


async def change_held(tx: Tx, account_id: str, held_minor: int) -> None:
    await tx.execute(*moving(account_id, 0, held_minor))


async def entries_sum(tx: Tx, account_id: str) -> int:
    total = sa.func.coalesce(sa.func.sum(t.entries.c.amount_minor), 0)
    result = await tx.execute(sa.select(total).where(t.entries.c.account_id == account_id))
    return int(result.scalar_one())
