"""What customers and experts see of requests; of competitors' offers experts see nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from admin import queries
from admin.conversations import pairs
from admin.files import service as files
from admin.files.schemas import File
from admin.http import cursors
from admin.http.cursors import Cursor
from admin.http.times import money, rfc3339, rfc3339_or_none
from admin.market.actors import Actor
from admin.market.transitions import possible, situation_of
from admin.ports import AdminDeps
from admin.queries import Row, later_than
from admin.requests import schemas
from admin.requests.machine import PROPOSAL, REQUEST, Facts, proposal_facts
from admin.schemas import PartyCard
from engine.store.database import Tx
from engine.store.market_tables import proposals, requests
from engine.store.tables import conversations, orders, users

PROPOSAL_ACTIONS = ("accept", "decline", "withdraw", "counter")


@dataclass
class _Around:
    """What belongs to some requests."""

    proposals: dict[str, list[Row]] = field(default_factory=dict)
    """By request id, those that the viewer sees, oldest first."""
    facts: Mapping[str, Facts] = field(default_factory=dict)
    """By proposal id, as is what follows but names and files."""
    orders: Mapping[str, str] = field(default_factory=dict)
    conversations: Mapping[str, str] = field(default_factory=dict)
    """By topic."""
    names: Mapping[str, str] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)


async def one(deps: AdminDeps, tx: Tx, user_id: str, request_id: str) -> schemas.Request:
    """Raises `NotFound("request_not_found")`, also to strangers."""
    query = sa.select(requests).where(requests.c.id == request_id, _party(user_id, None))
    row = await queries.row(tx, query)
    if row is None:
        raise REQUEST.not_found
    return _view(deps, user_id, row, await _around(deps, tx, user_id, [row]))


async def proposal(deps: AdminDeps, tx: Tx, user_id: str, proposal_id: str) -> schemas.Proposal:
    """Raises `NotFound("proposal_not_found")`, also to strangers."""
    p = proposals.c
    mine = sa.or_(p.customer_id == user_id, p.expert_id == user_id)
    row = await queries.row(tx, sa.select(proposals).where(p.id == proposal_id, mine))
    if row is None:
        raise PROPOSAL.not_found
    around = _Around()
    await _add_proposals(deps, tx, around, [row])
    around.names = await _names(tx, {row.expert_id})
    return _proposal(deps, user_id, row, around)


async def page(
    deps: AdminDeps, tx: Tx, user_id: str, role: str | None, *, after: Cursor | None, limit: int
) -> schemas.RequestPage:
    """The user's requests, newest first; None: in either role."""
    r = requests.c
    query = sa.select(requests).where(_party(user_id, role))
    if after is not None:
        query = query.where(later_than(r.created_at_ms, r.id, after))
    query = query.order_by(r.created_at_ms.desc(), r.id.desc()).limit(limit + 1)
    rows = await queries.rows(tx, query)
    shown = rows[:limit]
    around = await _around(deps, tx, user_id, shown)
    rest = None
    if len(rows) > limit:
        rest = cursors.encode(Cursor(shown[-1].created_at_ms, shown[-1].id))
    return schemas.RequestPage([_view(deps, user_id, row, around) for row in shown], rest)


def _party(user_id: str, role: str | None) -> sa.ColumnElement[bool]:
    r, p = requests.c, proposals.c
    invited = sa.select(p.request_id).where(p.expert_id == user_id)
    if role == "customer":
        return r.customer_id == user_id
    if role == "expert":
        return r.id.in_(invited)
    mine = requests.alias("mine")
    own = sa.select(mine.c.id).where(mine.c.customer_id == user_id)
    return r.id.in_(own.union(invited))  # one index each; an OR would read every request


