"""GET /notifications and what people want to hear."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from admin import queries
from admin.accounts.people import Viewer
from admin.http import cursors
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import Call, Route
from admin.http.cursors import Cursor, CursorText, Limit
from admin.http.times import rfc3339
from admin.notices import facts, preferences, schemas
from admin.notices.catalogue import CATALOGUE, INAPP
from admin.notices.delivery import values
from admin.ports import AdminDeps
from admin.queries import Row, later_than
from engine.store.database import Tx
from engine.store.market_tables import notifications
from engine.store.tables import users

_N = notifications.c


class InboxQuery(Struct):
    unread: bool = False
    cursor: CursorText | None = None
    limit: Limit = 20


def _shown(user_id: str, now_ms: int) -> sa.ColumnElement[bool]:
    """What is in the inbox: reminders of later are not, nor what only goes out by mail."""
    in_inbox = _N.channels[INAPP].as_string() == "sent"
    return sa.and_(_N.user_id == user_id, _N.send_at_ms <= now_ms, in_inbox)


async def list_notifications(call: Call[Nothing, InboxQuery]) -> Answer:
    deps, viewer, asked = call.deps, call.user, call.query
    now_ms = deps.clock.wall_ms()
    query = sa.select(notifications).where(_shown(viewer.id, now_ms))
    if asked.unread:
        query = query.where(_N.read_at_ms.is_(None))
    if (after := cursors.decode(asked.cursor)) is not None:
        query = query.where(later_than(_N.send_at_ms, _N.id, after))
    query = query.order_by(_N.send_at_ms.desc(), _N.id.desc()).limit(asked.limit + 1)
    async with deps.store.reading() as tx:
        rows = await queries.rows(tx, query)
        page, more = rows[: asked.limit], len(rows) > asked.limit
        items = await _views(deps, tx, viewer, page)
        unread = await _unread(tx, viewer.id, now_ms)
    cursor = cursors.encode(Cursor(page[-1].send_at_ms, page[-1].id)) if more else None
    return Answer(200, schemas.NotificationPage(items, cursor, unread))


async def _views(deps: AdminDeps, tx: Tx, viewer: Viewer, rows: Any) -> list[schemas.Notification]:
    known = await facts.of(tx, ((row.subject_type, row.subject_id) for row in rows))
    reader = (await tx.execute(sa.select(users).where(users.c.id == viewer.id))).one()

    def view(row: Row) -> schemas.Notification:
        told = values(deps.words, row, reader, known.get(row.subject_id, {}))
        return schemas.Notification(
            id=row.id,
            type=row.type,
            subject_type=row.subject_type,
            subject_id=row.subject_id,
            title=deps.words.subject(row.type, viewer.locale, told),
            url=told["link"],
            data=row.data,
            read=row.read_at_ms is not None,
            at=rfc3339(row.send_at_ms),
        )

    return [view(row) for row in rows]


async def _unread(tx: Tx, user_id: str, now_ms: int) -> int:
    query = sa.select(sa.func.count()).select_from(notifications)
    unread = _N.read_at_ms.is_(None)
    return await tx.scalar(query.where(_shown(user_id, now_ms), unread)) or 0


async def read_notifications(call: Call[schemas.MarkRead, Nothing]) -> Answer:
    deps, user = call.deps, call.user
    now_ms = deps.clock.wall_ms()
    mark = (
        sa.update(notifications)
        .where(_shown(user.id, now_ms), _N.read_at_ms.is_(None))
        .values(read_at_ms=now_ms)
    )
    if call.body.ids is not None:
        mark = mark.where(_N.id.in_(call.body.ids))
    async with deps.store.transaction() as tx:
        await tx.execute(mark)
        return Answer(200, schemas.Unread(await _unread(tx, user.id, now_ms)))


async def get_preferences(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        found = await preferences.of(tx, [call.user.id])
    return Answer(200, _preferences(found.get(call.user.id, [])))


async def set_preferences(call: Call[schemas.SetNotificationPreferences, Nothing]) -> Answer:
    muted = preferences.check(call.body.muted)
    async with call.deps.store.transaction() as tx:
        await preferences.store(tx, call.user.id, muted)
    return Answer(200, _preferences(muted))


def _preferences(muted: list[str]) -> schemas.NotificationPreferences:
    kinds = [
        schemas.NoticeKind(type_, list(notice.channels), not notice.security)
        for type_, notice in CATALOGUE.items()
    ]
    return schemas.NotificationPreferences(muted, kinds)


ROUTES = (
    Route(
        method="GET",
        path="/notifications",
        handler=list_notifications,
        summary="The inbox, newest first",
        tag="Notifications",
        query=InboxQuery,
        answer=schemas.NotificationPage,
    ),
    Route(
        method="POST",
        path="/notifications/read",
        handler=read_notifications,
        summary="Mark notices as read",
        tag="Notifications",
        body=schemas.MarkRead,
        answer=schemas.Unread,
    ),
    Route(
        method="GET",
        path="/me/notification-preferences",
        handler=get_preferences,
        summary="Which notices there are, and which the user has muted",
        tag="Notifications",
        answer=schemas.NotificationPreferences,
    ),
    Route(
        method="PUT",
        path="/me/notification-preferences",
        handler=set_preferences,
        summary="Mute kinds of notices on a channel",
        tag="Notifications",
        body=schemas.SetNotificationPreferences,
        answer=schemas.NotificationPreferences,
    ),
)
