"""The life of a review: published <-> hidden; edited for a while, answered once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import sqlalchemy as sa
from msgspec import Meta

from admin import queries
from admin.http.bodies import Body
from admin.market.terms import of_order
from admin.market.transitions import Actor, Machine, Move, Situation, Subject
from admin.ports import AdminDeps
from admin.queries import Row
from admin.reviews import effects
from admin.reviews.schemas import NewReview, ReviewReply
from engine.errors import Conflict, TalktimeError
from engine.store.database import Tx
from engine.store.market_tables import reviews
from engine.store.tables import orders


class HideReview(Body):
    """POST /admin/reviews/{id}/hide."""

    reason: Annotated[str, Meta(min_length=1, max_length=2_000)]


@dataclass(frozen=True)
class Facts:
    edit_until_ms: int
    """By the terms of the order."""


def editable(situation: Situation) -> TalktimeError | None:
    if situation.now_ms > situation.facts.edit_until_ms:
        return Conflict("review_final", "This review can no longer be changed.")
    return None


def not_replied(situation: Situation) -> TalktimeError | None:
    if situation.row.reply is not None:
        return Conflict("already_replied", "You have answered this review.")
    return None


MOVES = (
    Move(
        action="edit",
        frm=("published", "hidden"),
        by=("customer",),
        guards=(editable,),
        effects=(effects.edit,),
        event="review.edited",
        body=NewReview,
    ),
    Move(
        action="reply",
        frm=("published",),
        by=("expert",),
        guards=(not_replied,),
        effects=(effects.reply,),
        event="review.replied",
        body=ReviewReply,
    ),
    Move(
        action="hide",
        frm=("published",),
        to="hidden",
        permission="support",
        effects=(effects.hide,),
        event="review.hidden",
        body=HideReview,
    ),
    Move(
        action="show",
        frm=("hidden",),
        to="published",
        permission="support",
        effects=(effects.show,),
        event="review.shown",
    ),
)


def _parties(row: Row, actor: Actor) -> frozenset[str]:
    mine = {"customer": row.customer_id, "expert": row.expert_id}
    return frozenset(party for party, user_id in mine.items() if user_id == actor.id)


async def facts(_deps: AdminDeps, tx: Tx, rows: Sequence[Row]) -> Mapping[str, Facts]:
    """By review id."""
    query = sa.select(orders.c.id, orders.c.terms).where(
        orders.c.id.in_([row.order_id for row in rows])
    )
    terms = await queries.pairs(tx, query)
    return {
        row.id: Facts(row.created_at_ms + of_order(terms[row.order_id]).review_edit_s * 1_000)
        for row in rows
    }


REVIEW = Machine(
    name="review",
    table=reviews,
    moves=MOVES,
    parties=_parties,
    facts=facts,
    wrong_state=lambda row, _action: (
        Conflict("review_hidden", "This review is hidden.")
        if row.state == "hidden"
        else Conflict("review_shown", "This review is shown.")
    ),
)


def review_of(review_id: str) -> Subject:
    return Subject(REVIEW, review_id)
