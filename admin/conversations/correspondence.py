"""The marketplace's say in messages outside of live sessions (`engine.chat.ports`)."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from admin import events, queries
from admin.cases.records import UNDECIDED
from admin.conversations import pairs, response
from admin.files import service as files
from admin.notices import notify
from admin.ports import AdminDeps
from engine.chat.ports import After, Conversation, Screen
from engine.errors import Conflict
from engine.signaling.messages import Message
from engine.store.database import Tx
from engine.store.market_tables import cases, notifications, requests
from engine.store.marks import require_unblocked
from engine.store.tables import orders, read_marks, sessions, users

_RUNNING_ORDER = ("open", "delivered", "disputed")
_EXCERPT_CHARS = 200
RECEIVED = "message.received"


class Correspondence:
    """Implements `engine.chat.ports.Correspondence`."""

    def __init__(self, deps: AdminDeps) -> None:
        self._deps = deps

    async def admit(self, tx: Tx, where: Conversation, author_id: str) -> Screen | None:
        """Raises `Forbidden("blocked")`, `Conflict`: `request_closed`, `case_closed`,
        `session_live`."""
        others = [member for member in where.members if member != author_id]
        if where.kind == "case":
            await _require_open_case(tx, where.topic or "")
            return None
        if where.kind == "request":
            await _require_open_request(tx, (where.topic or "").partition(":")[0])
        if where.kind != "order" or not await _runs(tx, where.order_id):
            await require_unblocked(tx, author_id, *others)
        return await pairs.screen(self._deps, tx, author_id, others)

    async def attach(
        self, tx: Tx, conversation_id: str, author_id: str, file_ids: Sequence[str]
    ) -> None:
        await files.attach(tx, file_ids, author_id, "conversation", conversation_id)

    async def stored(
        self, tx: Tx, where: Conversation, message: Message, at_ms: int
    ) -> Sequence[After]:
        if message.masked:
            await note_off_platform(
                tx,
                message.id,
                actor=message.author_id or "system",
                at_ms=at_ms,
                kinds=message.masked,
                place=where.id,
            )
        await response.count_message(tx, where, message, at_ms)
        return await self._tell_absent(tx, where, message)

    async def _tell_absent(self, tx: Tx, where: Conversation, message: Message) -> list[After]:
        """Members without a socket are told once until they have read (at most one mail each)."""
        absent = [
            member
            for member in where.members
            if member != message.author_id and not self._deps.presence.is_online(member)
        ]
        untold = [member for member in absent if not await _knows(tx, where.id, member)]
        if not untold:
            return []
        author = sa.select(users.c.display_name).where(users.c.id == message.author_id)
        data = {
            "conversation_id": where.id,
            "kind": where.kind,
            "order_id": where.order_id,
            "message_id": message.id,
            "author_id": message.author_id,
            "author": await tx.scalar(author),
            "text": message.body[:_EXCERPT_CHARS],
        }
        after: list[After] = []
        for member in untold:
            about = await queries.literal(tx, id=where.id, user_id=member)
            actor = message.author_id or ""
            after += await notify(self._deps, tx, RECEIVED, about, actor_id=actor, data=data)
        return after


async def note_off_platform(
    tx: Tx, subject_id: str, *, actor: str, at_ms: int, kinds: Sequence[str], place: str
) -> None:
    """Somebody tried to lead somebody off the platform (P13): for staff to look at."""
    data = {"place": place, "kinds": list(kinds)}
    await events.publish(
        tx, "message.off_platform", subject_id, actor=actor, at_ms=at_ms, data=data
    )


async def _knows(tx: Tx, conversation_id: str, user_id: str) -> bool:
    """Whether the user was told of something in it that they have not read yet."""
    n, r = notifications.c, read_marks.c
    read_at = (
        sa.select(r.updated_at_ms)
        .where(r.conversation_id == conversation_id, r.user_id == user_id)
        .scalar_subquery()
    )
    query = sa.select(n.id).where(
        n.subject_id == conversation_id,
        n.user_id == user_id,
        n.type == RECEIVED,
        n.created_at_ms > sa.func.coalesce(read_at, -1),
    )
    return await tx.scalar(query.limit(1)) is not None


async def _require_open_case(tx: Tx, case_id: str) -> None:
    state = await tx.scalar(sa.select(cases.c.state).where(cases.c.id == case_id))
    if state not in UNDECIDED:
        raise Conflict("case_closed", "This case is decided.")


async def _require_open_request(tx: Tx, request_id: str) -> None:
    state = await tx.scalar(sa.select(requests.c.state).where(requests.c.id == request_id))
    if state != "open":
        raise Conflict("request_closed", "This request is closed.")


async def _runs(tx: Tx, order_id: str | None) -> bool:
    """Whether the order is paid and not ended: then even a blocked pair must be able to finish it.

    Raises `Conflict("session_live")` while a text session runs: what is said then, is said there,
    where its clock counts.
    """
    writing = sa.select(sessions.c.id).where(
        sessions.c.order_id == order_id,
        sessions.c.mode == "text",
        sessions.c.state == "in_progress",
    )
    if await tx.scalar(writing.limit(1)) is not None:
        raise Conflict("session_live", "A text session is under way: write there.")
    state = await tx.scalar(sa.select(orders.c.state).where(orders.c.id == order_id))
    return state in _RUNNING_ORDER
