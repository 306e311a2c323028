"""POST /payments/{provider}/webhook, POST /test-payments/{ref}."""

from __future__ import annotations

from typing import Literal

from aiohttp import web
from msgspec import Struct

from admin import schemas
from admin.http.answers import Answer
from admin.http.bodies import Nothing, read_limited
from admin.http.calls import Call, Route
from admin.payments import service
from admin.payments.test_provider import Delivery, TestProvider
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import NotFound

PROVIDER = "{provider:[0-9a-z_-]{1,32}}"
REF = "{ref:[0-9A-Za-z_-]{1,120}}"


class WebhookAnswer(Struct):
    received: bool


async def payment_webhook(call: Call[Nothing, Nothing]) -> Answer:
    body = await read_limited(call.request, call.deps.settings.body_limit_bytes)
    provider = call.request.match_info["provider"]
    await service.receive(call.deps, provider, call.request.headers, body)
    if call.deps.providers[provider].called_by_browser and _is_form(call.request):
        raise web.HTTPSeeOther(f"{call.deps.settings.public_url}/")
    return Answer(200, WebhookAnswer(True))


def _is_form(request: web.Request) -> bool:
    return request.content_type == "application/x-www-form-urlencoded"


async def decide_test_payment(call: Call[schemas.DecideTestPayment, Nothing]) -> Answer:
    deps, user_id, ref = call.deps, call.user.id, call.request.match_info["ref"]
    provider = the_test_provider(deps)
    async with deps.store.transaction() as tx:
        payment = await service.find_by_ref(tx, provider.name, ref)
        if payment is None or payment.user_id != user_id:
            raise NotFound("payment_not_found", "There is no such payment.")
        headers, body = provider.deliver(outcome_of(payment, call.body.outcome))
        event = provider.parse_webhook(headers, body)
        assert event is not None
        booked = await service.book(deps, tx, provider.name, event)
        top_up = await service.one(deps, tx, user_id, payment.id)
        answer = await call.claim.settle(tx, Answer(200, top_up))
    await booked.tell(deps)
    return answer


def the_test_provider(deps: AdminDeps) -> TestProvider:
    """Raises `NotFound` where real money is taken."""
    provider = deps.providers.get(TestProvider.name)
    if not isinstance(provider, TestProvider):
        raise NotFound("payment_not_found", "There is no such payment.")
    return provider


def outcome_of(payment: Row, outcome: Literal["succeed", "fail"]) -> Delivery:
    """The delivery by which the test provider tells what the customer decided."""
    type_: Literal["payment.succeeded", "payment.failed"] = (
        "payment.succeeded" if outcome == "succeed" else "payment.failed"
    )
    return Delivery(type_, payment.provider_ref, payment.currency, payment.amount_minor)


ROUTES = (
    Route(
        method="POST",
        path=f"/payments/{PROVIDER}/webhook",
        handler=payment_webhook,
        summary="A payment provider's signed statement about a payment",
        tag="Wallet",
        answer=WebhookAnswer,
        auth="none",
        raw_body=True,
        refusals=(401, 404),
    ),
    Route(
        method="POST",
        path=f"/test-payments/{REF}",
        handler=decide_test_payment,
        summary="Decide a payment of the test provider",
        tag="Wallet",
        body=schemas.DecideTestPayment,
        answer=schemas.TopUp,
        idempotent=True,
        refusals=(404,),
    ),
)
