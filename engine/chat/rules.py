"""Chat rules without I/O: what a body may be, who may write, who hears of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from engine.errors import BadInput, NotFound

MAX_BODY_CHARS = 4_000
"""Characters of a body once normalised; the same bound as on the wire."""

_LINE_ENDS = re.compile(r"\r\n|[\r\u0085\u2028\u2029]")
_KEPT_CONTROLS = "\n\t"
# Overrides and isolates of the bidirectional algorithm let a text pretend to be another one.
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def normalise_body(body: str, *, empty: bool = False) -> str:
    """The body as it is stored: NFC, one kind of line end, no control characters, no outer blanks.

    `empty`: whether it may be, because there are files. Raises `BadInput`: message_empty,
    message_too_long.
    """
    if len(body) > MAX_BODY_CHARS * 4:  # before any work on it
        raise _too_long()
    text = unicodedata.normalize("NFC", _LINE_ENDS.sub("\n", body))
    text = "".join(char for char in text if _is_printable(char)).strip()
    if not text and not empty:
        raise BadInput("message_empty", "a message needs text")
    if len(text) > MAX_BODY_CHARS:
        raise _too_long()
    return text


def _is_printable(char: str) -> bool:
    if char in _KEPT_CONTROLS:
        return True
    # Cc: controls; Cs: halves of surrogate pairs, which no encoding can carry.
    return unicodedata.category(char) not in ("Cc", "Cs") and char not in _BIDI_CONTROLS


def _too_long() -> BadInput:
    return BadInput("message_too_long", f"a message has at most {MAX_BODY_CHARS} characters")


def require_member(user_id: str, members: Collection[str]) -> None:
    """Raises `NotFound` conversation_not_found for everybody else, so that ids cannot be probed."""
    if user_id not in members:
        raise NotFound("conversation_not_found", "there is no such conversation")


def other_party(user_id: str, customer_id: str, expert_id: str) -> str:
    return expert_id if user_id == customer_id else customer_id


def one_place(session_id: str | None, conversation_id: str | None) -> None:
    """Raises `BadInput` invalid_payload unless exactly one of the two is there."""
    if (session_id is None) == (conversation_id is None):
        text = "name either a session or a conversation"
        raise BadInput("invalid_payload", text, path="$")


def warning(masked: Collection[str]) -> str | None:
    """What an author should know of what was hidden in a message."""
    if not masked:
        return None
    if set(masked) == {"card"}:
        return "Card numbers are never passed on: pay on this site only."
    return (
        "Contact details and links stay hidden from the other side until an order is paid. "
        "Agree and pay on this site: only then your money is protected."
    )


def furthest_mark(asked: int, last_seq: int) -> int:
    """The read mark that is asked for, kept within the conversation; 0 marks nothing."""
    return max(0, min(asked, last_seq))
