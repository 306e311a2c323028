"""What an order does with money, each by the ledger and under a key of its own."""

from __future__ import annotations

import sqlalchemy as sa

from admin import queries
from admin.accounts.people import is_erased
from admin.market.terms import of_order
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import Conflict, PaymentRequired
from engine.metering.ledger import HoldPart, HoldStatus, HoldView
from engine.store.database import Tx
from engine.store.tables import transfers


async def hold(deps: AdminDeps, tx: Tx, order: Row) -> None:
    """Put the prepayment on hold, or change nothing.

    Raises `PaymentRequired("insufficient_funds")` with the `shortfall` (T40, T67).
    """
    # The ledger makes a refusal final for its key; here the same order may be paid after a top-up,
    # so a refusal leaves no trace.
    savepoint = await tx.begin_nested()
    result = await deps.ledger.hold(
        tx,
        key=f"order:{order.id}:prepay",
        user_id=order.customer_id,
        currency=order.currency,
        amount_minor=order.prepay_minor,
        order_id=order.id,
    )
    if result.status is HoldStatus.REFUSED:
        await savepoint.rollback()
        shortfall = {"amount": result.shortfall_minor, "currency": order.currency}
        text = "Your balance does not cover the prepayment."
        raise PaymentRequired("insufficient_funds", text, shortfall=shortfall, order_id=order.id)
    await savepoint.commit()


async def capture_all(deps: AdminDeps, tx: Tx, order: Row) -> int:
    """Pay out what is held, less the commission; minor units captured."""
    return await capture(deps, tx, order, key=f"order:{order.id}:capture", release_minor=0)


async def capture(deps: AdminDeps, tx: Tx, order: Row, *, key: str, release_minor: int) -> int:
    """Pay out what is held but for `release_minor`, which returns to the customer."""
    held = await _holds(deps, tx, order)
    to_pay = sum(each.remaining_minor for each in held) - release_minor
    if to_pay < 0:
        raise Conflict("refund_exceeds_price", "More than was paid cannot be given back.")
    parts, rest = [], to_pay
    for each in held:
        part = min(rest, each.remaining_minor)
        rest -= part
        if part:
            parts.append(HoldPart(each.id, part))
    if parts:
        await deps.ledger.capture(
            tx,
            key=key,
            parts=parts,
            expert_id=order.expert_id,
            fee_minor=of_order(order.terms).fee_minor(to_pay),
            order_id=order.id,
            session_id=None,
        )
    if release_minor:
        await release_all(deps, tx, order)
    return to_pay


async def release_all(deps: AdminDeps, tx: Tx, order: Row) -> int:
    """Return what is held to the customer; minor units."""
    returned = 0
    for held in await _holds(deps, tx, order):
        key = f"order:{order.id}:finish"
        result = await deps.ledger.release(tx, key=key, hold_id=held.id)
        returned += result.amount_minor
    return returned


async def reverse(
    deps: AdminDeps, tx: Tx, order: Row, *, amount_minor: int, reason: str, once: str = ""
) -> int:
    """Give back `amount_minor` of what was captured, from the latest capture backwards.

    What remains of a capture is shared as if no more had ever been captured: the platform keeps
    its commission on that, to the cent, and the expert the rest (C30). `once` names the refund:
    under one name money is given back once. Raises `Conflict`: `already_refunded`, and
    `refund_name_reused` if it was another amount; `account_erased`, `refund_exceeds_price`.
    """
    if await is_erased(tx, order.customer_id):
        text = "The customer's account was erased: give the money back where it was paid."
        raise Conflict("account_erased", text)
    if once:
        await _check_name(tx, order, once, amount_minor)
    rest, terms, parts = amount_minor, of_order(order.terms), 0
    for paid in await _captures(tx, order.id):
        part = min(rest, paid.left_minor)
        if part <= 0:
            continue
        fee_left = paid.fee_minor - paid.fee_back_minor
        kept = min(fee_left, terms.fee_minor(paid.left_minor - part))
        await deps.ledger.reverse(
            tx,
            key=_refund_key(order, once or f"{paid.id}:{paid.left_minor}", parts),
            transfer_id=paid.id,
            amount_minor=part,
            fee_minor=min(part, fee_left - kept),
            reason=reason[:200],
            order_id=order.id,
            session_id=paid.session_id,
        )
        rest -= part
        parts += 1
    if rest:
        raise Conflict("refund_exceeds_price", "More than was paid cannot be given back.")
    return amount_minor


def _refund_key(order: Row, once: str, part: int) -> str:
    return f"{_refund_keys(order, once)}{part}"


def _refund_keys(order: Row, once: str) -> str:
    """What those of one refund begin with."""
    return f"order:{order.id}:refund:{once}:"


async def _check_name(tx: Tx, order: Row, once: str, amount_minor: int) -> None:
    c = transfers.c
    query = sa.select(c.key, c.amount_minor).where(c.order_id == order.id, c.kind == "reverse")
    begins = _refund_keys(order, once)
    parts = [minor for key, minor in await tx.execute(query) if key.startswith(begins)]
    if not parts:
        return
    if sum(parts) != amount_minor:
        text = "Another amount was given back under this name: look at the order again."
        raise Conflict("refund_name_reused", text)
    raise Conflict("already_refunded", "This was given back already.")


async def captured_minor(tx: Tx, order_id: str) -> int:
    """What the order has cost so far: captures less what was given back."""
    return sum(paid.left_minor for paid in await _captures(tx, order_id))


async def held_minor(deps: AdminDeps, tx: Tx, order: Row) -> int:
    return sum(each.remaining_minor for each in await _holds(deps, tx, order))


async def _holds(deps: AdminDeps, tx: Tx, order: Row) -> list[HoldView]:
    """The order's own holds: a running session keeps what it set aside itself."""
    open_holds = await deps.ledger.open_holds(tx, order_id=order.id)
    return [each for each in open_holds if each.session_id is None]


async def _captures(tx: Tx, order_id: str) -> list[Row]:
    """The order's captures, newest first, with what is left of each."""
    back = transfers.alias("back")
    reversed_minor = sa.func.coalesce(queries.total(back.c.amount_minor), 0)
    fee_back = sa.func.coalesce(queries.total(back.c.fee_minor), 0)
    query = (
        sa.select(
            transfers.c.id,
            transfers.c.session_id,
            transfers.c.amount_minor,
            transfers.c.fee_minor,
            fee_back.label("fee_back_minor"),
            (transfers.c.amount_minor - reversed_minor).label("left_minor"),
        )
        .outerjoin(back, back.c.reverses_id == transfers.c.id)
        .where(transfers.c.order_id == order_id, transfers.c.kind == "capture")
        .group_by(transfers.c.id)
        .order_by(transfers.c.created_at_ms.desc(), transfers.c.id.desc())
    )
    return list(await queries.rows(tx, query))
