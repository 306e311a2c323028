"""Staff in conversations that are not theirs: with a case about it, and never unseen."""

from __future__ import annotations

import sqlalchemy as sa

from admin import events
from admin.accounts.people import DESKS, Viewer
from admin.cases.records import UNDECIDED
from admin.ports import AdminDeps
from engine.chat import records
from engine.chat.ports import Conversation
from engine.errors import NotFound
from engine.store.database import Tx
from engine.store.market_tables import cases


async def may_read(tx: Tx, viewer: Viewer, where: Conversation) -> bool:
    """A case's conversation is open to whoever decides such cases; any other one only while a case
    about it, or about its order or request, is undecided."""
    if not viewer.is_staff:
        return False
    query = sa.select(cases.c.kind)
    if where.kind == "case":
        query = query.where(cases.c.id == where.topic)
    else:
        subject = where.order_id or (where.topic or "").partition(":")[0]
        query = query.where(
            cases.c.subject_id.in_((subject, where.id)), cases.c.state.in_(UNDECIDED)
        )
    kinds = (await tx.scalars(query)).all()
    return any(DESKS[kind] in viewer.permissions for kind in kinds)


async def as_guest(deps: AdminDeps, viewer: Viewer, conversation_id: str, what: str) -> bool:
    """Whether the viewer is let in as staff; False: as a member, like anybody else.

    What staff do in a conversation that is not theirs is an event in the outbox, `what` they do
    (read, wrote), before they see anything. Raises `NotFound`.
    """
    async with deps.store.transaction() as tx:
        where = await records.find(tx, conversation_id)
        if viewer.id in where.members:
            return False
        if not await may_read(tx, viewer, where):
            raise NotFound("conversation_not_found", "There is no such conversation.")
        data = {"kind": where.kind, "order_id": where.order_id, "topic": where.topic}
        await events.publish(
            tx,
            f"conversation.{what}_by_staff",
            where.id,
            actor=viewer.id,
            at_ms=deps.clock.wall_ms(),
            data=data,
        )
        return True
