"""Reading, changing, answering and hiding reviews; writing one is a move of the order."""

from __future__ import annotations

from functools import partial
from typing import Any

import sqlalchemy as sa

from admin.http import cursors
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.http.cursors import PageQuery
from admin.market.routes import move_route
from admin.market.transitions import Done, transition
from admin.reviews import schemas, views
from admin.reviews.machine import REVIEW, review_of
from engine.store.database import Tx
from engine.store.market_tables import reviews

SLUG = "{slug:[0-9a-z_-]{1,80}}"


async def list_expert_reviews(call: Call[Nothing, PageQuery]) -> Answer:
    after = cursors.decode(call.query.cursor)
    slug, limit = call.request.match_info["slug"], call.query.limit
    async with call.deps.store.reading() as tx:
        page = await views.of_expert(call.deps, tx, call.viewer, slug, after=after, limit=limit)
    return Answer(200, page)


async def list_listing_reviews(call: Call[Nothing, PageQuery]) -> Answer:
    after = cursors.decode(call.query.cursor)
    limit = call.query.limit
    async with call.deps.store.reading() as tx:
        page = await views.of_listing(call.deps, tx, call.viewer, call.id, after=after, limit=limit)
    return Answer(200, page)


async def _edit(call: Call[schemas.NewReview, Nothing], tx: Tx) -> Done:
    """By its order, where it was written."""
    review = review_of(await _id_of(tx, call.id))
    return await transition(call.deps, tx, review, "edit", call.user.actor, body=call.body)


async def _shown(call: Call[Any, Nothing], tx: Tx, done: Done) -> schemas.Review:
    return await views.one(call.deps, tx, call.user, done.row.id)


async def _id_of(tx: Tx, order_id: str) -> str:
    review_id = await tx.scalar(sa.select(reviews.c.id).where(reviews.c.order_id == order_id))
    if review_id is None:
        raise REVIEW.not_found
    return str(review_id)


_action = partial(move_route, REVIEW, tag="Reviews", answer=schemas.Review, show=_shown)


ROUTES = (
    Route(
        method="GET",
        path=f"/experts/{SLUG}/reviews",
        handler=list_expert_reviews,
        summary="What customers say of an expert, newest first",
        tag="Reviews",
        query=PageQuery,
        answer=schemas.ReviewPage,
        auth="optional",
        refusals=(404,),
    ),
    Route(
        method="GET",
        path=f"/listings/{ID}/reviews",
        handler=list_listing_reviews,
        summary="What customers say of a service, newest first",
        tag="Reviews",
        query=PageQuery,
        answer=schemas.ReviewPage,
        auth="optional",
        refusals=(404,),
    ),
    _action(
        "edit",
        f"/orders/{ID}/review",
        "Change one's own review, while the terms allow it",
        make=_edit,
        method="PUT",
        refusals=(400, 403, 404, 413, 415, 422),
    ),
    _action("reply", f"/reviews/{ID}/reply", "Answer a review, once, as its expert"),
    _action("hide", f"/admin/reviews/{ID}/hide", "Hide a review; it no longer counts"),
    _action("show", f"/admin/reviews/{ID}/show", "Show a hidden review again"),
)
