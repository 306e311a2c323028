"""The movements of money between wallets, earnings and the platform, and the one function that
posts them. Payouts and adjustments are in `payouts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from engine.errors import BadInput, Conflict, NotFound
from engine.ids import new_id
from engine.metering.ledger import accounts, holds
from engine.metering.ledger.keys import check_same, request_hash
from engine.metering.ledger.model import (
    PLATFORM,
    AccountKind,
    HoldPart,
    HoldView,
    TransferKind,
    TransferResult,
)
from engine.metering.money import check_amount
from engine.store import tables as t
from engine.store.batch import Insert, Update, write_once
from engine.store.database import Tx
from engine.store.prepared import Prepared


@dataclass(frozen=True, slots=True)
class Draft:
    """A transfer about to be posted; the members are columns of `transfers`."""

    key: str
    request_hash: str
    kind: TransferKind
    currency: str
    amount_minor: int
    fee_minor: int = 0
    order_id: str | None = None
    session_id: str | None = None
    payment_id: str | None = None
    reverses_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Leg:
    """One entry: what an account's balance, and the held part of it, change by."""

    account_id: str
    kind: AccountKind
    amount_minor: int
    held_minor: int = 0


_DRAFT_FIELDS: Final = [field.name for field in fields(Draft)]
_a, _h, _r = t.accounts.c, t.holds.c, t.transfers.c
_PRIOR: Final = (
    _r.id.label("prior_id"),
    _r.request_hash.label("prior_hash"),
    _r.kind.label("prior_kind"),
    _r.amount_minor.label("prior_amount_minor"),
    _r.fee_minor.label("prior_fee_minor"),
)
_BY_KEY: Final[sa.Select[Any]] = sa.select(*_PRIOR).where(_r.key == sa.bindparam("key"))


def _to_capture(chosen: sa.ColumnElement[bool]) -> Prepared:
    """All that a capture must know, in one look that locks the wallet and then the holds.

    After a wait PostgreSQL shows what is locked as it is then, the rest as it was before: whether
    the capture was posted meanwhile is told by its key, when it is written or when the holds do not
    cover it.
    """
    earnings = accounts.id_of(AccountKind.EARNINGS, sa.bindparam("expert"), _a.currency)
    fees = accounts.id_of(AccountKind.FEES, sa.literal(PLATFORM), _a.currency)
    return Prepared(
        sa.select(
            t.holds,
            _a.currency,
            earnings.label("earnings_id"),
            fees.label("fees_id"),
            *_PRIOR,
        )
        .join_from(t.holds, t.accounts, _a.id == _h.account_id)
        .outerjoin(t.transfers, _r.key == sa.bindparam("key"))
        .where(chosen)
        .with_for_update(key_share=True, of=[t.accounts, t.holds])
    )


_TO_CAPTURE_ONE: Final = _to_capture(_h.id == sa.bindparam("hold"))
"""The common case; PostgreSQL plans it once, and that of many holds each time."""
_TO_CAPTURE_MANY: Final = {
    "sqlite": _to_capture(_h.id.in_(sa.bindparam("holds"))),
    # As one parameter: the statement is the same for any number of them.
    "postgresql": _to_capture(
        _h.id == sa.any_(sa.bindparam("holds", type_=postgresql.ARRAY(sa.String)))
    ),
}


async def topup(
    tx: Tx,
    *,
    key: str,
    user_id: str,
    currency: str,
    amount_minor: int,
    payment_id: str | None,
    at_ms: int,
) -> TransferResult:
    digest = request_hash("topup", user_id, currency, amount_minor, payment_id)
    wallet = await accounts.ensure(tx, AccountKind.WALLET, user_id, currency, at_ms)
    prior = await replay(tx, key, digest)
    if prior is not None:
        return prior
    psp = await accounts.ensure(tx, AccountKind.PSP, PLATFORM, currency, at_ms)
    draft = Draft(key, digest, TransferKind.TOPUP, currency, amount_minor, payment_id=payment_id)
    legs = [
        Leg(wallet.id, wallet.kind, amount_minor),
        Leg(psp.id, psp.kind, -amount_minor),
    ]
    return await post(tx, draft, legs, at_ms)


