"""What members and staff see of cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from admin import queries
from admin.accounts.people import DESKS, Viewer
from admin.cases import evidence, schemas
from admin.cases.machine import CASE
from admin.cases.records import UNDECIDED
from admin.http import cursors
from admin.http.cursors import Cursor
from admin.http.times import rfc3339, rfc3339_or_none
from admin.market.transitions import possible, situation_of
from admin.ports import AdminDeps
from admin.queries import Row, later_than
from admin.schemas import PartyCard
from engine.errors import Forbidden
from engine.store.database import Tx
from engine.store.market_tables import cases, conversation_members
from engine.store.tables import conversations, users

STATES = (*UNDECIDED, "decided", "withdrawn")


@dataclass(frozen=True)
class Wanted:
    """Of the staff's queue; None: everything that is theirs and undecided."""

    kind: str | None = None
    state: str | None = None
    overdue: bool = False


async def one(deps: AdminDeps, tx: Tx, viewer: Viewer, case_id: str) -> schemas.CaseDetail:
    """With its evidence. Raises `NotFound("case_not_found")`, also to strangers."""
    row = await queries.row(tx, sa.select(cases).where(cases.c.id == case_id))
    if row is None or not _sees(viewer, row):
        raise CASE.not_found
    shown = (await _views(deps, tx, viewer, [row]))[0]
    told = []
    if row.subject_type == "order" and row.kind == "dispute":
        told = await evidence.of_order(
            tx, row.subject_id, viewer_id=viewer.id, for_staff=shown.role == "staff"
        )
    fields = {name: getattr(shown, name) for name in shown.__struct_fields__}
    return schemas.CaseDetail(**fields, timeline=told)


def _sees(viewer: Viewer, row: Row) -> bool:
    return bool(CASE.parties(row, viewer.actor)) or DESKS[row.kind] in viewer.permissions


async def mine(
    deps: AdminDeps, tx: Tx, viewer: Viewer, *, after: Cursor | None, limit: int
) -> schemas.CasePage:
    """The cases that the viewer opened or takes part in, newest first."""
    part = (
        sa.select(conversations.c.topic)
        .join(conversation_members, conversation_members.c.conversation_id == conversations.c.id)
        .where(conversation_members.c.user_id == viewer.id, conversations.c.kind == "case")
    )
    query = sa.select(cases).where(sa.or_(cases.c.opened_by == viewer.id, cases.c.id.in_(part)))
    if after is not None:
        query = query.where(later_than(cases.c.created_at_ms, cases.c.id, after))
    query = query.order_by(cases.c.created_at_ms.desc(), cases.c.id.desc()).limit(limit + 1)
    rows = await queries.rows(tx, query)
    shown = rows[:limit]
    rest = None if len(rows) <= limit else Cursor(shown[-1].created_at_ms, shown[-1].id)
    return await _page(deps, tx, viewer, shown, rest)


async def queue(
    deps: AdminDeps, tx: Tx, viewer: Viewer, wanted: Wanted, *, after: Cursor | None, limit: int
) -> schemas.CasePage:
    """The staff's queue, whatever is due first first. Raises `Forbidden("not_staff")`.

    Each kind and state is read along its index, so that what is decided never weighs on it.
    """
    kinds = [kind for kind, needed in DESKS.items() if needed in viewer.permissions]
    if not kinds:
        raise Forbidden("not_staff", "Only staff see the queue.")
    kinds = [kind for kind in kinds if wanted.kind in (None, kind)]
    if not kinds:
        raise Forbidden("not_permitted", "These cases are on another desk.")
    states = UNDECIDED if wanted.state is None else (wanted.state,)
    late_ms = deps.clock.wall_ms() if wanted.overdue else None
    parts = [
        _part(kind, state, late_ms, after=after, limit=limit + 1)
        for kind in kinds
        for state in states
    ]
    found = sa.union_all(*(sa.select(part.subquery()) for part in parts)).subquery()
    query = (
        sa.select(cases)
        .join(found, found.c.id == cases.c.id)
        .order_by(cases.c.due_at_ms, cases.c.id)
        .limit(limit + 1)
    )
    rows = await queries.rows(tx, query)
    shown = rows[:limit]
    rest = None if len(rows) <= limit else Cursor(shown[-1].due_at_ms, shown[-1].id)
    return await _page(deps, tx, viewer, shown, rest)


def _part(
    kind: str, state: str, late_ms: int | None, *, after: Cursor | None, limit: int
) -> sa.Select[Any]:
    c = cases.c
    query = sa.select(c.id).where(c.kind == kind, c.state == state, c.due_at_ms.is_not(None))
    if late_ms is not None:
        query = query.where(c.overdue_at_ms < late_ms)
    if after is not None:
        here = sa.tuple_(sa.literal(after.at), sa.literal(after.id))
        query = query.where(sa.tuple_(c.due_at_ms, c.id) > here)
    return query.order_by(c.due_at_ms, c.id).limit(limit)


async def _page(
    deps: AdminDeps, tx: Tx, viewer: Viewer, shown: Sequence[Row], rest: Cursor | None
) -> schemas.CasePage:
    items = await _views(deps, tx, viewer, shown)
    return schemas.CasePage(items, None if rest is None else cursors.encode(rest))


async def _views(
    deps: AdminDeps, tx: Tx, viewer: Viewer, rows: Sequence[Row]
) -> list[schemas.Case]:
    people = {row.opened_by for row in rows} | {row.assignee_id for row in rows}
    names = await queries.pairs(
        tx,
        sa.select(users.c.id, users.c.display_name).where(users.c.id.in_(people - {None})),
    )
    talks = await queries.pairs(
        tx,
        sa.select(conversations.c.topic, conversations.c.id).where(
            conversations.c.topic.in_([row.id for row in rows])
        ),
    )
    return [_view(deps, viewer, row, names, talks.get(row.id)) for row in rows]


def _view(
    deps: AdminDeps, viewer: Viewer, row: Row, names: dict[str, str], conversation_id: str | None
) -> schemas.Case:
    actor = viewer.actor
    situation = situation_of(deps, CASE, row, {}, actor)
    role = next((part for part in ("opener", "member") if part in situation.parties), "staff")
    late_ms = row.overdue_at_ms
    undecided = row.state in UNDECIDED
    return schemas.Case(
        id=row.id,
        number=row.number,
        kind=row.kind,
        state=row.state,
        subject_type=row.subject_type,
        subject_id=row.subject_id,
        title=row.title,
        body=row.body,
        role=role,
        opened_by=_person(row.opened_by, names),
        assignee=_person(row.assignee_id, names) if role == "staff" else None,
        conversation_id=conversation_id,
        decision=row.decision,
        reason=row.reason,
        due_at=rfc3339_or_none(row.due_at_ms),
        overdue=undecided and late_ms is not None and late_ms < deps.clock.wall_ms(),
        decided_at=rfc3339_or_none(row.decided_at_ms),
        created_at=rfc3339(row.created_at_ms),
        actions=[action.replace("_", "-") for action in possible(CASE, situation, actor)],
    )


def _person(user_id: str | None, names: dict[str, str]) -> PartyCard | None:
    return None if user_id is None else PartyCard(user_id, names[user_id])
