"""Asking for payouts, and what people see of them."""

from __future__ import annotations

from typing import Any

import schwifty
import sqlalchemy as sa

from admin import events, queries
from admin.accounts.people import Viewer
from admin.http import cursors
from admin.http.cursors import Cursor
from admin.http.times import money, rfc3339
from admin.market import settings
from admin.market.transitions import possible, situation_of
from admin.payouts.machine import PAYOUT
from admin.payouts.schemas import Payout, PayoutDetails, PayoutPage
from admin.ports import AdminDeps
from admin.queries import Row, later_than
from engine.errors import BadInput, Conflict, NotFound
from engine.ids import new_id
from engine.store.database import Tx
from engine.store.tables import experts, payments

PROVIDER = "manual"
"""Staff order payouts at the bank themselves and tell the outcome."""


async def details(tx: Tx, user_id: str) -> PayoutDetails | None:
    """Where the expert's payouts go to. Raises `NotFound("expert_not_found")`."""
    query = sa.select(experts.c.payout_details).where(experts.c.user_id == user_id)
    row = await queries.row(tx, query)
    if row is None:
        raise NotFound("expert_not_found", "Only experts are paid out.")
    return None if row.payout_details is None else PayoutDetails(**row.payout_details)


async def set_details(deps: AdminDeps, tx: Tx, user_id: str, given: PayoutDetails) -> PayoutDetails:
    """Store them, checked. Raises `NotFound("expert_not_found")`, `BadInput("invalid_iban")`."""
    await details(tx, user_id)
    try:
        iban = schwifty.IBAN(given.iban).compact
    except ValueError:
        raise BadInput("invalid_iban", "This is no IBAN.", path="$.iban") from None
    stored = PayoutDetails(holder=given.holder.strip(), iban=iban)
    values = {"holder": stored.holder, "iban": stored.iban}
    await tx.execute(
        sa.update(experts).where(experts.c.user_id == user_id).values(payout_details=values)
    )
    await events.publish(
        tx,
        "payout_details.changed",
        user_id,
        actor=user_id,
        at_ms=deps.clock.wall_ms(),
        data={"iban": _end_of(iban)},
    )
    return stored


async def request(deps: AdminDeps, tx: Tx, user_id: str, amount_minor: int) -> str:
    """A payout that awaits approval; its money has left the earnings.

    Raises `NotFound("expert_not_found")`, `Conflict`: `payout_details_missing`,
    `insufficient_earnings`, `BadInput("below_minimum")`.
    """
    to = await details(tx, user_id)
    if to is None:
        raise Conflict("payout_details_missing", "Say first which account payouts go to.")
    least_minor = (await settings.current(deps, tx)).payout_minimum_minor
    if amount_minor < least_minor:
        raise BadInput(
            "below_minimum", "That is less than the least payout.", minimum_minor=least_minor
        )
    now_ms, payment_id = deps.clock.wall_ms(), new_id("pay")
    currency = deps.settings.currency
    values = {
        "id": payment_id,
        "direction": "out",
        "user_id": user_id,
        "currency": currency,
        "amount_minor": amount_minor,
        "provider": PROVIDER,
        "provider_ref": payment_id,
        "state": "requested",
        # As it was asked for: a later change of the account is not for this payout.
        "destination": {"holder": to.holder, "iban": to.iban},
        "created_at_ms": now_ms,
        "updated_at_ms": now_ms,
    }
    await tx.execute(sa.insert(payments).values(values))
    await deps.ledger.payout(
        tx,
        key=f"payout:{payment_id}",
        user_id=user_id,
        currency=currency,
        amount_minor=amount_minor,
        payment_id=payment_id,
    )
    data = {"amount_minor": amount_minor, "currency": currency}
    await events.publish(tx, "payout.requested", payment_id, actor=user_id, at_ms=now_ms, data=data)
    return payment_id


async def one(deps: AdminDeps, tx: Tx, viewer: Viewer, payment_id: str) -> Payout:
    """Raises `NotFound("payout_not_found")`."""
    row = await queries.row(tx, _visible(viewer).where(payments.c.id == payment_id))
    if row is None:
        raise PAYOUT.not_found
    return _view(deps, viewer, row)


async def page(
    deps: AdminDeps,
    tx: Tx,
    viewer: Viewer,
    *,
    everybody: bool = False,
    state: str | None = None,
    after: Cursor | None,
    limit: int,
) -> PayoutPage:
    """The viewer's own payouts, or everybody's for finance; newest first."""
    query = _visible(viewer) if everybody else _outgoing().where(payments.c.user_id == viewer.id)
    if state is not None:
        query = query.where(payments.c.state == state)
    if after is not None:
        query = query.where(later_than(payments.c.created_at_ms, payments.c.id, after))
    query = query.order_by(payments.c.created_at_ms.desc(), payments.c.id.desc())
    rows = await queries.rows(tx, query.limit(limit + 1))
    shown, rest = rows[:limit], None
    if len(rows) > limit:
        rest = cursors.encode(Cursor(shown[-1].created_at_ms, shown[-1].id))
    return PayoutPage([_view(deps, viewer, row) for row in shown], rest)


def _outgoing() -> sa.Select[Any]:
    return sa.select(payments).where(payments.c.direction == "out")


def _visible(viewer: Viewer) -> sa.Select[Any]:
    if "finance" in viewer.permissions:
        return _outgoing()
    return _outgoing().where(payments.c.user_id == viewer.id)


def _view(deps: AdminDeps, viewer: Viewer, row: Row) -> Payout:
    situation = situation_of(deps, PAYOUT, row, {}, viewer.actor)
    reference = row.provider_ref.partition(":")[2]
    return Payout(
        id=row.id,
        user_id=row.user_id,
        amount=money(row.amount_minor, row.currency),
        state=row.state,
        iban=_end_of(row.destination["iban"]),
        reference=reference or None,
        failure=row.failure,
        actions=possible(PAYOUT, situation, viewer.actor),
        created_at=rfc3339(row.created_at_ms),
        updated_at=rfc3339(row.updated_at_ms),
    )


def _end_of(iban: str) -> str:
    return f"…{iban[-4:]}"
