"""/healthz, /readyz, /openapi.json, /events.json."""

from __future__ import annotations

import asyncio

import msgspec
import sqlalchemy as sa
from aiohttp import web

from admin.ports import AdminDeps
from engine.errors import Unavailable

READY_WITHIN_S = 2.0


async def healthz(_request: web.Request) -> web.Response:
    """The process answers."""
    return web.json_response({"status": "ok"})


class Readiness:
    """Whether calls can be made here: store and media worker answer, the node is not draining."""

    def __init__(self, deps: AdminDeps) -> None:
        self._deps = deps

    async def readyz(self, _request: web.Request) -> web.Response:
        deps = self._deps
        checks = {
            "store": await self._store(),
            "media": deps.media.running,
            "calls": not deps.sessions.draining,
        }
        ready = all(checks.values())
        status = {"status": "ready" if ready else "not ready", "checks": checks}
        return web.json_response(status, status=200 if ready else 503)

    async def _store(self) -> bool:
        try:
            async with asyncio.timeout(READY_WITHIN_S), self._deps.store.reading() as tx:
                await tx.execute(sa.select(1))
        except (TimeoutError, Unavailable):
            return False
        return True


def document(content: object) -> web.Response:
    """A JSON document that anyone may read, from any site."""
    return web.Response(
        body=msgspec.json.encode(content),
        content_type="application/json",
        headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "max-age=300"},
    )
