"""Live sessions, ended ones, their receipts and recordings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from aiohttp import web

from admin.http import cursors
from admin.http.calls import ID
from admin.http.cursors import Cursor
from admin.http.times import money
from admin.pages import page
from admin.ports import AdminDeps
from admin.queries import Row
from admin.receipts import service as receipts
from admin.staff import recordings, views
from admin.staff.guard import Guard, Handler, render
from admin.staff.login import StaffSession
from engine.clock import NS_PER_S
from engine.errors import NotFound
from engine.session.ports import LiveSessionView

_log = structlog.get_logger(__name__)

_DAY_MS = 24 * 3_600_000


def add_routes(router: web.UrlDispatcher, deps: AdminDeps, guard: Guard) -> None:
    pages = LivePages(deps)
    for path in ("/admin", "/admin/"):
        router.add_get(path, guard.page(pages.live))
    router.add_get("/admin/live", guard.page(pages.live_fragment))
    router.add_get("/admin/sessions", guard.page(pages.recent))
    router.add_get(f"/admin/sessions/{ID}", guard.page(pages.session))
    recording = _watched(guard.page(pages.recording))
    router.add_get(f"/admin/sessions/{ID}/recordings/{{name}}", recording)
    router.add_get(f"/admin/sessions/{ID}/terminate", guard.page(pages.confirm, "support"))
    router.add_post(f"/admin/sessions/{ID}/terminate", guard.form(pages.terminate, "support"))
    router.add_post(f"/admin/sessions/{ID}/retry", guard.form(pages.retry, "support"))


def _watched(handler: Handler) -> Handler:
    """That a stranger is refused a recording is noted."""

    async def watch(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPSeeOther:
            session_id = request.match_info["id"]
            _log.warning("staff.recording_refused", session=session_id, address=request.remote)
            raise

    return watch


class LivePages:
    """One method per page."""

    def __init__(self, deps: AdminDeps) -> None:
        self._deps = deps

    async def live(self, _request: web.Request, session: StaffSession) -> web.Response:
        now_ms = self._deps.clock.wall_ms()
        async with self._deps.store.reading() as tx:
            today = await views.since(tx, now_ms - _DAY_MS)
            totals = await views.totals(tx)
            running = await views.running(tx)
            troubled = await views.troubled(tx)
        figures = [
            (money(t.captured_minor, t.currency), money(t.fee_minor, t.currency)) for t in totals
        ]
        return render(
            "live.html",
            session,
            "live",
            today=today,
            totals=figures,
            troubled=troubled,
            **self._live(running),
        )

    async def live_fragment(self, _request: web.Request, _session: StaffSession) -> web.Response:
        async with self._deps.store.reading() as tx:
            running = await views.running(tx)
        return page("staff/live_table.html", referrer="same-origin", **self._live(running))

    def _live(self, running: Sequence[Row]) -> dict[str, Any]:
        now_ms = self._deps.clock.wall_ms()
        here = {view.session_id: view for view in self._deps.sessions.live_sessions()}
        return {"rows": [_live_row(row, here.get(row.id), now_ms) for row in running]}

    async def recent(self, request: web.Request, session: StaffSession) -> web.Response:
        after = cursors.decode(request.query.get("cursor"))
        async with self._deps.store.reading() as tx:
            rows = await views.recent(tx, after)
        shown, rest = rows[: views.RECENT_PAGE], None
        if len(rows) > len(shown):
            rest = cursors.encode(Cursor(shown[-1].rung_at_ms, shown[-1].id))
        table = [(row, money(row.captured_minor, row.currency)) for row in shown]
        return render("recent.html", session, "recent", table=table, rest=rest)

    async def session(self, request: web.Request, session: StaffSession) -> web.Response:
        session_id = request.match_info["id"]
        async with self._deps.store.reading() as tx:
            receipt = await receipts.of_session(
                self._deps, tx, session.viewer.id, session_id, staff=True
            )
            recorded = await recordings.of_session(tx, session_id)
        shown = {"receipt": receipt, "recordings": recorded, "zone": "UTC"}
        shown["may_take"] = recordings.PERMISSION in session.viewer.permissions
        return render("session.html", session, "recent", **shown)

    async def recording(self, request: web.Request, session: StaffSession) -> web.StreamResponse:
        """A recorded file; that it is taken, and by whom, is in the store before it is sent.

        Raises `Forbidden("not_permitted")`, which is put on record too.
        """
        session_id, name = request.match_info["id"], request.match_info["name"]
        by, at_ms = session.viewer.id, self._deps.clock.wall_ms()
        if recordings.PERMISSION not in session.viewer.permissions:
            async with self._deps.store.transaction() as tx:
                await recordings.refuse(tx, session_id, name, by=by, at_ms=at_ms)
            _log.warning("staff.recording_refused", session=session_id, file=name, by=by)
            session.viewer.require(recordings.PERMISSION)
        # Looked for first: on another node there is nothing to take.
        file = self._deps.recordings.file(name)
        if file is not None:
            async with self._deps.store.transaction() as tx:
                known = await recordings.take(tx, session_id, name, by=by, at_ms=at_ms)
            file = file if known is not None else None
        if file is None:
            raise NotFound("recording_not_found", "There is no such recording here.")
        _log.info("staff.recording_taken", session=session_id, file=name, by=by)
        kind = "video/webm" if file.suffix == ".webm" else "video/x-matroska"
        headers = {
            "Content-Type": kind,
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        }
        return web.FileResponse(file, headers=headers)

    async def confirm(self, request: web.Request, session: StaffSession) -> web.Response:
        async with self._deps.store.reading() as tx:
            row = await views.one(tx, request.match_info["id"])
        if row is None:
            raise NotFound("session_not_found", "There is no such session.")
        return render("terminate.html", session, "live", row=row)

    async def terminate(self, request: web.Request, session: StaffSession) -> web.Response:
        session_id = request.match_info["id"]
        await self._deps.sessions.terminate(session_id, by=session.viewer.id)
        raise web.HTTPSeeOther(f"/admin/sessions/{session_id}")

    async def retry(self, request: web.Request, session: StaffSession) -> web.Response:
        session_id = request.match_info["id"]
        await self._deps.sessions.retry(session_id, by=session.viewer.id)
        raise web.HTTPSeeOther(f"/admin/sessions/{session_id}")


def _live_row(row: Row, here: LiveSessionView | None, now_ms: int) -> dict[str, Any]:
    """`clock_s`: served so far, None before the clock started; `since_s`: how long it has waited.

    The node that runs a session knows its meter to the millisecond; of others' sessions the store
    knows the last checkpoint.
    """
    clock_s = row.served_ns // NS_PER_S if row.metered_at_ms else None
    charged_minor = row.captured_minor
    if here is not None:
        clock_s = None if here.elapsed_ms is None else here.elapsed_ms // 1_000
        charged_minor = here.charged_minor
    return {
        "row": row,
        "clock_s": clock_s,
        "since_s": max(0, now_ms - (row.answered_at_ms or row.rung_at_ms)) // 1_000,
        "charged": money(charged_minor, row.currency),
    }
