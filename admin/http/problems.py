"""Every refusal as ``application/problem+json`` (RFC 9457) with a stable `code`."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
import structlog
from aiohttp import web

from engine.errors import BadInput, TalktimeError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = structlog.get_logger(__name__)
_AT_PATH = re.compile(r"^(?P<what>.*) - at `(?P<path>.*)`$", re.DOTALL)

# What aiohttp itself refuses, by status.
_HTTP_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    411: "length_required",
    413: "body_too_large",
    415: "unsupported_media_type",
    417: "expectation_failed",
}


class Problem(msgspec.Struct):
    """The members that every problem has; refusals add their own, such as `shortfall`."""

    type: str
    title: str
    status: int
    code: str
    detail: str


def problem(status: int, code: str, detail: str, extra: dict[str, object]) -> web.Response:
    """The answer; `extra` never hides the standard members."""
    members = extra | msgspec.to_builtins(
        Problem("about:blank", HTTPStatus(status).phrase, status, code, detail)
    )
    response = web.Response(
        status=status,
        body=msgspec.json.encode(members),
        content_type="application/problem+json",
    )
    retry_after = extra.get("retry_after")
    if isinstance(retry_after, int | float):
        response.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def from_error(error: TalktimeError) -> web.Response:
    return problem(error.status, error.code, error.message, error.extra)


def invalid(error: msgspec.ValidationError, code: str = "invalid_body") -> BadInput:
    """The refusal of a value that decoded but breaks its schema; `path` says where."""
    match = _AT_PATH.match(str(error))
    what, path = (match["what"], match["path"]) if match else (str(error), "$")
    return BadInput(code, what, path=path)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns every exception into a problem; an unexpected one is logged and says nothing."""
    try:
        return await handler(request)
    except TalktimeError as error:
        return from_error(error)
    except web.HTTPException as error:
        return _from_http(error)
    except asyncio.CancelledError:
        raise
    except Exception:
        _log.exception("request_failed", method=request.method, path=request.path)
        return problem(500, "internal", "Something went wrong on our side.", {})


def _from_http(error: web.HTTPException) -> web.Response:
    if error.status < HTTPStatus.BAD_REQUEST:
        raise error
    code = _HTTP_CODES.get(error.status, "refused")
    response = problem(error.status, code, error.reason, {})
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
