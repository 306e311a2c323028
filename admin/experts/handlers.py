"""The expert's desk, profiles of experts, favourites and blocks, complaints, applications."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from admin.catalogue.schemas import Filter, LocaleQuery
from admin.experts import applications, availability, marks, pages, profile, reports, stats
from admin.experts import schemas as bodies
from admin.experts.applications import APPLICATION, Decision, application_of
from admin.http import cursors
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.http.cursors import CursorText, Limit
from admin.market.routes import carry_out, move_route, moving
from admin.market.transitions import Done
from engine.store.database import Tx
from engine.store.tables import experts, users

_SLUG = "{slug:[a-z0-9-]{1,80}}"


class ExpertQuery(Struct):
    category: Filter | None = None
    online: bool | None = None
    cursor: CursorText | None = None
    limit: Limit = 20


class ZoneQuery(LocaleQuery):
    """`tz`: IANA zone to show the availability in; the viewer's own without."""

    tz: bodies.Zone | None = None


async def list_experts(call: Call[Nothing, ExpertQuery]) -> Answer:
    query = call.query
    async with call.deps.store.reading() as tx:
        page = await pages.page(
            call.deps,
            tx,
            category=query.category,
            online=query.online,
            after=cursors.decode(query.cursor),
            limit=query.limit,
        )
    return Answer(200, page)


async def get_expert(call: Call[Nothing, ZoneQuery]) -> Answer:
    zone = call.query.tz or (call.viewer.timezone if call.viewer is not None else "UTC")
    slug = call.request.match_info["slug"]
    async with call.deps.store.reading() as tx:
        expert = await pages.one(
            call.deps, tx, call.viewer, slug, zone=zone, locale=call.query.locale
        )
    return Answer(200, expert)


# The desk -----------------------------------------------------------------------------------------


