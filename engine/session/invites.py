"""Who may call whom: the guards of an invite, in the order in which they refuse."""

from __future__ import annotations

import sqlalchemy as sa
from msgspec import Struct

from engine.errors import Conflict, Forbidden, NotFound, PaymentRequired
from engine.media.interface import Role
from engine.metering.funds import Fund
from engine.metering.ledger import HoldView, Ledger
from engine.metering.tariff import Tariff
from engine.session.grants import Grant
from engine.session.ports import PresenceView
from engine.session.registry import Registry
from engine.session.states import LIVE
from engine.store import tables as t
from engine.store.database import Tx


class Funding(Struct, frozen=True):
    """What pays for an order's next session: what is left of its prepaid holds, and the wallet."""

    holds: tuple[Fund, ...]
    available_minor: int

    @property
    def prepaid_minor(self) -> int:
        return sum(fund.left_minor for fund in self.holds)


async def funding(tx: Tx, ledger: Ledger, grant: Grant) -> Funding:
    """Read what is there now; holds of sessions are not the order's."""
    holds = await ledger.open_holds(tx, order_id=grant.order_id)
    wallet = await ledger.wallet(tx, grant.customer_id, grant.tariff.currency)
    return Funding(
        tuple(fund_of(hold) for hold in holds if is_prepaid(hold)), wallet.available_minor
    )


async def unsettled(tx: Tx, order_id: str, session_id: str | None = None) -> bool:
    """Whether another answered session of this order than `session_id` is not settled, wherever it
    runs, or runs no more: it may yet take from the order's prepaid money.
    """
    c = t.sessions.c
    query = sa.select(c.id).where(c.order_id == order_id, c.state.in_(LIVE))
    if session_id is not None:
        query = query.where(c.id != session_id)
    return (await tx.execute(query.limit(1))).one_or_none() is not None


def is_prepaid(hold: HoldView) -> bool:
    return hold.session_id is None


def fund_of(hold: HoldView) -> Fund:
    return Fund(hold.id, hold.remaining_minor)


def require_caller(grant: Grant | None, user_id: str, mode: str) -> Grant:
    """The order is the caller's own, open, and for this mode.

    Raises `NotFound` order_not_open (nothing is said to strangers), `Forbidden` not_customer,
    `Conflict` order_not_open and mode_not_ordered.
    """
    role = grant.role_of(user_id) if grant is not None else None
    if grant is None or role is None:
        raise NotFound("order_not_open", "There is no such order.")
    if role is not Role.CUSTOMER:
        raise Forbidden("not_customer", "Only the customer calls.")
    require_open(grant)
    if grant.mode != mode:
        raise Conflict("mode_not_ordered", "This order is for another kind of session.")
    return grant


def require_open(grant: Grant) -> None:
    if grant.state != "open" or grant.fulfilment != "live":
        raise Conflict("order_not_open", "The order is not open.")


async def require_expert(grant: Grant, presence: PresenceView, registry: Registry) -> str:
    """What the call does at the expert: ring or silent (T13-T16).

    Raises `Conflict`: expert_offline, expert_busy, expert_undefined, expert_away_refused.
    """
    if not presence.is_online(grant.expert_id):
        raise Conflict("expert_offline", "The expert is not here.")
    chosen = await presence.chosen_status(grant.expert_id)
    status = "busy" if registry.live_of(grant.expert_id) else chosen
    action = grant.policy.ring(status)
    if action != "refuse":
        return action
    code = {"busy": "expert_busy", "away": "expert_away_refused"}.get(status, "expert_undefined")
    raise Conflict(code, "The expert takes no calls now.")


def require_free_customer(grant: Grant, registry: Registry) -> None:
    """Raises `Conflict` customer_busy: too many calls at once, or this order has one already."""
    calls = [
        rt
        for rt in registry.of_user(grant.customer_id)
        if rt.grant.customer_id == grant.customer_id
    ]
    # One that is over but not yet settled still has its order's money.
    same_order = any(rt.grant.order_id == grant.order_id for rt in calls)
    running = sum(rt.machine.ended is None for rt in calls)
    if same_order or running >= grant.policy.customer_live_sessions:
        raise Conflict("customer_busy", "You are in another call.")


def require_settled(unsettled: bool) -> None:
    """Raises `Conflict` order_unsettled."""
    if unsettled:
        raise Conflict("order_unsettled", "The last session of this order is not settled yet.")


def require_funds(tariff: Tariff, funding: Funding) -> None:
    """A block is prepaid or affordable. Raises `PaymentRequired` insufficient_funds (T17, T40)."""
    funds_minor = funding.prepaid_minor + funding.available_minor
    shortfall_minor = tariff.block_price_minor() - funds_minor
    if shortfall_minor > 0:
        raise PaymentRequired(
            "insufficient_funds", "The balance does not cover a block.", shortfall=shortfall_minor
        )
