"""The life of a case: open -> in_progress <-> info_requested -> decided | withdrawn.

Who opened it and who else takes part see it and write in its conversation; staff who hold the
permission of its kind work on it. Nobody decides a case of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import sqlalchemy as sa
from msgspec import Meta, field

from admin.accounts.people import DESKS, find_active
from admin.cases.kinds import CaseKind, Decision, check_word
from admin.cases.records import CONCERNED, MEMBERS, UNDECIDED
from admin.cases.registry import KINDS
from admin.http.bodies import Body
from admin.market import posting
from admin.market.transitions import (
    Actor,
    Done,
    Effect,
    Machine,
    Move,
    Situation,
    Step,
    Subject,
    transition,
)
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import BadInput, Conflict, Forbidden, TalktimeError
from engine.signaling.messages import IdText
from engine.store.database import Tx
from engine.store.market_tables import cases
from engine.store.tables import conversations

Text = Annotated[str, Meta(min_length=1, max_length=4_000)]


class Assign(Body):
    """POST /admin/cases/{id}/assign; without a name: to oneself."""

    assignee_id: IdText | None = None


class Question(Body):
    """POST /admin/cases/{id}/request-info."""

    text: Text


class Reply(Body):
    """POST /cases/{id}/answer-info."""

    text: Text
    files: Annotated[list[IdText], Meta(max_length=10)] = field(default_factory=list)


def not_own(situation: Situation) -> TalktimeError | None:
    if situation.parties:
        return Forbidden("own_case", "Somebody else must work on a case of your own.")
    return None


async def _assign(step: Step) -> None:
    assignee_id = step.body.assignee_id or step.actor.id
    person = await find_active(step.tx, assignee_id)
    if person is None or DESKS[step.row.kind] not in person.permissions:
        text = "Only staff with the right permission can be given this case."
        raise BadInput("unknown_assignee", text, path="$.assignee_id")
    if _parties(step.row, person.actor):
        raise Forbidden("own_case", "Somebody else must work on this case.")
    if step.row.state == "open":
        step.to = "in_progress"
    step.values["assignee_id"] = assignee_id
    step.data["assignee_id"] = assignee_id


async def _ask(step: Step) -> None:
    """The question is written into the case's conversation, where all members see it."""
    await _post(step, step.body.text)
    step.values["assignee_id"] = step.row.assignee_id or step.actor.id


async def _answer(step: Step) -> None:
    await _post(step, step.body.text, step.body.files)


async def _post(step: Step, text: str, files: Sequence[str] = ()) -> None:
    query = sa.select(conversations.c.id).where(conversations.c.topic == step.row.id)
    conversation_id = await step.tx.scalar(query)
    if conversation_id is None:
        raise Conflict("no_conversation", "Nobody takes part in this case.")
    readers = [*step.row.data.get(MEMBERS, ())]
    readers += [step.row.assignee_id] if step.row.assignee_id else []
    post = posting.Post(str(conversation_id), "text", text, files)
    step.data["message_id"] = await posting.add(step, post, to=readers)


def _deciding(kind: CaseKind) -> Effect:
    async def decide(step: Step) -> None:
        check_word(kind, step.body.decision)
        step.values |= _ended(step) | {
            "decision": step.body.decision,
            "decided_by": step.actor.id,
        }
        step.data |= {"decision": step.body.decision, "reason": step.body.reason}
        await kind.decide(step)

    return decide


def _withdrawing(kind: CaseKind) -> Effect:
    async def withdraw(step: Step) -> None:
        step.values |= _ended(step)
        assert kind.withdraw is not None
        await kind.withdraw(step)

    return withdraw


def _ended(step: Step) -> dict[str, object]:
    return {"reason": getattr(step.body, "reason", None), "decided_at_ms": step.now_ms}


def _shared(kind: str, permission: str) -> tuple[Move, ...]:
    """What can be done with every case, whoever decides its kind."""
    return (
        Move(
            action="assign",
            frm=UNDECIDED,
            permission=permission,
            kinds=(kind,),
            guards=(not_own,),
            effects=(_assign,),
            event="case.assigned",
            body=Assign,
        ),
        Move(
            action="request_info",
            frm=("open", "in_progress"),
            to="info_requested",
            permission=permission,
            kinds=(kind,),
            guards=(not_own,),
            effects=(_ask,),
            event="case.info_requested",
            body=Question,
        ),
        Move(
            action="answer_info",
            frm=("info_requested",),
            to="in_progress",
            by=("opener", "member"),
            kinds=(kind,),
            effects=(_answer,),
            event="case.answered",
            body=Reply,
        ),
    )


def _own(kind: CaseKind) -> tuple[Move, ...]:
    """What ends a case of this kind."""
    decide = Move(
        action="decide",
        frm=UNDECIDED,
        to="decided",
        permission=kind.permission,
        kinds=(kind.name,),
        guards=(not_own,),
        effects=(_deciding(kind),),
        event="case.decided",
        body=Decision,
    )
    withdraw = Move(
        action="withdraw",
        frm=UNDECIDED,
        to="withdrawn",
        by=("opener",),
        kinds=(kind.name,),
        effects=(_withdrawing(kind),),
        event="case.withdrawn",
    )
    return (decide,) if kind.withdraw is None else (decide, withdraw)


def _parties(row: Row, actor: Actor) -> frozenset[str]:
    found = {"opener"} if row.opened_by == actor.id else set[str]()
    if actor.id in row.data.get(MEMBERS, ()):
        found.add("member")
    # Only of staff who could work on it: to others there is no such case.
    if actor.id == row.data.get(CONCERNED) and DESKS[row.kind] in actor.permissions:
        found.add("concerned")
    return frozenset(found)


async def _facts(_deps: AdminDeps, _tx: Tx, _rows: Sequence[Row]) -> Mapping[str, None]:
    return {}


CASE = Machine(
    name="case",
    table=cases,
    moves=(
        *(move for kind, permission in DESKS.items() for move in _shared(kind, permission)),
        *(move for kind in KINDS.values() for move in _own(kind)),
    ),
    parties=_parties,
    facts=_facts,
    kind=lambda row: str(row.kind),
    wrong_state=lambda row, _action: (
        Conflict("case_decided", "This case is closed.")
        if row.state not in UNDECIDED
        else Conflict("case_waits", "This is not possible now: the case waits for another step.")
    ),
)


def case_of(case_id: str) -> Subject:
    return Subject(CASE, case_id)


async def answered(deps: AdminDeps, tx: Tx, case_id: str) -> None:
    """Somebody wrote in a case's conversation: whoever waited for it may go on."""
    await tx.execute(
        sa.update(cases)
        .where(cases.c.id == case_id, cases.c.state == "info_requested")
        .values(state="in_progress", updated_at_ms=deps.clock.wall_ms())
    )


async def withdraw_dispute(deps: AdminDeps, tx: Tx, order_id: str, actor: Actor) -> Done:
    """The opener's way back, by the order. Raises `Conflict("no_dispute")` and as a case does."""
    query = sa.select(cases.c.id).where(
        cases.c.kind == "dispute",
        cases.c.subject_id == order_id,
        cases.c.state.in_(UNDECIDED),
    )
    case_id = await tx.scalar(query)
    if case_id is None:
        raise Conflict("no_dispute", "There is no open dispute on this order.")
    return await transition(deps, tx, case_of(str(case_id)), "withdraw", actor)