async def capture(
    tx: Tx,
    *,
    key: str,
    parts: Sequence[HoldPart],
    expert_id: str,
    fee_minor: int,
    order_id: str | None,
    session_id: str | None,
    at_ms: int,
) -> TransferResult:
    amounts = _merged(parts)
    amount = sum(amounts.values())
    check_fee(fee_minor, amount)
    digest = request_hash("capture", amounts, expert_id, fee_minor, order_id, session_id)
    asked = {"key": key, "expert": expert_id}
    if len(amounts) == 1:
        rows = await _TO_CAPTURE_ONE.rows(tx, asked | {"hold": next(iter(amounts))})
    else:
        rows = await _TO_CAPTURE_MANY[tx.dialect.name].rows(tx, asked | {"holds": list(amounts)})
    prior = _prior(rows[0], key, digest) if rows else await replay(tx, key, digest)
    if prior is not None:
        return prior
    found = [holds.view(row) for row in rows]
    _check_one_wallet(found, asked=len(amounts))
    if any(amounts[hold.id] > hold.remaining_minor for hold in found):
        prior = await replay(tx, key, digest)
        if prior is not None:
            return prior
    for hold in found:
        holds.check_covered(hold, amounts[hold.id])
    currency = rows[0].currency
    draft = Draft(
        key, digest, TransferKind.CAPTURE, currency, amount, fee_minor, order_id, session_id
    )
    legs = await _split(tx, draft, rows[0], expert_id, at_ms)
    taken = [(hold, amounts[hold.id]) for hold in found if amounts[hold.id]]
    return await post(tx, draft, legs, at_ms, taken)


def _merged(parts: Iterable[HoldPart]) -> dict[str, int]:
    amounts: dict[str, int] = {}
    for part in parts:
        check_amount(part.amount_minor, least=0)
        amounts[part.hold_id] = amounts.get(part.hold_id, 0) + part.amount_minor
    check_amount(sum(amounts.values()), least=0)
    if not amounts:
        raise BadInput("bad_amount", "A capture names at least one hold.")
    return amounts


def check_fee(fee_minor: int, amount_minor: int) -> None:
    """A fee is a part of its amount."""
    if check_amount(fee_minor, least=0) > amount_minor:
        raise BadInput("bad_amount", "The fee exceeds the amount.")


def _check_one_wallet(found: Sequence[HoldView], *, asked: int) -> None:
    if len(found) != asked:
        raise NotFound("hold_not_found", "No such hold.")
    if len({hold.account_id for hold in found}) != 1:
        raise Conflict("holds_of_two_wallets", "A capture takes from the holds of one wallet.")


async def _split(tx: Tx, draft: Draft, known: Any, expert_id: str, at_ms: int) -> list[Leg]:
    """The wallet's debit, the expert's credit and the platform's; `known` has the ids of their
    accounts, or None for one that is not there yet.
    """

    async def id_of(kind: AccountKind, owner_id: str, found: str | None) -> str:
        if found is not None:
            return found
        return (await accounts.ensure(tx, kind, owner_id, draft.currency, at_ms)).id

    kind = AccountKind.WALLET
    legs = [Leg(known.account_id, kind, -draft.amount_minor, -draft.amount_minor)]
    earned = draft.amount_minor - draft.fee_minor
    if earned:
        kind = AccountKind.EARNINGS
        legs.append(Leg(await id_of(kind, expert_id, known.earnings_id), kind, earned))
    if draft.fee_minor:
        kind = AccountKind.FEES
        legs.append(Leg(await id_of(kind, PLATFORM, known.fees_id), kind, draft.fee_minor))
    return legs


async def reverse(
    tx: Tx,
    *,
    key: str,
    transfer_id: str,
    amount_minor: int,
    fee_minor: int,
    reason: str,
    order_id: str | None,
    session_id: str | None,
    at_ms: int,
) -> TransferResult:
    digest = request_hash(
        "reverse", transfer_id, amount_minor, fee_minor, reason, order_id, session_id
    )
    legs = await _legs(tx, transfer_id)
    for leg in legs:
        if leg.kind is AccountKind.WALLET:
            await accounts.lock(tx, leg.account_id)
    prior = await replay(tx, key, digest)
    if prior is not None:
        return prior
    currency = await _currency_of_capture(tx, transfer_id)
    if currency is None:
        raise NotFound("capture_not_found", "No such capture.")
    await _check_reversible(tx, transfer_id, legs, amount_minor, fee_minor)
    draft = Draft(
        key,
        digest,
        TransferKind.REVERSE,
        currency,
        amount_minor,
        fee_minor,
        order_id,
        session_id,
        reverses_id=transfer_id,
        reason=reason,
    )
    back = {
        AccountKind.WALLET: amount_minor,
        AccountKind.EARNINGS: fee_minor - amount_minor,
        AccountKind.FEES: -fee_minor,
    }
    given = [Leg(leg.account_id, leg.kind, back[leg.kind]) for leg in legs]
    return await post(tx, draft, given, at_ms)


