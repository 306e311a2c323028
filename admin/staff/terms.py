"""Settings: the terms of new orders, as versions that are never changed."""

from __future__ import annotations

import typing
from typing import Any

import msgspec
import sqlalchemy as sa
from aiohttp import web

from admin import events, queries
from admin.market import settings
from admin.market.terms import Terms
from admin.ports import AdminDeps
from admin.staff.guard import Guard, read_form, render
from admin.staff.login import StaffSession
from engine.errors import BadInput, Conflict
from engine.store.database import insert_once
from engine.store.market_tables import settings_versions
from engine.store.tables import users

ADMIN = "admin"


def add_routes(router: web.UrlDispatcher, deps: AdminDeps, guard: Guard) -> None:
    pages = TermsPages(deps)
    router.add_get("/admin/settings", guard.page(pages.show, ADMIN))
    router.add_post("/admin/settings", guard.form(pages.change, ADMIN))


class TermsPages:
    def __init__(self, deps: AdminDeps) -> None:
        self._deps = deps

    async def show(self, _request: web.Request, session: StaffSession) -> web.Response:
        v = settings_versions.c
        query = (
            sa.select(v.version, v.at_ms, users.c.display_name)
            .outerjoin(users, users.c.id == v.changed_by)
            .order_by(v.version.desc())
            .limit(20)
        )
        async with self._deps.store.reading() as tx:
            terms = await settings.current(self._deps, tx)
            versions = await queries.rows(tx, query)
        fields = [(name, _shown(getattr(terms, name))) for name in Terms.__struct_fields__]
        values = {"fields": fields, "versions": versions, "preset": self._deps.settings.preset}
        version = versions[0].version if versions else 0
        return render("settings.html", session, "settings", **values, version=version)

    async def change(self, request: web.Request, session: StaffSession) -> web.Response:
        """A new version of the terms; running orders keep what was agreed in them."""
        form, deps = await read_form(request), self._deps
        terms = _read(form)
        number = int(form["version"]) + 1 if form.get("version", "").isdigit() else 0
        async with deps.store.transaction() as tx:
            before = msgspec.to_builtins(await settings.current(deps, tx))
            after, at_ms = msgspec.to_builtins(terms), deps.clock.wall_ms()
            row = {"version": number, "data": after, "changed_by": session.viewer.id}
            newest = await tx.scalar(sa.select(sa.func.max(settings_versions.c.version)))
            fresh = number == (newest or 0) + 1
            if not fresh or not await insert_once(tx, settings_versions, row | {"at_ms": at_ms}):
                raise Conflict("changed_meanwhile", "Somebody else changed this: look again.")
            changed = {k: [before[k], after[k]] for k in after if before[k] != after[k]}
            actor = session.viewer.id
            await events.publish(
                tx, "settings.changed", f"v{number}", actor=actor, at_ms=at_ms, data=changed
            )
        raise web.HTTPSeeOther("/admin/settings")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    if isinstance(value, tuple | list):
        return ", ".join(str(part) for part in value)
    return str(value)


def _read(form: dict[str, str]) -> Terms:
    """Raises `BadInput("invalid_settings")` that names the field."""
    given: dict[str, Any] = {}
    hints = typing.get_type_hints(Terms)
    for name in Terms.__struct_fields__:
        text = form.get(name, "").strip()
        if hints[name] is bool:
            given[name] = text == "yes"
        elif "," in text:
            given[name] = [part.strip() for part in text.split(",")]
        else:
            given[name] = text or None
    try:
        return msgspec.convert(given, Terms, strict=False)
    except msgspec.ValidationError as error:
        raise BadInput("invalid_settings", f"Not possible: {error}") from None
