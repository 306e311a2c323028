"""Who may open a file, by what it is for."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from admin import queries
from admin.accounts.people import DESKS, Viewer
from admin.queries import Row
from engine.store.database import Tx
from engine.store.market_tables import (
    cases,
    conversation_members,
    file_uses,
    listing_revisions,
    proposals,
    requests,
)
from engine.store.tables import conversations, orders

_BOUGHT = ("completed", "disputed")


async def may_open(tx: Tx, viewer: Viewer, file: Row) -> bool:
    """Whether this user may open a file that is there.

    Photos and pictures are shown to everybody by links made where the profile or listing is shown
    (`service.public_url`); by themselves they are their owner's. Goods open to whoever bought that
    revision, attachments to the parties of what they are attached to.
    """
    if file.owner_id == viewer.id:
        return True
    if file.purpose == "attachment":
        return await _is_party(tx, viewer, file.id)
    if file.purpose == "goods" and await _bought(tx, viewer.id, file):
        return True
    return bool({"listings.moderate", "disputes.decide", "support"} & viewer.permissions)


async def _bought(tx: Tx, user_id: str, file: Row) -> bool:
    """Whether one of the user's paid orders of this seller is of a revision with the file."""
    query = (
        sa.select(listing_revisions.c.content)
        .join(
            orders,
            sa.and_(
                orders.c.listing_id == listing_revisions.c.listing_id,
                orders.c.listing_revision == listing_revisions.c.number,
            ),
        )
        .where(orders.c.customer_id == user_id, orders.c.expert_id == file.owner_id)
        .where(orders.c.fulfilment == "files", orders.c.state.in_(_BOUGHT))
    )
    contents: list[dict[str, Any]] = [row.content for row in await queries.rows(tx, query)]
    return any(file.id in content.get("files", ()) for content in contents)


async def _is_party(tx: Tx, viewer: Viewer, file_id: str) -> bool:
    uses = sa.select(file_uses.c.subject_type, file_uses.c.subject_id)
    for use in await queries.rows(tx, uses.where(file_uses.c.file_id == file_id)):
        if await _PARTY[use.subject_type](tx, viewer, use.subject_id):
            return True
    return False


async def _in_conversation(tx: Tx, viewer: Viewer, conversation_id: str) -> bool:
    m, c = conversation_members.c, conversations.c
    member = sa.select(m.user_id).where(
        m.conversation_id == conversation_id, m.user_id == viewer.id
    )
    if await tx.scalar(member) is not None:
        return True
    if not viewer.is_staff:
        return False
    # Staff read a conversation while a case is about it, and the conversation of a case.
    about = sa.select(cases.c.kind).join(
        conversations, sa.or_(cases.c.id == c.topic, cases.c.subject_id == c.order_id)
    )
    kinds = (await tx.scalars(about.where(c.id == conversation_id))).all()
    return any(_decides(viewer, kind) for kind in kinds)


async def _in_request(tx: Tx, viewer: Viewer, request_id: str) -> bool:
    query = sa.select(requests.c.customer_id).where(requests.c.id == request_id)
    if await tx.scalar(query) == viewer.id or "requests.triage" in viewer.permissions:
        return True
    invited = sa.select(proposals.c.id).where(
        proposals.c.request_id == request_id, proposals.c.expert_id == viewer.id
    )
    return await tx.scalar(invited.limit(1)) is not None


async def _in_case(tx: Tx, viewer: Viewer, case_id: str) -> bool:
    query = sa.select(cases.c.kind, cases.c.opened_by).where(cases.c.id == case_id)
    case = await queries.row(tx, query)
    if case is None:
        return False
    if case.opened_by == viewer.id or _decides(viewer, case.kind):
        return True
    members = (
        sa.select(conversation_members.c.user_id)
        .join(conversations, conversations.c.id == conversation_members.c.conversation_id)
        .where(conversations.c.topic == case_id, conversation_members.c.user_id == viewer.id)
    )
    return await tx.scalar(members) is not None


def _decides(viewer: Viewer, kind: str) -> bool:
    return DESKS.get(kind, "admin") in viewer.permissions


_PARTY = {"conversation": _in_conversation, "request": _in_request, "case": _in_case}
