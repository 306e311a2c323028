"""Response headers, and which other sites may call the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from admin.http.problems import Handler
from admin.ports import AdminSettings

PAGE_CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""For our own pages: nothing inline, nothing from elsewhere, in nobody's frame."""

_DATA_CSP = "default-src 'none'; frame-ancestors 'none'"
_OURS = ("/api/", "/admin", "/test-checkout/", "/healthz", "/readyz", "/metrics")
_FOR_OTHER_SITES = ("/api/", "/static/client/")
"""The API, and the client that an embedding page imports as a module."""
_HSTS = "max-age=31536000"
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
    "Access-Control-Max-Age": "600",
}
_EXPOSED = "Idempotency-Replayed, Retry-After"


def response_headers(
    settings: AdminSettings,
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A signal for `on_response_prepare`; what a handler set itself is kept."""

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "no-referrer")
        if settings.https:
            headers.setdefault("Strict-Transport-Security", _HSTS)
        if request.path.startswith(_OURS) or response.content_type == "application/problem+json":
            headers.setdefault("Content-Security-Policy", _DATA_CSP)
            headers.setdefault("X-Frame-Options", "DENY")
            headers.setdefault(hdrs.CACHE_CONTROL, "no-store")

    return add


def cross_origin(
    settings: AdminSettings,
) -> Middleware:
    """CORS for the configured origins, without credentials: callers send a bearer token."""
    allowed = frozenset(settings.cors_origins)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or not request.path.startswith(_FOR_OTHER_SITES):
            return await handler(request)
        known = origin in allowed or "*" in allowed
        preflight = request.method == hdrs.METH_OPTIONS and known
        response = web.Response(status=204) if preflight else await handler(request)
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        if known:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        if preflight:
            response.headers.update(_PREFLIGHT)
        return response

    return middleware
