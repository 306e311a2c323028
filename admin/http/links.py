"""Links that carry their own permission, for where no bearer token can be sent.

A link says whom it speaks for, which path it opens and until when, under an HMAC. It only reads,
and tells nobody else: answers are sent with ``Referrer-Policy: no-referrer``.
"""

from __future__ import annotations

from admin.keys import derive, sign, signed
from engine.clock import Clock
from engine.errors import Unauthorized

_MOST_CHARACTERS = 200


class SignedLinks:
    """Makes and checks tokens of one purpose; `secret` is the operator's."""

    def __init__(self, secret: str, purpose: str, clock: Clock) -> None:
        self._key = derive(secret, purpose)
        self._clock = clock

    def token(self, user_id: str, path: str, life_s: int, *, even_s: int = 1) -> str:
        """Opens `path` for the user for at least `life_s`, ending at a multiple of `even_s`: links
        made shortly after each other are then the same, and caches know them."""
        expires_at_s = -(-(self._clock.wall_ms() // 1_000 + life_s) // even_s) * even_s
        signature = sign(self._key, _text(user_id, path, expires_at_s))
        return f"{expires_at_s}.{user_id}.{signature}"

    def user_of(self, path: str, token: str) -> str:
        """The user a token speaks for.

        Raises `Unauthorized`: `link_invalid`, `link_expired`.
        """
        expiry, _, rest = token.partition(".")
        user_id, _, signature = rest.partition(".")
        readable = len(token) <= _MOST_CHARACTERS and expiry.isascii() and expiry.isdigit()
        if not readable or not signed(self._key, _text(user_id, path, int(expiry)), signature):
            raise Unauthorized("link_invalid", "This link was not issued by us.")
        if int(expiry) * 1_000 <= self._clock.wall_ms():
            raise Unauthorized("link_expired", "This link has expired: open it again.")
        return user_id


def _text(user_id: str, path: str, expires_at_s: int) -> bytes:
    return f"{expires_at_s}\n{user_id}\n{path}".encode("utf-8", "replace")