async def get_my_expert(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        return Answer(200, await profile.mine(call.deps, tx, call.user.id))


async def edit_my_expert(call: Call[bodies.EditExpert, Nothing]) -> Answer:
    deps, user = call.deps, call.user
    async with deps.store.transaction() as tx:
        await profile.require_expert(deps, tx, user)
        await profile.edit(tx, user.id, call.body)
        return Answer(200, await profile.mine(deps, tx, user.id))


async def get_availability(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        row = await profile.row_of(tx, call.user.id)
    return Answer(200, bodies.Availability(row.availability, row.timezone))


async def put_availability(call: Call[bodies.SetAvailability, Nothing]) -> Answer:
    body, user_id = call.body, call.user.id
    availability.zone(body.timezone)
    async with call.deps.store.transaction() as tx:
        await profile.row_of(tx, user_id)
        grid = sa.update(experts).where(experts.c.user_id == user_id)
        await tx.execute(grid.values(availability=body.grid))
        zone = sa.update(users).where(users.c.id == user_id)
        await tx.execute(zone.values(timezone=body.timezone))
    return Answer(200, bodies.Availability(body.grid, body.timezone))


async def put_presence(call: Call[bodies.SetPresence, Nothing]) -> Answer:
    now = await call.deps.presence.set_status(call.user.id, call.body.status)
    return Answer(200, bodies.Presence(call.body.status, now.status))


async def get_stats(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        return Answer(200, await stats.mine(call.deps, tx, call.user.id))


# Marks and complaints -----------------------------------------------------------------------------


async def list_favourites(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        return Answer(200, await marks.favourites(call.deps, tx, call.user))


async def put_favourite(call: Call[Nothing, Nothing]) -> Answer:
    return await _mark(call, "favourite", call.request.match_info["type"])


async def delete_favourite(call: Call[Nothing, Nothing]) -> Answer:
    return await _unmark(call, "favourite", call.request.match_info["type"])


async def list_blocks(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        return Answer(200, await marks.blocks(tx, call.user.id))


async def put_block(call: Call[Nothing, Nothing]) -> Answer:
    return await _mark(call, "block", "user")


async def delete_block(call: Call[Nothing, Nothing]) -> Answer:
    return await _unmark(call, "block", "user")


async def _mark(call: Call[Any, Any], kind: str, subject_type: str) -> Answer:
    subject = {"subject_type": subject_type, "subject_id": call.id}
    async with call.deps.store.transaction() as tx:
        await marks.add(call.deps, tx, call.user.id, kind, **subject)
    return Answer(200, bodies.Done())


async def _unmark(call: Call[Any, Any], kind: str, subject_type: str) -> Answer:
    async with call.deps.store.transaction() as tx:
        await marks.remove(tx, call.user.id, kind, subject_type, call.id)
    return Answer(200, bodies.Done())


async def create_report(call: Call[bodies.NewReport, Nothing]) -> Answer:
    async with call.deps.store.transaction() as tx:
        case = await reports.create(call.deps, tx, call.user, call.body)
        return await call.claim.settle(tx, Answer(201, case))


# Applications -------------------------------------------------------------------------------------


async def create_application(call: Call[bodies.Apply, Nothing]) -> Answer:
    async with call.deps.store.transaction() as tx:
        case = await applications.apply(call.deps, tx, call.user, call.body)
        return await call.claim.settle(tx, Answer(201, case))


async def get_my_application(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        return Answer(200, await applications.mine(tx, call.user.id))


async def decide_application(call: Call[bodies.Decide, Nothing]) -> Answer:
    subject, body = application_of(call.id), Decision(call.body.reason)
    return await carry_out(call, moving(subject, call.body.decision, body), _case)


async def _case(call: Call[Any, Nothing], tx: Tx, _done: Done) -> bodies.CaseRef:
    return await reports.ref(tx, call.id)


def _route(method: str, path: str, handler: Any, summary: str, **more: Any) -> Route:
    return Route(
        method=method, path=path, handler=handler, summary=summary, **({"tag": "Experts"} | more)
    )


_FAVOURITE = f"/me/favourites/{{type:expert|listing}}/{ID}"
_BLOCK = f"/me/blocks/{ID}"
_APPLICATION = f"/applications/{ID}"
_MARKED: dict[str, Any] = {"tag": "Marks", "answer": bodies.Done}

ROUTES = (
    _route(
        "GET",
        "/experts",
        list_experts,
        "Active experts, the best rated first",
        query=ExpertQuery,
        answer=bodies.ExpertPage,
        auth="optional",
    ),
    _route(
        "GET",
        f"/experts/{_SLUG}",
        get_expert,
        "An expert's page, with the week ahead in the viewer's zone",
        query=ZoneQuery,
        answer=bodies.Expert,
        auth="optional",
        refusals=(404,),
    ),
    _route(
        "GET",
        "/me/expert",
        get_my_expert,
        "One's own profile",
        answer=bodies.MyExpert,
        refusals=(404,),
    ),
    _route(
        "PATCH",
        "/me/expert",
        edit_my_expert,
        "Edit it; where nobody decides that, this makes an expert",
        body=bodies.EditExpert,
        answer=bodies.MyExpert,
        refusals=(403,),
    ),
    _route(
        "GET",
        "/me/availability",
        get_availability,
        "The week's grid in one's own zone",
        answer=bodies.Availability,
        refusals=(404,),
    ),
    _route(
        "PUT",
        "/me/availability",
        put_availability,
        "Set grid and zone",
        body=bodies.SetAvailability,
        answer=bodies.Availability,
        refusals=(404,),
    ),
    _route(
        "PUT",
        "/me/presence",
        put_presence,
        "Choose a status, as `presence.set` does",
        body=bodies.SetPresence,
        answer=bodies.Presence,
        refusals=(403, 409),
    ),
    _route(
        "GET", "/me/stats", get_stats, "One's own figures", answer=bodies.Stats, refusals=(404,)
    ),
    _route(
        "GET",
        "/me/favourites",
        list_favourites,
        "All favourites that are shown now",
        tag="Marks",
        answer=bodies.Marks,
    ),
    _route("PUT", _FAVOURITE, put_favourite, "Remember it", refusals=(404, 409), **_MARKED),
    _route("DELETE", _FAVOURITE, delete_favourite, "Forget it", **_MARKED),
    _route(
        "GET",
        "/me/blocks",
        list_blocks,
        "Whom the user has blocked",
        tag="Marks",
        answer=bodies.Blocks,
    ),
    _route(
        "PUT",
        _BLOCK,
        put_block,
        "No orders, calls or messages between the two any more",
        refusals=(404, 409),
        **_MARKED,
    ),
    _route("DELETE", _BLOCK, delete_block, "Lift one's own block", **_MARKED),
    _route(
        "POST",
        "/reports",
        create_report,
        "Complain about a listing, an expert, an order or a review",
        tag="Cases",
        body=bodies.NewReport,
        answer=bodies.CaseRef,
        status=201,
        idempotent=True,
        refusals=(404,),
    ),
    _route(
        "POST",
        "/applications",
        create_application,
        "Apply to become an expert",
        body=bodies.Apply,
        answer=bodies.CaseRef,
        status=201,
        idempotent=True,
    ),
    _route(
        "GET",
        "/me/application",
        get_my_application,
        "One's newest application",
        answer=bodies.CaseRef,
        refusals=(404,),
    ),
    move_route(
        APPLICATION,
        "answer",
        f"{_APPLICATION}/answer",
        "Give the information that staff asked for",
        tag="Experts",
        answer=bodies.CaseRef,
        show=_case,
    ),
    _route(
        "POST",
        f"{_APPLICATION}/decide",
        decide_application,
        "Decide about an application, by staff",
        tag="Moderation",
        body=bodies.Decide,
        answer=bodies.CaseRef,
        idempotent=True,
        refusals=(403, 404),
    ),
)
