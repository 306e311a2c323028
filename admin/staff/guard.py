"""Who gets to a staff page, how its forms are protected, and how refusals look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from admin.http.bodies import read_limited
from admin.pages import page
from admin.ports import AdminDeps
from admin.staff.login import CSRF_FIELD, StaffSession, StaffSessions, check_csrf, check_origin
from engine.errors import BadInput, Forbidden, TalktimeError

_FORM_LIMIT_BYTES = 64 * 1024
_MOST_FIELDS = 100

_FORM = web.RequestKey("form", dict[str, str])

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Guarded = Callable[[web.Request, StaffSession], Awaitable[web.StreamResponse]]


class Guard:
    """Wraps the handlers of staff pages."""

    def __init__(self, deps: AdminDeps, sessions: StaffSessions) -> None:
        self._deps = deps
        self._sessions = sessions

    def page(self, handler: Guarded, permission: str = "") -> Handler:
        """Only for signed-in staff, and if named only for those with the permission; everybody else
        is sent to the sign-in page."""

        async def guard(request: web.Request) -> web.StreamResponse:
            session = await self._sessions.find(request)
            if session is None:
                raise web.HTTPSeeOther("/admin/login")
            try:
                if permission and permission not in session.viewer.permissions:
                    raise Forbidden("not_permitted", f"This needs the permission {permission}.")
                return await handler(request, session)
            except TalktimeError as error:
                shown = {"message": error.message} | _frame(session, "")
                return page("staff/refusal.html", error.status, **shown)

        return self.refusable(guard)

    def form(self, handler: Guarded, permission: str = "") -> Handler:
        """As `page`, for what changes something: from our own page, with the session's token."""

        async def check(request: web.Request, session: StaffSession) -> web.StreamResponse:
            check_origin(self._deps, request)
            check_csrf(session, (await read_form(request)).get(CSRF_FIELD, ""))
            return await handler(request, session)

        return self.page(check, permission)

    def refusable(self, handler: Handler) -> Handler:
        """Refusals as pages."""

        async def run(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except TalktimeError as error:
                return page("refusal.html", error.status, message=error.message)

        return run


def render(template: str, session: StaffSession, tab: str, **values: Any) -> web.Response:
    """A page in the frame that all staff pages have."""
    return page(f"staff/{template}", **_frame(session, tab), **values)


def _frame(session: StaffSession, tab: str) -> dict[str, Any]:
    return {
        "referrer": "same-origin",
        "viewer": session.viewer,
        "permissions": session.viewer.permissions,
        "csrf": session.csrf_token,
        "tab": tab,
    }


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields of a URL-encoded form, read once and kept; of a repeated field the first."""
    if _FORM in request:
        return request[_FORM]
    raw = await read_limited(request, _FORM_LIMIT_BYTES)
    try:
        fields = parse_qs(raw.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise BadInput("invalid_body", "This form has too many fields.") from None
    request[_FORM] = {name: values[0] for name, values in fields.items()}
    return request[_FORM]


def back(request: web.Request, default: str) -> str:
    """The page that a form was on, if it is one of ours; else `default`."""
    path = urlsplit(request.headers.get("Referer", "")).path
    return path if path.startswith("/admin") and path != request.path else default
