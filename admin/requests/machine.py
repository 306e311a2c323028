"""The life of requests and of the proposals in them: two tables of moves.

    request    open ─> awarded | expired | cancelled
    proposal   invited ─offer─> pending ─accept─> accepted
                  │                │ ^  counter, revise: a new row, the old one superseded
                  └─> declined     └─> declined | withdrawn | expired | lost

Whatever happens in a request happens with the request's row locked first, so offers, counters and
acceptances of one request come one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from admin import queries
from admin.conversations.response import count_reaction
from admin.market.transitions import (
    SYSTEM,
    Actor,
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
from admin.requests import agreement, offers
from admin.requests.schemas import Offer, Why
from engine.errors import Conflict, TalktimeError
from engine.store.database import Tx
from engine.store.market_tables import proposals, requests
from engine.store.marks import require_unblocked

LIVE = ("invited", "pending")
_BOTH = ("customer", "expert")


@dataclass(frozen=True)
class Facts:
    """Of a proposal: how its request stands."""

    request_state: str
    deadline_ms: int


# Requests -----------------------------------------------------------------------------------------


def deadline_passed(situation: Situation) -> TalktimeError | None:
    if situation.now_ms < situation.row.deadline_ms:
        return Conflict("not_due", "It is not time yet.")
    return None


async def wait_for_nothing(step: Step) -> None:
    step.values["due_at_ms"] = None
    reason = getattr(step.body, "reason", "")
    if reason:
        step.data["reason"] = reason


async def drop_all(step: Step) -> None:
    await _all_live(step, step.row.id, "drop")


async def expire_all(step: Step) -> None:
    await _all_live(step, step.row.id, "expire")


async def _all_live(step: Step, request_id: str, action: str) -> None:
    """Make a move of every proposal that is still open in the request."""
    p = proposals.c
    query = sa.select(p.id).where(p.request_id == request_id, p.state.in_(LIVE))
    for proposal_id in (await step.tx.scalars(query.order_by(p.id))).all():
        await _also(step, proposal_of(proposal_id), action)


async def _also(step: Step, subject: Subject, action: str) -> None:
    """A move of another thing that belongs to this one."""
    done = await transition(step.deps, step.tx, subject, action, SYSTEM)
    step.after += done.after


REQUEST_MOVES = (
    Move(
        action="cancel",
        frm=("open",),
        to="cancelled",
        by=("customer",),
        effects=(wait_for_nothing,),
        follow=(drop_all,),
        event="request.cancelled",
        body=Why,
    ),
    Move(
        action="award",
        frm=("open",),
        to="awarded",
        by=("system",),
        effects=(wait_for_nothing,),
        event="request.awarded",
    ),
    Move(
        action="expire",
        frm=("open",),
        to="expired",
        by=("system",),
        guards=(deadline_passed,),
        effects=(wait_for_nothing,),
        follow=(expire_all,),
        event="request.expired",
    ),
)


def _request_parties(row: Row, actor: Actor) -> frozenset[str]:
    return frozenset({"customer"} if row.customer_id == actor.id else ())


async def _no_facts(_deps: AdminDeps, _tx: Tx, _rows: Sequence[Row]) -> Mapping[str, Facts]:
    return {}


def _request_closed(_row: Row, _action: str) -> TalktimeError:
    return Conflict("request_closed", "This request is closed.")


REQUEST = Machine(
    name="request",
    table=requests,
    moves=REQUEST_MOVES,
    parties=_request_parties,
    facts=_no_facts,
    wrong_state=_request_closed,
)


# Proposals ----------------------------------------------------------------------------------------


def request_open(situation: Situation) -> TalktimeError | None:
    facts: Facts = situation.facts
    if facts.request_state != "open" or situation.now_ms >= facts.deadline_ms:
        return Conflict("request_closed", "This request is closed.")
    return None


def valid(situation: Situation) -> TalktimeError | None:
    until = situation.row.valid_until_ms
    if until is not None and situation.now_ms >= until:
        return Conflict("offer_expired", "This offer is no longer valid.")
    return None


def offered_by_other(situation: Situation) -> TalktimeError | None:
    if situation.row.by in situation.parties:
        return Conflict("own_offer", "That is for the other side to do.")
    return None


def offered_by_actor(situation: Situation) -> TalktimeError | None:
    if situation.row.by not in situation.parties:
        return Conflict("not_your_offer", "That is for whoever made the offer to do.")
    return None


def lapsed(situation: Situation) -> TalktimeError | None:
    """Its own validity is over, or its request."""
    if request_open(situation) is None and valid(situation) is None:
        return Conflict("not_due", "It is not time yet.")
    return None


async def name_request(step: Step) -> None:
    step.data["request_id"] = step.row.request_id


async def _no_block(step: Step) -> None:
    await require_unblocked(step.tx, step.row.customer_id, step.row.expert_id)


async def react(step: Step) -> None:
    """The expert's first reaction counts for the time that answers take (P24)."""
    row = step.row
    await count_reaction(step.tx, row.request_id, row.expert_id, step.now_ms)


