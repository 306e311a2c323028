"""Reading, changing, answering and hiding reviews; writing one is a move of the order."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from admin.catalogue.handlers import CursorText, Limit
from admin.http import cursors
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.market.transitions import transition
from admin.reviews import schemas, views
from admin.reviews.machine import REVIEW, HideReview, review_of
from engine.store.database import Tx
from engine.store.market_tables import reviews

SLUG = "{slug:[0-9a-z_-]{1,80}}"


class PageQuery(Struct):
    cursor: CursorText | None = None
    limit: Limit = 20


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


async def edit_review(call: Call[schemas.NewReview, Nothing]) -> Answer:
    """By its order, where it was written."""
    return await _make(call, "edit", by_order=True)


async def _make(call: Call[Any, Nothing], action: str, *, by_order: bool = False) -> Answer:
    deps, user = call.deps, call.user
    async with deps.store.transaction() as tx:
        review_id = await _id_of(tx, call.id) if by_order else call.id
        subject = review_of(review_id)
        done = await transition(deps, tx, subject, action, user.actor, body=call.body)
        review = await views.one(deps, tx, user, review_id)
        answer = await call.claim.settle(tx, Answer(200, review))
    await done.tell()
    return answer


async def _id_of(tx: Tx, order_id: str) -> str:
    review_id = await tx.scalar(sa.select(reviews.c.id).where(reviews.c.order_id == order_id))
    if review_id is None:
        raise REVIEW.not_found
    return str(review_id)


def _action(action: str, path: str, summary: str, body: type[Struct]) -> Route:
    async def act(call: Call[Any, Nothing]) -> Answer:
        return await _make(call, action)

    act.__name__ = f"{action}_review"
    return Route(
        method="POST",
        path=f"{path}/{ID}/{action}",
        handler=act,
        summary=summary,
        tag="Reviews",
        body=None if body is Nothing else body,
        answer=schemas.Review,
        idempotent=True,
        refusals=(403, 404),
    )


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
    Route(
        method="PUT",
        path=f"/orders/{ID}/review",
        handler=edit_review,
        summary="Change one's own review, while the terms allow it",
        tag="Reviews",
        body=schemas.NewReview,
        answer=schemas.Review,
        idempotent=True,
        refusals=(400, 403, 404, 413, 415, 422),
    ),
    _action("reply", "/reviews", "Answer a review, once, as its expert", schemas.ReviewReply),
    _action("hide", "/admin/reviews", "Hide a review; it no longer counts", HideReview),
    _action("show", "/admin/reviews", "Show a hidden review again", Nothing),
)
