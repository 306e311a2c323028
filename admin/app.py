"""The aiohttp application of the REST surface and the staff pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache, partial
from importlib.metadata import version

from aiohttp import web

from admin.accounts import handlers as accounts
from admin.accounts.registration import Registration
from admin.accounts.signin import SignIn, authenticate
from admin.cases import handlers as cases
from admin.catalogue import handlers as catalogue
from admin.conversations import handlers as conversations
from admin.conversations.correspondence import Correspondence
from admin.experts import handlers as experts
from admin.files import handlers as files
from admin.http.calls import API, Gate, Route
from admin.http.problems import problems
from admin.http.security import cross_origin, response_headers
from admin.live import handlers as live
from admin.market import handlers as market
from admin.notices import handlers as notices
from admin.operations import openapi
from admin.operations.handlers import Readiness, document, healthz
from admin.operations.metrics import Metrics
from admin.orders import handlers as orders
from admin.payments import checkout
from admin.payments import handlers as payments
from admin.payouts import handlers as payouts
from admin.ports import AdminDeps
from admin.receipts import handlers as receipts
from admin.requests import handlers as requests
from admin.reviews import handlers as reviews
from admin.staff import app as staff
from admin.wallet import handlers as wallet
from engine.ratelimit import Limiter

APP_BODY_LIMIT_BYTES = 1024 * 1024
"""For whatever else is attached to the application; our own routes read less."""

_PATIENCE_S = 5.0


def build_api(deps: AdminDeps) -> web.Application:
    """The application, ready for Socket.IO and the client's pages to be attached to.

    Adds routes under /api/v1, /admin, /test-checkout, /healthz, /readyz, /metrics, /openapi.json
    and /events.json. Opens nothing: `deps` belongs to the caller.
    """
    metrics = Metrics(deps)
    app = web.Application(
        middlewares=[metrics.middleware(), cross_origin(deps.settings), problems],
        client_max_size=APP_BODY_LIMIT_BYTES,
    )
    app.on_response_prepare.append(response_headers(deps.settings))
    deps.chat.correspondence = Correspondence(deps)
    sign_in = SignIn(deps)
    registration = Registration(deps, sign_in.passwords)
    app.on_cleanup.append(lambda _: registration.background.stop(_PATIENCE_S))
    routes = api_routes(deps, sign_in, registration)
    gate = Gate(deps, partial(authenticate, deps), _write_counter(deps))
    for route in routes:
        app.router.add_route(route.method, API + route.path, gate.bind(route))
    _add_operations(app, deps, metrics, routes)
    checkout.add_routes(app, deps)
    staff.add_routes(app, deps, sign_in)
    return app


def api_routes(deps: AdminDeps, sign_in: SignIn, registration: Registration) -> tuple[Route, ...]:
    """Every operation under /api/v1."""
    return (
        *accounts.routes(sign_in, registration, Limiter(deps.settings.account_limits.exports)),
        *notices.ROUTES,
        *market.ROUTES,
        *files.ROUTES,
        *catalogue.ROUTES,
        *experts.ROUTES,
        *orders.ROUTES,
        *cases.ROUTES,
        *reviews.ROUTES,
        *receipts.ROUTES,
        *wallet.ROUTES,
        *payments.ROUTES,
        *payouts.ROUTES,
        *live.ROUTES,
        *conversations.ROUTES,
        *requests.ROUTES,
    )


def _add_operations(
    app: web.Application, deps: AdminDeps, metrics: Metrics, routes: tuple[Route, ...]
) -> None:
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", Readiness(deps).readyz)
    app.router.add_get("/metrics", metrics.page)
    app.router.add_get("/openapi.json", _serve(lambda: openapi.build(routes, version("talktime"))))
    app.router.add_get("/events.json", _serve(lambda: deps.events_document))


def _serve(build: Callable[[], object]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A document that is made when it is first asked for: OpenAPI's takes half a second."""
    made = cache(build)

    async def handler(_request: web.Request) -> web.Response:
        return document(made())

    return handler


def _write_counter(deps: AdminDeps) -> Callable[[str], None]:
    limiter = Limiter(deps.settings.writes)
    return lambda user_id: limiter.require(user_id, deps.clock.now_ns())
