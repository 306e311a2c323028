"""The category tree: the preset's seeds, and what GET /categories shows."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from admin import queries
from admin.catalogue.schemas import Categories, Category
from admin.market.preset import CategorySeed, Preset
from admin.queries import Row
from engine.ids import new_id
from engine.store.database import Store, Tx
from engine.store.market_tables import categories


async def seed(store: Store, preset: Preset) -> None:
    """Add the preset's categories that are not there; what staff changed stays."""
    async with store.transaction() as tx:
        known = await queries.pairs(tx, sa.select(categories.c.slug, categories.c.id))
        await _add(tx, preset.categories, None, known)


async def _add(
    tx: Tx, seeds: Sequence[CategorySeed], parent_id: str | None, known: dict[str, str]
) -> None:
    for position, one in enumerate(seeds):
        if one.slug not in known:
            known[one.slug] = new_id("cat")
            values = {
                "id": known[one.slug],
                "parent_id": parent_id,
                "slug": one.slug,
                "names": dict(one.names),
                "featured": one.featured,
                "position": position,
            }
            await tx.execute(sa.insert(categories).values(values))
        await _add(tx, one.children, known[one.slug], known)


async def tree(tx: Tx, locale: str) -> Categories:
    """All categories, in order; a marketplace has dozens, not thousands."""
    c = categories.c
    rows = await queries.rows(tx, sa.select(categories).order_by(c.position, c.slug))
    return Categories(_children(rows, None, locale))


def _children(rows: Sequence[Row], parent_id: str | None, locale: str) -> list[Category]:
    return [
        Category(
            id=row.id,
            slug=row.slug,
            name=name_in(row.names, locale),
            names=row.names,
            featured=row.featured,
            children=_children(rows, row.id, locale),
        )
        for row in rows
        if row.parent_id == parent_id
    ]


def name_in(names: dict[str, str], locale: str) -> str:
    return names.get(locale) or next(iter(names.values()), "")


async def known(tx: Tx, slug: str) -> bool:
    return (
        bool(slug)
        and await tx.scalar(sa.select(categories.c.id).where(categories.c.slug == slug)) is not None
    )


async def with_children(tx: Tx, slug: str) -> list[str]:
    """The slug and those below it; one that is unknown alone."""
    c = categories.c
    rows = await queries.rows(tx, sa.select(c.id, c.slug, c.parent_id))
    ids = {row.slug: row.id for row in rows}
    found = [slug]
    for parent in found:  # grows while it is walked
        found += [row.slug for row in rows if row.parent_id and row.parent_id == ids.get(parent)]
    return found
