"""GET POST /payouts, /me/payout-details, and finance's side under /admin/payouts."""

from __future__ import annotations

import csv
import io
from functools import partial
from typing import Any, Literal

import sqlalchemy as sa
from aiohttp import web

from admin.http import cursors
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Reply, Route
from admin.http.cursors import PageQuery
from admin.market.routes import move_route
from admin.market.transitions import Done
from admin.payouts import service
from admin.payouts.machine import PAYOUT
from admin.payouts.schemas import CreatePayout, Payout, PayoutDetails, PayoutPage
from admin.queries import rows
from admin.wallet.announce import announce
from engine.errors import NotFound
from engine.metering.money import format_minor
from engine.store.database import Tx
from engine.store.tables import payments

_STAFF = "/admin/payouts"

State = Literal["requested", "approved", "sent", "paid", "failed", "cancelled"]


class StaffQuery(PageQuery):
    state: State | None = None


async def get_payout_details(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        found = await service.details(tx, call.user.id)
    if found is None:
        raise NotFound("payout_details_missing", "No account was given yet.")
    return Answer(200, found)


async def put_payout_details(call: Call[PayoutDetails, Nothing]) -> Answer:
    async with call.deps.store.transaction() as tx:
        return Answer(200, await service.set_details(call.deps, tx, call.user.id, call.body))


async def create_payout(call: Call[CreatePayout, Nothing]) -> Answer:
    deps, user = call.deps, call.user
    async with deps.store.transaction() as tx:
        payment_id = await service.request(deps, tx, user.id, call.body.amount_minor)
        payout = await service.one(deps, tx, user, payment_id)
        answer = await call.claim.settle(tx, Answer(201, payout))
    await announce(deps, user.id, payout.amount.currency)
    return answer


async def list_payouts(call: Call[Nothing, PageQuery]) -> Answer:
    after = cursors.decode(call.query.cursor)
    async with call.deps.store.reading() as tx:
        page = await service.page(call.deps, tx, call.user, after=after, limit=call.query.limit)
    return Answer(200, page)


async def get_payout(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        return Answer(200, await service.one(call.deps, tx, call.user, call.id))


async def list_all_payouts(call: Call[Nothing, StaffQuery]) -> Answer:
    call.user.require("finance")
    query, after = call.query, cursors.decode(call.query.cursor)
    async with call.deps.store.reading() as tx:
        page = await service.page(
            call.deps,
            tx,
            call.user,
            everybody=True,
            state=query.state,
            after=after,
            limit=query.limit,
        )
    return Answer(200, page)


async def export_approved_payouts(call: Call[Nothing, Nothing]) -> Reply:
    """What is to be ordered at the bank now, as CSV."""
    call.user.require("finance")
    query = sa.select(payments).where(payments.c.direction == "out", payments.c.state == "approved")
    async with call.deps.store.reading() as tx:
        found = await rows(tx, query.order_by(payments.c.created_at_ms, payments.c.id))
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["payout", "holder", "iban", "amount", "currency"])
    for row in found:
        to = row.destination
        # A spreadsheet must not take a name for a formula.
        holder = f"'{to['holder']}" if to["holder"][:1] in "=+-@\t\r" else to["holder"]
        amount = format_minor(row.amount_minor, row.currency).partition(" ")[0]
        table.writerow([row.id, holder, to["iban"], amount, row.currency])
    headers = {"Content-Disposition": 'attachment; filename="payouts.csv"'}
    return web.Response(text=text.getvalue(), content_type="text/csv", headers=headers)


async def _shown(call: Call[Any, Nothing], tx: Tx, _done: Done) -> Payout:
    return await service.one(call.deps, tx, call.user, call.id)


_action = partial(move_route, PAYOUT, answer=Payout, show=_shown)
_staff_action = partial(_action, tag="Staff")


ROUTES = (
    Route(
        method="GET",
        path="/me/payout-details",
        handler=get_payout_details,
        summary="Where the expert's payouts go to",
        tag="Wallet",
        answer=PayoutDetails,
        refusals=(404,),
    ),
    Route(
        method="PUT",
        path="/me/payout-details",
        handler=put_payout_details,
        summary="Set where payouts go to",
        tag="Wallet",
        body=PayoutDetails,
        answer=PayoutDetails,
        refusals=(404,),
    ),
    Route(
        method="POST",
        path="/payouts",
        handler=create_payout,
        summary="Ask for earnings to be paid out",
        tag="Wallet",
        body=CreatePayout,
        answer=Payout,
        status=201,
        idempotent=True,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path="/payouts",
        handler=list_payouts,
        summary="The user's payouts, newest first",
        tag="Wallet",
        query=PageQuery,
        answer=PayoutPage,
    ),
    Route(
        method="GET",
        path=f"/payouts/{ID}",
        handler=get_payout,
        summary="One payout",
        tag="Wallet",
        answer=Payout,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path=_STAFF,
        handler=list_all_payouts,
        summary="Everybody's payouts, newest first",
        tag="Staff",
        query=StaffQuery,
        answer=PayoutPage,
        refusals=(403,),
    ),
    Route(
        method="GET",
        path=f"{_STAFF}.csv",
        handler=export_approved_payouts,
        summary="The approved payouts as CSV, for the bank",
        tag="Staff",
        refusals=(403,),
    ),
    _action(
        "cancel",
        f"/payouts/{ID}/cancel",
        "Take a payout back that is not approved yet",
        tag="Wallet",
    ),
    _staff_action("approve", f"{_STAFF}/{ID}/approve", "Let a payout be ordered at the bank"),
    _staff_action(
        "reject", f"{_STAFF}/{ID}/reject", "Refuse a payout: its money returns to the earnings"
    ),
    _staff_action("send", f"{_STAFF}/{ID}/send", "Note that a payout was ordered at the bank"),
    _staff_action("confirm", f"{_STAFF}/{ID}/confirm", "Note that a payout has arrived"),
    _staff_action("fail", f"{_STAFF}/{ID}/fail", "Note that a payout came back"),
)
