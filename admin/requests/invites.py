"""Whom a request goes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from admin.catalogue import listings
from engine.errors import Conflict, NotFound
from engine.store.database import Tx
from engine.store.market_tables import categories, expert_categories, marks
from engine.store.marks import require_unblocked
from engine.store.tables import experts, users
from engine.store.tables import listings as listing_rows


async def named(tx: Tx, customer_id: str, expert_ids: Sequence[str]) -> list[str]:
    """The experts that the customer names. Raises `NotFound("expert_not_found")`,
    `Conflict("own_request")`, `Forbidden("blocked")`."""
    wanted = list(dict.fromkeys(expert_ids))
    if customer_id in wanted:
        raise Conflict("own_request", "You cannot ask yourself.")
    found = set((await tx.scalars(_active().where(users.c.id.in_(wanted)))).all())
    if found != set(wanted):
        raise NotFound("expert_not_found", "There is no such expert.")
    await require_unblocked(tx, customer_id, *wanted)
    return wanted


async def of_listing(tx: Tx, listing_id: str) -> tuple[str, str]:
    """The expert and the category of a published listing. Raises `NotFound("listing_not_found")`"""
    query = listings.published().where(listing_rows.c.id == listing_id)
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise NotFound("listing_not_found", "There is no such listing.")
    return row.expert_id, row.category


async def drawn(tx: Tx, customer_id: str, category: str, count: int) -> list[str]:
    """Up to `count` different active experts of the category by lot, never the customer nor one of
    a blocked pair. Raises `NotFound("category_not_found")`, `Conflict("no_experts")`."""
    c, parent = categories.c, categories.alias("parent")
    known = sa.select(c.id).where(c.slug == category)
    if await tx.scalar(known) is None:
        raise NotFound("category_not_found", "There is no such category.")
    inside = (
        sa.select(c.id, c.slug)
        .outerjoin(parent, parent.c.id == c.parent_id)
        .where(sa.or_(c.slug == category, parent.c.slug == category))
        .subquery()
    )
    by_profile = (
        sa.select(expert_categories.c.expert_id)
        .join(inside, inside.c.id == expert_categories.c.category_id)
        .select_from(expert_categories)
    )
    by_listing = (
        sa.select(listing_rows.c.expert_id)
        .join(inside, inside.c.slug == listing_rows.c.category)
        .where(listing_rows.c.state == "published")
    )
    query = (
        _active()
        .where(users.c.id.in_(by_profile.union(by_listing)), users.c.id != customer_id)
        .where(users.c.id.not_in(_blocked(customer_id)))
        .order_by(sa.func.random())
        .limit(count)
    )
    found = list((await tx.scalars(query)).all())
    if not found:
        raise Conflict("no_experts", "Nobody of this category can be asked now.")
    return found


def _active() -> sa.Select[Any]:
    return (
        sa.select(users.c.id)
        .join(experts, experts.c.user_id == users.c.id)
        .where(users.c.state == "active", experts.c.active)
    )


def _blocked(user_id: str) -> sa.CompoundSelect[Any]:
    m = marks.c
    return sa.union(
        sa.select(m.subject_id).where(m.kind == "block", m.user_id == user_id),
        sa.select(m.user_id).where(m.kind == "block", m.subject_id == user_id),
    )
