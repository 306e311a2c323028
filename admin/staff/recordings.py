"""Recordings of a session and who consented to them, for staff who settle a dispute.

Consents are evidence: rows of the session that nobody changes, each in the store before what it
allows is done. So they are read from there, and shown beside the files that they belong to.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from admin import events
from admin.receipts.timeline import Happening, timeline
from engine.store.database import Tx
from engine.store.tables import recordings, session_events, sessions, users

PERMISSION: Final = "disputes.decide"
_MAX_NAME: Final = 80


@dataclass(frozen=True)
class RecordedFile:
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ConsentStep:
    """One row of evidence: its number, when, what in words, and whose doing (None: nobody's)."""

    seq: int
    at_ms: int
    text: str
    user_id: str | None


@dataclass(frozen=True)
class Recording:
    """`consents`: from the request that led to it to its end, both included."""

    id: str
    started_at_ms: int
    ended_at_ms: int
    end_reason: str
    files: Sequence[RecordedFile]
    deleted_at_ms: int | None
    consents: Sequence[ConsentStep]


@dataclass(frozen=True)
class _Step:
    """One row, and the sentence of it."""

    type: str
    shown: ConsentStep


async def of_session(tx: Tx, session_id: str) -> list[Recording]:
    """All recordings that have ended, oldest first, those that were deleted since included."""
    query = (
        sa.select(recordings)
        .where(recordings.c.session_id == session_id, recordings.c.ended_at_ms.is_not(None))
        .order_by(recordings.c.started_at_ms, recordings.c.id)
    )
    rows = list(await tx.execute(query))
    rounds = _rounds(await _steps(tx, session_id)) if rows else []
    return [
        Recording(
            row.id,
            row.started_at_ms,
            row.ended_at_ms,
            row.end_reason,
            [RecordedFile(**file) for file in json.loads(row.files)],
            row.deleted_at_ms,
            _consents_to(rounds, row.started_at_ms),
        )
        for row in rows
    ]


async def _steps(tx: Tx, session_id: str) -> list[_Step]:
    e, s = session_events.c, sessions.c
    parties = sa.select(s.customer_id, s.expert_id).where(s.id == session_id)
    customer_id, expert_id = (await tx.execute(parties)).one()
    people = sa.select(users.c.id, users.c.display_name).where(
        users.c.id.in_((customer_id, expert_id))
    )
    names = {row.id: row.display_name for row in await tx.execute(people)}
    ids = {"customer": customer_id, "expert": expert_id}
    query = (
        sa.select(e.seq, e.type, e.at_ms, e.data)
        .where(e.session_id == session_id, e.type.like("recording.%"))
        .order_by(e.seq)
    )
    steps = []
    for seq, type_, at_ms, data in await tx.execute(query):
        told = timeline(
            [Happening(type_, at_ms, data)],
            customer=names[customer_id],
            expert=names[expert_id],
            currency="",
            for_expert=False,
        )
        text = told[0][2] if told else type_
        steps.append(_Step(type_, ConsentStep(seq, at_ms, text, ids.get(str(data.get("role"))))))
    return steps


def _rounds(steps: list[_Step]) -> list[list[_Step]]:
    """The steps from each request up to the next one."""
    rounds: list[list[_Step]] = []
    for step in steps:
        if step.type == "recording.requested" or not rounds:
            rounds.append([])
        rounds[-1].append(step)
    return rounds


def _consents_to(rounds: list[list[_Step]], started_at_ms: int) -> list[ConsentStep]:
    """Those of the newest agreement at which a recording that began then can have begun; of the
    first one, if the wall clock was set back in between.
    """
    found: list[ConsentStep] = []
    for steps in rounds:
        agreed = [step for step in steps if step.type == "recording.recording"]
        if agreed and (agreed[0].shown.at_ms <= started_at_ms or not found):
            found = [step.shown for step in steps]
    return found


async def refuse(tx: Tx, session_id: str, name: str, *, by: str, at_ms: int) -> None:
    """Put on record that this member of staff asked for a file without the permission."""
    data = {"file": name[:_MAX_NAME]}
    await events.publish(tx, "recording.refused", session_id, actor=by, at_ms=at_ms, data=data)


async def take(tx: Tx, session_id: str, name: str, *, by: str, at_ms: int) -> RecordedFile | None:
    """A file of the session, about to be handed to this member of staff, which is put on record
    with it; None if there is no such file.
    """
    query = sa.select(recordings.c.files).where(
        recordings.c.session_id == session_id,
        recordings.c.ended_at_ms.is_not(None),
        recordings.c.deleted_at_ms.is_(None),
    )
    for (files,) in await tx.execute(query):
        for file in (RecordedFile(**one) for one in json.loads(files)):
            if file.name == name:
                data = {"file": file.name, "sha256": file.sha256}
                await events.publish(
                    tx, "recording.taken", session_id, actor=by, at_ms=at_ms, data=data
                )
                return file
    return None
