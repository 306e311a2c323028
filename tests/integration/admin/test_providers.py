"""Stripe and iyzico, by their own libraries, against servers that speak their APIs."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import pytest
import sqlalchemy as sa

from admin.payments.iyzico_provider import IyzicoProvider
from admin.payments.provider import NewPayment, Payer, PaymentEvent, TakenBack
from admin.payments.stripe_provider import StripeProvider
from engine.errors import BadInput, Unauthorized, Unavailable
from engine.store.tables import payments
from tests.integration.admin.conftest import CUSTOMER, STAFF, World
from tests.support.payment_servers import PlainConnections, Server, serving

PAYER = Payer("usr_1", "Ada Lovelace", "ada@example.org", "192.0.2.7")
PAYMENT = NewPayment("pay_1", PAYER, "EUR", 2_550, "https://market.example/?top_up=pay_1")
WEBHOOK_SECRET = "whsec_of_these_tests"
TOKEN = "3f1c2a9e-77aa-4c1e-9d0e-aa11bb22cc33"
INITIALIZE = "/payment/iyzipos/checkoutform/initialize/ecom"
DETAIL = "/payment/iyzipos/checkoutform/auth/ecom/detail"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as running:
        yield running


@pytest.fixture
async def stripe(server: Server) -> AsyncIterator[StripeProvider]:
    provider = StripeProvider(
        secret_key="sk_test_1", webhook_secret=WEBHOOK_SECRET, api_base=server.url
    )
    yield provider
    await provider.close()


@pytest.fixture
def iyzico(server: Server) -> IyzicoProvider:
    return IyzicoProvider(
        api_key="key",
        secret_key="secret",
        public_url="https://market.example",
        host=server.url.removeprefix("http://"),
        connections=PlainConnections(),
    )


def stripe_event(
    type_: str, session: dict[str, Any], at_s: float = 0
) -> tuple[dict[str, str], bytes]:
    """A webhook as Stripe signs it."""
    body = json.dumps({"id": "evt_1", "type": type_, "data": {"object": session}}).encode()
    timestamp = int(at_s or time.time())
    signed = hmac.new(WEBHOOK_SECRET.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return {"Stripe-Signature": f"t={timestamp},v1={signed.hexdigest()}"}, body


SESSION = {"id": "cs_1", "amount_total": 2_550, "currency": "eur", "payment_status": "paid"}


async def test_stripe_makes_a_checkout_of_exactly_the_amount(
    stripe: StripeProvider, server: Server
) -> None:
    page = "https://checkout.stripe.test/cs_1"
    server.answers["/v1/checkout/sessions"] = (
        200,
        {"id": "cs_1", "object": "checkout.session", "url": page},
    )
    known = await stripe.create(PAYMENT)
    assert (known.ref, known.checkout_url) == ("cs_1", page)
    ((_, headers, body),) = server.asked
    asked = {name: values[0] for name, values in parse_qs(body).items()}
    assert asked["line_items[0][price_data][unit_amount]"] == "2550"
    assert asked["line_items[0][price_data][currency]"] == "eur"
    assert asked["client_reference_id"] == "pay_1"
    assert headers["Idempotency-Key"] == "pay_1"
    assert headers["Authorization"] == "Bearer sk_test_1"


UNITS = [
    ("EUR", 2_550, 2_550),
    ("JPY", 500, 500),
    ("HUF", 50_000, 50_000),
    ("ISK", 500, 50_000),
    ("UGX", 500, 50_000),
    ("MGA", 50_000, 500),
    ("KWD", 5_120, 5_120),
]


@pytest.mark.parametrize(("currency", "ours", "theirs"), UNITS)
async def test_stripe_is_asked_and_understood_in_its_own_minor_units(
    stripe: StripeProvider, server: Server, currency: str, ours: int, theirs: int
) -> None:
    checkout = {"id": "cs_1", "object": "checkout.session", "url": "https://checkout.test"}
    server.answers["/v1/checkout/sessions"] = (200, checkout)
    await stripe.create(NewPayment("pay_1", PAYER, currency, ours, "https://market.example/"))
    ((_, _, body),) = server.asked
    assert parse_qs(body)["line_items[0][price_data][unit_amount]"] == [str(theirs)]
    paid = SESSION | {"currency": currency.lower(), "amount_total": theirs}
    event = await stripe.receive(*stripe_event("checkout.session.completed", paid))
    assert event == PaymentEvent("cs_1", "succeeded", currency, ours)


@pytest.mark.parametrize(
    ("currency", "amount_minor"),
    [("MGA", 50_050), ("KWD", 5_124), ("CLF", 10_001), ("IQD", 1_001)],
)
async def test_stripe_is_not_asked_for_what_it_cannot_write(
    stripe: StripeProvider, server: Server, currency: str, amount_minor: int
) -> None:
    with pytest.raises(BadInput) as refusal:
        await stripe.create(NewPayment("pay_1", PAYER, currency, amount_minor, "https://m/"))
    assert (refusal.value.code, server.asked) == ("amount_not_payable", [])


async def test_a_part_of_a_minor_unit_is_not_booked(stripe: StripeProvider) -> None:
    odd = SESSION | {"currency": "isk", "amount_total": 50_050}
    with pytest.raises(BadInput):
        await stripe.receive(*stripe_event("checkout.session.completed", odd))


async def test_iyzico_is_not_asked_for_currencies_without_two_decimals(
    iyzico: IyzicoProvider, server: Server
) -> None:
    for currency in ("JPY", "KWD"):
        with pytest.raises(BadInput):
            await iyzico.create(NewPayment("pay_1", PAYER, currency, 500, "https://m/"))
    assert server.asked == []


async def test_a_top_up_that_cannot_be_paid_is_refused_and_pends_nowhere(
    world: World, stripe: StripeProvider
) -> None:
    providers = world.deps.providers
    assert isinstance(providers, dict)
    providers.clear()
    providers[stripe.name] = stripe
    object.__setattr__(world.deps.settings, "currency", "MGA")
    customer = await world.sign_in(CUSTOMER)
    status, refusal = await customer.post("/wallet/top-ups", {"amount_minor": 50_050})
    assert (status, refusal["code"]) == (422, "amount_not_payable")
    async with world.store.reading() as tx:
        states = await tx.scalars(
            sa.select(payments.c.state).where(payments.c.user_id == customer.user_id)
        )
        assert "pending" not in set(states)


async def test_stripe_refusing_or_failing_is_told_as_unavailable(
    stripe: StripeProvider, server: Server
) -> None:
    server.answers["/v1/checkout/sessions"] = (402, {"error": {"message": "no", "type": "card"}})
    with pytest.raises(Unavailable) as refusal:
        await stripe.create(PAYMENT)
    assert refusal.value.code == "payment_provider_unavailable"


@pytest.mark.parametrize(
    ("type_", "session", "outcome"),
    [
        ("checkout.session.completed", SESSION, "succeeded"),
        ("checkout.session.completed", SESSION | {"payment_status": "unpaid"}, None),
        ("checkout.session.async_payment_succeeded", SESSION, "succeeded"),
        ("checkout.session.async_payment_failed", SESSION, "failed"),
        ("checkout.session.expired", SESSION, "expired"),
        ("invoice.paid", {"id": "in_1"}, None),
    ],
)
async def test_stripes_webhooks_are_understood(
    stripe: StripeProvider, type_: str, session: dict[str, Any], outcome: Any
) -> None:
    event = await stripe.receive(*stripe_event(type_, session))
    wanted = outcome and PaymentEvent("cs_1", outcome, "EUR", 2_550)
    assert event == wanted


async def test_only_stripe_signs_for_stripe(stripe: StripeProvider) -> None:
    headers, body = stripe_event("checkout.session.completed", SESSION)
    late = stripe_event("checkout.session.completed", SESSION, at_s=time.time() - 600)
    for forged in (
        ({}, body),
        (headers, body + b" "),
        ({"Stripe-Signature": "t=now,v1=zz"}, body),
        late,
    ):
        with pytest.raises(Unauthorized) as refusal:
            await stripe.receive(*forged)
        assert refusal.value.code == "bad_signature"


async def test_iyzico_makes_a_checkout_of_exactly_the_amount(
    iyzico: IyzicoProvider, server: Server
) -> None:
    page = f"https://sandbox-cpp.iyzipay.test?token={TOKEN}"
    server.answers[INITIALIZE] = (
        200,
        {"status": "success", "token": TOKEN, "paymentPageUrl": page},
    )
    known = await iyzico.create(PAYMENT)
    assert (known.ref, known.checkout_url) == (TOKEN, page)
    ((_, headers, body),) = server.asked
    asked = json.loads(body)
    assert (asked["price"], asked["paidPrice"], asked["currency"]) == ("25.5", "25.5", "EUR")
    assert asked["callbackUrl"] == "https://market.example/api/v1/payments/iyzico/webhook"
    assert asked["buyer"]["surname"] == "Lovelace"
    assert headers["Authorization"].startswith("IYZWSv2 ")


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"paymentStatus": "SUCCESS", "fraudStatus": 1}, "succeeded"),
        ({"paymentStatus": "SUCCESS", "fraudStatus": 0}, None),
        ({"paymentStatus": "SUCCESS", "fraudStatus": -1}, "failed"),
        ({"paymentStatus": "SUCCESS", "fraudStatus": None}, None),
        ({"paymentStatus": "SUCCESS"}, None),
        ({"paymentStatus": "FAILURE"}, "failed"),
        ({"paymentStatus": "INIT_THREEDS"}, None),
    ],
)
async def test_iyzico_is_asked_what_a_token_stands_for(
    iyzico: IyzicoProvider, server: Server, said: dict[str, Any], outcome: Any
) -> None:
    detail = {"currency": "EUR", "price": 25.5, "basketId": "pay_1"}
    server.answers[DETAIL] = (200, {"status": "success", **detail, **said})
    event = outcome and PaymentEvent(TOKEN, outcome, "EUR", 2_550)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert await iyzico.receive(form, f"token={TOKEN}".encode()) == event
    notice = {"Content-Type": "application/json"}
    assert await iyzico.receive(notice, json.dumps({"token": TOKEN}).encode()) == event


@pytest.mark.parametrize(
    "body", [b"", b"token=", b"token=<script>", b"\xff", b"token=" + b"a" * 400, b"other=1"]
)
async def test_iyzico_is_not_asked_about_nonsense(
    iyzico: IyzicoProvider, server: Server, body: bytes
) -> None:
    with pytest.raises(BadInput):
        await iyzico.receive({"Content-Type": "application/x-www-form-urlencoded"}, body)
    assert server.asked == []


async def test_a_token_that_iyzico_does_not_know_is_refused(
    iyzico: IyzicoProvider, server: Server
) -> None:
    server.answers[DETAIL] = (200, {"status": "failure", "errorMessage": "token not found"})
    with pytest.raises(BadInput):
        await iyzico.receive({}, f"token={TOKEN}".encode())


async def test_iyzico_out_of_reach_is_told_as_unavailable(iyzico: IyzicoProvider) -> None:
    iyzico._options["base_url"] = "127.0.0.1:1"
    with pytest.raises(Unavailable):
        await iyzico.create(PAYMENT)


async def test_B58_a_payer_comes_back_from_iyzico_with_the_money_booked(
    world: World, iyzico: IyzicoProvider, server: Server
) -> None:
    providers = world.deps.providers
    assert isinstance(providers, dict)
    providers.clear()
    providers[iyzico.name] = iyzico
    server.answers[INITIALIZE] = (
        200,
        {"status": "success", "token": TOKEN, "paymentPageUrl": "https://pay.example/"},
    )
    customer = await world.sign_in(CUSTOMER)
    status, top_up = await customer.post("/wallet/top-ups", {"amount_minor": 2_550})
    assert (status, top_up["checkout_url"]) == (201, "https://pay.example/")
    detail: dict[str, Any] = {"paymentStatus": "SUCCESS", "fraudStatus": 0}
    detail |= {"status": "success", "basketId": top_up["id"], "currency": "EUR", "price": "25.50"}
    server.answers[DETAIL] = (200, detail)
    url = "/api/v1/payments/iyzico/webhook"
    async with world.client.post(url, data={"token": TOKEN}, allow_redirects=False) as answer:
        assert answer.status == 303
    assert await customer.wallet() == (20_000, 0)
    detail["fraudStatus"] = 1  # it was looked at meanwhile, and iyzico's server tells of it
    for _ in range(2):
        async with world.client.post(url, data={"token": TOKEN}, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "http://talktime.test/")
    assert await customer.wallet() == (22_550, 0)


@pytest.mark.parametrize(
    ("said", "standing"),
    [
        ({"status": "open", "payment_status": "unpaid"}, None),
        ({"status": "complete", "payment_status": "unpaid"}, "on_its_way"),
        ({"status": "expired", "payment_status": "unpaid"}, "expired"),
        ({"status": "complete", "payment_status": "paid"}, "succeeded"),
    ],
)
async def test_stripe_is_asked_how_a_payment_stands(
    stripe: StripeProvider, server: Server, said: dict[str, Any], standing: Any
) -> None:
    session = {"object": "checkout.session", **SESSION, **said}
    server.answers["/v1/checkout/sessions/cs_1"] = (200, session)
    if standing in ("expired", "succeeded"):
        standing = PaymentEvent("cs_1", standing, "EUR", 2_550)
    assert await stripe.ask("cs_1") == standing


async def test_stripe_knowing_no_such_payment_is_no_payment(
    stripe: StripeProvider, server: Server
) -> None:
    path = "/v1/checkout/sessions/cs_2"
    server.answers[path] = (404, {"error": {"type": "invalid_request_error", "message": "no"}})
    assert await stripe.ask("cs_2") is None
    server.answers[path] = (401, {"error": {"type": "invalid_request_error", "message": "key"}})
    with pytest.raises(Unavailable):
        await stripe.ask("cs_2")


@pytest.mark.parametrize(
    ("said", "standing"),
    [
        ({"status": "failure", "errorMessage": "token not found"}, None),
        ({"paymentStatus": "INIT_THREEDS"}, None),
        ({"paymentStatus": "PENDING_CREDIT"}, "on_its_way"),
        ({"paymentStatus": "SUCCESS", "fraudStatus": 0}, "on_its_way"),
        ({"paymentStatus": "SUCCESS", "fraudStatus": 1}, "succeeded"),
        ({"paymentStatus": "SUCCESS", "fraudStatus": -1}, "failed"),
    ],
)
async def test_iyzico_is_asked_how_a_payment_stands(
    iyzico: IyzicoProvider, server: Server, said: dict[str, Any], standing: Any
) -> None:
    detail = {"status": "success", "currency": "EUR", "price": 25.5, "basketId": "pay_1"}
    server.answers[DETAIL] = (200, said if "status" in said else detail | said)
    if standing in ("failed", "succeeded"):
        standing = PaymentEvent(TOKEN, standing, "EUR", 2_550)
    assert await iyzico.ask(TOKEN) == standing


@pytest.mark.parametrize("price", ["NaN", "Infinity", "25.555"])
async def test_an_amount_that_is_none_is_refused(
    iyzico: IyzicoProvider, server: Server, price: str
) -> None:
    detail = {"status": "success", "paymentStatus": "SUCCESS", "fraudStatus": 1}
    detail |= {"currency": "EUR", "price": price, "basketId": "pay_1"}
    server.answers[DETAIL] = (200, detail)
    with pytest.raises(BadInput):
        await iyzico.receive({}, f"token={TOKEN}".encode())


CHARGE = {"id": "ch_1", "currency": "eur", "amount": 2_550, "payment_intent": "pi_1"}
DISPUTE = CHARGE | {"id": "dp_1", "status": "needs_response"}


@pytest.mark.parametrize(
    ("type_", "said", "news"),
    [
        ("charge.dispute.created", DISPUTE, ("chargeback dp_1 (needs_response)", 2_550)),
        ("charge.dispute.closed", DISPUTE | {"status": "lost"}, ("chargeback dp_1 (lost)", 2_550)),
        ("charge.refunded", CHARGE | {"amount_refunded": 500}, ("refund", 500)),
    ],
)
async def test_money_that_stripe_takes_back_is_told_of(
    stripe: StripeProvider, server: Server, type_: str, said: dict[str, Any], news: tuple[str, int]
) -> None:
    sessions = {"object": "list", "data": [{"id": "cs_1", "object": "checkout.session"}]}
    server.answers["/v1/checkout/sessions"] = (200, sessions)
    told = await stripe.receive(*stripe_event(type_, said))
    assert told == TakenBack("cs_1", news[0], "EUR", news[1])
    server.answers["/v1/checkout/sessions"] = (200, {"object": "list", "data": []})
    assert await stripe.receive(*stripe_event(type_, said)) is None  # nothing that we sold
    assert await stripe.receive(*stripe_event(type_, said | {"payment_intent": None})) is None
    server.answers["/v1/checkout/sessions"] = (402, {"error": {"message": "no"}})
    with pytest.raises(Unavailable):  # it is sent again
        await stripe.receive(*stripe_event(type_, said))


async def test_finance_hears_of_a_chargeback_and_no_money_moves(
    world: World, stripe: StripeProvider, server: Server
) -> None:
    providers = world.deps.providers
    assert isinstance(providers, dict)
    providers.clear()
    providers[stripe.name] = stripe
    checkout = {"id": "cs_1", "object": "checkout.session", "url": "https://checkout.test/"}
    server.answers["/v1/checkout/sessions"] = (200, checkout)
    customer, staff = await world.sign_in(CUSTOMER), await world.sign_in(STAFF)
    _, top_up = await customer.post("/wallet/top-ups", {"amount_minor": 2_550})
    server.answers["/v1/checkout/sessions"] = (200, {"object": "list", "data": [checkout]})
    url = "/api/v1/payments/stripe/webhook"
    for type_, said in (
        ("checkout.session.completed", SESSION),
        ("charge.dispute.created", DISPUTE),
        ("charge.dispute.funds_withdrawn", DISPUTE),
    ):
        headers, body = stripe_event(type_, said)
        async with world.client.post(url, data=body, headers=headers) as answer:
            assert answer.status == 200
    assert await customer.wallet() == (22_550, 0)
    _, page = await staff.get("/admin/cases?kind=payment")
    (case,) = page["items"]
    assert case["title"] == "stripe: chargeback dp_1 (needs_response) of 25.50 EUR"
    assert case["subject_id"] == top_up["id"]
    assert customer.user_id in case["body"]
