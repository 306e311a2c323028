"""From an HTTP request to a typed call of a handler, and the table that declares them."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar

import msgspec
from aiohttp import hdrs, web

from admin.accounts.people import Viewer
from admin.http import idempotency
from admin.http.answers import Answer
from admin.http.bodies import Nothing, read_json, read_nothing, read_query
from admin.http.idempotency import Claim
from admin.ports import AdminDeps

API = "/api/v1"
ID = "{id:[0-9a-z_]{1,40}}"
"""Path segment of an identifier; anything else is not found."""

B = TypeVar("B")
Q = TypeVar("Q")


NOTHING = Nothing()


@dataclass(frozen=True)
class Call(Generic[B, Q]):
    """One authenticated, decoded request."""

    deps: AdminDeps
    request: web.Request
    viewer: Viewer | None
    body: B
    query: Q
    claim: Claim = dataclasses.field(default_factory=Claim)

    @property
    def user(self) -> Viewer:
        """The signed-in user; only where the route demands one."""
        assert self.viewer is not None
        return self.viewer

    @property
    def id(self) -> str:
        """The path's identifier."""
        return self.request.match_info["id"]


Reply = Answer | web.StreamResponse
RouteHandler = Callable[[Call[Any, Any]], Awaitable[Reply]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """One operation: what routing, decoding and the OpenAPI document need to know about it."""

    method: str
    path: str
    handler: RouteHandler
    summary: str
    tag: str
    answer: Any = None
    """Type of the successful JSON body."""
    status: int = 200
    body: type[msgspec.Struct] | None = None
    raw_body: bool = False
    """The handler reads the body itself."""
    consumes: Sequence[str] = ("application/json",)
    """Media types of such a body."""
    produces: str = ""
    """Media type of an answer that is no JSON."""
    query: type[msgspec.Struct] = Nothing
    auth: Literal["required", "optional", "none"] = "required"
    idempotent: bool = False
    """Takes an Idempotency-Key, and then its handler settles `call.claim`."""
    refusals: Sequence[int] = ()
    """Statuses besides those that any such operation has."""
    html: bool = False
    """Also answers with a page, given ``?format=html``."""

    @property
    def name(self) -> str:
        return self.handler.__name__


class Gate:
    """Runs a route's handler for a request: who, what, how often, once."""

    def __init__(
        self,
        deps: AdminDeps,
        authenticate: Callable[[web.Request], Awaitable[Viewer]],
        count_write: Callable[[str], None],
    ) -> None:
        self._deps = deps
        self._authenticate = authenticate
        self._count_write = count_write

    def bind(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        return partial(self._serve, route)

    async def _serve(self, route: Route, request: web.Request) -> web.StreamResponse:
        viewer = await self._viewer(route, request)
        if viewer is not None and route.method != hdrs.METH_GET:
            self._count_write(viewer.id)
        query = NOTHING if route.query is Nothing else read_query(request, route.query)
        body: object = NOTHING
        if route.body is not None:
            limit_bytes = self._deps.settings.body_limit_bytes
            body = await read_json(request, route.body, limit_bytes)
        elif route.method == hdrs.METH_POST and not route.raw_body:
            await read_nothing(request, self._deps.settings.body_limit_bytes)
        call = Call[Any, Any](self._deps, request, viewer, body, query)
        reply = await (self._once(route, call) if route.idempotent else route.handler(call))
        return reply.response() if isinstance(reply, Answer) else reply

    async def _viewer(self, route: Route, request: web.Request) -> Viewer | None:
        if route.auth == "none":
            return None
        if route.auth == "optional" and hdrs.AUTHORIZATION not in request.headers:
            return None
        return await self._authenticate(request)

    async def _once(self, route: Route, call: Call[Any, Any]) -> Answer:
        async def work(claim: Claim) -> Answer:
            reply = await route.handler(dataclasses.replace(call, claim=claim))
            assert isinstance(reply, Answer)
            return reply

        request = call.request
        key = request.headers.get(idempotency.HEADER)
        same = idempotency.fingerprint(request.method, request.path, call.body)
        return await idempotency.once(self._deps.store, call.user.id, key, same, work)
