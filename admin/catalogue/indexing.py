"""Keeping the words that listings are found by in step with what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from admin import queries
from admin.catalogue import content as texts
from admin.catalogue.content import Content
from engine.store.database import Store, Tx
from engine.store.market_tables import listing_revisions
from engine.store.tables import experts, listings, users

_AT_ONCE = 500


async def text_of(tx: Tx, expert_id: str, content: Content, tariffs: Mapping[str, Any]) -> str:
    query = (
        sa.select(users.c.display_name, experts.c.headline, experts.c.languages)
        .join(experts, experts.c.user_id == users.c.id)
        .where(users.c.id == expert_id)
    )
    row = await queries.row(tx, query)
    if row is None:
        return texts.search_text(content, tariffs, (), "")
    who = f"{row.display_name} {row.headline}"
    return texts.search_text(content, tariffs, row.languages, who)


async def reindex(tx: Tx, expert_id: str) -> None:
    """After a change of the expert's name, headline or languages."""
    await _index(tx, listings.c.expert_id == expert_id, None)


async def index_missing(store: Store) -> None:
    """Index what no release before had to: at the start, some hundreds in a transaction."""
    while True:
        async with store.transaction() as tx:
            if not await _index(tx, listings.c.search_text == "", _AT_ONCE):
                return


async def _index(tx: Tx, which: sa.ColumnElement[bool], limit: int | None) -> int:
    query = (
        sa.select(listings.c.id, listings.c.expert_id, listings.c.tariffs)
        .add_columns(listing_revisions.c.content)
        .join(
            listing_revisions,
            sa.and_(
                listing_revisions.c.listing_id == listings.c.id,
                listing_revisions.c.number == listings.c.published_revision,
            ),
        )
        .where(which, listings.c.published_revision > 0)
        .limit(limit)
    )
    rows = await queries.rows(tx, query)
    for row in rows:
        found = await text_of(tx, row.expert_id, texts.read(row.content), row.tariffs)
        await tx.execute(
            sa.update(listings).where(listings.c.id == row.id).values(search_text=found or "=")
        )
    return len(rows)
