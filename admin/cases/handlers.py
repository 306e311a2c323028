"""Cases for their members (GET /cases, POST /cases/{id}/…) and for staff (/admin/cases)."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from admin.cases import kinds, machine, schemas, views
from admin.catalogue.handlers import CursorText, Limit
from admin.http import cursors
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.market.transitions import transition


class PageQuery(Struct):
    cursor: CursorText | None = None
    limit: Limit = 20


class QueueQuery(Struct):
    kind: (
        Literal["listing", "application", "triage", "dispute", "report", "support", "payout"] | None
    ) = None
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


def _action(action: str, path: str, summary: str, body: type[Struct]) -> Route:
    async def act(call: Call[Any, Nothing]) -> Answer:
        deps, user = call.deps, call.user
        subject = machine.case_of(call.id)
        async with deps.store.transaction() as tx:
            done = await transition(deps, tx, subject, action, user.actor, body=call.body)
            case = await views.one(deps, tx, user, call.id)
            answer = await call.claim.settle(tx, Answer(200, case))
        await done.tell()
        return answer

    act.__name__ = f"{action}_case"
    return Route(
        method="POST",
        path=f"{path}/{ID}/{action.replace('_', '-')}",
        handler=act,
        summary=summary,
        tag="Cases",
        body=None if body is Nothing else body,
        answer=schemas.CaseDetail,
        idempotent=True,
        refusals=(403, 404),
    )


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
    _action("withdraw", "/cases", "Withdraw one's own case", Nothing),
    _action("answer_info", "/cases", "Answer what staff asked", machine.Reply),
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
    _action("assign", "/admin/cases", "Give a case to somebody", machine.Assign),
    _action("request_info", "/admin/cases", "Ask the members of a case", machine.Question),
    _action("decide", "/admin/cases", "Decide a case, and have its subject follow", kinds.Decision),
)
