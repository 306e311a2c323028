"""GET /ice-servers, POST /engine/tokens, GET /sessions/{id}."""

from __future__ import annotations

from admin import schemas
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.live import sessions
from admin.orders import views as orders


async def get_ice_servers(call: Call[Nothing, Nothing]) -> Answer:
    return Answer(200, schemas.IceServers(call.deps.ice_servers(call.user.id)))


async def create_engine_token(call: Call[schemas.CreateEngineToken, Nothing]) -> Answer:
    deps, user_id = call.deps, call.user.id
    async with deps.store.reading() as tx:
        order = await orders.find(tx, user_id, call.body.order_id)
    role = "customer" if order.customer_id == user_id else "expert"
    token = deps.tokens.issue_engine(user_id, order.id, role)
    return Answer(201, schemas.EngineToken(token, deps.tokens.ttl_s))


async def get_session(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        row = await sessions.find(tx, call.user.id, call.id)
        total = (await sessions.totals(tx, [row.id])).get(row.id, 0)
    return Answer(200, sessions.view(call.deps, call.user.id, row, total))


async def list_order_sessions(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        await orders.find(tx, call.user.id, call.id)
        rows = await sessions.of_order(tx, call.id)
        totals = await sessions.totals(tx, [row.id for row in rows])
    found = [sessions.view(call.deps, call.user.id, row, totals.get(row.id, 0)) for row in rows]
    return Answer(200, schemas.SessionPage(found))


ROUTES = (
    Route(
        method="GET",
        path="/ice-servers",
        handler=get_ice_servers,
        summary="STUN and TURN servers, with credentials that expire",
        tag="Engine",
        answer=schemas.IceServers,
    ),
    Route(
        method="POST",
        path="/engine/tokens",
        handler=create_engine_token,
        summary="A short-lived token for the calls of one order",
        tag="Engine",
        body=schemas.CreateEngineToken,
        answer=schemas.EngineToken,
        status=201,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path=f"/sessions/{ID}",
        handler=get_session,
        summary="One session of the user",
        tag="Engine",
        answer=schemas.SessionView,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path=f"/orders/{ID}/sessions",
        handler=list_order_sessions,
        summary="The sessions of an order, oldest first",
        tag="Orders",
        answer=schemas.SessionPage,
        refusals=(404,),
    ),
)
