"""Top-ups: asked for, announced to a provider, and booked when the provider says so (C35)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from admin import events, schemas
from admin.accounts.people import is_erased
from admin.http.answers import Answer
from admin.http.idempotency import Claim
from admin.http.times import money, rfc3339
from admin.market.actors import Actor
from admin.market.transitions import Done, Situation, decide
from admin.orders import service as orders_service
from admin.orders.machine import ORDER
from admin.orders.states import Facts
from admin.orders.views import find as find_order
from admin.payments import trouble
from admin.payments.provider import (
    NewPayment,
    Payer,
    PaymentEvent,
    PaymentProvider,
    TakenBack,
)
from admin.ports import AdminDeps
from admin.queries import Row
from admin.wallet.announce import announce
from engine.errors import BadInput, Conflict, NotFound, PaymentRequired, Unavailable
from engine.ids import new_id
from engine.store.database import Tx
from engine.store.tables import payments

MOST_REF_CHARACTERS = 120
_MISMATCH = "amount_mismatch"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Booked:
    """What a provider's event did; `changed` is False for a repeated one."""

    payment_id: str
    user_id: str
    currency: str
    changed: bool
    order: Done | None = None
    """What paying the order did that the money was meant for."""

    async def tell(self, deps: AdminDeps) -> None:
        """After the commit: sockets and live sessions hear of it."""
        if self.changed:
            await announce(deps, self.user_id, self.currency)
        if self.order is not None:
            await self.order.tell()


async def create(
    deps: AdminDeps, claim: Claim, payer: Payer, amount_minor: int, order_id: str | None
) -> Answer:
    """201 with a pending top-up.

    Raises `NotFound("order_not_found")`, `Conflict("already_paid")`, `Conflict("order_closed")`,
    `BadInput("amount_not_payable")`, `Unavailable`: `no_payment_provider`,
    `payment_provider_unavailable`.
    """
    user_id = payer.id
    provider = _default_provider(deps)
    now_ms = deps.clock.wall_ms()
    payment_id = new_id("pay")
    async with deps.store.transaction() as tx:
        currency = await _currency(deps, tx, user_id, order_id)
        # The row comes first: were we to stop after the provider said yes, its webhook would
        # otherwise speak of a payment that nobody knows.
        await tx.execute(
            sa.insert(payments).values(
                id=payment_id,
                direction="in",
                user_id=user_id,
                order_id=order_id,
                currency=currency,
                amount_minor=amount_minor,
                provider=provider.name,
                provider_ref=payment_id,
                state="pending",
                created_at_ms=now_ms,
                updated_at_ms=now_ms,
            )
        )
    back = f"{deps.settings.public_url}/?top_up={payment_id}"
    asked = NewPayment(payment_id, payer, currency, amount_minor, back)
    try:
        known = await provider.create(asked)
    except BadInput:
        async with deps.store.transaction() as tx:
            await _set_state(deps, tx, payment_id, "failed")
        raise
    async with deps.store.transaction() as tx:
        await tx.execute(
            sa.update(payments)
            .where(payments.c.id == payment_id)
            .values(provider_ref=known.ref, checkout_url=known.checkout_url)
        )
        top_up = await one(deps, tx, user_id, payment_id)
        return await claim.settle(tx, Answer(201, top_up))


def _default_provider(deps: AdminDeps) -> PaymentProvider:
    for provider in deps.providers.values():
        return provider
    raise Unavailable("no_payment_provider", "No way to pay is configured.")


async def _currency(deps: AdminDeps, tx: Tx, user_id: str, order_id: str | None) -> str:
    if order_id is None:
        return deps.settings.currency
    order = await find_order(tx, user_id, order_id)
    if order.customer_id != user_id:
        raise NotFound("order_not_found", "There is no such order.")
    customer = Situation(order, Facts(), frozenset({"customer"}), deps.clock.wall_ms())
    decide(ORDER, customer, "pay", Actor(user_id))
    currency: str = order.currency
    return currency


async def one(deps: AdminDeps, tx: Tx, user_id: str, payment_id: str) -> schemas.TopUp:
    """The user's top-up. Raises `NotFound("top_up_not_found")`."""
    query = sa.select(payments).where(payments.c.id == payment_id, payments.c.user_id == user_id)
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise NotFound("top_up_not_found", "There is no such top-up.")
    return view(deps, row)


def view(deps: AdminDeps, row: Row) -> schemas.TopUp:
    return schemas.TopUp(
        id=row.id,
        amount=money(row.amount_minor, row.currency),
        state=row.state,
        provider=row.provider,
        checkout_url=row.checkout_url if row.state == "pending" else None,
        created_at=rfc3339(row.created_at_ms),
    )


async def receive(
    deps: AdminDeps, provider_name: str, headers: Mapping[str, str], body: bytes
) -> Booked | None:
    """Verify and book one webhook delivery; None if it does not concern us.

    Raises `NotFound("provider_not_found")`, `NotFound("payment_not_found")`,
    `Unauthorized("bad_signature")`, `BadInput("bad_webhook")`, `BadInput("amount_mismatch")`.
    """
    provider = deps.providers.get(provider_name)
    if provider is None:
        raise NotFound("provider_not_found", "There is no such payment provider.")
    event = await provider.receive(headers, body)
    if isinstance(event, TakenBack):
        await _report_taken_back(deps, provider_name, event)
        return None
    return None if event is None else await take(deps, provider_name, event)


