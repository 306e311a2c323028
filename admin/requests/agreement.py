"""From an accepted offer to the order, which its customer then pays (P12)."""

from __future__ import annotations

import sqlalchemy as sa

from admin import queries
from admin.files.service import mark_used
from admin.http.times import money_text
from admin.market import settings
from admin.market.transitions import Step
from admin.orders import service as orders
from admin.orders.states import MS_PER_S, Fulfilment
from admin.queries import Row
from engine.store.market_tables import requests
from engine.store.tables import conversations, listings

_DAY_MS = 86_400 * MS_PER_S


async def place_order(step: Step) -> None:
    """Work at the price of the offer, with what the request said; no money moves yet."""
    deps, tx, offer = step.deps, step.tx, step.row
    request = await queries.row(tx, sa.select(requests).where(requests.c.id == offer.request_id))
    assert request is not None
    values = {
        "customer_id": offer.customer_id,
        "expert_id": offer.expert_id,
        "listing_id": request.listing_id,
        "listing_revision": await _revision(step, request.listing_id),
        "proposal_id": offer.id,
        "title": request.title,
        "requirements": request.body,
        "fulfilment": Fulfilment.WORK,
        "mode": None,
        "tariff": None,
        "currency": offer.currency,
        "prepay_minor": offer.price_minor,
        "delivery_by_ms": step.now_ms + offer.delivery_days * _DAY_MS,
    }
    terms = await settings.current(deps, tx)
    about = {"proposal_id": offer.id, "request_id": request.id}
    order_id = await orders.place(deps, tx, step.actor.id, values, terms, data=about)
    step.data["order_id"] = order_id
    await _open_talk(step, order_id, request)


async def _open_talk(step: Step, order_id: str, request: Row) -> None:
    """The order's conversation begins with what was agreed and the request's files."""
    deps, tx, offer = step.deps, step.tx, step.row
    query = sa.select(conversations.c.id).where(conversations.c.order_id == order_id)
    conversation_id = str(await tx.scalar(query))
    await mark_used(tx, request.files, "conversation", conversation_id)
    price = money_text(offer.price_minor, offer.currency)
    text = f"Agreed: {price}, delivered within {offer.delivery_days} days of the payment."
    message = await deps.chat.post_system(tx, conversation_id, text, request.files)
    step.after.append(lambda: deps.chat.announce(message))


async def _revision(step: Step, listing_id: str | None) -> int | None:
    if listing_id is None:
        return None
    query = sa.select(listings.c.published_revision).where(listings.c.id == listing_id)
    return await step.tx.scalar(query)
