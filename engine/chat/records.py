"""Chat in the store. Every function takes a transaction and never commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from engine.chat.ports import Conversation
from engine.errors import NotFound
from engine.ids import new_id
from engine.signaling.messages import Attachment, Message, rfc3339
from engine.store.database import Tx
from engine.store.market_tables import conversation_members, files
from engine.store.tables import conversations, messages, read_marks, sessions

AUTHORS = "*"
"""In place of a reader: each message as whoever wrote it sees it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message without its place in the conversation. `original_body`: as its author sees it, if
    that differs; `masked`: what was hidden; `files`: ids."""

    conversation_id: str
    kind: str
    body: str
    at_ms: int
    session_id: str | None = None
    author_id: str | None = None
    client_msg_id: str | None = None
    original_body: str | None = None
    masked: Sequence[str] = ()
    files: Sequence[str] = ()


async def find(tx: Tx, conversation_id: str) -> Conversation:
    """Raises `NotFound` conversation_not_found."""
    c, m = conversations.c, conversation_members.c
    query = (
        sa.select(c.id, c.kind, c.order_id, c.topic, c.last_seq, m.user_id)
        .outerjoin(conversation_members, m.conversation_id == c.id)
        .where(c.id == conversation_id)
        .order_by(m.user_id)
    )
    rows = (await tx.execute(query)).all()
    if not rows:
        raise NotFound("conversation_not_found", "there is no such conversation")
    first = rows[0]
    members = tuple(row.user_id for row in rows if row.user_id is not None)
    return Conversation(first.id, first.kind, first.order_id, first.topic, first.last_seq, members)


async def order_of_session(tx: Tx, session_id: str) -> str | None:
    query = sa.select(sessions.c.order_id).where(sessions.c.id == session_id)
    return await tx.scalar(query)


async def order_of_conversation(tx: Tx, conversation_id: str) -> str | None:
    query = sa.select(conversations.c.order_id).where(conversations.c.id == conversation_id)
    return await tx.scalar(query)


async def next_seq(tx: Tx, conversation_id: str, at_ms: int = 0) -> int:
    """Take the next place; the row stays locked until the end of the transaction.

    `at_ms`: when the conversation was last written in, which never goes back.
    """
    c = conversations.c
    latest = sa.case((c.last_at_ms < at_ms, sa.literal(at_ms, sa.BigInteger)), else_=c.last_at_ms)
    statement = (
        sa.update(conversations)
        .where(c.id == conversation_id)
        .values(last_seq=c.last_seq + 1, last_at_ms=latest)
        .returning(c.last_seq)
    )
    seq = await tx.scalar(statement)
    if seq is None:
        raise NotFound("conversation_not_found", "there is no such conversation")
    return int(seq)


async def insert(tx: Tx, draft: Draft, seq: int) -> Message:
    """The stored message, as its readers see it."""
    message_id = new_id("msg")
    await tx.execute(
        sa.insert(messages).values(
            id=message_id,
            conversation_id=draft.conversation_id,
            seq=seq,
            session_id=draft.session_id,
            author_id=draft.author_id,
            kind=draft.kind,
            body=draft.body,
            original_body=draft.original_body,
            masked=list(draft.masked),
            files=list(draft.files),
            client_msg_id=draft.client_msg_id,
            created_at_ms=draft.at_ms,
        )
    )
    known = await _attachments(tx, draft.files)
    return Message(
        id=message_id,
        conversation_id=draft.conversation_id,
        session_id=draft.session_id,
        seq=seq,
        author_id=draft.author_id,
        kind=draft.kind,
        body=draft.body,
        client_msg_id=draft.client_msg_id,
        created_at=rfc3339(draft.at_ms),
        files=[known[file_id] for file_id in draft.files if file_id in known],
        masked=list(draft.masked),
    )


async def append(tx: Tx, draft: Draft) -> Message:
    """Store a message at the next place of its conversation, as its readers see it."""
    seq = await next_seq(tx, draft.conversation_id, draft.at_ms)
    return await insert(tx, draft, seq)


async def find_sent(
    tx: Tx, author_id: str, client_msg_id: str, *, session_id: str = "", conversation_id: str = ""
) -> Message | None:
    """What an author already sent under a client's id, in a conversation or in a session, as they
    see it."""
    place = (
        messages.c.conversation_id == conversation_id
        if conversation_id
        else messages.c.session_id == session_id
    )
    query = sa.select(messages).where(
        place, messages.c.author_id == author_id, messages.c.client_msg_id == client_msg_id
    )
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else (await _messages(tx, [row], author_id))[0]


async def page(
    tx: Tx, conversation_id: str, before_seq: int | None, limit: int, *, reader_id: str
) -> tuple[list[Message], bool]:
    """Up to `limit` messages before `before_seq`, oldest first, and whether older ones exist.

    As `reader_id` sees them, who may be `AUTHORS`.
    """
    query = sa.select(messages).where(messages.c.conversation_id == conversation_id)
    if before_seq is not None:
        query = query.where(messages.c.seq < before_seq)
    newest_first = query.order_by(messages.c.seq.desc()).limit(limit + 1)
    rows = (await tx.execute(newest_first)).all()
    shown = rows[limit - 1 :: -1] if len(rows) > limit else rows[::-1]
    return await _messages(tx, shown, reader_id), len(rows) > limit


async def latest(tx: Tx, conversation_ids: Sequence[str], reader_id: str) -> dict[str, Message]:
    """The last message of each conversation that has one, as `reader_id` sees it."""
    if not conversation_ids:
        return {}
    c, m = conversations.c, messages.c
    query = (
        sa.select(messages)
        .join(conversations, sa.and_(c.id == m.conversation_id, c.last_seq == m.seq))
        .where(c.id.in_(conversation_ids))
    )
    found = await _messages(tx, (await tx.execute(query)).all(), reader_id)
    return {message.conversation_id: message for message in found}


async def advance_mark(
    tx: Tx, conversation_id: str, user_id: str, *, mark: int, at_ms: int
) -> bool:
    """Move a read mark forward, in one statement whoever races; False if it is there already."""
    insert = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    proposed = insert(read_marks).values(
        conversation_id=conversation_id, user_id=user_id, seq=mark, updated_at_ms=at_ms
    )
    statement = proposed.on_conflict_do_update(
        index_elements=[read_marks.c.conversation_id, read_marks.c.user_id],
        set_={"seq": proposed.excluded.seq, "updated_at_ms": proposed.excluded.updated_at_ms},
        where=read_marks.c.seq < proposed.excluded.seq,
    ).returning(read_marks.c.seq)
    return await tx.scalar(statement) is not None


async def _messages(tx: Tx, rows: Sequence[Any], reader_id: str) -> list[Message]:
    known = await _attachments(tx, [file_id for row in rows for file_id in row.files])
    return [_message(row, reader_id, known) for row in rows]


async def _attachments(tx: Tx, ids: Sequence[str]) -> Mapping[str, Attachment]:
    if not ids:
        return {}
    f = files.c
    query = sa.select(f.id, f.name, f.type, f.size_bytes).where(f.id.in_(ids), f.state == "ready")
    return {row.id: Attachment(*row) for row in await tx.execute(query)}


def _message(row: Any, reader_id: str, known: Mapping[str, Attachment]) -> Message:
    own = reader_id in (AUTHORS, row.author_id) and row.original_body is not None
    return Message(
        id=row.id,
        conversation_id=row.conversation_id,
        session_id=row.session_id,
        seq=row.seq,
        author_id=row.author_id,
        kind=row.kind,
        body=row.original_body if own else row.body,
        client_msg_id=row.client_msg_id,
        created_at=rfc3339(row.created_at_ms),
        files=[known[file_id] for file_id in row.files if file_id in known],
        masked=row.masked,
    )