async def _report_taken_back(deps: AdminDeps, provider_name: str, event: TakenBack) -> None:
    """Whether the wallet pays for it, the platform or an expert, is for people to say."""
    async with deps.store.transaction() as tx:
        row = await find_by_ref(tx, provider_name, event.provider_ref)
        if row is None:
            raise NotFound("payment_not_found", "There is no such payment.")
        amount = trouble.amount_text(event.amount_minor, event.currency)
        title = f"{provider_name}: {event.what} of {amount}"
        body = "No money was moved here: look into it there, and set the account right by hand."
        await trouble.report(deps, tx, row, title, body)


async def take(deps: AdminDeps, provider_name: str, event: PaymentEvent) -> Booked:
    """Book a verified event and tell of it; people hear of one that does not fit.

    Raises `NotFound("payment_not_found")`, `BadInput("amount_mismatch")`.
    """
    try:
        async with deps.store.transaction() as tx:
            booked = await book(deps, tx, provider_name, event)
    except BadInput as refusal:
        if refusal.code == _MISMATCH:
            await _report_mismatch(deps, provider_name, event)
        raise
    await booked.tell(deps)
    return booked


async def _report_mismatch(deps: AdminDeps, provider_name: str, event: PaymentEvent) -> None:
    """In a transaction of its own: the refused one leaves nothing behind."""
    async with deps.store.transaction() as tx:
        row = await find_by_ref(tx, provider_name, event.provider_ref)
        assert row is not None
        said = trouble.amount_text(event.amount_minor, event.currency)
        asked = trouble.amount_text(row.amount_minor, row.currency)
        title = f"{provider_name} told of {said} where {asked} was asked for"
        body = f"It says {event.outcome}; nothing was booked and the payment is {row.state}."
        await trouble.report(deps, tx, row, title, body)


async def book(deps: AdminDeps, tx: Tx, provider_name: str, event: PaymentEvent) -> Booked:
    """Apply a verified event in the caller's transaction; a repeated one changes nothing."""
    row = await find_by_ref(tx, provider_name, event.provider_ref)
    if row is None:
        raise NotFound("payment_not_found", "There is no such payment.")
    if (event.amount_minor, event.currency) != (row.amount_minor, row.currency):
        _log.error("payment_amount_mismatch", payment=row.id, said=event.amount_minor)
        raise BadInput(_MISMATCH, "The amount is not the one that was asked for.")
    outcome = event.outcome
    if outcome == "succeeded" and await is_erased(tx, row.user_id):
        outcome = "failed"
        title = f"Money came at {provider_name} for an erased account"
        await trouble.report(deps, tx, row, title, "Give it back there: nothing was booked here.")
    # A card that was refused first may be accepted on the next try; money that came stays booked.
    if row.state in {"succeeded", outcome}:
        return Booked(row.id, row.user_id, row.currency, changed=False)
    await _set_state(deps, tx, row.id, outcome)
    order = await _credit(deps, tx, row) if outcome == "succeeded" else None
    data = {"amount_minor": row.amount_minor, "currency": row.currency}
    await events.publish(
        tx,
        f"payment.{outcome}",
        row.id,
        actor=provider_name,
        at_ms=deps.clock.wall_ms(),
        data=data,
    )
    return Booked(row.id, row.user_id, row.currency, changed=True, order=order)


async def find_by_ref(
    tx: Tx, provider_name: str, provider_ref: str, *, lock: bool = True
) -> Row | None:
    """The payment, by default locked until the transaction ends."""
    if "\x00" in provider_ref or len(provider_ref) > MOST_REF_CHARACTERS:
        return None
    query = sa.select(payments).where(
        payments.c.provider == provider_name, payments.c.provider_ref == provider_ref
    )
    return (await tx.execute(query.with_for_update() if lock else query)).one_or_none()


async def _set_state(deps: AdminDeps, tx: Tx, payment_id: str, state: str) -> None:
    await tx.execute(
        sa.update(payments)
        .where(payments.c.id == payment_id)
        .values(state=state, updated_at_ms=deps.clock.wall_ms())
    )


async def _credit(deps: AdminDeps, tx: Tx, payment: Row) -> Done | None:
    await deps.ledger.topup(
        tx,
        key=f"topup:{payment.id}",
        user_id=payment.user_id,
        currency=payment.currency,
        amount_minor=payment.amount_minor,
        payment_id=payment.id,
    )
    return None if payment.order_id is None else await _pay_order(deps, tx, payment)


async def _pay_order(deps: AdminDeps, tx: Tx, payment: Row) -> Done | None:
    """Pay the order it was meant for if that is still wanted and possible; else keep the money."""
    try:
        return await orders_service.pay(deps, tx, payment.user_id, payment.order_id)
    except (Conflict, PaymentRequired) as refusal:
        _log.info("order_not_paid", order=payment.order_id, code=refusal.code)
        return None
