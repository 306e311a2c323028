"""Bodies and answers of the conversations area."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from admin.http.bodies import Body
from admin.schemas import PartyCard
from engine.signaling.messages import AttachmentIds, ClientMessageId, IdText, Message, MessageBody

Kind = Literal["pair", "request", "order", "case"]


class OpenConversation(Body):
    """POST /conversations: with an expert, or with the expert of a listing; one of the two."""

    user_id: IdText | None = None
    listing_id: IdText | None = None


class NewMessage(Body):
    """POST /conversations/{id}/messages. Under one `client_msg_id` one message is stored; without
    one each request is another message. `files`: ids of the author's own attachments."""

    body: MessageBody = ""
    files: AttachmentIds = field(default_factory=list)
    client_msg_id: ClientMessageId | None = None


class MessageAnswer(Struct):
    """`warning`: what the author should know of what was hidden in the message."""

    message: Message
    duplicate: bool
    warning: str | None = None


class ReadUpTo(Body):
    """POST /conversations/{id}/read: everything up to the message with this `seq`."""

    seq: Annotated[int, Meta(ge=0, le=2**31 - 1)]


class About(Struct):
    """What a conversation is about. `type`: user, request, order, case; `number`: of orders and
    cases, for people."""

    type: str
    id: str
    title: str
    number: str | None = None


class Conversation(Struct):
    """GET /conversations, GET /conversations/{id}. `other`: the member that the viewer is not;
    `unread`: messages of others after `read_seq`."""

    id: str
    kind: Kind
    about: About
    other: PartyCard | None
    last_message: Message | None
    last_seq: int
    read_seq: int
    unread: int
    updated_at: str


class ConversationPage(Struct):
    items: list[Conversation]
    next_cursor: str | None
