"""Bodies of cases under ``/api/v1``."""

from __future__ import annotations

from msgspec import Struct

from admin.schemas import PartyCard, TimelineEntry


class Case(Struct):
    """GET /cases/{id}. `role`: opener, member or staff; `actions` as in POST /cases/{id}/… and, for
    staff, POST /admin/cases/{id}/…
    """

    id: str
    number: str
    kind: str
    """dispute, report, support, and what only staff see."""
    state: str
    """open, in_progress, info_requested, decided, withdrawn."""
    subject_type: str
    subject_id: str
    title: str
    body: str
    role: str
    opened_by: PartyCard | None
    assignee: PartyCard | None
    conversation_id: str | None
    decision: str | None
    reason: str | None
    due_at: str | None
    overdue: bool
    decided_at: str | None
    created_at: str
    actions: list[str]


class CaseDetail(Case):
    """With the evidence of what happened, oldest first."""

    timeline: list[TimelineEntry]


class CasePage(Struct):
    items: list[Case]
    next_cursor: str | None
