"""Opening cases."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from admin.ports import AdminDeps
from engine.errors import Conflict
from engine.ids import new_id
from engine.store.database import Tx, insert_once
from engine.store.market_tables import cases, conversation_members
from engine.store.tables import conversations

UNDECIDED = ("open", "in_progress", "info_requested")
MEMBERS = "members"
"""Of a case's data: who takes part in it, besides staff."""
CONCERNED = "concerned"
"""Of a case's data: whose money it is about. They take no part in it, and do not work on it."""
_SLA_S = (48 * 3_600, 72 * 3_600)


@dataclass(frozen=True, kw_only=True)
class NewCase:
    """`sla_s`: when it is due and when overdue, seconds from now."""

    kind: str
    subject_type: str
    subject_id: str
    opened_by: str | None
    title: str
    body: str = ""
    sla_s: tuple[int, int] = _SLA_S
    data: dict[str, Any] = field(default_factory=dict)
    files: Sequence[str] = ()


async def create(deps: AdminDeps, tx: Tx, new: NewCase, *, members: Sequence[str] = ()) -> str:
    """A new case, with a conversation of its own if it has members; its id.

    Staff who hold the permission that decides it read and write there too.
    """
    now_ms = deps.clock.wall_ms()
    case_id = new_id("cas")
    due, overdue = new.sla_s
    values = {
        "id": case_id,
        "kind": new.kind,
        "subject_type": new.subject_type,
        "subject_id": new.subject_id,
        "opened_by": new.opened_by,
        "state": "open",
        "title": new.title,
        "body": new.body,
        "files": list(new.files),
        "data": new.data | {MEMBERS: list(members)},
        "due_at_ms": now_ms + due * 1_000,
        "overdue_at_ms": now_ms + overdue * 1_000,
        "created_at_ms": now_ms,
        "updated_at_ms": now_ms,
    }
    await _insert(tx, values)
    if members:
        await _converse(tx, case_id, members, now_ms)
    return case_id


async def _insert(tx: Tx, values: dict[str, Any]) -> None:
    for _ in range(8):  # numbers are for people: two may meet, the id cannot
        number = f"C-{secrets.randbelow(10**8):08}"
        if await insert_once(tx, cases, values | {"number": number}):
            return
    raise Conflict("case_open", "This is before the arbitration already.")


async def _converse(tx: Tx, case_id: str, members: Sequence[str], now_ms: int) -> None:
    conversation_id = new_id("con")
    await tx.execute(
        sa.insert(conversations).values(
            id=conversation_id,
            kind="case",
            topic=case_id,
            last_seq=0,
            last_at_ms=now_ms,
            created_at_ms=now_ms,
        )
    )
    await tx.execute(
        sa.insert(conversation_members),
        [{"conversation_id": conversation_id, "user_id": user_id} for user_id in members],
    )