async def _currency_of_capture(tx: Tx, transfer_id: str) -> str | None:
    c = t.transfers.c
    query = sa.select(c.currency).where(c.id == transfer_id, c.kind == TransferKind.CAPTURE.value)
    currency: str | None = await tx.scalar(query)
    return currency


async def _legs(tx: Tx, transfer_id: str) -> list[Leg]:
    """The accounts a transfer moved money between; none if it was of zero."""
    query = (
        sa.select(t.accounts.c.id, t.accounts.c.kind, t.entries.c.amount_minor)
        .join(t.entries, t.entries.c.account_id == t.accounts.c.id)
        .where(t.entries.c.transfer_id == transfer_id)
    )
    rows = await tx.execute(query)
    return [Leg(row.id, AccountKind(row.kind), row.amount_minor) for row in rows]


async def _check_reversible(
    tx: Tx, transfer_id: str, legs: Sequence[Leg], amount_minor: int, fee_minor: int
) -> None:
    """Neither the expert's nor the platform's part may be given back more than once."""
    c = t.transfers.c
    query = sa.select(
        sa.func.coalesce(sa.func.sum(c.amount_minor), 0).label("amount"),
        sa.func.coalesce(sa.func.sum(c.fee_minor), 0).label("fee"),
    ).where(c.reverses_id == transfer_id)
    before = (await tx.execute(query)).one()
    captured = {leg.kind: leg.amount_minor for leg in legs}
    earned_left = captured.get(AccountKind.EARNINGS, 0) - int(before.amount - before.fee)
    fee_left = captured.get(AccountKind.FEES, 0) - int(before.fee)
    if amount_minor - fee_minor > earned_left or fee_minor > fee_left:
        raise Conflict(
            "reversal_exceeds_capture",
            "More would be given back than was captured.",
            remaining_minor=earned_left + fee_left,
            remaining_fee_minor=fee_left,
        )


async def replay(tx: Tx, key: str, digest: str) -> TransferResult | None:
    """What was posted under this key. Raises `Conflict("idempotency_key_reused")`."""
    row = (await tx.execute(_BY_KEY, {"key": key})).one_or_none()
    return None if row is None else _prior(row, key, digest)


def _prior(row: Any, key: str, digest: str) -> TransferResult | None:
    """What was posted under this key; None if the row has nothing of it."""
    if row.prior_id is None:
        return None
    check_same(key, row.prior_hash, digest)
    kind = TransferKind(row.prior_kind)
    return TransferResult(
        row.prior_id, kind, row.prior_amount_minor, row.prior_fee_minor, replayed=True
    )


async def post(
    tx: Tx,
    draft: Draft,
    legs: Sequence[Leg],
    at_ms: int,
    taken: Sequence[tuple[HoldView, int]] = (),
) -> TransferResult:
    """Write a transfer, its entries, the folded balances, and what it takes from holds; nothing if
    the key is taken.
    """
    assert sum(leg.amount_minor for leg in legs) == 0
    transfer_id = new_id("tr")
    row = {name: getattr(draft, name) for name in _DRAFT_FIELDS}
    row |= {"id": transfer_id, "created_at_ms": at_ms}
    moved = [leg for leg in legs if leg.amount_minor]
    updates, inserts = [], []
    if moved:
        folded = [leg for leg in moved if leg.kind.folded]
        if folded:
            updates.append(_fold(folded))
        inserts.append(Insert(t.entries, [_entry(transfer_id, leg) for leg in moved]))
    if taken:
        kind = holds.CAPTURE
        updates += [holds.taking(hold, kind, part, at_ms) for hold, part in taken]
        moves = [
            holds.move_row(hold, kind, part, key=draft.key, transfer_id=transfer_id, at_ms=at_ms)
            for hold, part in taken
        ]
        inserts.append(Insert(t.hold_moves, moves))
    if not await write_once(tx, t.transfers, row, updates, inserts):
        # Only a transaction on another wallet can have come between, so this raises as a rule.
        prior = await replay(tx, draft.key, draft.request_hash)
        assert prior is not None
        return prior
    return TransferResult(
        transfer_id, draft.kind, draft.amount_minor, draft.fee_minor, replayed=False
    )


def _entry(transfer_id: str, leg: Leg) -> dict[str, object]:
    return {
        "transfer_id": transfer_id,
        "account_id": leg.account_id,
        "amount_minor": leg.amount_minor,
    }


def _fold(legs: Sequence[Leg]) -> Update:
    """One statement for the one or two accounts whose rows keep their balance, the wallet first."""
    first, *rest = sorted(legs, key=lambda leg: leg.kind is not AccountKind.WALLET)
    other = (rest[0].account_id, rest[0].amount_minor) if rest else None
    return accounts.moving(first.account_id, first.amount_minor, first.held_minor, other)
