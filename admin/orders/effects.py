"""What moves of an order do besides changing its state: money, instants, counters."""

from __future__ import annotations

from functools import partial

import sqlalchemy as sa

from admin.experts.rating import recompute
from admin.market import settings
from admin.market.transitions import Step
from admin.orders import debts, money
from admin.orders.states import due_after, terms_of
from admin.wallet.announce import announce
from engine.store.tables import experts, listings


async def hold_prepayment(step: Step) -> None:
    """Put what the order prepays on hold. Raises `PaymentRequired("insufficient_funds")`."""
    row = step.row
    if row.prepay_minor:
        await money.hold(step.deps, step.tx, row)
    step.data["prepay_minor"] = row.prepay_minor
    wallet_changed(step)


async def opened(step: Step) -> None:
    """From now on delivery is due, or idleness counts; the days agreed begin with the payment."""
    row = step.row
    step.values["due_at_ms"] = next_due(step)
    if row.delivery_by_ms is not None:
        step.values["delivery_by_ms"] = step.now_ms + row.delivery_by_ms - row.created_at_ms


async def capture_rest(step: Step) -> None:
    """Pay the expert what is on hold, less the commission of the order's terms."""
    paid = await money.capture_all(step.deps, step.tx, step.row)
    step.data["captured_minor"] = paid
    wallets_changed(step)


async def release_rest(step: Step) -> None:
    """Return what is on hold to the customer."""
    returned = await money.release_all(step.deps, step.tx, step.row)
    step.data["returned_minor"] = returned
    if returned:
        wallet_changed(step)


async def refund_part(step: Step) -> None:
    """Give back a part of what was captured; the expert's earnings may become negative."""
    refunded = await money.reverse(
        step.deps,
        step.tx,
        step.row,
        amount_minor=step.body.amount_minor,
        reason=step.body.reason,
        once=step.body.once,
    )
    await debts.note(step)
    step.data |= {"refunded_minor": refunded, "reason": step.body.reason}
    wallets_changed(step)


async def started(step: Step) -> None:
    step.values["started_at_ms"] = step.now_ms


async def delivered(step: Step) -> None:
    """The work is done, whatever was agreed about giving it up."""
    step.values |= {
        "delivered_at_ms": step.now_ms,
        "started_at_ms": step.row.started_at_ms or step.now_ms,
        "cancel_agreed_at_ms": None,
        "due_at_ms": next_due(step),
    }


async def returned(step: Step) -> None:
    step.values |= {"rework_count": step.row.rework_count + 1, "due_at_ms": next_due(step)}
    step.data["reason"] = step.body.reason


async def cancel_agreed(step: Step) -> None:
    step.values["cancel_agreed_at_ms"] = step.now_ms


async def require(step: Step) -> None:
    """What the customer wants the expert to know (P26)."""
    step.values["requirements"] = step.body.requirements.strip()


async def closed(step: Step) -> None:
    step.values |= {"closed_at_ms": step.now_ms, "due_at_ms": None}
    reason = getattr(step.body, "reason", "")
    if reason:
        step.data["reason"] = reason
    if step.to == "completed":
        await count_completed(step, 1)


async def count_refusal(step: Step) -> None:
    """A refusal weighs on the expert's rating (T61), by the weight that holds for all now."""
    expert_id = step.row.expert_id
    await step.tx.execute(
        sa.update(experts)
        .where(experts.c.user_id == expert_id)
        .values(refusal_count=experts.c.refusal_count + 1)
    )
    terms = await settings.current(step.deps, step.tx)
    await recompute(step.tx, expert_id, refusal_weight=terms.refusal_weight)


async def count_completed(step: Step, by: int) -> None:
    """What buyers compare: how many orders of the expert and of the listing were completed."""
    row = step.row
    await step.tx.execute(
        sa.update(experts)
        .where(experts.c.user_id == row.expert_id)
        .values(completed_orders=experts.c.completed_orders + by)
    )
    if row.listing_id is not None:
        await step.tx.execute(
            sa.update(listings)
            .where(listings.c.id == row.listing_id)
            .values(order_count=listings.c.order_count + by)
        )


def next_due(step: Step) -> int | None:
    """When a timer looks at the order again, in the state that it enters."""
    return due_after(step.row.fulfilment, step.to, terms_of(step.situation), step.now_ms)


def wallet_changed(step: Step) -> None:
    """What the customer has on hold is another sum than before."""
    step.after.append(partial(announce, step.deps, step.row.customer_id, step.row.currency))


def wallets_changed(step: Step) -> None:
    """What one party pays or gets back, the other earns or loses: both see their figures move."""
    wallet_changed(step)
    step.after.append(partial(announce, step.deps, step.row.expert_id, step.row.currency))