async def give_reason(step: Step) -> None:
    if step.body.reason:
        step.values["reason"] = step.body.reason
        step.data["reason"] = step.body.reason


async def award(step: Step) -> None:
    """The request is closed, whoever else offered has lost, the order is placed; one and all."""
    await _also(step, request_of(step.row.request_id), "award")
    await _all_live(step, step.row.request_id, "lose")
    await agreement.place_order(step)


def _move(*, effects: tuple[Effect, ...] = (), **rest: Any) -> Move:
    return Move(effects=(name_request, *effects), **rest)


PROPOSAL_MOVES = (
    _move(
        action="offer",
        frm=("invited",),
        to="pending",
        by=("expert",),
        guards=(request_open,),
        effects=(_no_block, react, offers.fill_in),
        follow=(offers.watch,),
        event="proposal.created",
        body=Offer,
    ),
    _move(
        action="accept",
        frm=("pending",),
        to="accepted",
        by=_BOTH,
        guards=(offered_by_other, request_open, valid),
        effects=(_no_block,),
        follow=(award,),
        event="proposal.accepted",
    ),
    _move(
        action="counter",
        frm=("pending",),
        to="superseded",
        by=_BOTH,
        guards=(offered_by_other, request_open),
        effects=(_no_block,),
        follow=(offers.supersede,),
        event="proposal.superseded",
        body=Offer,
    ),
    _move(
        action="revise",
        frm=("pending",),
        to="superseded",
        by=_BOTH,
        guards=(offered_by_actor, request_open),
        effects=(_no_block,),
        follow=(offers.supersede,),
        event="proposal.superseded",
        body=Offer,
    ),
    _move(
        action="decline",
        frm=("invited",),
        to="declined",
        by=("expert",),
        effects=(react, give_reason),
        event="proposal.declined",
        body=Why,
    ),
    _move(
        action="decline",
        frm=("pending",),
        to="declined",
        by=_BOTH,
        guards=(offered_by_other,),
        effects=(give_reason,),
        follow=(offers.watch,),
        event="proposal.declined",
        body=Why,
    ),
    _move(
        action="withdraw",
        frm=("pending",),
        to="withdrawn",
        by=_BOTH,
        guards=(offered_by_actor,),
        follow=(offers.watch,),
        event="proposal.withdrawn",
    ),
    _move(
        action="lose",
        frm=LIVE,
        to="lost",
        by=("system",),
        event="proposal.lost",
    ),
    _move(
        action="drop",
        frm=LIVE,
        to="lost",
        by=("system",),
        event="proposal.dropped",
    ),
    _move(
        action="expire",
        frm=LIVE,
        to="expired",
        by=("system",),
        guards=(lapsed,),
        event="proposal.expired",
    ),
)

_REFUSALS = {
    "invited": ("no_offer", "There is no offer yet."),
    "pending": ("offer_made", "There is an offer already."),
    "accepted": ("offer_accepted", "This offer is accepted."),
    "declined": ("offer_declined", "This was declined."),
    "lost": ("request_closed", "This request is closed."),
    "withdrawn": ("offer_withdrawn", "This offer was withdrawn."),
    "expired": ("offer_expired", "This offer is no longer valid."),
    "superseded": ("offer_superseded", "There is a newer offer in place of this one."),
}


def _wrong_state(row: Row, _action: str) -> TalktimeError:
    return Conflict(*_REFUSALS[row.state])


def _proposal_parties(row: Row, actor: Actor) -> frozenset[str]:
    mine = {"customer": row.customer_id, "expert": row.expert_id}
    return frozenset(party for party, user_id in mine.items() if user_id == actor.id)


async def proposal_facts(_deps: AdminDeps, tx: Tx, rows: Sequence[Row]) -> Mapping[str, Facts]:
    """By proposal id."""
    r = requests.c
    ids = {row.request_id for row in rows}
    query = sa.select(r.id, r.state, r.deadline_ms).where(r.id.in_(ids))
    known = {found.id: Facts(found.state, found.deadline_ms) for found in await tx.execute(query)}
    return {row.id: known[row.request_id] for row in rows}


async def _lock_request(tx: Tx, proposal_id: str) -> None:
    query = sa.select(proposals.c.request_id).where(proposals.c.id == proposal_id)
    request_id = await tx.scalar(query)
    if request_id is not None:
        await lock(tx, request_id)


async def lock(tx: Tx, request_id: str) -> Row | None:
    return await queries.row(
        tx, sa.select(requests).where(requests.c.id == request_id).with_for_update()
    )


PROPOSAL = Machine(
    name="proposal",
    table=proposals,
    moves=PROPOSAL_MOVES,
    parties=_proposal_parties,
    facts=proposal_facts,
    wrong_state=_wrong_state,
    lock_first=_lock_request,
)


def request_of(request_id: str) -> Subject:
    return Subject(REQUEST, request_id)


def proposal_of(proposal_id: str) -> Subject:
    return Subject(PROPOSAL, proposal_id)
