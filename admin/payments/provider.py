"""What a payment provider must do; one is chosen by name in the webhook's path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Payer:
    """Who pays, as far as providers ask for it."""

    id: str
    name: str
    email: str
    address: str
    """Where their request came from: an IP address."""


@dataclass(frozen=True)
class NewPayment:
    """A payment that we want to be made; `id` is ours and idempotent for the provider."""

    id: str
    payer: Payer
    currency: str
    amount_minor: int
    return_url: str
    """Where the payer's browser comes back to, whatever happened."""


@dataclass(frozen=True)
class Announced:
    """A payment that the provider knows of: its reference, and where the customer pays."""

    ref: str
    checkout_url: str


@dataclass(frozen=True)
class PaymentEvent:
    """A verified statement of the provider about one payment."""

    provider_ref: str
    outcome: Literal["succeeded", "failed", "expired"]
    currency: str
    amount_minor: int


@dataclass(frozen=True)
class TakenBack:
    """A verified statement that the payer's money went back, or that their bank asks for it."""

    provider_ref: str
    what: str
    """For people, such as ``chargeback dp_1 (needs_response)``; another one is other news."""
    currency: str
    amount_minor: int


Standing = PaymentEvent | Literal["on_its_way"] | None
"""Of a payment that was asked about: how it ended; that somebody paid and it is not settled yet; or
that nobody has paid.
"""


class PaymentProvider(Protocol):
    """A provider. Its methods may be called concurrently."""

    @property
    def name(self) -> str:
        """As in ``POST /payments/{name}/webhook`` and `payments.provider`."""
        ...

    @property
    def called_by_browser(self) -> bool:
        """Whether the payer's own browser brings the news, and so expects to be sent on."""
        ...

    async def create(self, payment: NewPayment) -> Announced:
        """Announce a payment. Raises `Unavailable("payment_provider_unavailable")`, and
        `BadInput("amount_not_payable")` for what it cannot take exactly.
        """
        ...

    async def receive(
        self, headers: Mapping[str, str], body: bytes
    ) -> PaymentEvent | TakenBack | None:
        """What a delivery says; None: something genuine that does not concern us.

        Raises `Unauthorized("bad_signature")`, `BadInput("bad_webhook")` and `Unavailable`.
        """
        ...

    async def ask(self, ref: str) -> Standing:
        """How a payment stands: news of it may have been lost, or none may be sent. Raises
        `Unavailable`.
        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...
