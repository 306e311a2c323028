"""Stripe: hosted Checkout Sessions and signed webhooks, by Stripe's own library.

An operator sets ``stripe_secret_key`` and ``stripe_webhook_secret`` and points a webhook endpoint
with the events ``checkout.session.*``, ``charge.dispute.*`` and ``charge.refunded`` to
``/api/v1/payments/stripe/webhook``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import stripe
import structlog

from admin.payments.provider import Announced, NewPayment, PaymentEvent, Standing, TakenBack
from admin.payments.stripe_units import from_stripe, to_stripe
from engine.errors import BadInput, Unauthorized, Unavailable

_log = structlog.get_logger(__name__)

_OUTCOMES: dict[str, Literal["succeeded", "failed", "expired"]] = {
    "checkout.session.async_payment_succeeded": "succeeded",
    "checkout.session.async_payment_failed": "failed",
    "checkout.session.expired": "expired",
}
_DISPUTE, _REFUNDED = "charge.dispute.", "charge.refunded"
_TIMEOUT_S = 20.0
_MOST_RETRIES = 2


class _Session(msgspec.Struct):
    """The members of a Checkout Session that we go by."""

    id: str
    amount_total: int
    currency: str
    payment_status: str
    status: str | None = None

    def event(self, outcome: Literal["succeeded", "failed", "expired"]) -> PaymentEvent:
        """Raises `BadInput` for an amount or a currency that we do not know."""
        currency = self.currency.upper()
        amount_minor = from_stripe(self.amount_total, currency)
        return PaymentEvent(self.id, outcome, currency, amount_minor)


class _Charge(msgspec.Struct):
    """Of a charge that was refunded, or of a dispute about one."""

    id: str
    currency: str
    amount: int
    amount_refunded: int = 0
    """Of all refunds so far."""
    status: str = ""
    payment_intent: str | None = None

    def taken_back(self, ref: str, type_: str) -> TakenBack:
        currency = self.currency.upper()
        if type_ == _REFUNDED:
            amount_minor = from_stripe(self.amount_refunded, currency)
            return TakenBack(ref, "refund", currency, amount_minor)
        what = f"chargeback {self.id} ({self.status})"
        return TakenBack(ref, what, currency, from_stripe(self.amount, currency))


class _Data(msgspec.Struct):
    object: dict[str, Any]


class _Event(msgspec.Struct):
    type: str
    data: _Data


class StripeProvider:
    """Takes cards and whatever else the operator's Stripe account offers."""

    name = "stripe"
    called_by_browser = False

    def __init__(self, *, secret_key: str, webhook_secret: str, api_base: str = "") -> None:
        """`api_base`: another address of the API, for tests."""
        self._http = stripe.AIOHTTPClient(timeout=_TIMEOUT_S)
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_base} if api_base else {},
            max_network_retries=_MOST_RETRIES,
            http_client=self._http,
        )
        self._webhook_secret = webhook_secret

    async def create(self, payment: NewPayment) -> Announced:
        line: Any = {
            "quantity": 1,
            "price_data": {
                "currency": payment.currency.lower(),
                "unit_amount": to_stripe(payment.amount_minor, payment.currency),
                "product_data": {"name": "Wallet top-up"},
            },
        }
        try:
            session = await self._client.v1.checkout.sessions.create_async(
                {
                    "mode": "payment",
                    "line_items": [line],
                    "client_reference_id": payment.id,
                    "customer_email": payment.payer.email,
                    "success_url": payment.return_url,
                    "cancel_url": payment.return_url,
                },
                {"idempotency_key": payment.id},
            )
        except stripe.StripeError as error:
            _log.error("stripe_refused", payment=payment.id, error=str(error))
            raise _unavailable() from error
        if not session.url:
            raise _unavailable()
        return Announced(session.id, session.url)

    async def receive(
        self, headers: Mapping[str, str], body: bytes
    ) -> PaymentEvent | TakenBack | None:
        signature = headers.get("Stripe-Signature", "")
        try:
            stripe.WebhookSignature.verify_header(
                body.decode(), signature, self._webhook_secret, stripe.Webhook.DEFAULT_TOLERANCE
            )
        except (stripe.SignatureVerificationError, UnicodeDecodeError, ValueError):
            raise Unauthorized("bad_signature", "The signature does not match.") from None
        try:
            event = msgspec.json.decode(body, type=_Event)
            if event.type == _REFUNDED or event.type.startswith(_DISPUTE):
                return await self._taken_back(event)
            if not event.type.startswith("checkout.session."):
                return None
            session = msgspec.convert(event.data.object, _Session)
        except msgspec.MsgspecError:
            raise BadInput("bad_webhook", "This delivery cannot be read.") from None
        outcome = _OUTCOMES.get(event.type)
        if event.type == "checkout.session.completed" and session.payment_status == "paid":
            outcome = "succeeded"  # slower methods say so later, with an event of their own
        return None if outcome is None else session.event(outcome)

    async def _taken_back(self, event: _Event) -> TakenBack | None:
        charge = msgspec.convert(event.data.object, _Charge)
        ref = await self._session_of(charge.payment_intent)
        if ref is None:  # the operator may sell other things by the same account
            _log.warning("stripe_charge_of_no_checkout", type=event.type, id=charge.id)
            return None
        return charge.taken_back(ref, event.type)

    async def _session_of(self, payment_intent: str | None) -> str | None:
        """A charge does not name the checkout that it was made by, which is what we know."""
        if payment_intent is None:
            return None
        try:
            found = await self._client.v1.checkout.sessions.list_async(
                {"payment_intent": payment_intent, "limit": 1}
            )
        except stripe.StripeError as error:
            _log.error("stripe_did_not_tell", ref=payment_intent, error=str(error))
            raise _unavailable() from error
        return found.data[0].id if found.data else None

    async def ask(self, ref: str) -> Standing:
        try:
            found = await self._client.v1.checkout.sessions.retrieve_async(ref)
        except stripe.InvalidRequestError:
            return None  # of another account of the operator's, for one
        except stripe.StripeError as error:
            _log.error("stripe_did_not_tell", ref=ref, error=str(error))
            raise _unavailable() from error
        session = msgspec.convert(found.to_dict(), _Session)
        if session.payment_status == "paid":
            return session.event("succeeded")
        if session.status == "expired":
            return session.event("expired")
        return "on_its_way" if session.status == "complete" else None

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]


def _unavailable() -> Unavailable:
    return Unavailable(
        "payment_provider_unavailable", "The payment provider does not answer.", retry_after=10
    )
