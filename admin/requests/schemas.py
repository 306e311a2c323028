"""Bodies and answers of the negotiation area."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct, field

from admin.files.schemas import File
from admin.http.bodies import Body
from admin.schemas import AmountMinor, Money, PartyCard
from engine.signaling.messages import AttachmentIds, IdText

Instant = Annotated[datetime, Meta(tz=True)]
Slug = Annotated[str, Meta(min_length=1, max_length=80)]
ExpertIds = Annotated[list[IdText], Meta(min_length=1, max_length=10)]


class NewRequest(Body, kw_only=True):
    """POST /requests: to the expert of a listing, to some experts, or to a few of a category, whom
    the system draws; one of the three. `deadline`: until when offers are taken."""

    listing_id: IdText | None = None
    expert_ids: ExpertIds | None = None
    category: Slug | None = None
    title: Annotated[str, Meta(min_length=1, max_length=160)]
    body: Annotated[str, Meta(min_length=1, max_length=4_000)]
    files: AttachmentIds = field(default_factory=list)
    budget_minor: AmountMinor | None = None
    delivery_by: Instant | None = None
    deadline: Instant | None = None


class Offer(Body, kw_only=True):
    """POST /requests/{id}/proposals, POST /proposals/{id}/counter. `valid_until`: the request's
    deadline unless an earlier instant is given."""

    price_minor: AmountMinor
    delivery_days: Annotated[int, Meta(ge=1, le=3_650)]
    note: Annotated[str, Meta(max_length=2_000)] = ""
    valid_until: Instant | None = None


class Why(Body):
    """Of a refusal: what the other side reads."""

    reason: Annotated[str, Meta(max_length=400)] = ""


class Proposal(Struct):
    """An expert's part in a request. `state`: invited (no offer yet), pending, accepted, declined,
    lost, withdrawn, expired, superseded; `by`: whose offer it is (customer, expert); `actions`:
    what the viewer may do now, as in POST /proposals/{id}/…; `warning`: what the author of the
    offer should know of what was hidden in it."""

    id: str
    request_id: str
    expert: PartyCard
    invited_by: str
    state: str
    by: str | None
    price: Money | None
    delivery_days: int | None
    note: str
    reason: str | None
    valid_until: str | None
    previous_id: str | None
    conversation_id: str | None
    order_id: str | None
    actions: list[str]
    created_at: str
    warning: str | None = None


class Request(Struct):
    """GET /requests/{id}. `role`: whose eyes this is (customer, expert); experts see their own
    proposal only. `order_id`: of the offer that was accepted."""

    id: str
    title: str
    body: str
    files: list[File]
    category: str
    listing_id: str | None
    budget: Money | None
    delivery_by: str | None
    deadline: str
    state: str
    role: str
    customer: PartyCard
    proposals: list[Proposal]
    order_id: str | None
    can_offer: bool
    actions: list[str]
    created_at: str
    warning: str | None = None


class RequestPage(Struct):
    items: list[Request]
    next_cursor: str | None
