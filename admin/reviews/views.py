"""What everybody, the parties and staff see of reviews."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from admin import queries
from admin.accounts.people import Viewer
from admin.http import cursors
from admin.http.cursors import Cursor
from admin.http.times import rfc3339
from admin.market.actors import Actor
from admin.market.transitions import possible, situation_of
from admin.ports import AdminDeps
from admin.queries import Row, later_than, total
from admin.reviews import schemas
from admin.reviews.machine import REVIEW, facts
from engine.errors import NotFound
from engine.store.database import Tx
from engine.store.market_tables import reviews
from engine.store.tables import experts, listings, orders, users


async def of_order(deps: AdminDeps, tx: Tx, user_id: str, order_id: str) -> schemas.Review | None:
    """The review of an order, as one of its parties sees it."""
    row = await queries.row(tx, _rows().where(reviews.c.order_id == order_id))
    return None if row is None else (await _views(deps, tx, Actor(user_id), [row]))[0]


async def one(deps: AdminDeps, tx: Tx, viewer: Viewer, review_id: str) -> schemas.Review:
    """As a party or staff see it. Raises `NotFound("review_not_found")`."""
    row = await queries.row(tx, _rows().where(reviews.c.id == review_id))
    if row is None:
        raise REVIEW.not_found
    return (await _views(deps, tx, viewer.actor, [row]))[0]


async def of_expert(
    deps: AdminDeps, tx: Tx, viewer: Viewer | None, slug: str, *, after: Cursor | None, limit: int
) -> schemas.ReviewPage:
    """Raises `NotFound("expert_not_found")`."""
    query = (sa.select(experts).join(users, users.c.id == experts.c.user_id)).where(
        experts.c.slug == slug, users.c.state == "active"
    )
    expert = await queries.row(tx, query)
    if expert is None:
        raise NotFound("expert_not_found", "There is no such expert.")
    mine = reviews.c.expert_id == expert.user_id
    summary = await _summary(tx, mine, expert)
    return await _page(deps, tx, viewer, mine, summary, after=after, limit=limit)


async def of_listing(
    deps: AdminDeps,
    tx: Tx,
    viewer: Viewer | None,
    listing_id: str,
    *,
    after: Cursor | None,
    limit: int,
) -> schemas.ReviewPage:
    """Also of one that is paused or archived. Raises `NotFound("listing_not_found")`."""
    query = (
        sa.select(experts)
        .join(listings, listings.c.expert_id == experts.c.user_id)
        .where(listings.c.id == listing_id)
        .where(listings.c.state.in_(("published", "paused", "archived")))
    )
    expert = await queries.row(tx, query)
    if expert is None:
        raise NotFound("listing_not_found", "There is no such listing.")
    mine = reviews.c.listing_id == listing_id
    summary = await _summary(tx, mine, expert)
    return await _page(deps, tx, viewer, mine, summary, after=after, limit=limit)


async def _summary(tx: Tx, mine: sa.ColumnElement[bool], expert: Row) -> schemas.RatingSummary:
    counted = sa.select(sa.func.count(), total(reviews.c.rating_service)).where(
        mine, reviews.c.state == "published"
    )
    count, stars = (await tx.execute(counted)).one()
    service = (2_000 * (stars or 0) + count) // (2 * count) if count else 0
    return schemas.RatingSummary(count, expert.refusal_count, expert.rating_milli, service)


async def _page(
    deps: AdminDeps,
    tx: Tx,
    viewer: Viewer | None,
    mine: sa.ColumnElement[bool],
    summary: schemas.RatingSummary,
    *,
    after: Cursor | None,
    limit: int,
) -> schemas.ReviewPage:
    query = _rows().where(mine, reviews.c.state == "published")
    if after is not None:
        query = query.where(later_than(reviews.c.created_at_ms, reviews.c.id, after))
    newest = query.order_by(reviews.c.created_at_ms.desc(), reviews.c.id.desc()).limit(limit + 1)
    rows = await queries.rows(tx, newest)
    shown = rows[:limit]
    rest = None
    if len(rows) > limit:
        rest = cursors.encode(Cursor(shown[-1].created_at_ms, shown[-1].id))
    actor = Actor("") if viewer is None else Actor(viewer.id)
    return schemas.ReviewPage(summary, await _views(deps, tx, actor, shown), rest)


def _rows() -> sa.Select[tuple[object, ...]]:
    return (
        sa.select(reviews, users.c.display_name, orders.c.title)
        .join(users, users.c.id == reviews.c.customer_id)
        .join(orders, orders.c.id == reviews.c.order_id)
    )


async def _views(
    deps: AdminDeps, tx: Tx, actor: Actor, rows: Sequence[Row]
) -> list[schemas.Review]:
    known = await facts(deps, tx, rows)
    found = []
    for row in rows:
        situation = situation_of(deps, REVIEW, row, known, actor)
        actions = possible(REVIEW, situation, actor)
        found.append(
            schemas.Review(
                id=row.id,
                order_id=row.order_id if situation.parties else None,
                listing_id=row.listing_id,
                # What somebody ordered by a request of their own is nobody else's business.
                listing_title=row.title if row.listing_id else None,
                customer_name=row.display_name,
                rating_service=row.rating_service,
                rating_expert=row.rating_expert,
                text=row.text,
                reply=row.reply,
                hidden=row.state == "hidden",
                created_at=rfc3339(row.created_at_ms),
                updated_at=rfc3339(row.updated_at_ms),
                can_edit="edit" in actions,
                can_reply="reply" in actions,
            )
        )
    return found
