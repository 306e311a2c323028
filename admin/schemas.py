"""Bodies of the REST surface under ``/api/v1``; the OpenAPI document is made from these.

Times are RFC 3339 UTC strings, money is `Money` in minor units. Errors are problem+json (RFC 9457):
``{"type", "title", "status", "code", "detail", ...}``; a 402 carries `shortfall`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from admin.http.bodies import Body
from engine.signaling.messages import IceServer, IdText, Message, Mode

AmountMinor = Annotated[int, Meta(ge=1, le=100_000_000)]


class Money(Struct):
    amount: int
    currency: str


# Catalogue ----------------------------------------------------------------------------------------


class ExpertCard(Struct):
    id: str
    slug: str
    display_name: str
    headline: str
    languages: list[str]
    online: bool
    status: str
    callable: bool
    photo_url: str | None = None
    """Path of the picture, for about an hour."""
    rating: float | None = None
    """Stars, 1 to 5; refusals weigh in it. None: no review yet."""
    review_count: int = 0
    refusal_count: int = 0
    completed_orders: int = 0
    response_s: int | None = None
    """Mean time until a first answer, seconds."""


class TariffView(Struct):
    mode: str
    currency: str
    price_minor: int
    per_seconds: int
    block_seconds: int
    block_price_minor: int
    prepaid_seconds: int
    prepay_minor: int
    """What confirming an order puts on hold."""
    grace_seconds: int


class Listing(Struct):
    """GET /listings, GET /listings/{id}. `title` and `description` are in `locale`, one of
    `locales`; `category` is a slug; `price`: of work and files; `price_from`: the least that
    ordering it puts on hold; `requirements`: what the buyer is asked to tell."""

    id: str
    title: str
    description: str
    category: str
    kind: str
    expert: ExpertCard
    tariffs: list[TariffView]
    my_orders: list[OrderRef]
    category_name: str
    locale: str
    locales: list[str]
    images: list[str]
    price: Money | None
    price_from: Money
    delivery_days: int | None
    requirements: str
    file_count: int
    link_count: int
    order_count: int
    rating: float | None


class OrderRef(Struct):
    id: str
    number: str
    mode: str | None
    state: str


class ListingPage(Struct):
    items: list[Listing]
    next_cursor: str | None


# Orders -------------------------------------------------------------------------------------------


class CreateOrder(Body):
    """POST /orders. With `confirm` it is paid in the same step (T42, T43); 402 keeps the order."""

    listing_id: IdText
    mode: Mode | None = None
    """Of consultations only."""
    confirm: bool = False
    requirements: Annotated[str, Meta(max_length=8_000)] | None = None
    """What the expert needs to know for the work (P26)."""


class Order(Struct):
    """GET /orders/{id}. `price`: what confirming puts on hold; `held`: what of it is not consumed
    yet; `captured`: paid so far; `actions`: what the viewer may do now, as in POST /orders/{id}/…
    """

    id: str
    number: str
    title: str
    listing_id: str | None
    fulfilment: str
    """live, work, files."""
    mode: str | None
    state: str
    closed_reason: str | None
    role: str
    """customer or expert: whose eyes this is."""
    customer: PartyCard
    expert: PartyCard
    tariff: TariffView | None
    """Of consultations."""
    price: Money
    held: Money
    captured: Money
    metered_sessions: int
    live_session_id: str | None
    conversation_id: str
    requirements: str | None
    delivery_by: str | None
    started_at: str | None
    delivered_at: str | None
    rework_count: int
    cancel_agreed: bool
    """The expert agreed to a cancellation."""
    acts_at: str | None
    """When silence has a consequence: unpaid is cancelled, delivered accepted, idle closed."""
    dispute_case_id: str | None
    """Of the dispute that is open."""
    can_call: bool
    can_cancel: bool
    can_review: bool
    actions: list[str]
    created_at: str
    closed_at: str | None


class PartyCard(Struct):
    id: str
    display_name: str


class OrderPage(Struct):
    items: list[Order]
    next_cursor: str | None


class SessionView(Struct):
    """GET /sessions/{id}."""

    id: str
    order_id: str
    ordinal: int | None
    mode: str
    direction: str
    state: str
    end_reason: str | None
    ended_by: str | None
    rung_at: str
    answered_at: str | None
    started_at: str | None
    metered_at: str | None
    ended_at: str | None
    billed_seconds: int
    blocks: int
    total: Money
    receipt_url: str | None = None
    """Path of the printable receipt, with its own permission, valid for some minutes."""


class SessionPage(Struct):
    """GET /orders/{id}/sessions, oldest first; all of them."""

    items: list[SessionView]
    next_cursor: str | None = None


class TimelineEntry(Struct):
    at: str
    type: str
    text: str
    """One sentence for people."""


class ReceiptLine(Struct):
    at: str
    text: str
    amount: Money


class Receipt(Struct):
    """GET /sessions/{id}/receipt; a page with `Accept: text/html` or `?format=html`."""

    number: str
    session: SessionView
    order_number: str
    title: str
    customer: PartyCard
    expert: PartyCard
    lines: list[ReceiptLine]
    total: Money
    fee: Money | None
    """Only the expert sees the commission and what was earned."""
    earned: Money | None
    timeline: list[TimelineEntry]
    url: str | None = None
    """As `SessionView.receipt_url`."""


class OrderReceipt(Struct):
    """GET /orders/{id}/receipt: every session of the order and what became of the prepayment."""

    order: Order
    sessions: list[Receipt]
    lines: list[ReceiptLine]
    """Beside the sessions: the price, what was given back, what returned from the prepayment."""
    total: Money
    """What the order cost its customer."""
    fee: Money | None
    """Only the expert sees the commission and what was earned."""
    earned: Money | None
    url: str | None = None
    """Path of the printable receipt, as `SessionView.receipt_url`."""


# Wallet -------------------------------------------------------------------------------------------


class Wallet(Struct):
    """GET /wallet."""

    available: Money
    held: Money
    earned: Money


class WalletTransaction(Struct):
    id: str
    kind: str
    """topup, hold, release, capture, reverse, payout, payout_returned, adjust."""
    account: Literal["wallet", "earnings"]
    text: str
    amount: Money
    """Signed: what it did to this user's money."""
    order_id: str | None
    order_number: str | None
    order_title: str | None
    session_id: str | None
    at: str


class WalletTransactionPage(Struct):
    items: list[WalletTransaction]
    next_cursor: str | None


class CreateTopUp(Body):
    """POST /wallet/top-ups; with `order_id` a success also pays that order."""

    amount_minor: AmountMinor
    order_id: IdText | None = None


class TopUp(Struct):
    """GET /wallet/top-ups/{id}. `checkout_url`: where the provider takes the payment."""

    id: str
    amount: Money
    state: Literal["pending", "succeeded", "failed", "expired"]
    provider: str
    checkout_url: str | None
    created_at: str


class DecideTestPayment(Body):
    """POST /test-payments/{provider_ref}: plays the customer at the test provider's checkout."""

    outcome: Literal["succeed", "fail"]


# Engine -------------------------------------------------------------------------------------------


class IceServers(Struct):
    """GET /ice-servers."""

    ice_servers: list[IceServer]


class CreateEngineToken(Body):
    """POST /engine/tokens: a short-lived token for one order, for frontends with the client."""

    order_id: IdText


class EngineToken(Struct):
    token: str
    expires_in: int


class MessagePage(Struct):
    """GET /conversations/{id}/messages, oldest first."""

    items: list[Message]
    next_cursor: str | None
