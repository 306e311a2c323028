"""What is deleted because it was kept for as long as the operator has set.

A recording is deleted in two steps that a crash may come between. First its row is marked, in one
transaction with an event of the outbox; from then on nobody is handed its files. Then each node
deletes the files that its own disk has of marked recordings: what is still there says what is left
to do, however often a node dies in between and whichever of them marked the row. The row itself
stays, with the names and hashes of what it stood for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
import structlog

from admin import events, queries
from admin.cases.records import UNDECIDED
from admin.market.actors import SYSTEM
from admin.ports import AdminDeps
from admin.queries import Row
from engine.store.market_tables import cases, notifications
from engine.store.tables import orders, recordings, sessions

_log = structlog.get_logger(__name__)

_DAY_MS: Final = 24 * 3_600_000
_BATCH: Final = 500


class OldRecordings:
    async def work_off(self, deps: AdminDeps) -> int:
        marked = 0
        if deps.settings.recording_kept_days:
            while found := await _expired(deps):
                marked += sum([await _mark(deps, row) for row in found])
        await _delete_files(deps)
        return marked


async def _expired(deps: AdminDeps) -> Sequence[Row]:
    """Recordings whose time is over and about whose order nothing is open."""
    r, s = recordings.c, sessions.c
    until_ms = deps.clock.wall_ms() - deps.settings.recording_kept_days * _DAY_MS
    query = (
        sa.select(r.id, s.order_id)
        .join(sessions, s.id == r.session_id)
        .where(r.deleted_at_ms.is_(None), r.ended_at_ms <= until_ms, ~_in_case(s.order_id))
        .order_by(r.ended_at_ms, r.id)
        .limit(_BATCH)
    )
    async with deps.store.reading() as tx:
        return await queries.rows(tx, query)


def _in_case(order_id: sa.ColumnElement[str]) -> sa.Exists:
    c = cases.c
    return sa.exists().where(
        c.subject_id == order_id, c.subject_type == "order", c.state.in_(UNDECIDED)
    )


async def _mark(deps: AdminDeps, row: Row) -> bool:
    """Whether it was done, here and now."""
    r = recordings.c
    async with deps.store.transaction() as tx:
        # A dispute locks its order as well: it comes either before this, or after it.
        order = sa.select(orders.c.id).where(orders.c.id == row.order_id).with_for_update()
        await tx.execute(order)
        now_ms = deps.clock.wall_ms()
        marked = await tx.execute(
            sa.update(recordings)
            .where(r.id == row.id, r.deleted_at_ms.is_(None))
            .where(~_in_case(sa.literal(row.order_id)))
            .values(deleted_at_ms=now_ms)
            .returning(r.session_id, r.files)
        )
        found = marked.one_or_none()
        if found is None:
            return False
        files = [{"file": f["name"], "sha256": f["sha256"]} for f in json.loads(found.files)]
        data = {"recording": row.id, "files": files}
        await events.publish(
            tx, "recording.deleted", found.session_id, actor=SYSTEM.id, at_ms=now_ms, data=data
        )
    _log.info("retention.recording_deleted", recording=row.id, session=found.session_id)
    return True


async def _delete_files(deps: AdminDeps) -> None:
    r = recordings.c
    held = await deps.recordings.held()
    for start in range(0, len(held), _BATCH):
        some = held[start : start + _BATCH]
        query = sa.select(r.id).where(r.id.in_(some), r.deleted_at_ms.is_not(None))
        async with deps.store.reading() as tx:
            marked = (await tx.scalars(query)).all()
        for recording_id in marked:
            try:
                await deps.recordings.delete(recording_id)
            except OSError as error:  # the next round tries again
                _log.error("retention.files_not_deleted", recording=recording_id, error=str(error))


class OldNotifications:
    """But none of which something is still to be delivered."""

    async def work_off(self, deps: AdminDeps) -> int:
        if not deps.settings.notifications_kept_days:
            return 0
        n = notifications.c
        until_ms = deps.clock.wall_ms() - deps.settings.notifications_kept_days * _DAY_MS
        old = sa.select(n.id).where(n.send_at_ms <= until_ms, n.due_at_ms.is_(None)).limit(_BATCH)
        deleted = 0
        while True:
            async with deps.store.reading() as tx:
                ids = (await tx.scalars(old)).all()
            if not ids:
                return deleted
            async with deps.store.transaction() as tx:
                await tx.execute(sa.delete(notifications).where(n.id.in_(ids)))
            deleted += len(ids)
