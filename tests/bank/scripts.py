"""Customers, experts and their money, played at random; each refusal is part of the game.

What is not a refusal with a stable code ends the process with a traceback, and so the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from admin.accounts.people import find_active
from admin.market.actors import Actor
from admin.market.transitions import transition
from admin.orders import service as orders
from admin.orders.machine import order_of
from engine.errors import TalktimeError
from engine.store import tables as t
from tests.bank.calls import Call
from tests.bank.world import CURRENCY, CUSTOMERS, EXPERTS, TARIFFS, listing_of, topup_of
from tests.support import paid_topup

if TYPE_CHECKING:
    from tests.bank.engine_process import Engine

Step = Callable[["Engine"], Awaitable[None]]


async def play(engine: Engine, *, calls: int) -> None:
    """Until cancelled. Raises whatever a script was not prepared for."""
    async with asyncio.TaskGroup() as group:
        for _ in range(calls):
            group.create_task(_again_and_again(engine, _call, pause_s=0.05))
            group.create_task(_again_and_again(engine, _come_back, pause_s=0.2))
        group.create_task(_again_and_again(engine, _topup, pause_s=0.4))
        group.create_task(_again_and_again(engine, _new_order, pause_s=0.3))
        group.create_task(_again_and_again(engine, _finish_order, pause_s=0.7))


async def _again_and_again(engine: Engine, step: Step, *, pause_s: float) -> None:
    while True:
        try:
            await step(engine)
        except TalktimeError as refusal:
            engine.refusals[refusal.code] += 1
        await asyncio.sleep(engine.random.uniform(0, 2 * pause_s))


# Money and orders ---------------------------------------------------------------------------------


async def _topup(engine: Engine) -> None:
    """Under a number of a small range that moves with time, so that processes repeat each other."""
    number = engine.clock.wall_ms() // 500 % 1_000_000 + engine.random.randrange(4)
    key, customer, amount_minor = topup_of(number)
    engine.notebook.note("topup_asked", key=key)
    async with engine.store.transaction() as tx:
        await paid_topup.topup(
            tx,
            engine.ledger,
            key=key,
            user_id=customer,
            currency=CURRENCY,
            amount_minor=amount_minor,
        )
    engine.notebook.note("topup_done", key=key)
    await engine.sessions.wallet_changed(customer, CURRENCY)


async def _new_order(engine: Engine) -> None:
    async with engine.store.transaction() as tx:
        customer = await find_active(tx, engine.random.choice(CUSTOMERS))
        assert customer is not None
        listing = listing_of(engine.random.choice(EXPERTS))
        mode = engine.random.choice(list(TARIFFS))
        order_id = await orders.create(engine.admin, tx, customer, listing, mode)
        await orders.pay(engine.admin, tx, customer.id, order_id)


async def _finish_order(engine: Engine) -> None:
    """Cancel or close any open order, also those of whose calls this process knows nothing."""
    order = await _any_order(engine)
    if order is None:
        return
    action = engine.random.choice(["cancel", "close"])
    async with engine.store.transaction() as tx:
        await transition(engine.admin, tx, order_of(order.id), action, Actor(order.customer_id))
    engine.notebook.note("order_finished", order=order.id)


async def _any_order(engine: Engine, *where: sa.ColumnElement[bool]) -> Any:
    o = t.orders.c
    query = sa.select(o.id, o.customer_id, o.expert_id, o.mode).where(o.state == "open", *where)
    async with engine.store.reading() as tx:
        found = (await tx.execute(query.order_by(o.created_at_ms.desc()).limit(60))).all()
    return engine.random.choice(found) if found else None


def _expert_is_free() -> sa.ColumnElement[bool]:
    """As far as one can tell: others may call the expert at the same moment."""
    s, o = t.sessions.c, t.orders.c
    return ~sa.exists().where(s.expert_id == o.expert_id, s.state != "ended")


# Calls --------------------------------------------------------------------------------------------


async def _call(engine: Engine) -> None:
    choosy = engine.random.random() < 0.8
    order = await _any_order(engine, *([_expert_is_free()] if choosy else []))
    if order is not None:
        await Call(engine, order.customer_id, order.expert_id, order.mode).run(order.id)


async def _come_back(engine: Engine) -> None:
    """Sessions that run here and that no script of this process plays were taken over."""
    for view in engine.sessions.live_sessions():
        if view.session_id in engine.played or view.state == "ringing":
            continue
        engine.played.add(view.session_id)
        if engine.random.random() < 0.6:
            call = Call(engine, view.customer_id, view.expert_id, view.mode, view.session_id)
            await call.go_on(connecting=view.state == "connecting")
            return
