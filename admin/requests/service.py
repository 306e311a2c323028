"""Sending requests and making offers; what becomes of them is `admin.requests.machine`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from admin import events, queries
from admin.accounts.people import Viewer
from admin.conversations import pairs
from admin.conversations.correspondence import note_off_platform
from admin.conversations.response import count_reaction
from admin.files import service as files
from admin.market import settings
from admin.market.timers import Due
from admin.market.transitions import SYSTEM, After, Done, Situation, Step, tell, transition
from admin.notices import notify
from admin.orders.states import MS_PER_S
from admin.ports import AdminDeps
from admin.queries import Row
from admin.requests import invites, offers
from admin.requests.machine import (
    LIVE,
    REQUEST,
    lock,
    proposal_facts,
    proposal_of,
    request_of,
    request_open,
)
from admin.requests.schemas import NewRequest, Offer
from engine.errors import BadInput, Conflict
from engine.ids import new_id
from engine.store.database import Tx
from engine.store.market_tables import proposals, requests
from engine.store.marks import require_unblocked

MOST_OPEN_REQUESTS = 50
_LONGEST_DEADLINE_MS = 365 * 86_400 * MS_PER_S


@dataclass(frozen=True)
class Made:
    """What was made, what was hidden in it, and what to do after the commit."""

    id: str
    masked: tuple[str, ...]
    after: tuple[After, ...]

    async def tell(self) -> None:
        await tell(self.after, self.id)


async def create(deps: AdminDeps, tx: Tx, customer: Viewer, new: NewRequest) -> Made:
    """A request and its invitations (P8 to P10).

    Raises `BadInput`: `invalid_body`, `invalid_deadline`, `file_not_usable`, `message_empty`;
    `Conflict`: `own_request`, `no_experts`, `too_many_open_requests`; `NotFound`:
    `expert_not_found`, `listing_not_found`, `category_not_found`; `Forbidden`: `blocked`,
    `email_not_verified`.
    """
    customer.require_verified_email()
    terms = await settings.current(deps, tx)
    now_ms = deps.clock.wall_ms()
    await _check_open(tx, customer.id)
    category, experts = await _addressees(tx, customer.id, new, terms.random_invites)
    title = await offers.screened(deps, tx, customer.id, experts, new.title)
    body = await offers.screened(deps, tx, customer.id, experts, new.body)
    if not title.text or not body.text:
        raise BadInput("message_empty", "A request needs a title and a text.", path="$.title")
    masked = tuple(sorted({*title.kinds, *body.kinds}))
    deadline = _deadline(new, now_ms, terms.request_deadline_s)
    request_id = new_id("req")
    row = {
        "id": request_id,
        "customer_id": customer.id,
        "listing_id": new.listing_id,
        "category": category,
        "title": title.text,
        "body": body.text,
        "files": new.files,
        "wanted": _wanted(new),
        "state": "open",
        "deadline_ms": deadline,
        "due_at_ms": deadline,
        "created_at_ms": now_ms,
        "updated_at_ms": now_ms,
    }
    await tx.execute(sa.insert(requests).values(row))
    await files.attach(tx, new.files, customer.id, "request", request_id)
    data = {"experts": len(experts), "category": category}
    await events.publish(
        tx, "request.created", request_id, actor=customer.id, at_ms=now_ms, data=data
    )
    if masked:
        await note_off_platform(
            tx, request_id, actor=customer.id, at_ms=now_ms, kinds=masked, place="request"
        )
    invited_by = "random" if new.category is not None else "customer"
    after = await _invite(deps, tx, row, experts, invited_by)
    return Made(request_id, masked, tuple(after))


async def _check_open(tx: Tx, customer_id: str) -> None:
    r = requests.c
    query = sa.select(sa.func.count()).where(r.customer_id == customer_id, r.state == "open")
    if (await tx.scalar(query) or 0) >= MOST_OPEN_REQUESTS:
        raise Conflict("too_many_open_requests", "Close some of your requests first.")


async def _addressees(
    tx: Tx, customer_id: str, new: NewRequest, random_invites: int
) -> tuple[str, list[str]]:
    """The request's category and whom it goes to."""
    if sum(each is not None for each in (new.listing_id, new.expert_ids, new.category)) != 1:
        text = "Name a listing, experts or a category: one of the three."
        raise BadInput("invalid_body", text, path="$")
    if new.listing_id is not None:
        expert_id, category = await invites.of_listing(tx, new.listing_id)
        return category, await invites.named(tx, customer_id, [expert_id])
    if new.expert_ids is not None:
        return "", await invites.named(tx, customer_id, new.expert_ids)
    category = new.category or ""
    return category, await invites.drawn(tx, customer_id, category, random_invites)


