"""POST and GET /orders, and what customers do with them."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from admin import schemas
from admin.cases.machine import withdraw_dispute
from admin.catalogue.handlers import CursorText, Limit
from admin.http import cursors
from admin.http.answers import Answer, refusal
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.market.transitions import Move, transition
from admin.orders import goods, service, views
from admin.orders.machine import ORDER, order_of
from admin.orders.schemas import OrderDetail, OrderFiles, StaffOutcome
from admin.orders.states import OrderState
from engine.errors import PaymentRequired
from engine.signaling.messages import IdText

View = Literal["running", "to_pay", "open", "delivered", "disputed", "completed", "cancelled"]
_VIEWS: dict[View | None, tuple[str, ...]] = {
    None: tuple(OrderState),
    "running": (
        OrderState.PENDING_PAYMENT,
        OrderState.OPEN,
        OrderState.DELIVERED,
        OrderState.DISPUTED,
    ),
    "to_pay": (OrderState.PENDING_PAYMENT,),
    "open": (OrderState.OPEN,),
    "delivered": (OrderState.DELIVERED,),
    "disputed": (OrderState.DISPUTED,),
    "completed": (OrderState.COMPLETED,),
    "cancelled": (OrderState.CANCELLED,),
}


class OrderQuery(Struct):
    role: Literal["customer", "expert"] | None = None
    view: View | None = None
    fulfilment: Literal["live", "work", "files"] | None = None
    listing_id: IdText | None = None
    cursor: CursorText | None = None
    limit: Limit = 20


async def create_order(call: Call[schemas.CreateOrder, Nothing]) -> Answer:
    """Unpaid, or confirmed at once (T42, T43): 402 then keeps the order, still to be paid."""
    deps, user, body = call.deps, call.user, call.body
    done = None
    async with deps.store.transaction() as tx:
        order_id = await service.create(
            deps, tx, user, body.listing_id, body.mode, requirements=body.requirements
        )
        if body.confirm:
            try:
                done = await service.pay(deps, tx, user.id, order_id)
            except PaymentRequired as lacking:
                return await call.claim.settle(tx, refusal(lacking))
        order = await views.one(deps, tx, user.id, order_id)
        answer = await call.claim.settle(tx, Answer(201, order))
    if done is not None:
        await done.tell()
    return answer


def _action(move: Move) -> Route:
    """An action of the parties, as the machine's table declares it."""
    method, path, status = _PATHS.get(move.action, ("POST", move.action.replace("_", "-"), 200))

    async def act(call: Call[Any, Nothing]) -> Answer:
        return await _make(call, move.action, status)

    act.__name__ = f"{move.action}_order"
    return Route(
        method=method,
        path=f"/orders/{ID}/{path}",
        handler=act,
        summary=_SUMMARIES[move.action],
        tag="Orders",
        answer=OrderDetail,
        status=status,
        body=None if move.body is Nothing else move.body,
        idempotent=True,
        refusals=(402, 403, 404) if move.action == "pay" else (403, 404),
    )


async def _make(call: Call[Any, Nothing], action: str, status: int) -> Answer:
    deps, user = call.deps, call.user
    async with deps.store.transaction() as tx:
        if action == "withdraw_dispute":  # the case is what is withdrawn; its order follows
            await views.find(tx, user.id, call.id)
            done = await withdraw_dispute(deps, tx, call.id, user.actor)
        else:
            done = await transition(deps, tx, order_of(call.id), action, user.actor, body=call.body)
        order = await views.one(deps, tx, user.id, call.id)
        answer = await call.claim.settle(tx, Answer(status, order))
    await done.tell()
    return answer


_PATHS = {
    "require": ("PUT", "requirements", 200),
    "add_delivery": ("POST", "deliveries", 201),
    "review": ("POST", "review", 201),
}
"""Where it is not POST, the action's own name and 200."""

_SUMMARIES = {
    "pay": "Put the price or the prepayment on hold and open the order",
    "require": "Say what the expert needs to know, until the work has begun",
    "start": "Begin the work",
    "add_delivery": "Deliver a text, files or both; as often as needed before the work is done",
    "deliver": "Say that the work is done",
    "return": "Return delivered work for rework",
    "accept": "Accept delivered work: its price goes to the expert",
    "refuse": "Refuse an order: the customer gets everything back, the rating drops",
    "agree_to_cancel": "Let the customer cancel work that has begun",
    "cancel": "Cancel; what was not consumed returns to the wallet",
    "close": "Complete an order of which a session was billed",
    "dispute": "Bring an order before the arbitration",
    "withdraw_dispute": "Withdraw one's own dispute",
    "review": "Rate the service and the expert, once",
}


def _staff_action(action: str, path: str, summary: str) -> Route:
    """Of staff, on any order; the answer is nobody's view but the outcome."""
    move = next(move for move in ORDER.moves if move.action == action)

    async def act(call: Call[Any, Nothing]) -> Answer:
        deps, user = call.deps, call.user
        async with deps.store.transaction() as tx:
            done = await transition(deps, tx, order_of(call.id), action, user.actor, body=call.body)
            outcome = StaffOutcome(done.row.id, done.row.number, done.row.state)
            answer = await call.claim.settle(tx, Answer(200, outcome))
        await done.tell()
        return answer

    act.__name__ = f"{action}_order_by_staff"
    return Route(
        method="POST",
        path=f"/admin/orders/{ID}/{path}",
        handler=act,
        summary=summary,
        tag="Staff",
        answer=StaffOutcome,
        body=move.body,
        idempotent=True,
        refusals=(403, 404),
    )


async def list_orders(call: Call[Nothing, OrderQuery]) -> Answer:
    query = call.query
    wanted = views.Wanted(query.role, _VIEWS[query.view], query.fulfilment, query.listing_id)
    after = cursors.decode(query.cursor)
    async with call.deps.store.reading() as tx:
        page = await views.page(call.deps, tx, call.user.id, wanted, after=after, limit=query.limit)
    return Answer(200, page)


async def list_order_files(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        order = await views.find(tx, call.user.id, call.id)
        return Answer(200, await goods.of_order(call.deps, tx, call.user.id, order))


async def get_order(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        return Answer(200, await views.one(call.deps, tx, call.user.id, call.id))


_MOVES = {
    move.action: move for move in reversed(ORDER.moves) if {"customer", "expert"} & {*move.by}
}
"""By action; where several moves share one they also share its body."""

ROUTES = (
    Route(
        method="POST",
        path="/orders",
        handler=create_order,
        summary="Order a listing in one of its modes; with `confirm` pay it in the same step",
        tag="Orders",
        body=schemas.CreateOrder,
        answer=OrderDetail,
        status=201,
        idempotent=True,
        refusals=(402, 404),
    ),
    *(_action(_MOVES[action]) for action in _SUMMARIES),
    _staff_action("refund", "refund", "Give back a part of what an order cost"),
    _staff_action("call_off", "call-off", "Cancel an order; its customer gets back what is held"),
    Route(
        method="GET",
        path="/orders",
        handler=list_orders,
        summary="The user's orders, newest first",
        tag="Orders",
        query=OrderQuery,
        answer=schemas.OrderPage,
    ),
    Route(
        method="GET",
        path=f"/orders/{ID}",
        handler=get_order,
        summary="One order, as customer or expert",
        tag="Orders",
        answer=OrderDetail,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path=f"/orders/{ID}/files",
        handler=list_order_files,
        summary="The files and links that were bought, with addresses that expire",
        tag="Orders",
        answer=OrderFiles,
        refusals=(403, 404),
    ),
)
