"""What an offer says, in the row that is offered or in a new one in its place."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from admin import events
from admin.conversations import pairs
from admin.conversations.correspondence import note_off_platform
from admin.market.transitions import Step
from admin.notices import notify
from admin.ports import AdminDeps
from admin.queries import Row
from admin.requests.schemas import Offer
from engine.chat.off_platform import Screened, hide_cards
from engine.chat.rules import normalise_body
from engine.errors import BadInput
from engine.ids import new_id
from engine.store.database import Tx
from engine.store.market_tables import proposals, requests


async def fill_in(step: Step) -> None:
    """The expert's offer, in the invitation's row. Raises `BadInput("invalid_valid_until")`."""
    row = step.row
    parties = {"customer_id": row.customer_id, "expert_id": row.expert_id}
    step.values |= await _terms(step, row.id, parties, step.body)
    step.data |= {"price_minor": step.body.price_minor}


async def watch(step: Step) -> None:
    """Have the timer look at the request when the next of its offers ends, or it does."""
    await watch_request(step.tx, step.row.request_id)


async def watch_request(tx: Tx, request_id: str) -> None:
    p = proposals.c
    ends = sa.select(sa.func.min(p.valid_until_ms)).where(
        p.request_id == request_id, p.state == "pending"
    )
    first = await tx.scalar(ends)
    r = requests.c
    deadline = await tx.scalar(sa.select(r.deadline_ms).where(r.id == request_id))
    due = deadline if first is None else min(first, deadline)
    open_one = sa.and_(r.id == request_id, r.state == "open")
    await tx.execute(sa.update(requests).where(open_one).values(due_at_ms=due))


async def supersede(step: Step) -> None:
    """Another offer in place of this one, pending on the other side."""
    row = step.row
    new = await insert(step, row, step.body, previous_id=row.id)
    step.data["proposal_id"] = new


async def insert(step: Step, row: Row, offer: Offer, *, previous_id: str | None) -> str:
    """A new offer between the same two in the same request; its id."""
    tx, deps = step.tx, step.deps
    proposal_id = new_id("pro")
    parties = {"customer_id": row.customer_id, "expert_id": row.expert_id}
    values = {
        "id": proposal_id,
        "request_id": row.request_id,
        **parties,
        "invited_by": row.invited_by,
        "state": "pending",
        "currency": row.currency,
        "previous_id": previous_id,
        "created_at_ms": step.now_ms,
        "updated_at_ms": step.now_ms,
        **await _terms(step, proposal_id, parties, offer),
    }
    made = (await tx.execute(sa.insert(proposals).values(values).returning(*proposals.c))).one()
    await watch_request(tx, row.request_id)
    data = {"request_id": row.request_id, "price_minor": offer.price_minor}
    actor = step.actor.id
    await events.publish(
        tx, "proposal.created", proposal_id, actor=actor, at_ms=step.now_ms, data=data
    )
    step.after += await notify(deps, tx, "proposal.created", made, actor_id=actor, data=data)
    return proposal_id


async def _terms(
    step: Step, proposal_id: str, parties: dict[str, str], offer: Offer
) -> dict[str, Any]:
    """The columns of an offer, its note without ways around the marketplace."""
    tx = step.tx
    by = "customer" if step.actor.id == parties["customer_id"] else "expert"
    other = parties["expert_id"] if by == "customer" else parties["customer_id"]
    note = await screened(step.deps, tx, step.actor.id, [other], offer.note)
    if note.kinds:
        step.data["masked"] = list(note.kinds)
        await note_off_platform(
            tx,
            proposal_id,
            actor=step.actor.id,
            at_ms=step.now_ms,
            kinds=note.kinds,
            place="proposal",
        )
    request_id = step.row.request_id
    query = sa.select(requests.c.deadline_ms).where(requests.c.id == request_id)
    deadline = await tx.scalar(query) or 0
    return {
        "by": by,
        "price_minor": offer.price_minor,
        "delivery_days": offer.delivery_days,
        "note": note.text,
        "valid_until_ms": _valid_until(offer.valid_until, step.now_ms, deadline),
    }


def _valid_until(asked: datetime | None, now_ms: int, deadline_ms: int) -> int:
    if asked is None:
        return deadline_ms
    until = to_ms(asked)
    if not now_ms < until <= deadline_ms:
        text = "An offer is valid from now until the request's deadline at most."
        raise BadInput("invalid_valid_until", text, path="$.valid_until")
    return until


def to_ms(at: datetime) -> int:
    return round(at.timestamp() * 1_000)


async def screened(
    deps: AdminDeps, tx: Tx, author_id: str, readers: list[str], text: str
) -> Screened:
    """What the readers may see of a text; cards never, contacts once there is a paid order."""
    body = normalise_body(text, empty=True)
    screen = await pairs.screen(deps, tx, author_id, readers) or hide_cards
    return screen(body)
