"""Bodies of payouts."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from admin.http.bodies import Body
from admin.schemas import AmountMinor, Money


class PayoutDetails(Body):
    """GET and PUT /me/payout-details: where payouts go to."""

    holder: Annotated[str, Meta(min_length=2, max_length=70)]
    """As the bank knows the account's holder."""
    iban: Annotated[str, Meta(min_length=15, max_length=42)]
    """ISO 13616; stored without spaces."""


class CreatePayout(Body):
    """POST /payouts."""

    amount_minor: AmountMinor


class Payout(Struct):
    """One payout. `iban` shows its end only; `actions`: what the viewer may do now."""

    id: str
    user_id: str
    amount: Money
    state: str
    """requested, approved, sent, paid, failed, cancelled."""
    iban: str
    reference: str | None
    failure: str | None
    actions: list[str]
    created_at: str
    updated_at: str


class PayoutPage(Struct):
    items: list[Payout]
    next_cursor: str | None


class PayoutReason(Body):
    """Of a payout that is refused or came back: what its expert reads."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)]


class Sent(Body):
    """What the bank's order is found by."""

    reference: Annotated[str, Meta(min_length=1, max_length=100)]
