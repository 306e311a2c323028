"""The life of a payout, as a table: rows of `payments` whose direction is ``out``.

    requested ─approve─> approved ─send─> sent ─confirm─> paid
        │ └──reject──┐       └────fail────┴──fail──> failed
        └─cancel──> cancelled  (the money is back with the earnings in all but paid)

The money leaves the earnings when the payout is asked for, so that nobody asks for it twice.
Staff decide nothing about payouts of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from admin.market.transitions import Actor, Machine, Move, Situation, Step, Subject
from admin.payouts.schemas import PayoutReason, Sent
from admin.ports import AdminDeps
from admin.queries import Row
from admin.wallet.announce import announce
from engine.errors import Conflict, Forbidden, TalktimeError
from engine.store.database import Tx
from engine.store.tables import payments

_FINANCE = "finance"
_OUT = ("out",)


def _not_own(situation: Situation) -> TalktimeError | None:
    if situation.parties:
        return Forbidden("own_payout", "Somebody else must decide about a payout of your own.")
    return None


async def _return(step: Step) -> None:
    await _end(step, paid=False)
    reason = getattr(step.body, "reason", None)
    step.values["failure"] = reason
    step.data["reason"] = reason


async def _arrive(step: Step) -> None:
    await _end(step, paid=True)


async def _end(step: Step, *, paid: bool) -> None:
    row, deps = step.row, step.deps
    key = f"payout:{row.id}:{'paid' if paid else 'returned'}"
    await deps.ledger.end_payout(step.tx, key=key, payment_id=row.id, paid=paid)
    step.data |= {"amount_minor": row.amount_minor, "currency": row.currency}
    step.after.append(lambda: announce(deps, row.user_id, row.currency))


async def _send(step: Step) -> None:
    step.values["provider_ref"] = f"{step.row.id}:{step.body.reference}"[:120]
    step.data["reference"] = step.body.reference


MOVES = (
    Move(
        action="cancel",
        frm=("requested",),
        to="cancelled",
        by=("expert",),
        kinds=_OUT,
        effects=(_return,),
        event="payout.cancelled",
    ),
    Move(
        action="approve",
        frm=("requested",),
        to="approved",
        permission=_FINANCE,
        kinds=_OUT,
        guards=(_not_own,),
        event="payout.approved",
    ),
    Move(
        action="reject",
        frm=("requested",),
        to="failed",
        permission=_FINANCE,
        kinds=_OUT,
        guards=(_not_own,),
        effects=(_return,),
        event="payout.failed",
        body=PayoutReason,
    ),
    Move(
        action="send",
        frm=("approved",),
        to="sent",
        permission=_FINANCE,
        kinds=_OUT,
        guards=(_not_own,),
        effects=(_send,),
        event="payout.sent",
        body=Sent,
    ),
    Move(
        action="confirm",
        frm=("sent",),
        to="paid",
        permission=_FINANCE,
        kinds=_OUT,
        guards=(_not_own,),
        effects=(_arrive,),
        event="payout.paid",
    ),
    Move(
        action="fail",
        frm=("approved", "sent"),
        to="failed",
        permission=_FINANCE,
        kinds=_OUT,
        guards=(_not_own,),
        effects=(_return,),
        event="payout.failed",
        body=PayoutReason,
    ),
)


def _wrong_state(row: Row, _action: str) -> TalktimeError:
    return Conflict(f"payout_{row.state}", f"This payout is {row.state}.")


def _parties(row: Row, actor: Actor) -> frozenset[str]:
    mine = row.direction == "out" and row.user_id == actor.id
    return frozenset({"expert"}) if mine else frozenset()


async def _no_facts(_deps: AdminDeps, _tx: Tx, _rows: Sequence[Row]) -> Mapping[str, None]:
    return {}


PAYOUT = Machine(
    name="payout",
    table=payments,
    moves=MOVES,
    parties=_parties,
    facts=_no_facts,
    kind=lambda row: str(row.direction),
    wrong_state=_wrong_state,
)


def payout_of(payment_id: str) -> Subject:
    return Subject(PAYOUT, payment_id)
