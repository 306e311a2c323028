"""The inbox: what users see of their conversations, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from admin import queries
from admin.conversations import schemas
from admin.http import cursors
from admin.http.cursors import Cursor
from admin.http.times import rfc3339
from admin.ports import AdminDeps
from admin.queries import Row, later_than
from admin.schemas import PartyCard
from engine.chat import records
from engine.errors import NotFound
from engine.signaling.messages import Message
from engine.store.database import Tx
from engine.store.market_tables import cases, conversation_members, requests
from engine.store.tables import conversations, messages, orders, read_marks, users


@dataclass(frozen=True)
class Wanted:
    """What a reader asks for; None asks for nothing."""

    kind: str | None = None
    unread: bool | None = None


@dataclass
class _Around:
    """What belongs to some conversations, by their id."""

    other: dict[str, PartyCard] = field(default_factory=dict)
    last: Mapping[str, Message] = field(default_factory=dict)
    unread: Mapping[str, int] = field(default_factory=dict)
    about: dict[str, schemas.About] = field(default_factory=dict)


async def one(deps: AdminDeps, tx: Tx, user_id: str, conversation_id: str) -> schemas.Conversation:
    """Raises `NotFound("conversation_not_found")`, also to strangers."""
    row = await queries.row(tx, _mine(user_id).where(conversations.c.id == conversation_id))
    if row is None:
        raise NotFound("conversation_not_found", "There is no such conversation.")
    return (await _views(deps, tx, user_id, [row]))[0]


async def page(
    deps: AdminDeps, tx: Tx, user_id: str, wanted: Wanted, *, after: Cursor | None, limit: int
) -> schemas.ConversationPage:
    """Conversations in which something was written, the latest first."""
    c = conversations.c
    query = _mine(user_id).where(c.last_seq > 0)
    if wanted.kind is not None:
        query = query.where(c.kind == wanted.kind)
    if wanted.unread is not None:
        unread = sa.and_(c.last_seq > _READ, _unread(user_id).exists())
        query = query.where(unread if wanted.unread else sa.not_(unread))
    if after is not None:
        query = query.where(later_than(c.last_at_ms, c.id, after))
    query = query.order_by(c.last_at_ms.desc(), c.id.desc()).limit(limit + 1)
    rows = await queries.rows(tx, query)
    shown = rows[:limit]
    rest = None
    if len(rows) > limit:
        rest = cursors.encode(Cursor(shown[-1].last_at_ms, shown[-1].id))
    return schemas.ConversationPage(await _views(deps, tx, user_id, shown), rest)


_READ = sa.func.coalesce(read_marks.c.seq, 0)


def _mine(user_id: str) -> sa.Select[Any]:
    m, r = conversation_members.c, read_marks.c
    mark = sa.and_(r.conversation_id == m.conversation_id, r.user_id == m.user_id)
    return (
        sa.select(conversations, _READ.label("read_seq"))
        .join(conversation_members, m.conversation_id == conversations.c.id)
        .outerjoin(read_marks, mark)
        .where(m.user_id == user_id)
    )


def _unread(user_id: str) -> sa.Select[Any]:
    """Of the conversation and the mark of the query around it."""
    m = messages.c
    return (
        sa.select(sa.literal(1))
        .select_from(messages)
        .where(m.conversation_id == conversations.c.id, m.seq > _READ)
        .where(sa.or_(m.author_id.is_(None), m.author_id != user_id))
        .correlate(conversations, read_marks)
    )


async def _views(
    deps: AdminDeps, tx: Tx, user_id: str, rows: Sequence[Row]
) -> list[schemas.Conversation]:
    around = await _around(deps, tx, user_id, rows)
    return [
        schemas.Conversation(
            id=row.id,
            kind=row.kind,
            about=around.about[row.id],
            other=around.other.get(row.id),
            last_message=around.last.get(row.id),
            last_seq=row.last_seq,
            read_seq=row.read_seq,
            unread=around.unread.get(row.id, 0),
            updated_at=rfc3339(row.last_at_ms),
        )
        for row in rows
    ]


async def _around(deps: AdminDeps, tx: Tx, user_id: str, rows: Sequence[Row]) -> _Around:
    found = _Around()
    ids = [row.id for row in rows]
    if not ids:
        return found
    m, c, r = conversation_members.c, conversations.c, read_marks.c
    others = (
        sa.select(m.conversation_id, users.c.id, users.c.display_name)
        .join(users, users.c.id == m.user_id)
        .where(m.conversation_id.in_(ids), m.user_id != user_id)
    )
    for row in await queries.rows(tx, others):
        found.other[row.conversation_id] = PartyCard(row.id, row.display_name)
    found.last = with_links(deps, user_id, await records.latest(tx, ids, user_id))
    count = _unread(user_id).with_only_columns(sa.func.count()).scalar_subquery()
    mark = sa.and_(r.conversation_id == c.id, r.user_id == user_id)
    unread = sa.select(c.id, count).outerjoin(read_marks, mark).where(c.id.in_(ids))
    found.unread = await queries.pairs(tx, unread)
    found.about = await _about(tx, rows, found.other)
    return found


def with_links(
    deps: AdminDeps, user_id: str, found: Mapping[str, Message]
) -> Mapping[str, Message]:
    return {key: linked(deps, user_id, message) for key, message in found.items()}


def linked(deps: AdminDeps, user_id: str, message: Message) -> Message:
    """The message with paths that open its files for this user."""
    if not message.files:
        return message
    opened = [
        msgspec.structs.replace(file, url=deps.file_links.url(user_id, file.id))
        for file in message.files
    ]
    return msgspec.structs.replace(message, files=opened)


async def _about(
    tx: Tx, rows: Sequence[Row], other: Mapping[str, PartyCard]
) -> dict[str, schemas.About]:
    subjects = {row.id: row.order_id or (row.topic or "").partition(":")[0] for row in rows}
    titles: dict[str, tuple[str, str | None]] = {}
    for kind, (table, number) in _TITLES.items():
        ids = [subjects[row.id] for row in rows if row.kind == kind]
        if ids:
            columns = (table.c.id, table.c.title, *((table.c.number,) if number else ()))
            query = sa.select(*columns).where(table.c.id.in_(ids))
            for found in await queries.rows(tx, query):
                titles[found.id] = (found.title, found.number if number else None)
    about = {}
    for row in rows:
        if row.kind == "pair":
            who = other.get(row.id) or PartyCard("", "")
            about[row.id] = schemas.About("user", who.id, who.display_name)
        else:
            subject_id = subjects[row.id]
            title, number_text = titles.get(subject_id, ("", None))
            about[row.id] = schemas.About(row.kind, subject_id, title, number_text)
    return about


_TITLES: dict[str, tuple[sa.Table, bool]] = {
    "order": (orders, True),
    "request": (requests, False),
    "case": (cases, True),
}
"""Where the title of what a conversation is about stands, and whether a number does too."""
