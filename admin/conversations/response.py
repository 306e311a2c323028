"""How fast experts answer (P24): the time to their first word on a question or a request.

Counted once per conversation and once per request, whatever comes first there: a message, an offer
or a refusal. `experts.response_sum_s / experts.response_count` is the mean that buyers compare.
"""

from __future__ import annotations

import sqlalchemy as sa

from engine.chat.ports import Conversation
from engine.signaling.messages import Message
from engine.store.database import Tx
from engine.store.market_tables import proposals
from engine.store.tables import conversations, experts, messages, orders


async def count_message(tx: Tx, where: Conversation, message: Message, at_ms: int) -> None:
    """Count a member's message if it is an expert's first answer there."""
    author_id = message.author_id
    if author_id not in where.members or where.kind == "case":
        return
    if await _wrote_before(tx, where.id, author_id, message.seq):
        return
    if where.kind == "request":
        request_id, _, expert_id = (where.topic or "").partition(":")
        if author_id == expert_id:
            await count_reaction(tx, request_id, expert_id, at_ms, seq=message.seq)
        return
    if where.kind == "order" and not await _is_its_expert(tx, where.order_id, author_id):
        return
    asked = await tx.scalar(
        sa.select(sa.func.min(messages.c.created_at_ms)).where(
            messages.c.conversation_id == where.id,
            messages.c.seq < message.seq,
            messages.c.author_id.is_not(None),
        )
    )
    if asked is not None:  # else the expert began
        await _count(tx, author_id, at_ms - asked)


async def count_reaction(
    tx: Tx, request_id: str, expert_id: str, at_ms: int, *, seq: int | None = None
) -> None:
    """Count what an expert does about a request, unless it is not the first; before it is stored,
    but for a message, whose place is `seq`."""
    p = proposals.c
    mine = sa.select(p.state, p.by, p.created_at_ms).where(
        p.request_id == request_id, p.expert_id == expert_id
    )
    rows = (await tx.execute(mine.order_by(p.created_at_ms))).all()
    if not rows or any(row.by is not None or row.state == "declined" for row in rows):
        return
    if seq is None:
        topic = conversations.c.topic == f"{request_id}:{expert_id}"
        place = await tx.scalar(sa.select(conversations.c.id).where(topic))
        if place is not None and await _wrote_before(tx, place, expert_id, 2**31 - 1):
            return
    await _count(tx, expert_id, at_ms - rows[0].created_at_ms)


async def _wrote_before(tx: Tx, conversation_id: str, author_id: str, seq: int) -> bool:
    m = messages.c
    query = sa.select(m.seq).where(
        m.conversation_id == conversation_id, m.author_id == author_id, m.seq < seq
    )
    return await tx.scalar(query.limit(1)) is not None


async def _is_its_expert(tx: Tx, order_id: str | None, user_id: str) -> bool:
    query = sa.select(orders.c.expert_id).where(orders.c.id == order_id)
    return await tx.scalar(query) == user_id


async def _count(tx: Tx, expert_id: str, elapsed_ms: int) -> None:
    """Of somebody who is no expert nothing is counted."""
    e = experts.c
    seconds = max(0, elapsed_ms) // 1_000
    await tx.execute(
        sa.update(experts)
        .where(e.user_id == expert_id)
        .values(response_count=e.response_count + 1, response_sum_s=e.response_sum_s + seconds)
    )
