"""Staff sessions: an opaque token in a cookie, a row in the store, a CSRF token in every form.

The store keeps only the token's hash, so that a copy of it opens nothing. A session lives for
`LIFE_MS` and ends at sign-out; signing in always makes a new one. Requests that change something
must come from our own pages (Origin, else Sec-Fetch-Site) and carry the session's CSRF token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

import sqlalchemy as sa
from aiohttp import hdrs, web

from admin.accounts.people import Viewer, find_active
from admin.ports import AdminDeps
from engine.errors import Forbidden
from engine.store.database import Tx
from engine.store.tables import staff_sessions as rows

LIFE_MS = 12 * 3_600_000
CSRF_FIELD = "csrf"


@dataclass(frozen=True)
class StaffSession:
    viewer: Viewer
    csrf_token: str


class StaffSessions:
    """Opens, finds and closes staff sessions."""

    def __init__(self, deps: AdminDeps) -> None:
        self._deps = deps
        # With the prefix a browser takes the cookie only over TLS and from this very host.
        self._cookie = "__Host-talktime-staff" if deps.settings.https else "talktime-staff"

    async def open(self, viewer: Viewer, response: web.StreamResponse, old: web.Request) -> None:
        """Start a session, end the one the browser had, and set the cookie.

        Raises `Forbidden("not_staff")`.
        """
        _check_role(viewer)
        token = secrets.token_urlsafe(32)
        now_ms = self._deps.clock.wall_ms()
        async with self._deps.store.transaction() as tx:
            await self._delete(tx, old)
            await tx.execute(sa.delete(rows).where(rows.c.expires_at_ms <= now_ms))
            await tx.execute(
                sa.insert(rows).values(
                    token_hash=_hash(token),
                    user_id=viewer.id,
                    csrf_token=secrets.token_urlsafe(32),
                    expires_at_ms=now_ms + LIFE_MS,
                    created_at_ms=now_ms,
                )
            )
        response.set_cookie(
            self._cookie,
            token,
            max_age=LIFE_MS // 1_000,
            path="/",
            httponly=True,
            secure=self._deps.settings.https,
            samesite="Lax",
        )

    async def find(self, request: web.Request) -> StaffSession | None:
        """The live session of this browser, if its user is still active staff."""
        token = request.cookies.get(self._cookie)
        if not token:
            return None
        query = sa.select(rows.c.user_id, rows.c.csrf_token).where(
            rows.c.token_hash == _hash(token), rows.c.expires_at_ms > self._deps.clock.wall_ms()
        )
        async with self._deps.store.reading() as tx:
            row = (await tx.execute(query)).one_or_none()
            viewer = None if row is None else await find_active(tx, row.user_id)
        if row is None or viewer is None or not viewer.is_staff:
            return None
        return StaffSession(viewer, row.csrf_token)

    async def close(self, request: web.Request, response: web.StreamResponse) -> None:
        async with self._deps.store.transaction() as tx:
            await self._delete(tx, request)
        response.del_cookie(
            self._cookie, path="/", secure=self._deps.settings.https, httponly=True, samesite="Lax"
        )

    async def _delete(self, tx: Tx, request: web.Request) -> None:
        token = request.cookies.get(self._cookie)
        if token:
            await tx.execute(sa.delete(rows).where(rows.c.token_hash == _hash(token)))


def _check_role(viewer: Viewer) -> None:
    if not viewer.is_staff:
        raise Forbidden("not_staff", "This account is not a member of staff.")


def check_origin(deps: AdminDeps, request: web.Request) -> None:
    """Refuse what another site made the browser send. Raises `Forbidden("foreign_origin")`."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None:
        own = {request.host, urlsplit(deps.settings.public_url).netloc}
        fine = urlsplit(origin).netloc in own
    else:
        fine = request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
    if not fine:
        raise Forbidden("foreign_origin", "This form was not sent from our own page.")


def check_csrf(session: StaffSession, given: str) -> None:
    """Raises `Forbidden("bad_csrf_token")`."""
    if not hmac.compare_digest(session.csrf_token.encode(), given.encode("utf-8", "replace")):
        raise Forbidden("bad_csrf_token", "This form is out of date: reload the page.")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
