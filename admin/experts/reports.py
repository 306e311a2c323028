"""Complaints (T83): a case about something that the user can see, for staff to look into."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from admin import queries
from admin.accounts.people import Viewer
from admin.cases import records
from admin.catalogue import listings as shop
from admin.experts import pages
from admin.experts.schemas import CaseRef, NewReport
from admin.files import service as uploads
from admin.http.times import rfc3339
from admin.market import settings
from admin.ports import AdminDeps
from engine.errors import Conflict, NotFound
from engine.store.database import Tx
from engine.store.market_tables import cases, reviews
from engine.store.tables import experts, listings, orders

_c = cases.c


async def create(deps: AdminDeps, tx: Tx, user: Viewer, body: NewReport) -> CaseRef:
    """Raises `NotFound`, `BadInput("file_not_usable")`, `Conflict("report_open")`."""
    title = await _title(tx, user.id, body.subject_type, body.subject_id)
    mine = sa.select(_c.id).where(
        _c.subject_id == body.subject_id,
        _c.kind == "report",
        _c.opened_by == user.id,
        _c.state.in_(records.UNDECIDED),
    )
    if await tx.scalar(mine.limit(1)) is not None:
        raise Conflict("report_open", "You have reported this already: we look into it.")
    terms = await settings.current(deps, tx)
    new = records.NewCase(
        kind="report",
        subject_type=body.subject_type,
        subject_id=body.subject_id,
        opened_by=user.id,
        title=title,
        body=body.reason,
        files=body.files,
        sla_s=terms.dispute_sla_s,
    )
    case_id = await records.create(deps, tx, new, members=[user.id])
    await uploads.attach(tx, body.files, user.id, "case", case_id)
    return await ref(tx, case_id)


async def _title(tx: Tx, user_id: str, subject_type: str, subject_id: str) -> str:
    order = sa.and_(
        orders.c.id == subject_id,
        sa.or_(orders.c.customer_id == user_id, orders.c.expert_id == user_id),
    )
    query: sa.Select[Any] = {
        "listing": shop.published()
        .where(listings.c.id == subject_id)
        .with_only_columns(listings.c.title),
        "expert": pages.shown()
        .where(experts.c.user_id == subject_id)
        .with_only_columns(experts.c.slug),
        "order": sa.select(orders.c.number).where(order),
        "review": sa.select(reviews.c.id).where(
            reviews.c.id == subject_id, reviews.c.state == "published"
        ),
    }[subject_type]
    found = await tx.scalar(query)
    if found is None:
        raise NotFound(f"{subject_type}_not_found", f"There is no such {subject_type}.")
    return f"Complaint about {subject_type} {found}"[:160]


async def ref(tx: Tx, case_id: str) -> CaseRef:
    row = await queries.row(tx, sa.select(cases).where(_c.id == case_id))
    assert row is not None
    return CaseRef(
        id=row.id,
        number=row.number,
        kind=row.kind,
        state=row.state,
        decision=row.decision,
        reason=row.reason,
        created_at=rfc3339(row.created_at_ms),
    )
