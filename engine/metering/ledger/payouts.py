"""Money that leaves for experts' banks, and what staff set right by hand."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from engine.errors import Conflict, NotFound
from engine.metering.ledger import accounts
from engine.metering.ledger.keys import request_hash
from engine.metering.ledger.model import PLATFORM, AccountKind, TransferKind, TransferResult
from engine.metering.ledger.transfers import Draft, Leg, post, replay
from engine.store import tables as t
from engine.store.database import Tx

_EARNINGS, _WALLET = AccountKind.EARNINGS, AccountKind.WALLET
_PAYOUTS, _PSP, _FEES = AccountKind.PAYOUTS, AccountKind.PSP, AccountKind.FEES


async def payout(
    tx: Tx, *, key: str, user_id: str, currency: str, amount_minor: int, payment_id: str, at_ms: int
) -> TransferResult:
    digest = request_hash("payout", user_id, currency, amount_minor, payment_id)
    earned = await accounts.ensure(tx, _EARNINGS, user_id, currency, at_ms, lock=True)
    prior = await replay(tx, key, digest)
    if prior is not None:
        return prior
    if earned.available_minor < amount_minor:
        lacking = amount_minor - earned.available_minor
        raise Conflict(
            "insufficient_earnings", "That is more than was earned.", lacking_minor=lacking
        )
    on_its_way = await accounts.ensure(tx, _PAYOUTS, PLATFORM, currency, at_ms)
    draft = Draft(key, digest, TransferKind.PAYOUT, currency, amount_minor, payment_id=payment_id)
    legs = [
        Leg(earned.id, _EARNINGS, -amount_minor),
        Leg(on_its_way.id, _PAYOUTS, amount_minor),
    ]
    return await post(tx, draft, legs, at_ms)


async def end(tx: Tx, *, key: str, payment_id: str, paid: bool, at_ms: int) -> TransferResult:
    """A payout reached the bank, or came back to the expert's earnings."""
    kind = TransferKind.PAYOUT_PAID if paid else TransferKind.PAYOUT_RETURNED
    digest = request_hash(kind.value, payment_id)
    sent = await _sent(tx, payment_id)
    earned = await accounts.ensure(tx, _EARNINGS, sent.owner_id, sent.currency, at_ms, lock=True)
    prior = await replay(tx, key, digest)
    if prior is not None:
        return prior
    await _check_under_way(tx, payment_id)
    on_its_way = await accounts.ensure(tx, _PAYOUTS, PLATFORM, sent.currency, at_ms)
    psp = await accounts.ensure(tx, _PSP, PLATFORM, sent.currency, at_ms)
    to = Leg(psp.id, _PSP, sent.amount_minor)
    if not paid:
        to = Leg(earned.id, _EARNINGS, sent.amount_minor)
    draft = Draft(key, digest, kind, sent.currency, sent.amount_minor, payment_id=payment_id)
    return await post(tx, draft, [Leg(on_its_way.id, _PAYOUTS, -sent.amount_minor), to], at_ms)


async def _sent(tx: Tx, payment_id: str) -> Any:
    r, e, a = t.transfers.c, t.entries.c, t.accounts.c
    query = (
        sa.select(r.currency, r.amount_minor, a.owner_id)
        .join_from(t.transfers, t.entries, e.transfer_id == r.id)
        .join(t.accounts, a.id == e.account_id)
        .where(r.payment_id == payment_id, r.kind == TransferKind.PAYOUT.value)
        .where(a.kind == _EARNINGS.value)
    )
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise NotFound("payout_not_found", "No such payout.")
    return row


async def _check_under_way(tx: Tx, payment_id: str) -> None:
    r = t.transfers.c
    ended = (TransferKind.PAYOUT_PAID.value, TransferKind.PAYOUT_RETURNED.value)
    query = sa.select(sa.exists().where(r.payment_id == payment_id, r.kind.in_(ended)))
    if await tx.scalar(query):
        raise Conflict("payout_ended", "This payout has ended already.")


async def adjust(
    tx: Tx,
    *,
    key: str,
    kind: AccountKind,
    user_id: str,
    currency: str,
    amount_minor: int,
    reason: str,
    at_ms: int,
) -> TransferResult:
    """Give `amount_minor` from the platform's fees, or take it there if negative."""
    digest = request_hash("adjust", kind.value, user_id, currency, amount_minor, reason)
    account = await accounts.ensure(tx, kind, user_id, currency, at_ms, lock=True)
    prior = await replay(tx, key, digest)
    if prior is not None:
        return prior
    if kind is _WALLET and account.available_minor + amount_minor < 0:
        raise Conflict("insufficient_funds", "The wallet does not have that much available.")
    fees = await accounts.ensure(tx, _FEES, PLATFORM, currency, at_ms)
    draft = Draft(key, digest, TransferKind.ADJUST, currency, abs(amount_minor), reason=reason)
    legs = [Leg(account.id, kind, amount_minor), Leg(fees.id, _FEES, -amount_minor)]
    return await post(tx, draft, legs, at_ms)
