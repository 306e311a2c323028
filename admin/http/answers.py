"""What handlers give back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from admin.http.problems import problem
from engine.errors import TalktimeError


@dataclass(frozen=True)
class Answer:
    """A status and a JSON body; refusals that commit something are answers too, as problems."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        return web.Response(
            status=self.status,
            body=msgspec.json.encode(self.body),
            content_type="application/json" if self.status < 400 else "application/problem+json",
            headers=self.headers,
        )


def refusal(error: TalktimeError) -> Answer:
    """A refusal to be committed and stored as the answer, rather than raised."""
    response = problem(error.status, error.code, error.message, error.extra)
    assert isinstance(response.body, bytes)
    return Answer(error.status, msgspec.json.decode(response.body))
