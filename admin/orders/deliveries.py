"""Deliveries of work: messages of kind ``delivery`` in the order's conversation (T62, K32)."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from msgspec import Meta, Struct, field

from admin import queries
from admin.files.schemas import File
from admin.files.service import views
from admin.http.bodies import Body
from admin.http.times import rfc3339
from admin.market import posting
from admin.market.transitions import Step
from admin.ports import AdminDeps
from engine.errors import BadInput
from engine.signaling.messages import IdText
from engine.store.database import Tx
from engine.store.tables import conversations, messages

MOST_FILES = 10


class NewDelivery(Body):
    """POST /orders/{id}/deliveries: a text, files (ids of attachments), or both."""

    text: Annotated[str, Meta(max_length=4_000)] = ""
    files: Annotated[list[IdText], Meta(max_length=MOST_FILES)] = field(default_factory=list)


class Delivery(Struct):
    """One of possibly several before the work is done."""

    id: str
    text: str
    files: list[File]
    at: str


async def add(step: Step) -> None:
    """Post it; who delivers has begun.

    Raises `BadInput`: `delivery_empty`, `file_not_usable` and what a text is refused for.
    """
    tx, row, body = step.tx, step.row, step.body
    if not body.text.strip() and not body.files:
        raise BadInput("delivery_empty", "Deliver a text, a file or both.", path="$.text")
    conversation_id = await tx.scalar(
        sa.select(conversations.c.id).where(conversations.c.order_id == row.id)
    )
    post = posting.Post(
        str(conversation_id), "delivery", body.text, tuple(body.files), order_id=row.id
    )
    message_id = await posting.add(step, post, to=(row.customer_id, row.expert_id))
    step.values["started_at_ms"] = row.started_at_ms or step.now_ms
    step.data["message_id"] = message_id


async def of_order(deps: AdminDeps, tx: Tx, viewer_id: str, conversation_id: str) -> list[Delivery]:
    """What was delivered so far, oldest first."""
    query = (
        sa.select(messages.c.id, messages.c.body, messages.c.files, messages.c.created_at_ms)
        .where(messages.c.conversation_id == conversation_id, messages.c.kind == "delivery")
        .order_by(messages.c.seq)
    )
    rows = await queries.rows(tx, query)
    ids = [file_id for row in rows for file_id in row.files]
    known = {file.id: file for file in await views(deps, tx, viewer_id, ids)}
    return [
        Delivery(
            row.id,
            row.body,
            [known[file_id] for file_id in row.files if file_id in known],
            rfc3339(row.created_at_ms),
        )
        for row in rows
    ]
