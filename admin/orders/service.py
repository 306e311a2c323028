"""Placing orders in the caller's transaction; what becomes of them is `admin.orders.machine`."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from admin import events, queries
from admin.accounts.people import Viewer
from admin.catalogue import listings
from admin.market import settings
from admin.market.terms import Terms
from admin.market.transitions import Actor, Done, transition
from admin.orders.machine import order_of
from admin.orders.numbers import new_number
from admin.orders.states import MS_PER_S, Fulfilment, OrderState
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import BadInput, Conflict, NotFound
from engine.ids import new_id
from engine.metering.tariff import Tariff
from engine.store import tables
from engine.store.database import Tx, insert_once
from engine.store.market_tables import conversation_members
from engine.store.marks import require_unblocked
from engine.store.tables import conversations, orders

MOST_UNPAID_ORDERS = 50
MOST_REQUIREMENTS_CHARACTERS = 8_000
_FULFILMENT = {"consult": Fulfilment.LIVE, "work": Fulfilment.WORK, "files": Fulfilment.FILES}


async def create(
    deps: AdminDeps,
    tx: Tx,
    customer: Viewer,
    listing_id: str,
    mode: str | None,
    *,
    requirements: str | None = None,
) -> str:
    """A new order of a published listing, awaiting payment; returns its id.

    `mode` is of consultations only. `requirements`: what the expert needs to know (P26). Raises
    `NotFound("listing_not_found")`, `BadInput("mode_not_offered")`, `Conflict`: `own_listing`,
    `too_many_unpaid_orders`; `Forbidden`: `email_not_verified`, `blocked`.
    """
    customer.require_verified_email()
    listing = await _listing(tx, listing_id)
    if listing.expert_id == customer.id:
        raise Conflict("own_listing", "You cannot order from yourself.")
    await require_unblocked(tx, customer.id, listing.expert_id)
    await _check_unpaid(tx, customer.id)
    terms = await settings.current(deps, tx)
    values = {
        "customer_id": customer.id,
        "expert_id": listing.expert_id,
        "listing_id": listing.id,
        "listing_revision": listing.published_revision,
        "title": listing.title,
        "requirements": requirements,
        **_price(listing, mode),
    }
    if values["fulfilment"] == Fulfilment.WORK and listing.delivery_days:
        days_ms = listing.delivery_days * 86_400 * MS_PER_S
        values["delivery_by_ms"] = deps.clock.wall_ms() + days_ms
    data = {"listing_id": listing.id, "mode": mode}
    return await place(deps, tx, customer.id, values, terms, data=data)


def _price(listing: Row, mode: str | None) -> dict[str, Any]:
    """What the listing says of fulfilment and money."""
    fulfilment = _FULFILMENT[listing.kind]
    if fulfilment is not Fulfilment.LIVE:
        if mode is not None:
            raise BadInput("mode_not_offered", "Only consultations have modes.", path="$.mode")
        money = {"currency": listing.currency, "prepay_minor": listing.price_minor}
        return {"fulfilment": fulfilment, "mode": None, "tariff": None, **money}
    tariff = listings.read_tariffs(listing.tariffs).get(mode or "")
    if tariff is None:
        raise BadInput(
            "mode_not_offered", "This listing is not offered in that mode.", path="$.mode"
        )
    return {"fulfilment": fulfilment, "mode": mode, **_metered(tariff)}


def _metered(tariff: Tariff) -> dict[str, Any]:
    return {
        "tariff": msgspec.to_builtins(tariff),
        "currency": tariff.currency,
        "prepay_minor": tariff.prepay_minor(),
    }


async def place(
    deps: AdminDeps,
    tx: Tx,
    actor_id: str,
    values: dict[str, Any],
    terms: Terms,
    *,
    data: dict[str, Any],
) -> str:
    """Store a new order with its conversation and tell of it; its id.

    `values`: parties, title, fulfilment, currency, prepay_minor and whatever else is its own.
    """
    now_ms = deps.clock.wall_ms()
    order_id = new_id("ord")
    policy = msgspec.structs.replace(deps.settings.policy, commission_bps=terms.commission_bps)
    due = None if terms.pay_within_s is None else now_ms + terms.pay_within_s * MS_PER_S
    order = {
        "id": order_id,
        "policy": msgspec.to_builtins(policy),
        "terms": msgspec.to_builtins(terms),
        "state": OrderState.PENDING_PAYMENT,
        "metered_sessions": 0,
        "due_at_ms": due,
        "created_at_ms": now_ms,
        "updated_at_ms": now_ms,
        **values,
    }
    # Two of 2**40 numbers may meet; the id cannot.
    while not await insert_once(tx, orders, order | {"number": new_number()}):
        pass
    await _converse(tx, order_id, (order["customer_id"], order["expert_id"]), now_ms)
    await events.publish(tx, "order.created", order_id, actor=actor_id, at_ms=now_ms, data=data)
    return order_id


async def _converse(tx: Tx, order_id: str, members: tuple[str, str], now_ms: int) -> None:
    conversation = {"id": new_id("con"), "kind": "order", "order_id": order_id, "last_seq": 0}
    await tx.execute(sa.insert(conversations).values(**conversation, created_at_ms=now_ms))
    await tx.execute(
        sa.insert(conversation_members),
        [{"conversation_id": conversation["id"], "user_id": user_id} for user_id in members],
    )


async def _listing(tx: Tx, listing_id: str) -> Row:
    query = listings.published().where(tables.listings.c.id == listing_id)
    row = await queries.row(tx, query)
    if row is None:
        raise NotFound("listing_not_found", "There is no such listing.")
    return row


async def _check_unpaid(tx: Tx, customer_id: str) -> None:
    unpaid = await tx.scalar(
        sa.select(sa.func.count())
        .select_from(orders)
        .where(orders.c.customer_id == customer_id)
        .where(orders.c.state == OrderState.PENDING_PAYMENT)
    )
    if (unpaid or 0) >= MOST_UNPAID_ORDERS:
        raise Conflict("too_many_unpaid_orders", "Pay or cancel some of your orders first.")


async def pay(deps: AdminDeps, tx: Tx, user_id: str, order_id: str) -> Done:
    """The customer's payment from the wallet. Raises what the machine refuses, and then leaves the
    caller's transaction as it was."""
    async with tx.begin_nested():
        return await transition(deps, tx, order_of(order_id), "pay", Actor(user_id))
