"""The log: what happened in the marketplace and who did it, from the event outbox."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from aiohttp import web

from admin import queries
from admin.ports import AdminDeps
from admin.queries import Row
from admin.staff.guard import Guard, render
from admin.staff.login import StaffSession
from engine.errors import BadInput
from engine.store.database import Tx
from engine.store.tables import outbox, users

_PAGE = 100


def add_routes(router: web.UrlDispatcher, deps: AdminDeps, guard: Guard) -> None:
    async def page(request: web.Request, session: StaffSession) -> web.Response:
        before = _before(request.query.get("before", ""))
        subject, actor = request.query.get("subject", ""), request.query.get("actor", "")
        async with deps.store.reading() as tx:
            rows = await _page(tx, subject.strip()[:64], actor.strip()[:64], before)
        rest = rows[_PAGE - 1].seq if len(rows) > _PAGE else None
        values = {"rows": rows[:_PAGE], "subject": subject, "actor": actor, "rest": rest}
        return render("log.html", session, "log", **values)

    router.add_get("/admin/log", guard.page(page, "admin"))


async def about(tx: Tx, subject_id: str) -> Sequence[Row]:
    """The latest events about one thing, newest first."""
    query = _events().where(outbox.c.subject_id == subject_id)
    return await queries.rows(tx, query.order_by(outbox.c.seq.desc()).limit(50))


async def _page(tx: Tx, subject: str, actor: str, before: int | None) -> Sequence[Row]:
    if "\x00" in subject + actor:
        return []
    query = _events()
    if subject:
        query = query.where(outbox.c.subject_id == subject)
    if actor:
        query = query.where(outbox.c.actor == actor)
    if before is not None:
        query = query.where(outbox.c.seq < before)
    return await queries.rows(tx, query.order_by(outbox.c.seq.desc()).limit(_PAGE + 1))


def _events() -> sa.Select[tuple[object, ...]]:
    name = sa.func.coalesce(users.c.display_name, outbox.c.actor).label("actor_name")
    return sa.select(outbox, name).outerjoin(users, users.c.id == outbox.c.actor)


def _before(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadInput("invalid_cursor", "This cursor did not come from us.")
    return int(text)
