"""Servers that speak the parts of payment providers' APIs that are used, on free local ports."""

from __future__ import annotations

import http.client
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass
class Server:
    """`asked`: path, headers and body of each request. `answers`: by path, status and JSON."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, dict(request.headers), await request.text()))
        status, body = self.answers.get(request.path, (404, {"error": {"message": "no such path"}}))
        return web.Response(status=status, text=json.dumps(body), content_type="application/json")


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(app) as running:
        server.url = str(running.make_url("")).rstrip("/")
        yield server


class PlainConnections:
    """In place of TLS connections, plain ones."""

    def HTTPSConnection(self, host: str) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(host, timeout=10)
