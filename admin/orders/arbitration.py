"""How deciding or withdrawing a dispute's case carries over to its order (T66, T81)."""

from __future__ import annotations

from admin.cases.kinds import CaseKind
from admin.market.transitions import Step, transition
from admin.orders.machine import Ruling, order_of

RULINGS = ("release", "refund", "split", "rework")


async def _rule(step: Step) -> None:
    said = step.body
    ruling = Ruling(ruling=said.decision, reason=said.reason, refund_minor=said.refund_minor)
    await _follow(step, "rule", ruling)


async def _withdraw(step: Step) -> None:
    await _follow(step, "withdraw_dispute", None)


async def _follow(step: Step, action: str, body: object) -> None:
    order = order_of(step.row.subject_id)
    done = await transition(step.deps, step.tx, order, action, step.actor, body=body)
    step.after += done.after
    step.data["order_id"] = done.row.id


DISPUTE = CaseKind(name="dispute", decisions=RULINGS, decide=_rule, withdraw=_withdraw)
