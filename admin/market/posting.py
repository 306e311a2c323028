"""Messages that moves leave in conversations: a delivery, a question of the staff, its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from admin.files.service import attach
from admin.market.transitions import After, Step
from admin.ports import AdminDeps
from engine.chat import records
from engine.chat.off_platform import hide_cards
from engine.chat.rules import normalise_body
from engine.signaling.messages import MessageCreated


@dataclass(frozen=True)
class Post:
    """`files`: ids of the author's attachments."""

    conversation_id: str
    kind: str
    text: str
    files: Sequence[str] = ()
    order_id: str | None = None
    """Of an order's conversation."""


async def add(step: Step, post: Post, *, to: Sequence[str]) -> str:
    """Write the message in the step's transaction and tell `to` after it; its id.

    Raises `BadInput("file_not_usable")`, `BadInput("message_too_long")`.
    """
    tx = step.tx
    await attach(tx, post.files, step.actor.id, "conversation", post.conversation_id)
    body = hide_cards(normalise_body(post.text, empty=bool(post.files)))
    draft = records.Draft(
        post.conversation_id,
        post.kind,
        body.text,
        step.now_ms,
        author_id=step.actor.id,
        masked=body.kinds,
        files=tuple(post.files),
    )
    message = await records.append(tx, draft)
    step.after.append(_teller(step.deps, MessageCreated(None, message, post.order_id), to))
    return message.id


def _teller(deps: AdminDeps, created: MessageCreated, to: Sequence[str]) -> After:
    told = msgspec.to_builtins(created)

    async def tell() -> None:
        for user_id in to:
            await deps.outbound.to_user(user_id, "message.created", told)

    return tell
