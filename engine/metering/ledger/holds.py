"""Granting holds and taking from them."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from engine.errors import Conflict, NotFound
from engine.ids import new_id
from engine.metering.ledger import accounts
from engine.metering.ledger.keys import check_same, request_hash, reused
from engine.metering.ledger.model import (
    AccountKind,
    HoldResult,
    HoldState,
    HoldStatus,
    HoldView,
    ReleaseResult,
    ReleaseStatus,
)
from engine.store import tables as t
from engine.store.batch import Update
from engine.store.database import Tx, insert_once
from engine.store.prepared import Prepared

CAPTURE, RELEASE = "capture", "release"

_a, _h, _m = t.accounts.c, t.holds.c, t.hold_moves.c
_HOLD: Final = (
    sa.update(t.accounts)
    .where(
        _a.owner_id == sa.bindparam("owner"),
        _a.kind == AccountKind.WALLET.value,
        _a.currency == sa.bindparam("asked_currency"),
        _a.balance_minor - _a.held_minor >= sa.bindparam("asked"),
    )
    .values(held_minor=_a.held_minor + sa.bindparam("asked"))
    .returning(_a.id)
)


def _hold_and_record() -> sa.Select[Any]:
    """Both in one round trip; the row's values are parameters `new_…`."""
    wallet = _HOLD.cte("wallet")
    unset = {_h.account_id, _h.captured_minor, _h.released_minor, _h.resolved_at_ms}
    names = [column.name for column in _h if column not in unset]
    values = [sa.bindparam(f"new_{name}", type_=_h[name].type) for name in names]
    recorded = (
        postgresql.insert(t.holds)
        .from_select([*names, "account_id"], sa.select(*values, wallet.c.id))
        .on_conflict_do_nothing()
        .returning(_h.id)
        .cte("recorded")
    )
    return sa.select(wallet.c.id.label("wallet_id"), recorded.c.id.label("hold_id")).select_from(
        wallet.outerjoin(recorded, sa.true())
    )


_HOLD_AND_RECORD: Final = Prepared(_hold_and_record())
_BY_KEY: Final = sa.select(t.holds).where(_h.key == sa.bindparam("key"))
_TO_RELEASE: Final = (
    sa.select(t.holds, _m.amount_minor.label("released_before"))
    .outerjoin_from(
        t.holds,
        t.hold_moves,
        sa.and_(_m.hold_id == _h.id, _m.kind == RELEASE, _m.key == sa.bindparam("key")),
    )
    .where(_h.id == sa.bindparam("hold"))
)
_TAKE: Final = {
    kind: sa.update(t.holds)
    .where(_h.id == sa.bindparam("hold"))
    .values(
        {
            taken: taken + sa.bindparam("part"),
            _h.state: sa.bindparam("new_state"),
            _h.resolved_at_ms: sa.bindparam("resolved_ms"),
        }
    )
    for kind, taken in ((CAPTURE, _h.captured_minor), (RELEASE, _h.released_minor))
}
_ADD_MOVE: Final = sa.insert(t.hold_moves).inline()  # nobody asks for the row's number


async def hold(
    tx: Tx,
    *,
    key: str,
    user_id: str,
    currency: str,
    amount_minor: int,
    order_id: str | None,
    session_id: str | None,
    at_ms: int,
) -> HoldResult:
    digest = request_hash("hold", user_id, currency, amount_minor, order_id, session_id)
    row: dict[str, object] = {
        "id": new_id("hold"),
        "key": key,
        "request_hash": digest,
        "amount_minor": amount_minor,
        "order_id": order_id,
        "session_id": session_id,
        "created_at_ms": at_ms,
        "state": HoldStatus.GRANTED.value,
        "shortfall_minor": 0,
    }
    shortfall = 0
    done = await _hold_if_available(tx, user_id, currency, row)
    if done is not None:
        account_id, recorded = done
    else:
        prior = await _replay(tx, key, digest)
        if prior is not None:
            return prior
        account_id, shortfall = await _grant_locked(tx, user_id, currency, amount_minor, at_ms)
        row["account_id"] = account_id
        if shortfall:
            refused = {"state": HoldStatus.REFUSED.value, "resolved_at_ms": at_ms}
            row |= refused | {"shortfall_minor": shortfall}
        recorded = await insert_once(tx, t.holds, row)
    if recorded:
        status = HoldStatus.REFUSED if shortfall else HoldStatus.GRANTED
        return HoldResult(status, str(row["id"]), amount_minor, shortfall, replayed=False)
    # The key was used before: that result stands, and this wallet is as it was.
    if not shortfall:
        await accounts.change_held(tx, account_id, -amount_minor)
    prior = await _replay(tx, key, digest)
    assert prior is not None
    return prior