def _deadline(new: NewRequest, now_ms: int, default_s: int) -> int:
    if new.deadline is None:
        return now_ms + default_s * MS_PER_S
    deadline = offers.to_ms(new.deadline)
    if not now_ms < deadline <= now_ms + _LONGEST_DEADLINE_MS:
        raise BadInput("invalid_deadline", "Within the next 365 days, please.", path="$.deadline")
    return deadline


def _wanted(new: NewRequest) -> dict[str, Any]:
    by = None if new.delivery_by is None else offers.to_ms(new.delivery_by)
    return {"budget_minor": new.budget_minor, "delivery_by_ms": by}


async def _invite(
    deps: AdminDeps, tx: Tx, request: dict[str, Any], experts: list[str], invited_by: str
) -> list[After]:
    now_ms, customer_id = request["created_at_ms"], request["customer_id"]
    after: list[After] = []
    for expert_id in experts:
        row = {
            "id": new_id("pro"),
            "request_id": request["id"],
            "customer_id": customer_id,
            "expert_id": expert_id,
            "invited_by": invited_by,
            "state": "invited",
            "currency": deps.settings.currency,
            "created_at_ms": now_ms,
            "updated_at_ms": now_ms,
        }
        await tx.execute(sa.insert(proposals).values(row))
        topic = pairs.request_topic(request["id"], expert_id)
        await pairs.converse(tx, "request", topic, (customer_id, expert_id), now_ms)
        about = await queries.literal(tx, id=request["id"], expert_id=expert_id)
        data = {"title": request["title"], "proposal_id": row["id"]}
        after += await notify(deps, tx, "request.received", about, actor_id=customer_id, data=data)
    return after


async def offer(deps: AdminDeps, tx: Tx, expert: Viewer, request_id: str, new: Offer) -> Made:
    """The expert's only live offer: the first, or one in place of the last.

    Raises what the machine says, `NotFound("request_not_found")` to whoever was not invited.
    """
    await lock(tx, request_id)
    p = proposals.c
    mine = sa.select(proposals).where(p.request_id == request_id, p.expert_id == expert.id)
    rows = await queries.rows(tx, mine.order_by(p.created_at_ms.desc(), p.id.desc()))
    if not rows:
        raise REQUEST.not_found
    live = next((row for row in rows if row.state in LIVE), None)
    if live is None:
        return await _offer_again(deps, tx, expert, rows[0], new)
    action = "offer" if live.state == "invited" else "revise" if live.by == "expert" else "counter"
    done = await transition(deps, tx, proposal_of(live.id), action, expert.actor, body=new)
    masked = tuple(done.data.get("masked", ()))
    return Made(done.data.get("proposal_id", live.id), masked, tuple(done.after))


async def _offer_again(deps: AdminDeps, tx: Tx, expert: Viewer, last: Row, new: Offer) -> Made:
    """After one that was withdrawn, declined or expired, while the request is still open."""
    facts = await proposal_facts(deps, tx, [last])
    now_ms = deps.clock.wall_ms()
    situation = Situation(last, facts[last.id], frozenset({"expert"}), now_ms)
    refusal = request_open(situation)
    if refusal is not None:
        raise refusal
    await require_unblocked(tx, last.customer_id, expert.id)
    await count_reaction(tx, last.request_id, expert.id, now_ms)
    step = Step(deps, tx, situation, expert.actor, new, "pending")
    proposal_id = await offers.insert(step, last, new, previous_id=last.id)
    return Made(proposal_id, tuple(step.data.get("masked", ())), tuple(step.after))


async def _act(deps: AdminDeps, tx: Tx, row: Row) -> Done | None:
    """What is due of an open request, whose row is locked: its end, or that of some offers."""
    now_ms = deps.clock.wall_ms()
    if row.state != "open":
        return None
    if row.deadline_ms <= now_ms:
        return await transition(deps, tx, request_of(row.id), "expire", SYSTEM)
    p = proposals.c
    over = sa.select(p.id).where(
        p.request_id == row.id, p.state == "pending", p.valid_until_ms <= now_ms
    )
    after: list[After] = []
    for proposal_id in (await tx.scalars(over.order_by(p.id))).all():
        done = await transition(deps, tx, proposal_of(proposal_id), "expire", SYSTEM)
        after += done.after
    await offers.watch_request(tx, row.id)
    return Done(row, {}, after)


REQUESTS = Due(name="requests", table=requests, act=_act)
"""Requests whose deadline, or one of whose offers, is over."""
