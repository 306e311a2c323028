"""A provider whose checkout has two buttons: it pays or it fails, and no money is real.

It tells the outcome by a signed webhook like any other provider, so that demos and tests use the
code that real payments use. The signature follows Standard Webhooks 1.0: HMAC-SHA256 over
``{id}.{timestamp}.{body}``, header ``webhook-signature: v1,<base64>``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Literal

import msgspec

from admin.keys import derive
from admin.payments.provider import Announced, NewPayment, PaymentEvent, Standing
from engine.clock import Clock
from engine.errors import BadInput, Unauthorized
from engine.ids import new_id

TOLERANCE_S = 300
"""How old or how far ahead a delivery may be: an old one might be replayed."""


class Delivery(msgspec.Struct, forbid_unknown_fields=True):
    """The webhook's body."""

    type: Literal["payment.succeeded", "payment.failed"]
    payment: str
    currency: str
    amount_minor: int


class TestProvider:
    """The test provider; never to be configured where money is real."""

    __test__ = False  # not a test class
    name = "test"
    called_by_browser = False

    def __init__(self, *, secret: str, public_url: str, clock: Clock) -> None:
        self._key = derive(secret, "test-payments")
        self._public_url = public_url.rstrip("/")
        self._clock = clock

    async def create(self, payment: NewPayment) -> Announced:
        # Whoever knows the reference may decide the payment, so nobody can guess it.
        ref = f"tp_{payment.id.removeprefix('pay_')[:10]}{secrets.token_hex(12)}"
        return Announced(ref, f"{self._public_url}/test-checkout/{ref}")

    async def receive(self, headers: Mapping[str, str], body: bytes) -> PaymentEvent | None:
        return self.parse_webhook(headers, body)

    async def ask(self, ref: str) -> Standing:
        return None

    async def close(self) -> None: ...

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> PaymentEvent | None:
        self._check_signature(headers, body)
        try:
            said = msgspec.json.decode(body, type=Delivery)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise BadInput("bad_webhook", "This delivery cannot be read.") from None
        outcome: Literal["succeeded", "failed"] = (
            "succeeded" if said.type == "payment.succeeded" else "failed"
        )
        return PaymentEvent(said.payment, outcome, said.currency, said.amount_minor)

    def deliver(self, delivery: Delivery) -> tuple[dict[str, str], bytes]:
        """Headers and body of a webhook, as the provider would send it now."""
        body = msgspec.json.encode(delivery)
        webhook_id, timestamp = new_id("evt"), str(self._clock.wall_ms() // 1_000)
        headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": self._signature(webhook_id, timestamp, body),
        }
        return headers, body

    def _check_signature(self, headers: Mapping[str, str], body: bytes) -> None:
        webhook_id = headers.get("webhook-id", "")
        timestamp = headers.get("webhook-timestamp", "")
        expected = self._signature(webhook_id, timestamp, body).encode()
        given = headers.get("webhook-signature", "").encode("utf-8", "replace").split()
        if not any(hmac.compare_digest(expected, one) for one in given):
            raise Unauthorized("bad_signature", "The signature does not match.")
        age_s = self._clock.wall_ms() // 1_000 - int(timestamp)
        if abs(age_s) > TOLERANCE_S:
            raise Unauthorized("bad_signature", "The signature is too old.")

    def _signature(self, webhook_id: str, timestamp: str, body: bytes) -> str:
        signed = f"{webhook_id}.{timestamp}.".encode("utf-8", "replace") + body
        digest = hmac.digest(self._key, signed, hashlib.sha256)
        return "v1," + base64.b64encode(digest).decode()
