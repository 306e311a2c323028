"""Cases for their members (GET /cases, POST /cases/{id}/…) and for staff (/admin/cases)."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from msgspec import Struct

from admin.cases import schemas, views
from admin.cases.machine import CASE
from admin.http import cursors
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.http.cursors import CursorText, Limit, PageQuery
from admin.market.routes import move_route
from admin.market.transitions import Done
from engine.store.database import Tx

Kind = Literal[
    "listing", "application", "triage", "dispute", "report", "support", "payout", "payment"
]


class QueueQuery(Struct):
    kind: Kind | None = None
    state: Literal["open", "in_progress", "info_requested", "decided", "withdrawn"] | None = None
    overdue: bool = False
    cursor: CursorText | None = None
    limit: Limit = 20


async def list_cases(call: Call[Nothing, PageQuery]) -> Answer:
    after = cursors.decode(call.query.cursor)
    async with call.deps.store.reading() as tx:
        page = await views.mine(call.deps, tx, call.user, after=after, limit=call.query.limit)
    return Answer(200, page)


async def get_case(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        return Answer(200, await views.one(call.deps, tx, call.user, call.id))


async def list_queue(call: Call[Nothing, QueueQuery]) -> Answer:
    query = call.query
    wanted = views.Wanted(query.kind, query.state, query.overdue)
    after = cursors.decode(query.cursor)
    async with call.deps.store.reading() as tx:
        page = await views.queue(call.deps, tx, call.user, wanted, after=after, limit=query.limit)
    return Answer(200, page)


async def _shown(call: Call[Any, Nothing], tx: Tx, _done: Done) -> schemas.CaseDetail:
    return await views.one(call.deps, tx, call.user, call.id)


_action = partial(move_route, CASE, tag="Cases", answer=schemas.CaseDetail, show=_shown)


ROUTES = (
    Route(
        method="GET",
        path="/cases",
        handler=list_cases,
        summary="The user's disputes and complaints, newest first",
        tag="Cases",
        query=PageQuery,
        answer=schemas.CasePage,
    ),
    Route(
        method="GET",
        path=f"/cases/{ID}",
        handler=get_case,
        summary="One case with its evidence, for members and for the staff who decide it",
        tag="Cases",
        answer=schemas.CaseDetail,
        refusals=(404,),
    ),
    _action("withdraw", f"/cases/{ID}/withdraw", "Withdraw one's own case"),
    _action("answer_info", f"/cases/{ID}/answer-info", "Answer what staff asked"),
    Route(
        method="GET",
        path="/admin/cases",
        handler=list_queue,
        summary="The staff's queue, what is due first first",
        tag="Staff",
        query=QueueQuery,
        answer=schemas.CasePage,
        refusals=(403,),
    ),
    _action("assign", f"/admin/cases/{ID}/assign", "Give a case to somebody"),
    _action("request_info", f"/admin/cases/{ID}/request-info", "Ask the members of a case"),
    _action("decide", f"/admin/cases/{ID}/decide", "Decide a case, and have its subject follow"),
)
