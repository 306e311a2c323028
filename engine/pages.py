"""The call page, the storefront and the embeddable client: files of the browser client's build."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

CLIENT_DIST = Path(__file__).parent / "client" / "dist"

_MISSING = (
    "The browser client has not been built. Run `make run`, or `npm ci && npm run build` in "
    "engine/client.\n"
)


_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self' ws: wss:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(self)",
}


_STORE = (
    "/store",
    "/verify-email",
    "/reset-password",
    "/wallet",
    "/application",
    "/notifications",
    "/{page:orders|listings|requests|proposals|cases|messages|reviews}/{id}",
)


def _page(file: Path) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def page(_request: web.Request) -> web.StreamResponse:
        return _answer(file)

    return page


def _answer(file: Path) -> web.StreamResponse:
    if not file.is_file():
        return web.Response(status=503, text=_MISSING)
    return web.FileResponse(file, headers=_HEADERS)


def add_client_pages(app: web.Application, dist: Path = CLIENT_DIST) -> None:
    """`/` and `/call` serve the call page, `/store` and what mails link to the storefront,
    `/static/client/` their files; without a build they say so."""
    for path in ("/", "/call"):
        app.router.add_get(path, _page(dist / "index.html"))
    for path in _STORE:
        app.router.add_get(path, _page(dist / "store.html"))
    if dist.is_dir():
        app.router.add_static("/static/client/", dist, append_version=False)
