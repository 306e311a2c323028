"""iyzico: its hosted checkout form, by iyzico's own library.

The payer's browser comes back to ``/api/v1/payments/iyzico/webhook`` with a token, and iyzico's
server sends the same token. A token proves nothing: what it stands for is asked of iyzico, over TLS
and with our own keys.
"""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Literal, Protocol
from urllib.parse import parse_qs

import iyzipay
import msgspec
import structlog

from admin.payments.provider import Announced, NewPayment, PaymentEvent, Standing
from engine.errors import BadInput, Unavailable
from engine.metering.money import minor_digits

_log = structlog.get_logger(__name__)
_TOKEN = re.compile(r"[0-9A-Za-z-]{8,120}")
_TIMEOUT_S = 20.0
_NO_IDENTITY = "11111111111"
"""What iyzico asks merchants to send who do not know the payer's identity number."""
_DIGITS = 2
"""All currencies that iyzico takes have two decimals."""
_MINOR = 10**_DIGITS


_APPROVED, _REFUSED = 1, -1
"""As iyzico's look for fraud ended."""


class _Initialized(msgspec.Struct, rename="camel"):
    token: str
    payment_page_url: str


class _Detail(msgspec.Struct, rename="camel"):
    payment_status: str
    currency: str
    price: Decimal
    basket_id: str
    fraud_status: int | None = None
    """Of a payment that went through: 1 it is ours, 0 people at iyzico still look at it, -1 they
    refused it and it goes back.
    """

    @property
    def outcome(self) -> Literal["succeeded", "failed"] | None:
        """None: not decided yet."""
        if self.payment_status == "FAILURE" or self.fraud_status == _REFUSED:
            return "failed"
        approved = self.payment_status == "SUCCESS" and self.fraud_status == _APPROVED
        return "succeeded" if approved else None

    @property
    def under_way(self) -> bool:
        """Somebody paid, and a bank or iyzico has still to agree."""
        return self.payment_status in ("SUCCESS", "PENDING_CREDIT")

    def event(self, token: str) -> PaymentEvent | None:
        """Raises `BadInput("bad_webhook")`."""
        if self.outcome is None:
            return None
        amount = self.price * _MINOR
        if not amount.is_finite() or amount % 1:
            raise BadInput("bad_webhook", "This amount is no whole number of minor units.")
        return PaymentEvent(token, self.outcome, self.currency, int(amount))


class _Notice(msgspec.Struct):
    """iyzico's own server speaks JSON."""

    token: str


class Connections(Protocol):
    """What the library takes connections from, as from the module `http.client`."""

    def HTTPSConnection(self, host: str) -> http.client.HTTPConnection: ...


class _Tls:
    """The library itself would wait for ever."""

    def HTTPSConnection(self, host: str) -> http.client.HTTPConnection:
        return http.client.HTTPSConnection(host, timeout=_TIMEOUT_S)


class IyzicoProvider:
    """Cards in Turkey and beyond."""

    name = "iyzico"
    called_by_browser = True

    def __init__(
        self,
        *,
        api_key: str,
        secret_key: str,
        public_url: str,
        host: str = "api.iyzipay.com",
        connections: Connections | None = None,
    ) -> None:
        """`connections`: for tests, what makes connections to `host`."""
        self._options = {"api_key": api_key, "secret_key": secret_key, "base_url": host}
        self._callback = f"{public_url.rstrip('/')}/api/v1/payments/iyzico/webhook"
        self._connections = connections or _Tls()

    async def create(self, payment: NewPayment) -> Announced:
        if minor_digits(payment.currency) != _DIGITS:
            raise BadInput("amount_not_payable", f"iyzico takes no {payment.currency}.")
        said = await self._call(iyzipay.CheckoutFormInitialize().create, self._asked(payment))
        try:
            known = msgspec.convert(said, _Initialized)
        except msgspec.ValidationError:
            _log.error("iyzico_refused", payment=payment.id, error=said.get("errorMessage"))
            raise _unavailable() from None
        return Announced(known.token, known.payment_page_url)

    def _asked(self, payment: NewPayment) -> dict[str, Any]:
        price = str(Decimal(payment.amount_minor) / _MINOR)
        payer = payment.payer
        first, _, last = payer.name.partition(" ")
        place = {
            "contactName": payer.name,
            "city": "-",
            "country": "-",
            "address": "-",
        }
        return {
            "locale": "en",
            "conversationId": payment.id,
            "basketId": payment.id,
            "price": price,
            "paidPrice": price,
            "currency": payment.currency,
            "paymentGroup": "PRODUCT",
            "callbackUrl": self._callback,
            "buyer": {
                "id": payer.id,
                "name": first,
                "surname": last or first,
                "email": payer.email,
                "identityNumber": _NO_IDENTITY,
                "registrationAddress": "-",
                "city": "-",
                "country": "-",
                "ip": payer.address,
            },
            "billingAddress": place,
            "basketItems": [
                {
                    "id": payment.id,
                    "name": "Wallet top-up",
                    "category1": "Wallet",
                    "itemType": "VIRTUAL",
                    "price": price,
                }
            ],
        }

    async def receive(self, headers: Mapping[str, str], body: bytes) -> PaymentEvent | None:
        token = _token(headers.get("Content-Type", ""), body)
        detail = await self._detail(token)
        if detail is None:
            raise BadInput("bad_webhook", "iyzico knows no such payment.")
        return detail.event(token)

    async def ask(self, ref: str) -> Standing:
        detail = await self._detail(ref)
        if detail is None:
            return None
        return detail.event(ref) or ("on_its_way" if detail.under_way else None)

    async def _detail(self, token: str) -> _Detail | None:
        """None: nobody has paid by this token yet, or iyzico does not know it."""
        said = await self._call(iyzipay.CheckoutForm().retrieve, {"locale": "en", "token": token})
        try:
            return msgspec.convert(said, _Detail, strict=False)
        except msgspec.ValidationError:
            return None

    async def _call(self, method: Any, asked: dict[str, Any]) -> dict[str, Any]:
        """The library's call in a thread; the decoded answer."""
        try:
            answer = await asyncio.to_thread(self._exchange, method, asked)
            return msgspec.json.decode(answer, type=dict[str, Any])
        except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
            _log.error("iyzico_unreachable", error=str(error))
            raise _unavailable() from error

    def _exchange(self, method: Any, asked: dict[str, Any]) -> bytes:
        """Around what the library leaves to others: its headers are shared by all calls, and it
        never closes a connection."""
        opened: list[http.client.HTTPConnection] = []

        def connect(host: str) -> http.client.HTTPConnection:
            opened.append(self._connections.HTTPSConnection(host))
            return opened[-1]

        resource = method.__self__
        resource.header = dict(resource.header)
        resource.httplib = SimpleNamespace(HTTPSConnection=connect)
        try:
            body: bytes = method(asked, self._options).read()
            return body
        finally:
            for connection in opened:
                connection.close()

    async def close(self) -> None: ...


def _token(content_type: str, body: bytes) -> str:
    try:
        if content_type.startswith("application/json"):
            token = msgspec.json.decode(body, type=_Notice).token
        else:
            token = parse_qs(body.decode(), max_num_fields=50)["token"][0]
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, KeyError):
        raise BadInput("bad_webhook", "This delivery cannot be read.") from None
    if not _TOKEN.fullmatch(token):
        raise BadInput("bad_webhook", "This delivery cannot be read.")
    return token


def _unavailable() -> Unavailable:
    return Unavailable(
        "payment_provider_unavailable", "The payment provider does not answer.", retry_after=10
    )
