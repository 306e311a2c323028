"""Users: found by name or e-mail, with their orders, money and what happened to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from admin import queries
from admin.accounts.machine import user_of
from admin.http import cursors
from admin.http.calls import ID
from admin.http.cursors import Cursor
from admin.http.times import money
from admin.market.transitions import transition
from admin.ports import AdminDeps
from admin.queries import Row, later_than
from admin.staff import log
from admin.staff.guard import Guard, read_form, render
from admin.staff.login import StaffSession
from engine.errors import NotFound
from engine.ids import new_id
from engine.metering.ledger import AccountKind
from engine.store.database import Tx
from engine.store.tables import experts, orders, users

SUPPORT = "support"
_PAGE = 50
_MOST_CHARACTERS = 120


def add_routes(router: web.UrlDispatcher, deps: AdminDeps, guard: Guard) -> None:
    pages = PeoplePages(deps)
    router.add_get("/admin/users", guard.page(pages.search, SUPPORT))
    router.add_get(f"/admin/users/{ID}", guard.page(pages.user, SUPPORT))
    action = "{action:suspend|reinstate}"
    router.add_post(f"/admin/users/{ID}/{action}", guard.form(pages.decide, SUPPORT))


class PeoplePages:
    def __init__(self, deps: AdminDeps) -> None:
        self._deps = deps

    async def search(self, request: web.Request, session: StaffSession) -> web.Response:
        text = request.query.get("q", "").strip()[:_MOST_CHARACTERS]
        after = cursors.decode(request.query.get("cursor"))
        async with self._deps.store.reading() as tx:
            rows = await _found(tx, text, after)
        shown, rest = rows[:_PAGE], None
        if len(rows) > _PAGE:
            rest = cursors.encode(Cursor(shown[-1].created_at_ms, shown[-1].id))
        return render("users.html", session, "users", rows=shown, q=text, rest=rest)

    async def user(self, request: web.Request, session: StaffSession) -> web.Response:
        deps, user_id = self._deps, request.match_info["id"]
        currency = deps.settings.currency
        async with deps.store.reading() as tx:
            row = await user_named(tx, user_id)
            wallet = await deps.ledger.wallet(tx, user_id, currency)
            earned = await deps.ledger.balance(tx, AccountKind.EARNINGS, user_id, currency)
            latest = await _orders_of(tx, user_id)
            happened = await log.about(tx, user_id)
        figures = {
            "available": money(wallet.available_minor, currency),
            "held": money(wallet.held_minor, currency),
            "earned": money(earned, currency),
        }
        shown: dict[str, Any] = {"user": row, "orders": latest, "events": happened}
        # A form that is sent twice adjusts once.
        return render("user.html", session, "users", **shown, **figures, once=new_id("adj"))

    async def decide(self, request: web.Request, session: StaffSession) -> web.Response:
        """Shut a user out, or let them in again."""
        user_id, deps = request.match_info["id"], self._deps
        body = {"reason": (await read_form(request)).get("reason", "").strip()}
        async with deps.store.transaction() as tx:
            action, actor = request.match_info["action"], session.viewer.actor
            done = await transition(deps, tx, user_of(user_id), action, actor, body=body)
        await done.tell()
        raise web.HTTPSeeOther(f"/admin/users/{user_id}")


async def user_named(tx: Tx, user_id: str) -> Row:
    """The user with the expert's columns, if there are any. Raises `NotFound("user_not_found")`."""
    query = (
        sa.select(
            users,
            experts.c.slug,
            experts.c.headline,
            experts.c.rating_milli,
            experts.c.review_count,
            experts.c.refusal_count,
            experts.c.completed_orders,
        )
        .outerjoin(experts, experts.c.user_id == users.c.id)
        .where(users.c.id == user_id)
    )
    row = await queries.row(tx, query)
    if row is None:
        raise NotFound("user_not_found", "There is no such user.")
    return row


async def _found(tx: Tx, text: str, after: Cursor | None) -> Sequence[Row]:
    """One page and one more, newest first."""
    u = users.c
    query = sa.select(u.id, u.email, u.display_name, u.roles, u.state, u.created_at_ms)
    if "\x00" in text:
        return []
    if text:
        # An e-mail is found by its beginning, which the unique index answers; a name by a part.
        beginning = u.email.startswith(text.lower(), autoescape=True)
        query = query.where(
            sa.or_(u.id == text, beginning, u.display_name.icontains(text, autoescape=True))
        )
    if after is not None:
        query = query.where(later_than(u.created_at_ms, u.id, after))
    return await queries.rows(
        tx, query.order_by(u.created_at_ms.desc(), u.id.desc()).limit(_PAGE + 1)
    )


async def _orders_of(tx: Tx, user_id: str) -> Sequence[Row]:
    """The latest twenty, in either role."""
    o = orders.c
    columns = (o.id, o.number, o.title, o.state, o.fulfilment, o.created_at_ms, o.customer_id)
    found: list[Row] = []
    for party in (o.customer_id, o.expert_id):
        query = sa.select(*columns).where(party == user_id)
        found += await queries.rows(
            tx, query.order_by(o.created_at_ms.desc(), o.id.desc()).limit(20)
        )
    return sorted(found, key=lambda row: row.created_at_ms, reverse=True)[:20]
