"""POST and GET /orders, and what customers do with them."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from msgspec import Struct

from admin import schemas
from admin.cases.machine import withdraw_dispute
from admin.http import cursors
from admin.http.answers import Answer, refusal
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.http.cursors import CursorText, Limit
from admin.market.routes import move_route
from admin.market.transitions import Done
from admin.orders import goods, service, views
from admin.orders.machine import ORDER
from admin.orders.schemas import OrderDetail, OrderFiles, StaffOutcome
from admin.orders.states import OrderState
from engine.errors import PaymentRequired
from engine.signaling.messages import IdText
from engine.store.database import Tx

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


async def _seen_by_party(call: Call[Any, Nothing], tx: Tx, _done: Done) -> OrderDetail:
    return await views.one(call.deps, tx, call.user.id, call.id)


async def _outcome(_call: Call[Any, Nothing], _tx: Tx, done: Done) -> StaffOutcome:
    """For staff, whose order it is not."""
    return StaffOutcome(done.row.id, done.row.number, done.row.state)


async def _withdraw_dispute(call: Call[Any, Nothing], tx: Tx) -> Done:
    """The case is what is withdrawn; its order follows."""
    await views.find(tx, call.user.id, call.id)
    return await withdraw_dispute(call.deps, tx, call.id, call.user.actor)


_ONE = f"/orders/{ID}"
_action = partial(move_route, ORDER, tag="Orders", answer=OrderDetail, show=_seen_by_party)
"""Of the parties."""


def _staff_action(action: str, summary: str) -> Route:
    """Of staff, on any order."""
    return move_route(
        ORDER,
        action,
        f"/admin/orders/{ID}/{action.replace('_', '-')}",
        summary,
        tag="Staff",
        answer=StaffOutcome,
        show=_outcome,
        name=f"{action}_order_by_staff",
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
    _action(
        "pay",
        f"{_ONE}/pay",
        "Put the price or the prepayment on hold and open the order",
        refusals=(402, 403, 404),
    ),
    _action(
        "require",
        f"{_ONE}/requirements",
        "Say what the expert needs to know, until the work has begun",
        method="PUT",
    ),
    _action("start", f"{_ONE}/start", "Begin the work"),
    _action(
        "add_delivery",
        f"{_ONE}/deliveries",
        "Deliver a text, files or both; as often as needed before the work is done",
        status=201,
    ),
    _action("deliver", f"{_ONE}/deliver", "Say that the work is done"),
    _action("return", f"{_ONE}/return", "Return delivered work for rework"),
    _action("accept", f"{_ONE}/accept", "Accept delivered work: its price goes to the expert"),
    _action(
        "refuse",
        f"{_ONE}/refuse",
        "Refuse an order: the customer gets everything back, the rating drops",
    ),
    _action(
        "agree_to_cancel", f"{_ONE}/agree-to-cancel", "Let the customer cancel work that has begun"
    ),
    _action("cancel", f"{_ONE}/cancel", "Cancel; what was not consumed returns to the wallet"),
    _action("close", f"{_ONE}/close", "Complete an order of which a session was billed"),
    _action("dispute", f"{_ONE}/dispute", "Bring an order before the arbitration"),
    _action(
        "withdraw_dispute",
        f"{_ONE}/withdraw-dispute",
        "Withdraw one's own dispute",
        make=_withdraw_dispute,
    ),
    _action("review", f"{_ONE}/review", "Rate the service and the expert, once", status=201),
    _staff_action("refund", "Give back a part of what an order cost"),
    _staff_action("call_off", "Cancel an order; its customer gets back what is held"),
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
        path=_ONE,
        handler=get_order,
        summary="One order, as customer or expert",
        tag="Orders",
        answer=OrderDetail,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path=f"{_ONE}/files",
        handler=list_order_files,
        summary="The files and links that were bought, with addresses that expire",
        tag="Orders",
        answer=OrderFiles,
        refusals=(403, 404),
    ),
)