async def _around(deps: AdminDeps, tx: Tx, user_id: str, rows: Sequence[Row]) -> _Around:
    found = _Around()
    if not rows:
        return found
    p = proposals.c
    query = (
        sa.select(proposals)
        .where(p.request_id.in_([row.id for row in rows]), p.state != "superseded")
        .where(sa.or_(p.customer_id == user_id, p.expert_id == user_id))
        .order_by(p.created_at_ms, p.id)
    )
    shown = await queries.rows(tx, query)
    await _add_proposals(deps, tx, found, shown)
    people = {row.customer_id for row in rows} | {row.expert_id for row in shown}
    found.names = await _names(tx, people)
    ids = [file_id for row in rows for file_id in row.files]
    found.files = {file.id: file for file in await files.views(deps, tx, user_id, ids)}
    return found


async def _add_proposals(deps: AdminDeps, tx: Tx, found: _Around, rows: Sequence[Row]) -> None:
    for row in rows:
        found.proposals.setdefault(row.request_id, []).append(row)
    found.facts = await proposal_facts(deps, tx, rows)
    accepted = [row.id for row in rows if row.state == "accepted"]
    if accepted:
        placed = sa.select(orders.c.proposal_id, orders.c.id)
        found.orders = await queries.pairs(tx, placed.where(orders.c.proposal_id.in_(accepted)))
    topics = {pairs.request_topic(row.request_id, row.expert_id) for row in rows}
    talks = sa.select(conversations.c.topic, conversations.c.id)
    found.conversations = await queries.pairs(tx, talks.where(conversations.c.topic.in_(topics)))


async def _names(tx: Tx, ids: set[str]) -> dict[str, str]:
    return await queries.pairs(
        tx, sa.select(users.c.id, users.c.display_name).where(users.c.id.in_(ids))
    )


def _view(deps: AdminDeps, user_id: str, row: Row, around: _Around) -> schemas.Request:
    viewer = Actor(user_id)
    by_customer = row.customer_id == user_id
    seen = around.proposals.get(row.id, [])
    budget, by = row.wanted.get("budget_minor"), row.wanted.get("delivery_by_ms")
    offered = [_proposal(deps, user_id, each, around) for each in seen]
    return schemas.Request(
        id=row.id,
        title=row.title,
        body=row.body,
        files=[around.files[file_id] for file_id in row.files if file_id in around.files],
        category=row.category,
        listing_id=row.listing_id,
        budget=None if budget is None else money(budget, deps.settings.currency),
        delivery_by=rfc3339_or_none(by),
        deadline=rfc3339(row.deadline_ms),
        state=row.state,
        role="customer" if by_customer else "expert",
        customer=PartyCard(row.customer_id, around.names[row.customer_id]),
        proposals=offered,
        order_id=next((each.order_id for each in offered if each.order_id), None),
        can_offer=not by_customer and row.state == "open",
        actions=possible(REQUEST, situation_of(deps, REQUEST, row, {}, viewer), viewer),
        created_at=rfc3339(row.created_at_ms),
    )


def _proposal(deps: AdminDeps, user_id: str, row: Row, around: _Around) -> schemas.Proposal:
    viewer = Actor(user_id)
    open_to = possible(PROPOSAL, situation_of(deps, PROPOSAL, row, around.facts, viewer), viewer)
    price = None if row.price_minor is None else money(row.price_minor, row.currency)
    return schemas.Proposal(
        id=row.id,
        request_id=row.request_id,
        expert=PartyCard(row.expert_id, around.names[row.expert_id]),
        invited_by=row.invited_by,
        state=row.state,
        by=row.by,
        price=price,
        delivery_days=row.delivery_days,
        note=row.note,
        reason=row.reason,
        valid_until=rfc3339_or_none(row.valid_until_ms),
        previous_id=row.previous_id,
        conversation_id=around.conversations.get(
            pairs.request_topic(row.request_id, row.expert_id)
        ),
        order_id=around.orders.get(row.id),
        actions=[action for action in open_to if action in PROPOSAL_ACTIONS],
        created_at=rfc3339(row.created_at_ms),
    )
