"""What silence does to an order: unpaid, unanswered, idle (O3, O7, O13)."""

from __future__ import annotations

from admin.market.timers import Due
from admin.market.transitions import SYSTEM, Done, transition
from admin.orders.machine import order_of
from admin.orders.states import OrderState
from admin.ports import AdminDeps
from admin.queries import Row
from engine.store.database import Tx
from engine.store.tables import orders

_ACTIONS = {
    OrderState.PENDING_PAYMENT: "expire",
    OrderState.DELIVERED: "accept_by_silence",
    OrderState.OPEN: "idle_out",
}


async def _act(deps: AdminDeps, tx: Tx, row: Row) -> Done | None:
    action = _ACTIONS.get(row.state)
    if action is None:
        return None
    return await transition(deps, tx, order_of(row.id), action, SYSTEM)


ORDERS = Due(name="orders", table=orders, act=_act)
