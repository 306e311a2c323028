"""Becoming an expert where staff decide it (P19): a case, and the profile that it ends in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import sqlalchemy as sa
from msgspec import Meta

from admin.accounts.people import Viewer
from admin.cases import records
from admin.experts import profile
from admin.experts.reports import ref
from admin.experts.schemas import Apply, CaseRef
from admin.files import service as uploads
from admin.http.bodies import Body
from admin.market import settings
from admin.market.transitions import Actor, Machine, Move, Step, Subject
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import Conflict, NotFound, TalktimeError
from engine.store.database import Tx
from engine.store.market_tables import cases
from engine.store.tables import experts, users

_c = cases.c
_REVIEW = "applications.review"


class Decision(Body):
    reason: Annotated[str, Meta(min_length=1, max_length=2_000)]


async def apply(deps: AdminDeps, tx: Tx, user: Viewer, body: Apply) -> CaseRef:
    """Raises `Conflict`: `already_expert`, `application_open`; `BadInput("file_not_usable")`;
    `Forbidden("email_not_verified")`.

    Where nobody decides it, the applicant is an expert at once and the case is decided.
    """
    user.require_verified_email()
    known = sa.select(experts.c.user_id).where(experts.c.user_id == user.id)
    if await tx.scalar(known) is not None:
        raise Conflict("already_expert", "You are an expert already.")
    # Two applications at once: the second waits here for the first.
    await tx.execute(sa.select(users.c.id).where(users.c.id == user.id).with_for_update())
    mine = sa.select(_c.id).where(_mine(user.id), _c.state.in_(records.UNDECIDED))
    if await tx.scalar(mine.limit(1)) is not None:
        raise Conflict("application_open", "Your application is being read.")
    terms = await settings.current(deps, tx)
    data = {
        "about": body.about,
        "education": body.education,
        "experience": body.experience,
        "categories": body.categories,
    }
    new = records.NewCase(
        kind="application",
        subject_type="user",
        subject_id=user.id,
        opened_by=user.id,
        title=f"{user.display_name} wants to be an expert"[:160],
        body=body.about,
        data=data,
        files=body.files,
        sla_s=terms.listing_sla_s,
    )
    case_id = await records.create(deps, tx, new, members=[user.id])
    await uploads.attach(tx, body.files, user.id, "case", case_id)
    if not terms.expert_applications:
        await _admit(tx, user.id, data)
        decided = {"state": "decided", "decision": "approve", "reason": "Nobody decides here."}
        await tx.execute(sa.update(cases).where(_c.id == case_id).values(decided))
    return await ref(tx, case_id)


async def mine(tx: Tx, user_id: str) -> CaseRef:
    """The newest application. Raises `NotFound("application_not_found")`."""
    query = sa.select(_c.id).where(_mine(user_id)).order_by(_c.created_at_ms.desc(), _c.id.desc())
    case_id = await tx.scalar(query.limit(1))
    if case_id is None:
        raise NotFound("application_not_found", "You have not applied.")
    return await ref(tx, case_id)


def _mine(user_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(_c.subject_id == user_id, _c.kind == "application", _c.opened_by == user_id)


async def _admit(tx: Tx, user_id: str, data: Mapping[str, Any]) -> None:
    name = await tx.scalar(sa.select(users.c.display_name).where(users.c.id == user_id))
    texts = {key: data.get(key, "") for key in ("about", "education", "experience")}
    await profile.become(tx, user_id, str(name), **texts)
    await profile.set_categories(tx, user_id, data.get("categories", []))


async def _approve(step: Step) -> None:
    await _admit(step.tx, step.row.opened_by, step.row.data)
    await _decided(step)


async def _decided(step: Step) -> None:
    reason = step.body.reason
    step.data["reason"] = reason
    step.values["reason"] = reason
    if step.to == "decided":
        step.values |= {"decided_by": step.actor.id, "decided_at_ms": step.now_ms}


async def _answered(step: Step) -> None:
    body: Apply = step.body
    told = {
        "about": body.about,
        "education": body.education,
        "experience": body.experience,
        "categories": body.categories,
    }
    step.values |= {"body": body.about, "data": told, "files": [*step.row.files, *body.files]}
    await uploads.attach(step.tx, body.files, step.row.opened_by, "case", step.row.id)


def _move(action: str, to: str, event: str, effect: Any, decision: str | None) -> Move:
    return Move(
        action=action,
        frm=records.UNDECIDED,
        to=to,
        kinds=("application",),
        permission=_REVIEW,
        effects=(effect,),
        reason=decision,
        event=event,
        body=Decision,
    )


MOVES = (
    _move("approve", "decided", "application.approved", _approve, "approve"),
    _move("reject", "decided", "application.rejected", _decided, "reject"),
    _move("request_info", "info_requested", "application.info_requested", _decided, None),
    Move(
        action="answer",
        frm=("info_requested",),
        to="in_progress",
        by=("applicant",),
        kinds=("application",),
        effects=(_answered,),
        event="application.answered",
        body=Apply,
    ),
)


def _parties(row: Row, actor: Actor) -> frozenset[str]:
    return frozenset({"applicant"}) if row.opened_by == actor.id else frozenset()


async def _facts(_deps: AdminDeps, _tx: Tx, _rows: Sequence[Row]) -> Mapping[str, Any]:
    return {}


def _wrong_state(row: Row, _action: str) -> TalktimeError:
    return Conflict(f"application_{row.state}", f"This application is {row.state}.")


APPLICATION = Machine(
    name="application",
    table=cases,
    moves=MOVES,
    parties=_parties,
    facts=_facts,
    kind=lambda row: str(row.kind),
    wrong_state=_wrong_state,
    reason_column="decision",
)


def application_of(case_id: str) -> Subject:
    return Subject(APPLICATION, case_id)
