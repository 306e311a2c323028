"""Reading what a client posts: bounded, typed, and refused with the place of what is wrong."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web

from admin.http.problems import invalid
from engine.errors import BadInput, TalktimeError

T = TypeVar("T")


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No body, or no query."""


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """Base of everything a client posts."""


class BodyTooLarge(TalktimeError):
    status = 413


class UnsupportedMediaType(TalktimeError):
    status = 415


class MalformedRequest(TalktimeError):
    status = 400


async def read_limited(request: web.Request, limit_bytes: int) -> bytes:
    """The raw body. Raises `BodyTooLarge` without reading further than the limit."""
    error = BodyTooLarge("body_too_large", f"A body has at most {limit_bytes} bytes.")
    if (request.content_length or 0) > limit_bytes:
        raise error
    chunks = bytearray()
    async for chunk in request.content.iter_chunked(16 * 1024):
        chunks += chunk
        if len(chunks) > limit_bytes:
            raise error
    return bytes(chunks)


async def read_json(request: web.Request, shape: type[T], limit_bytes: int) -> T:
    """The typed body.

    Raises 415 `unsupported_media_type`, 413 `body_too_large`, 400 `malformed_json` and
    422 `invalid_body` with the `path` of the first wrong or unknown member.
    """
    raw = await read_limited(request, limit_bytes)
    return _decode(request, raw, shape)


async def read_nothing(request: web.Request, limit_bytes: int) -> None:
    """Where nothing is expected: no body, or an empty object. Raises as `read_json`."""
    raw = await read_limited(request, limit_bytes)
    if raw:
        _decode(request, raw, Nothing)


def _decode(request: web.Request, raw: bytes, shape: type[T]) -> T:
    if request.content_type != "application/json":
        raise UnsupportedMediaType("unsupported_media_type", "Send application/json.")
    try:
        decoded = msgspec.json.decode(raw, type=shape)
        if _NUL in raw and _has_nul(msgspec.to_builtins(decoded)):
            raise BadInput("invalid_body", "NUL characters are not allowed.", path="$")
        return decoded
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedRequest("malformed_json", "The body is not valid JSON.") from None


_NUL = b"\\u0000"
"""The only way in which JSON can write it; PostgreSQL has no such text."""


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(map(_has_nul, (*value, *value.values())))
    return isinstance(value, list) and any(map(_has_nul, value))


def read_query(request: web.Request, shape: type[T]) -> T:
    """The typed query string; unknown names are ignored. Raises 422 `invalid_query`."""
    values = dict(request.query)
    if any("\x00" in value for value in values.values()):
        raise BadInput("invalid_query", "NUL characters are not allowed.", path="$")
    try:
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, "invalid_query") from None
