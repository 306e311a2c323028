"""What a dispute does with an order and its money (T65, T66, T80; model O15, O16).

A dispute is a case (`admin.cases`); its machine ends it and has the order follow in the same
transaction. The case is locked first, then the order.
"""

from __future__ import annotations

from admin.cases import records as cases
from admin.market.transitions import Step
from admin.orders import debts, money
from admin.orders.effects import count_completed, next_due, wallets_changed
from admin.orders.states import RULED, Fulfilment, OrderState, terms_of
from engine.errors import Conflict


async def open_case(step: Step) -> None:
    """The order stands still; arbitration has a case with a conversation of its own (T82)."""
    row = step.row
    case_id = await cases.create(
        step.deps,
        step.tx,
        cases.NewCase(
            kind="dispute",
            subject_type="order",
            subject_id=row.id,
            opened_by=step.actor.id,
            title=f"Dispute on {row.number}: {row.title}"[:160],
            body=step.body.reason,
            sla_s=terms_of(step.situation).dispute_sla_s,
        ),
        members=(row.customer_id, row.expert_id),
    )
    step.values |= {"disputed_from": row.state, "due_at_ms": None}
    step.data |= {"case_id": case_id, "reason": step.body.reason}


async def withdraw(step: Step) -> None:
    """The order goes on where it stood; what silence means is counted anew."""
    step.to = step.row.disputed_from
    step.values |= {"disputed_from": None, "due_at_ms": next_due(step)}


async def rule(step: Step) -> None:
    """Carry out the decision: money to the expert, back to the customer, split, or rework."""
    ruling, row = step.body.ruling, step.row
    await {"release": _release, "refund": _refund, "split": _split, "rework": _rework}[ruling](step)
    step.values["disputed_from"] = None
    if step.to in (OrderState.COMPLETED, OrderState.CANCELLED):
        step.values |= {"closed_at_ms": step.now_ms, "closed_reason": f"{RULED}{ruling}"}
    completed = (step.to == OrderState.COMPLETED) - (row.disputed_from == OrderState.COMPLETED)
    if completed:
        await count_completed(step, completed)
    step.data |= {"ruling": ruling, "reason": step.body.reason}
    await debts.note(step)
    wallets_changed(step)


async def _release(step: Step) -> None:
    """The expert gets the price. Of a consultation, what was billed stays billed, and what no
    session consumed returns.
    """
    await _settle(step, refund_minor=0)
    step.to = OrderState.COMPLETED


async def _refund(step: Step) -> None:
    deps, tx, row = step.deps, step.tx, step.row
    returned = await money.release_all(deps, tx, row)
    captured = await money.captured_minor(tx, row.id)
    if captured:
        await money.reverse(deps, tx, row, amount_minor=captured, reason=step.body.reason)
    step.data["refunded_minor"] = returned + captured
    step.to = OrderState.CANCELLED


async def _split(step: Step) -> None:
    """`refund_minor` of the price, or of what was billed, goes back; the rest is the expert's."""
    await _settle(step, refund_minor=step.body.refund_minor)
    step.data["refunded_minor"] = step.body.refund_minor
    step.to = OrderState.COMPLETED


async def _settle(step: Step, *, refund_minor: int) -> None:
    deps, tx, row = step.deps, step.tx, step.row
    if row.fulfilment == Fulfilment.LIVE:
        await money.release_all(deps, tx, row)
        from_hold = 0
    else:
        from_hold = min(refund_minor, await money.held_minor(deps, tx, row))
        await money.capture(deps, tx, row, key=f"order:{row.id}:capture", release_minor=from_hold)
    if refund_minor > from_hold:
        rest = refund_minor - from_hold
        await money.reverse(deps, tx, row, amount_minor=rest, reason=step.body.reason)


async def _rework(step: Step) -> None:
    row = step.row
    if row.fulfilment != Fulfilment.WORK or row.disputed_from == OrderState.COMPLETED:
        raise Conflict("no_rework", "Only work that is not paid out yet can be done again.")
    step.to = OrderState.OPEN
    step.values |= {"rework_count": row.rework_count + 1, "due_at_ms": next_due(step)}
