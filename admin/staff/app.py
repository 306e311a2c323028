"""The staff pages: their routes, and signing in and out."""

from __future__ import annotations

from aiohttp import web

from admin.accounts.signin import SignIn
from admin.pages import STATIC, page
from admin.ports import AdminDeps
from admin.staff import live, log, money, orders, people, queue, terms
from admin.staff.guard import Guard, read_form
from admin.staff.login import StaffSession, StaffSessions, check_origin
from engine.errors import TalktimeError


def add_routes(app: web.Application, deps: AdminDeps, sign_in: SignIn) -> None:
    """Everything under /admin."""
    sessions = StaffSessions(deps)
    guard, door = Guard(deps, sessions), Door(deps, sign_in, sessions)
    app.router.add_get("/admin/login", door.login_form)
    app.router.add_post("/admin/login", guard.refusable(door.login))
    app.router.add_post("/admin/logout", guard.form(door.logout))
    for area in (live, queue, orders, people, money, terms, log):
        area.add_routes(app.router, deps, guard)
    app.router.add_static("/admin/static", STATIC)


class Door:
    """Signing in and out."""

    def __init__(self, deps: AdminDeps, sign_in: SignIn, sessions: StaffSessions) -> None:
        self._deps = deps
        self._sign_in = sign_in
        self._sessions = sessions

    async def login_form(self, request: web.Request) -> web.Response:
        if await self._sessions.find(request):
            raise web.HTTPSeeOther("/admin")
        return _login_page(None, "")

    async def login(self, request: web.Request) -> web.Response:
        check_origin(self._deps, request)
        form = await read_form(request)
        email = form.get("email", "")
        response = web.Response(status=303, headers={"Location": "/admin"})
        try:
            viewer = await self._sign_in.check(request, email, form.get("password", ""))
            await self._sessions.open(viewer, response, request)
        except TalktimeError as error:
            return _login_page(error, email)
        return response

    async def logout(self, request: web.Request, _session: StaffSession) -> web.Response:
        response = web.Response(status=303, headers={"Location": "/admin/login"})
        await self._sessions.close(request, response)
        return response


def _login_page(error: TalktimeError | None, email: str) -> web.Response:
    message = None if error is None else error.message
    status = 200 if error is None else error.status
    return page(
        "staff/login.html", status, referrer="same-origin", message=message, email=email[:254]
    )
