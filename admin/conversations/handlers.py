"""GET POST /conversations, GET POST /conversations/{id}/messages, POST /conversations/{id}/read."""

from __future__ import annotations

import base64
import binascii

import sqlalchemy as sa
from msgspec import Struct

from admin import schemas as shared
from admin.catalogue import listings
from admin.conversations import access, pairs, schemas, views
from admin.http import cursors
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.http.cursors import CursorText, Limit
from engine.chat.rules import warning
from engine.errors import BadInput, Conflict, NotFound
from engine.ids import new_id
from engine.signaling.messages import MessageSend
from engine.store.database import Tx
from engine.store.marks import require_unblocked
from engine.store.tables import conversations, experts, users
from engine.store.tables import listings as listing_rows


class InboxQuery(Struct):
    kind: schemas.Kind | None = None
    unread: bool | None = None
    cursor: CursorText | None = None
    limit: Limit = 20


class MessageQuery(Struct):
    cursor: CursorText | None = None
    limit: Limit = 50


async def list_conversations(call: Call[Nothing, InboxQuery]) -> Answer:
    query = call.query
    wanted = views.Wanted(query.kind, query.unread)
    after = cursors.decode(query.cursor)
    async with call.deps.store.reading() as tx:
        found = await views.page(
            call.deps, tx, call.user.id, wanted, after=after, limit=query.limit
        )
    return Answer(200, found)


async def open_conversation(call: Call[schemas.OpenConversation, Nothing]) -> Answer:
    """Ask before buying (P7): only an expert is written to, once a pair has one either writes."""
    deps, user, body = call.deps, call.user, call.body
    if (body.user_id is None) == (body.listing_id is None):
        raise BadInput("invalid_body", "Name either a user or a listing.", path="$")
    async with deps.store.transaction() as tx:
        other = body.user_id or await _expert_of(tx, body.listing_id or "")
        if other == user.id:
            raise Conflict("own_conversation", "You cannot write to yourself.")
        topic = pairs.pair_topic(user.id, other)
        known = sa.select(conversations.c.id).where(conversations.c.topic == topic)
        if await tx.scalar(known) is None:
            await _require_expert(tx, other)
        await require_unblocked(tx, user.id, other)
        conversation_id = await pairs.converse(
            tx, "pair", topic, (user.id, other), deps.clock.wall_ms()
        )
        view = await views.one(deps, tx, user.id, conversation_id)
        return await call.claim.settle(tx, Answer(200, view))


async def _expert_of(tx: Tx, listing_id: str) -> str:
    query = listings.published().where(listing_rows.c.id == listing_id)
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise NotFound("listing_not_found", "There is no such listing.")
    return str(row.expert_id)


async def _require_expert(tx: Tx, user_id: str) -> None:
    query = (
        sa.select(users.c.id)
        .join(experts, experts.c.user_id == users.c.id)
        .where(users.c.id == user_id, users.c.state == "active", experts.c.active)
    )
    if await tx.scalar(query) is None:
        raise NotFound("expert_not_found", "There is no such expert.")


async def get_conversation(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        return Answer(200, await views.one(call.deps, tx, call.user.id, call.id))


async def list_messages(call: Call[Nothing, MessageQuery]) -> Answer:
    """The newest page first, each page oldest first; the cursor leads to older messages."""
    deps, user = call.deps, call.user
    before = _before(call.query.cursor)
    guest = user.is_staff and await access.as_guest(deps, user, call.id, "read")
    items, more = await deps.chat.history(user.id, call.id, before, call.query.limit, guest=guest)
    cursor = _cursor(items[0].seq) if more and items else None
    shown = [views.linked(deps, user.id, message) for message in items]
    return Answer(200, shared.MessagePage(shown, cursor))


async def send_message(call: Call[schemas.NewMessage, Nothing]) -> Answer:
    deps, user, body = call.deps, call.user, call.body
    guest = user.is_staff and await access.as_guest(deps, user, call.id, "wrote")
    sent = MessageSend(
        conversation_id=call.id,
        client_msg_id=body.client_msg_id or new_id("rest"),
        body=body.body,
        files=body.files,
    )
    message, duplicate = await deps.chat.send(user.id, sent, guest=guest)
    shown = views.linked(deps, user.id, message)
    return Answer(201, schemas.MessageAnswer(shown, duplicate, warning(message.masked)))


async def read_conversation(call: Call[schemas.ReadUpTo, Nothing]) -> Answer:
    await call.deps.chat.read(call.user.id, call.id, call.body.seq)
    async with call.deps.store.reading() as tx:
        return Answer(200, await views.one(call.deps, tx, call.user.id, call.id))


def _cursor(before_seq: int) -> str:
    return base64.urlsafe_b64encode(str(before_seq).encode()).decode().rstrip("=")


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if not text.isdigit() or len(text) > 9:
            raise ValueError("not a sequence number")
        return int(text)
    except (ValueError, binascii.Error):
        raise BadInput("invalid_cursor", "This cursor did not come from us.") from None


ROUTES = (
    Route(
        method="GET",
        path="/conversations",
        handler=list_conversations,
        summary="The user's conversations, the latest first; those with something unread alone",
        tag="Messages",
        query=InboxQuery,
        answer=schemas.ConversationPage,
    ),
    Route(
        method="POST",
        path="/conversations",
        handler=open_conversation,
        summary="The conversation with an expert, to ask before buying",
        tag="Messages",
        body=schemas.OpenConversation,
        answer=schemas.Conversation,
        idempotent=True,
        refusals=(403, 404),
    ),
    Route(
        method="GET",
        path=f"/conversations/{ID}",
        handler=get_conversation,
        summary="One conversation of the user",
        tag="Messages",
        answer=schemas.Conversation,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path=f"/conversations/{ID}/messages",
        handler=list_messages,
        summary="Messages of a conversation, oldest first; the cursor leads back in time",
        tag="Messages",
        query=MessageQuery,
        answer=shared.MessagePage,
        refusals=(404,),
    ),
    Route(
        method="POST",
        path=f"/conversations/{ID}/messages",
        handler=send_message,
        summary="Write a message; it never counts for money",
        tag="Messages",
        body=schemas.NewMessage,
        answer=schemas.MessageAnswer,
        status=201,
        refusals=(403, 404),
    ),
    Route(
        method="POST",
        path=f"/conversations/{ID}/read",
        handler=read_conversation,
        summary="Mark everything up to a message as read",
        tag="Messages",
        body=schemas.ReadUpTo,
        answer=schemas.Conversation,
        refusals=(404,),
    ),
)
