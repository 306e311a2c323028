"""Requests and proposals; only where the marketplace has negotiation."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from admin.http import cursors
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.http.cursors import CursorText, Limit
from admin.market.routes import move_route, moving
from admin.market.transitions import Done
from admin.requests import schemas, service, views
from admin.requests.machine import PROPOSAL, REQUEST, proposal_of, request_of
from engine.chat.rules import warning
from engine.errors import NotFound
from engine.store.database import Tx


class RequestQuery(Struct):
    role: Literal["customer", "expert"] | None = None
    cursor: CursorText | None = None
    limit: Limit = 20


def _require_negotiation(call: Call[Any, Any]) -> None:
    if not call.deps.settings.preset.negotiation:
        raise NotFound("not_offered_here", "There are no requests on this marketplace.")


async def create_request(call: Call[schemas.NewRequest, Nothing]) -> Answer:
    _require_negotiation(call)
    deps, user = call.deps, call.user
    async with deps.store.transaction() as tx:
        made = await service.create(deps, tx, user, call.body)
        request = await views.one(deps, tx, user.id, made.id)
        shown = msgspec.structs.replace(request, warning=warning(made.masked))
        answer = await call.claim.settle(tx, Answer(201, shown))
    await made.tell()
    return answer


async def list_requests(call: Call[Nothing, RequestQuery]) -> Answer:
    _require_negotiation(call)
    query, after = call.query, cursors.decode(call.query.cursor)
    async with call.deps.store.reading() as tx:
        page = await views.page(
            call.deps, tx, call.user.id, query.role, after=after, limit=query.limit
        )
    return Answer(200, page)


async def get_request(call: Call[Nothing, Nothing]) -> Answer:
    _require_negotiation(call)
    async with call.deps.store.reading() as tx:
        return Answer(200, await views.one(call.deps, tx, call.user.id, call.id))


async def _cancel(call: Call[schemas.Why, Nothing], tx: Tx) -> Done:
    _require_negotiation(call)
    return await moving(request_of(call.id), "cancel", call.body)(call, tx)


async def _shown_request(call: Call[Any, Nothing], tx: Tx, _done: Done) -> schemas.Request:
    return await views.one(call.deps, tx, call.user.id, call.id)


async def create_proposal(call: Call[schemas.Offer, Nothing]) -> Answer:
    """The first offer, or one in place of the expert's last."""
    _require_negotiation(call)
    deps, user = call.deps, call.user
    async with deps.store.transaction() as tx:
        made = await service.offer(deps, tx, user, call.id, call.body)
        proposal = await views.proposal(deps, tx, user.id, made.id)
        shown = msgspec.structs.replace(proposal, warning=warning(made.masked))
        answer = await call.claim.settle(tx, Answer(201, shown))
    await made.tell()
    return answer


def _action(action: str, summary: str) -> Route:
    """An action of either side on an offer."""

    async def make(call: Call[Any, Nothing], tx: Tx) -> Done:
        _require_negotiation(call)
        return await moving(proposal_of(call.id), action, call.body)(call, tx)

    return move_route(
        PROPOSAL,
        action,
        f"/proposals/{ID}/{action}",
        summary,
        tag="Negotiation",
        answer=schemas.Proposal,
        make=make,
        show=_shown_proposal,
    )


async def _shown_proposal(call: Call[Any, Nothing], tx: Tx, done: Done) -> schemas.Proposal:
    """After a counter, the offer in its place."""
    now_id = done.data.get("proposal_id", call.id)
    proposal = await views.proposal(call.deps, tx, call.user.id, now_id)
    return msgspec.structs.replace(proposal, warning=warning(done.data.get("masked", ())))


ROUTES = (
    Route(
        method="POST",
        path="/requests",
        handler=create_request,
        summary="Ask the expert of a listing, some experts, or a few of a category for an offer",
        tag="Negotiation",
        body=schemas.NewRequest,
        answer=schemas.Request,
        status=201,
        idempotent=True,
        refusals=(403, 404),
    ),
    Route(
        method="GET",
        path="/requests",
        handler=list_requests,
        summary="The user's requests, newest first",
        tag="Negotiation",
        query=RequestQuery,
        answer=schemas.RequestPage,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path=f"/requests/{ID}",
        handler=get_request,
        summary="One request with its offers; experts see their own alone",
        tag="Negotiation",
        answer=schemas.Request,
        refusals=(404,),
    ),
    move_route(
        REQUEST,
        "cancel",
        f"/requests/{ID}/cancel",
        "Close a request; whoever was asked is told",
        tag="Negotiation",
        answer=schemas.Request,
        make=_cancel,
        show=_shown_request,
    ),
    Route(
        method="POST",
        path=f"/requests/{ID}/proposals",
        handler=create_proposal,
        summary="Offer, or replace one's offer while it is not accepted",
        tag="Negotiation",
        body=schemas.Offer,
        answer=schemas.Proposal,
        status=201,
        idempotent=True,
        refusals=(403, 404),
    ),
    _action(
        "accept", "Accept the other side's offer: the order is placed and waits for its payment"
    ),
    _action("decline", "Decline an invitation or the other side's offer"),
    _action("withdraw", "Withdraw one's own offer"),
    _action("counter", "Answer the other side's offer with another one"),
)
