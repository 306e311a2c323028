"""The queue: everything that a human must decide, what is due first first."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from multidict import MultiMapping

from admin.accounts.people import DESKS, Viewer
from admin.cases import views
from admin.cases.machine import case_of
from admin.cases.records import UNDECIDED
from admin.cases.registry import KINDS
from admin.cases.schemas import CaseDetail
from admin.catalogue import desk
from admin.catalogue.machine import listing_of
from admin.experts.applications import application_of
from admin.http import cursors
from admin.http.calls import ID
from admin.market.transitions import Subject, transition
from admin.ports import AdminDeps
from admin.staff.guard import Guard, read_form, render
from admin.staff.login import StaffSession
from admin.staff.money_text import minor_of
from admin.staff.orders import order_currency
from engine.errors import BadInput, NotFound
from engine.store.database import Tx

_PAGE = 50
_LISTING = ("approve", "request_changes", "reject")
_APPLICATION = ("approve", "request_info", "reject")


def add_routes(router: web.UrlDispatcher, deps: AdminDeps, guard: Guard) -> None:
    pages = QueuePages(deps)
    router.add_get("/admin/queue", guard.page(pages.queue))
    router.add_get(f"/admin/cases/{ID}", guard.page(pages.case))
    router.add_post(f"/admin/cases/{ID}/assign", guard.form(pages.assign))
    router.add_post(f"/admin/cases/{ID}/request-info", guard.form(pages.ask))
    router.add_post(f"/admin/cases/{ID}/decide", guard.form(pages.decide))


class QueuePages:
    """What a case allows is its machine's to say, so no page names a permission of its own."""

    def __init__(self, deps: AdminDeps) -> None:
        self._deps = deps

    async def queue(self, request: web.Request, session: StaffSession) -> web.Response:
        kind, state = _one_of(request.query, "kind", DESKS), ""
        state = _one_of(request.query, "state", views.STATES)
        overdue = request.query.get("overdue") == "yes"
        wanted = views.Wanted(kind or None, state or None, overdue)
        after = cursors.decode(request.query.get("cursor"))
        async with self._deps.store.reading() as tx:
            page = await views.queue(
                self._deps, tx, session.viewer, wanted, after=after, limit=_PAGE
            )
        mine = [name for name, need in DESKS.items() if need in session.viewer.permissions]
        shown: dict[str, Any] = {"page": page, "kinds": mine, "states": views.STATES}
        return render(
            "queue.html", session, "queue", kind=kind, state=state, overdue=overdue, **shown
        )

    async def case(self, request: web.Request, session: StaffSession) -> web.Response:
        async with self._deps.store.reading() as tx:
            case = await self._seen(tx, session.viewer, request.match_info["id"])
            listing = None
            if case.kind == "listing":
                listing = await desk.one(self._deps, tx, session.viewer, case.subject_id)
        decisions: tuple[str, ...] = ()
        if case.state in UNDECIDED and case.role == "staff":
            decisions = _decisions(case.kind)
        return render(
            "case.html", session, "queue", case=case, listing=listing, decisions=decisions
        )

    async def _seen(self, tx: Tx, viewer: Viewer, case_id: str) -> CaseDetail:
        return await views.one(self._deps, tx, viewer, case_id)

    async def assign(self, request: web.Request, session: StaffSession) -> web.Response:
        """To whoever presses the button."""
        return await self._move(request, session, case_of(request.match_info["id"]), "assign", {})

    async def ask(self, request: web.Request, session: StaffSession) -> web.Response:
        text = (await read_form(request)).get("text", "").strip()
        subject = case_of(request.match_info["id"])
        return await self._move(request, session, subject, "request_info", {"text": text})

    async def decide(self, request: web.Request, session: StaffSession) -> web.Response:
        """By the machine of what the case is about; for the rest by the case's own."""
        form, case_id = await read_form(request), request.match_info["id"]
        decision, reason = form.get("decision", ""), form.get("reason", "").strip()
        async with self._deps.store.reading() as tx:
            case = await self._seen(tx, session.viewer, case_id)
        if decision not in _decisions(case.kind):
            raise BadInput("unknown_decision", "Choose one of the decisions.")
        body: dict[str, Any] = {"reason": reason}
        if case.kind == "listing":
            revision = form.get("revision", "")
            body["revision"] = int(revision) if revision.isdigit() else None
            return await self._move(request, session, listing_of(case.subject_id), decision, body)
        if case.kind == "application":
            return await self._move(request, session, application_of(case_id), decision, body)
        body["decision"] = decision
        if decision == "split":
            currency = await order_currency(self._deps, case.subject_id)
            body["refund_minor"] = minor_of(form.get("refund", ""), currency)
        return await self._move(request, session, case_of(case_id), "decide", body)

    async def _move(
        self,
        request: web.Request,
        session: StaffSession,
        subject: Subject,
        action: str,
        body: dict[str, Any],
    ) -> web.Response:
        deps, actor = self._deps, session.viewer.actor
        async with deps.store.transaction() as tx:
            done = await transition(deps, tx, subject, action, actor, body=body)
        await done.tell()
        raise web.HTTPSeeOther(f"/admin/cases/{request.match_info['id']}")


def _decisions(kind: str) -> tuple[str, ...]:
    own = {"listing": _LISTING, "application": _APPLICATION}
    if kind in own:
        return own[kind]
    return KINDS[kind].decisions if kind in KINDS else ()


def _one_of(query: MultiMapping[str], name: str, known: Any) -> str:
    value = query.get(name, "")
    if value and value not in known:
        raise NotFound("not_found", "There is no such page.")
    return value
