"""Money: whether the ledger adds up, payouts to decide, and setting accounts right by hand."""

from __future__ import annotations

import sqlalchemy as sa
from aiohttp import web

from admin import events
from admin.accounts.people import is_erased
from admin.http import cursors
from admin.http.calls import ID
from admin.http.times import money
from admin.market.transitions import transition
from admin.payouts import service as payouts
from admin.payouts.machine import PAYOUT, payout_of
from admin.ports import AdminDeps
from admin.queries import pairs
from admin.staff.guard import Guard, back, read_form, render
from admin.staff.login import StaffSession
from admin.staff.money_text import minor_of
from admin.staff.people import user_named
from admin.wallet.announce import announce
from engine.audit import audit
from engine.errors import BadInput, Conflict, Forbidden
from engine.ids import new_id
from engine.metering.ledger import AccountKind
from engine.ratelimit import Limiter, Rate
from engine.store.database import Tx
from engine.store.tables import users

FINANCE = "finance"
_AUDIT_RATE = Rate(0.2, 3)
_PAGE = 50
_STATES = ("requested", "approved", "sent", "paid", "failed", "cancelled")


def add_routes(router: web.UrlDispatcher, deps: AdminDeps, guard: Guard) -> None:
    pages = MoneyPages(deps)
    router.add_get("/admin/money", guard.page(pages.payouts, FINANCE))
    router.add_get("/admin/ledger", guard.page(pages.ledger, FINANCE))
    router.add_post(f"/admin/payouts/{ID}/{{action:[a-z]+}}", guard.form(pages.decide, FINANCE))
    router.add_post(f"/admin/users/{ID}/adjust", guard.form(pages.adjust, FINANCE))


class MoneyPages:
    def __init__(self, deps: AdminDeps) -> None:
        self._deps = deps
        self._audits = Limiter(_AUDIT_RATE)

    async def payouts(self, request: web.Request, session: StaffSession) -> web.Response:
        state = request.query.get("state", "requested")
        if state not in _STATES:
            raise BadInput("invalid_query", "There is no such state.")
        after = cursors.decode(request.query.get("cursor"))
        async with self._deps.store.reading() as tx:
            page = await payouts.page(
                self._deps,
                tx,
                session.viewer,
                everybody=True,
                state=state,
                after=after,
                limit=_PAGE,
            )
            people = [payout.user_id for payout in page.items]
            query = sa.select(users.c.id, users.c.display_name).where(users.c.id.in_(people))
            names = await pairs(tx, query)
        shown = {"page": page, "names": names, "state": state, "states": _STATES}
        return render("money.html", session, "money", **shown)

    async def decide(self, request: web.Request, session: StaffSession) -> web.Response:
        """Approve, reject, send, confirm or fail a payout."""
        action, form = request.match_info["action"], await read_form(request)
        shape = next((move.body for move in PAYOUT.moves if move.action == action), None)
        fields = () if shape is None else shape.__struct_fields__
        body = {name: form.get(name, "").strip() for name in fields}
        subject = payout_of(request.match_info["id"])
        async with self._deps.store.transaction() as tx:
            actor = session.viewer.actor
            done = await transition(self._deps, tx, subject, action, actor, body=body)
        await done.tell()
        raise web.HTTPSeeOther(back(request, "/admin/money"))

    async def adjust(self, request: web.Request, session: StaffSession) -> web.Response:
        """Move money between an account and the fees; the form's own key makes it happen once."""
        form, user_id = await read_form(request), request.match_info["id"]
        if user_id == session.viewer.id:
            raise Forbidden("own_account", "Somebody else must adjust an account of your own.")
        kind = AccountKind.EARNINGS if form.get("account") == "earnings" else AccountKind.WALLET
        deps, currency = self._deps, self._deps.settings.currency
        amount_minor = minor_of(form.get("amount", ""), currency)
        reason = form.get("reason", "").strip()
        async with deps.store.transaction() as tx:
            await user_named(tx, user_id)
            await self._check_owner(tx, kind, user_id, amount_minor)
            result = await deps.ledger.adjust(
                tx,
                key=f"adjust:{form.get('once') or new_id('adj')}",
                kind=kind,
                user_id=user_id,
                currency=currency,
                amount_minor=amount_minor,
                reason=reason,
            )
            if not result.replayed:
                data = {"account": kind.value, "amount_minor": amount_minor, "reason": reason}
                actor, at_ms = session.viewer.id, deps.clock.wall_ms()
                await events.publish(
                    tx, "account.adjusted", user_id, actor=actor, at_ms=at_ms, data=data
                )
        await announce(deps, user_id, currency)
        raise web.HTTPSeeOther(f"/admin/users/{user_id}")

    async def _check_owner(
        self, tx: Tx, kind: AccountKind, user_id: str, amount_minor: int
    ) -> None:
        """An account without an owner is set right to nothing at most: a debt may be let go."""
        balance = await self._deps.ledger.balance(tx, kind, user_id, self._deps.settings.currency)
        if balance + amount_minor > 0 and amount_minor > 0 and await is_erased(tx, user_id):
            raise Conflict("account_erased", "This account was erased: nobody has it.")

    async def ledger(self, _request: web.Request, session: StaffSession) -> web.Response:
        self._audits.require(session.viewer.id, self._deps.clock.now_ns())
        report = await audit(self._deps.store)
        totals = [
            (t.kind.value, money(t.balance_minor, t.currency), money(t.held_minor, t.currency))
            for t in report.totals
        ]
        return render("ledger.html", session, "money", report=report, totals=totals)