async def _replay(tx: Tx, key: str, digest: str) -> HoldResult | None:
    row = (await tx.execute(_BY_KEY, {"key": key})).one_or_none()
    if row is None:
        return None
    check_same(key, row.request_hash, digest)
    refused = row.state == HoldState.REFUSED
    status = HoldStatus.REFUSED if refused else HoldStatus.GRANTED
    return HoldResult(status, row.id, row.amount_minor, row.shortfall_minor, replayed=True)


async def _grant_locked(
    tx: Tx, user_id: str, currency: str, amount_minor: int, at_ms: int
) -> tuple[str, int]:
    """Look again under the lock, so that the shortfall told is the one that caused the refusal.

    The wallet's id, and what is missing; if nothing is, the amount is held.
    """
    wallet = await accounts.ensure(tx, AccountKind.WALLET, user_id, currency, at_ms, lock=True)
    if wallet.available_minor < amount_minor:
        return wallet.id, amount_minor - wallet.available_minor
    await accounts.change_held(tx, wallet.id, amount_minor)
    return wallet.id, 0


async def _hold_if_available(
    tx: Tx, user_id: str, currency: str, row: dict[str, object]
) -> tuple[str, bool] | None:
    """Hold the amount and record it; None, and nothing was done, if that much is not available.

    The wallet's id, and whether the hold was recorded, which it is not if its key was used before.
    """
    asked = {"owner": user_id, "asked_currency": currency, "asked": row["amount_minor"]}
    if tx.dialect.name != "sqlite":
        recorded = {f"new_{name}": value for name, value in row.items()}
        for found in await _HOLD_AND_RECORD.rows(tx, asked | recorded):
            return found.wallet_id, found.hold_id is not None
        return None
    account_id: str | None = (await tx.execute(_HOLD, asked)).scalar_one_or_none()
    if account_id is None:
        return None
    return account_id, await insert_once(tx, t.holds, row | {"account_id": account_id})


async def release(
    tx: Tx, *, key: str, hold_id: str, amount_minor: int | None, at_ms: int
) -> ReleaseResult:
    await accounts.lock_by_hold(tx, hold_id)
    asked = {"hold": hold_id, "key": key}
    row = (await tx.execute(_TO_RELEASE, asked)).one_or_none()
    if row is None:
        raise NotFound("hold_not_found", "No such hold.")
    if row.released_before is not None:
        if amount_minor not in {None, row.released_before}:
            raise reused(key)
        return ReleaseResult(ReleaseStatus.RELEASED, row.released_before, replayed=True)
    found = view(row)
    if found.remaining_minor == 0:
        return ReleaseResult(ReleaseStatus.ALREADY_RESOLVED, 0, replayed=True)
    part = found.remaining_minor if amount_minor is None else amount_minor
    check_covered(found, part)
    await accounts.change_held(tx, found.account_id, -part)
    await tx.execute(*taking(found, RELEASE, part, at_ms))
    moved = move_row(found, RELEASE, part, key=key, transfer_id=None, at_ms=at_ms)
    await tx.execute(_ADD_MOVE, moved)
    return ReleaseResult(ReleaseStatus.RELEASED, part, replayed=False)


def check_covered(hold: HoldView, part_minor: int) -> None:
    if part_minor > hold.remaining_minor:
        raise Conflict(
            "hold_exhausted",
            "The hold does not cover this amount.",
            hold_id=hold.id,
            remaining_minor=hold.remaining_minor,
        )


def taking(hold: HoldView, kind: str, part_minor: int, at_ms: int) -> Update:
    """State a part as captured or released; the caller has locked the wallet and lowers `held`."""
    resolved = part_minor == hold.remaining_minor
    taken = {
        "hold": hold.id,
        "part": part_minor,
        "new_state": HoldState.RESOLVED.value if resolved else HoldState.GRANTED.value,
        "resolved_ms": at_ms if resolved else None,
    }
    return Update(_TAKE[kind], taken)


def move_row(
    hold: HoldView, kind: str, part_minor: int, *, key: str, transfer_id: str | None, at_ms: int
) -> dict[str, object]:
    """The record of a part taken."""
    return {
        "hold_id": hold.id,
        "key": key,
        "kind": kind,
        "amount_minor": part_minor,
        "transfer_id": transfer_id,
        "created_at_ms": at_ms,
    }


async def select(tx: Tx, *where: sa.ColumnElement[bool]) -> list[HoldView]:
    """Holds that satisfy the conditions, oldest first."""
    query = sa.select(t.holds).where(*where).order_by(t.holds.c.created_at_ms, t.holds.c.id)
    return [view(row) for row in await tx.execute(query)]


def view(row: Any) -> HoldView:
    return HoldView(
        id=row.id,
        key=row.key,
        account_id=row.account_id,
        state=HoldState(row.state),
        amount_minor=row.amount_minor,
        captured_minor=row.captured_minor,
        released_minor=row.released_minor,
        order_id=row.order_id,
        session_id=row.session_id,
    )
