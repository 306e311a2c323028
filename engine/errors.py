"""Errors with a stable code that a client may see.

    TalktimeError            base: code, message, HTTP status, extra members
    ├── BadInput             the peer sent something wrong; nothing changed
    ├── Unauthorized         who are you?            (401)
    ├── Forbidden            you may not             (403)
    ├── NotFound             no such thing, or not yours to see (404)
    ├── Conflict             not in this state       (409)
    ├── PaymentRequired      carries `shortfall`     (402)
    ├── RateLimited          carries `retry_after`   (429)
    └── Unavailable          our fault or a peer's; try again (503)

`code` is part of the public surface: it never changes meaning. `message` is for people and may.
"""

from __future__ import annotations

from typing import ClassVar


class TalktimeError(Exception):
    """A refusal with a stable `code`; `extra` becomes members of the answer sent to the client."""

    status: ClassVar[int] = 500

    def __init__(self, code: str, message: str, **extra: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.extra = extra


class BadInput(TalktimeError):
    status = 422


class Unauthorized(TalktimeError):
    status = 401


class Forbidden(TalktimeError):
    status = 403


class NotFound(TalktimeError):
    status = 404


class Conflict(TalktimeError):
    status = 409


class PaymentRequired(TalktimeError):
    status = 402


class RateLimited(TalktimeError):
    status = 429


class Unavailable(TalktimeError):
    status = 503
