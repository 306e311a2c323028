"""Two people: their conversation, and whether they have done business."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

import sqlalchemy as sa

from admin.market import settings
from admin.ports import AdminDeps
from engine.chat.off_platform import hide_contacts
from engine.chat.ports import Screen
from engine.ids import new_id
from engine.store.database import Tx, insert_once
from engine.store.market_tables import conversation_members
from engine.store.tables import conversations, orders

PAID = ("open", "delivered", "completed", "disputed")
"""States of orders whose price was paid, and not given back."""


def pair_topic(one: str, other: str) -> str:
    return ":".join(sorted((one, other)))


def request_topic(request_id: str, expert_id: str) -> str:
    return f"{request_id}:{expert_id}"


async def screen(deps: AdminDeps, tx: Tx, user_id: str, others: Sequence[str]) -> Screen | None:
    """How to hide ways around the marketplace in what the user writes to the others; None: not
    at all, because that is the policy or because the user has a paid order with each of them."""
    terms = await settings.current(deps, tx)
    if not terms.off_platform_filter:
        return None
    if others and len(await _paid_with(tx, user_id, others)) == len(set(others)):
        return None
    return partial(hide_contacts, own_host=urlsplit(deps.settings.public_url).hostname or "")


async def _paid_with(tx: Tx, user_id: str, others: Sequence[str]) -> set[str]:
    o = orders.c
    found: set[str] = set()
    for mine, theirs in ((o.customer_id, o.expert_id), (o.expert_id, o.customer_id)):
        query = sa.select(theirs).where(mine == user_id, theirs.in_(others), o.state.in_(PAID))
        found |= set((await tx.scalars(query.distinct())).all())
    return found


async def converse(tx: Tx, kind: str, topic: str, members: Sequence[str], now_ms: int) -> str:
    """The conversation about a topic, made if it is not there; its id."""
    conversation_id = new_id("con")
    values = {"id": conversation_id, "kind": kind, "topic": topic, "created_at_ms": now_ms}
    if not await insert_once(tx, conversations, values | {"last_at_ms": now_ms}):
        found = await tx.scalar(sa.select(conversations.c.id).where(conversations.c.topic == topic))
        return str(found)
    await tx.execute(
        sa.insert(conversation_members),
        [{"conversation_id": conversation_id, "user_id": user_id} for user_id in members],
    )
    return conversation_id
