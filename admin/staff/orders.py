"""Orders: found by number or title, their money and history, and giving money back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from admin import queries
from admin.http import cursors
from admin.http.calls import ID
from admin.http.cursors import Cursor
from admin.http.times import money
from admin.market.transitions import possible, situation_of, transition
from admin.orders import money as order_money
from admin.orders.machine import ORDER, facts, order_of
from admin.ports import AdminDeps
from admin.queries import Row, later_than
from admin.staff import log
from admin.staff.guard import Guard, read_form, render
from admin.staff.login import StaffSession
from admin.staff.money_text import minor_of
from engine.errors import Conflict, NotFound
from engine.ids import new_id
from engine.store.database import Tx
from engine.store.market_tables import cases
from engine.store.tables import orders, sessions, users

SUPPORT = "support"
_PAGE = 50
_STATES = ("pending_payment", "open", "delivered", "completed", "cancelled", "disputed")


def add_routes(router: web.UrlDispatcher, deps: AdminDeps, guard: Guard) -> None:
    pages = OrderPages(deps)
    router.add_get("/admin/orders", guard.page(pages.search, SUPPORT))
    router.add_get(f"/admin/orders/{ID}", guard.page(pages.order, SUPPORT))
    router.add_post(f"/admin/orders/{ID}/refund", guard.form(pages.refund, "finance"))


class OrderPages:
    def __init__(self, deps: AdminDeps) -> None:
        self._deps = deps

    async def search(self, request: web.Request, session: StaffSession) -> web.Response:
        text, state = request.query.get("q", "").strip()[:120], request.query.get("state", "")
        after = cursors.decode(request.query.get("cursor"))
        async with self._deps.store.reading() as tx:
            rows = await _found(tx, text, state if state in _STATES else "", after)
        shown, rest = rows[:_PAGE], None
        if len(rows) > _PAGE:
            rest = cursors.encode(Cursor(shown[-1].created_at_ms, shown[-1].id))
        table = [(row, money(row.prepay_minor, row.currency)) for row in shown]
        values = {"table": table, "q": text, "state": state, "states": _STATES, "rest": rest}
        return render("orders.html", session, "orders", **values)

    async def order(self, request: web.Request, session: StaffSession) -> web.Response:
        deps, order_id = self._deps, request.match_info["id"]
        async with deps.store.reading() as tx:
            row = await queries.row(tx, _orders().where(orders.c.id == order_id))
            if row is None:
                raise NotFound("order_not_found", "There is no such order.")
            held = await order_money.held_minor(deps, tx, row)
            captured = await order_money.captured_minor(tx, order_id)
            known = await facts(deps, tx, [row])
            shown: dict[str, Any] = {
                "sessions": await _sessions(tx, order_id),
                "cases": await _cases(tx, order_id),
                "events": await log.about(tx, order_id),
            }
        actor = session.viewer.actor
        actions = possible(ORDER, situation_of(deps, ORDER, row, known, actor), actor)
        figures = {"price": row.prepay_minor, "held": held, "captured": captured}
        amounts = {name: money(minor, row.currency) for name, minor in figures.items()}
        shown |= {"order": row, "actions": actions, "once": new_id("ref")}
        return render("order.html", session, "orders", **shown, **amounts)

    async def refund(self, request: web.Request, session: StaffSession) -> web.Response:
        """Give back a part; the form's own key makes it happen once."""
        order_id, form = request.match_info["id"], await read_form(request)
        body = {
            "amount_minor": minor_of(
                form.get("amount", ""), await order_currency(self._deps, order_id)
            ),
            "reason": form.get("reason", "").strip(),
            "once": form.get("once", ""),
        }
        seen = web.HTTPSeeOther(f"/admin/orders/{order_id}")
        try:
            async with self._deps.store.transaction() as tx:
                subject, actor = order_of(order_id), session.viewer.actor
                done = await transition(self._deps, tx, subject, "refund", actor, body=body)
        except Conflict as refusal:
            if refusal.code == "already_refunded":
                raise seen from None  # a double click: the page shows what the first one did
            raise
        await done.tell()
        raise seen


async def order_currency(deps: AdminDeps, order_id: str) -> str:
    """Which may not be the one that new orders are in. Raises `NotFound("order_not_found")`."""
    async with deps.store.reading() as tx:
        found = await tx.scalar(sa.select(orders.c.currency).where(orders.c.id == order_id))
    if found is None:
        raise NotFound("order_not_found", "There is no such order.")
    return str(found)


def _orders() -> sa.Select[Any]:
    customer, expert = users.alias("customer"), users.alias("expert")
    return (
        sa.select(
            orders,
            customer.c.display_name.label("customer_name"),
            expert.c.display_name.label("expert_name"),
        )
        .join(customer, customer.c.id == orders.c.customer_id)
        .join(expert, expert.c.id == orders.c.expert_id)
    )


async def _found(tx: Tx, text: str, state: str, after: Cursor | None) -> Sequence[Row]:
    """One page and one more, newest first."""
    if "\x00" in text:
        return []
    query = _orders()
    if text:
        # Numbers, ids and e-mails only: all of them have an index.
        person = sa.select(users.c.id).where(users.c.email == text.lower())
        query = query.where(
            sa.or_(
                orders.c.number == text.upper(),
                orders.c.id == text,
                orders.c.customer_id.in_(person),
                orders.c.expert_id.in_(person),
            )
        )
    if state:
        query = query.where(orders.c.state == state)
    if after is not None:
        query = query.where(later_than(orders.c.created_at_ms, orders.c.id, after))
    query = query.order_by(orders.c.created_at_ms.desc(), orders.c.id.desc())
    return await queries.rows(tx, query.limit(_PAGE + 1))


async def _sessions(tx: Tx, order_id: str) -> Sequence[Row]:
    query = sa.select(sessions).where(sessions.c.order_id == order_id)
    return await queries.rows(tx, query.order_by(sessions.c.rung_at_ms.desc()).limit(50))


async def _cases(tx: Tx, order_id: str) -> Sequence[Row]:
    query = sa.select(cases).where(cases.c.subject_id == order_id)
    return await queries.rows(tx, query.order_by(cases.c.created_at_ms.desc()).limit(20))
