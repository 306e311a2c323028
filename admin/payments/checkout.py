"""/test-checkout/{ref}: the page on which the test provider's customers pay, or do not.

The reference in the path is unguessable and is the permission, as with the checkout pages of real
providers. The decision goes through the same signed webhook as a real one.
"""

from __future__ import annotations

from typing import Literal

from aiohttp import web

from admin.http.bodies import read_limited
from admin.http.times import money
from admin.pages import page
from admin.payments import service
from admin.payments.handlers import REF, outcome_of, the_test_provider
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import BadInput, NotFound


def add_routes(app: web.Application, deps: AdminDeps) -> None:
    checkout = Checkout(deps)
    app.router.add_get(f"/test-checkout/{REF}", checkout.show)
    app.router.add_post(f"/test-checkout/{REF}", checkout.decide)


class Checkout:
    """The two handlers of the page."""

    def __init__(self, deps: AdminDeps) -> None:
        self._deps = deps

    async def show(self, request: web.Request) -> web.Response:
        payment = await self._payment(request)
        return page(
            "checkout.html",
            amount=money(payment.amount_minor, payment.currency),
            state=payment.state,
        )

    async def decide(self, request: web.Request) -> web.Response:
        outcome = await self._outcome(request)
        payment = await self._payment(request)
        provider = the_test_provider(self._deps)
        headers, body = provider.deliver(outcome_of(payment, outcome))
        await service.receive(self._deps, provider.name, headers, body)
        raise web.HTTPSeeOther(request.path)

    async def _outcome(self, request: web.Request) -> Literal["succeed", "fail"]:
        form = await read_limited(request, 1_024)
        if form == b"outcome=succeed":
            return "succeed"
        if form == b"outcome=fail":
            return "fail"
        raise BadInput("invalid_body", "outcome is succeed or fail", path="$.outcome")

    async def _payment(self, request: web.Request) -> Row:
        provider = the_test_provider(self._deps)
        async with self._deps.store.reading() as tx:
            payment = await service.find_by_ref(
                tx, provider.name, request.match_info["ref"], lock=False
            )
        if payment is None:
            raise NotFound("payment_not_found", "There is no such payment.")
        return payment
