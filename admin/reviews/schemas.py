"""Bodies of reviews under ``/api/v1``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from admin.http.bodies import Body

Stars = Annotated[int, Meta(ge=1, le=5)]


class NewReview(Body):
    """POST /orders/{id}/review; PUT changes it. Stars are 1 to 5."""

    rating_service: Stars
    rating_expert: Stars
    text: Annotated[str, Meta(max_length=4_000)] = ""


class ReviewReply(Body):
    """POST /reviews/{id}/reply: the expert's one answer."""

    text: Annotated[str, Meta(min_length=1, max_length=2_000)]


class Review(Struct):
    """One opinion, public."""

    id: str
    order_id: str | None
    """Only to its two parties."""
    listing_id: str | None
    listing_title: str | None
    customer_name: str
    rating_service: int
    rating_expert: int
    text: str
    reply: str | None
    hidden: bool
    """By staff; then only its author, the expert and staff see it."""
    created_at: str
    updated_at: str
    can_edit: bool
    can_reply: bool


class RatingSummary(Struct):
    """Averages in thousandths of a star; 0: nothing to go by. Each refusal of the expert weighs on
    `rating_milli` like so many one-star reviews (Tq).
    """

    review_count: int
    refusal_count: int
    rating_milli: int
    service_milli: int


class ReviewPage(Struct):
    """GET /experts/{slug}/reviews, GET /listings/{id}/reviews, newest first."""

    summary: RatingSummary
    items: list[Review]
    next_cursor: str | None
