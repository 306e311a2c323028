"""Cursors of pages: where the next one begins, opaque to clients but not secret."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import msgspec
from msgspec import Meta

from engine.errors import BadInput

_MOST_CHARACTERS = 200

CursorText = Annotated[str, Meta(max_length=_MOST_CHARACTERS)]
Limit = Annotated[int, Meta(ge=1, le=100)]


class PageQuery(msgspec.Struct):
    """Of lists that are asked for nothing else."""

    cursor: CursorText | None = None
    limit: Limit = 20


class Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The last item of a page: its sort key and, for ties, its id."""

    at: int
    id: str


def encode(cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def decode(text: str | None) -> Cursor | None:
    """Raises `BadInput("invalid_cursor")`."""
    if text is None:
        return None
    try:
        if len(text) > _MOST_CHARACTERS:
            raise ValueError("too long")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = msgspec.json.decode(raw, type=Cursor)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise BadInput("invalid_cursor", "This cursor did not come from us.") from None
    if not -(2**63) <= cursor.at < 2**63 or "\x00" in cursor.id:
        raise BadInput("invalid_cursor", "This cursor did not come from us.")
    return cursor
