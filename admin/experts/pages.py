"""Experts as customers see them: lists, and one with everything that may be compared (P6)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from admin import queries
from admin.accounts.people import Viewer
from admin.catalogue import listings as shop
from admin.catalogue import search
from admin.experts import availability, marks, profile
from admin.experts.schemas import Availability, Expert, ExpertPage, ReviewSummary
from admin.http import cursors
from admin.http.cursors import Cursor
from admin.ports import AdminDeps
from admin.queries import Row, later_than
from engine.errors import NotFound
from engine.store.database import Tx
from engine.store.market_tables import categories, expert_categories, reviews
from engine.store.tables import experts, users

_e = experts.c
MOST_LISTINGS = 50


def shown() -> sa.Select[Any]:
    """Active experts of active users."""
    return (
        sa.select(_e.user_id.label("expert_id"), *shop.EXPERT_COLUMNS)
        .join(users, users.c.id == _e.user_id)
        .where(_e.active, users.c.state == "active")
    )


async def page(
    deps: AdminDeps,
    tx: Tx,
    *,
    category: str | None,
    online: bool | None,
    after: Cursor | None,
    limit: int,
) -> ExpertPage:
    """The best rated first (P29)."""
    query = shown()
    if category is not None:
        serving = (
            sa.select(expert_categories.c.expert_id)
            .join(categories, categories.c.id == expert_categories.c.category_id)
            .where(categories.c.slug == category)
        )
        query = query.where(_e.user_id.in_(serving))
    if online is not None:
        here = _e.user_id.in_(deps.presence.online_users())
        query = query.where(here if online else sa.not_(here))
    if after is not None:
        query = query.where(later_than(_e.rating_milli, _e.user_id, after))
    query = query.order_by(_e.rating_milli.desc(), _e.user_id.desc()).limit(limit + 1)
    rows = await queries.rows(tx, query)
    items = [shop.expert_card(deps, row) for row in rows[:limit]]
    rest = None
    if len(rows) > limit:
        last = rows[limit - 1]
        rest = cursors.encode(Cursor(last.expert_rating_milli, last.expert_id))
    return ExpertPage(items, rest)


async def one(
    deps: AdminDeps, tx: Tx, viewer: Viewer | None, slug: str, *, zone: str, locale: str | None
) -> Expert:
    """By slug; an expert sees the own page as others do, hidden or not.

    Raises `NotFound("expert_not_found")`, `BadInput("timezone_unknown")`.
    """
    query = (
        shown()
        .where(_e.slug == slug)
        .add_columns(_e.about, _e.education, _e.experience, _e.skills, _e.availability)
        .add_columns(users.c.timezone)
    )
    row = await queries.row(tx, query)
    if row is None:
        raise NotFound("expert_not_found", "There is no such expert.")
    wanted = search.Filter(expert_id=row.expert_id)
    rows, _ = await search.page(deps, tx, wanted, "popular", after=None, limit=MOST_LISTINGS)
    return Expert(
        id=row.expert_id,
        slug=row.slug,
        display_name=row.display_name,
        card=shop.expert_card(deps, row),
        about=row.about,
        education=row.education,
        experience=row.experience,
        skills=row.skills,
        languages=row.languages,
        categories=await profile.category_slugs(tx, row.expert_id),
        availability=_week(deps, row, zone),
        expert_timezone=row.timezone,
        reviews=await _summary(tx, row),
        listings=await shop.views(deps, tx, viewer, rows, locale),
        is_favourite=viewer is not None
        and await marks.has(tx, viewer.id, "favourite", "expert", row.expert_id),
    )


def _week(deps: AdminDeps, row: Row, zone: str) -> Availability:
    viewer_zone = availability.zone(zone, "$.tz")
    theirs = availability.zone(row.timezone)
    grid = availability.in_zone(row.availability, theirs, viewer_zone, deps.clock.wall_ms())
    return Availability(grid, zone)


async def _summary(tx: Tx, row: Row) -> ReviewSummary:
    r = reviews.c
    counted = await queries.pairs(
        tx,
        sa.select(r.rating_expert, sa.func.count())
        .where(r.expert_id == row.expert_id, r.state == "published")
        .group_by(r.rating_expert),
    )
    by_star: dict[Any, int] = dict(counted)
    return ReviewSummary(
        rating=shop.stars(row.expert_rating_milli),
        count=row.review_count,
        refusals=row.refusal_count,
        stars=[by_star.get(star, 0) for star in range(1, 6)],
    )
