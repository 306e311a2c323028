"""What the office does with an order after its call, killed with it at every await."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from admin.market.actors import Actor
from admin.orders.machine import Complaint, Refund, Ruling
from engine.clock import NS_PER_S
from tests.simulation.sweep import Call, Scene, Turn
from tests.simulation.trace import Broken
from tests.simulation.truth import Order
from tests.simulation.world import World

STAFF = Actor("staff", frozenset({"finance", "disputes.decide"}))


@dataclass(frozen=True)
class Step:
    """`done_as`: what the store has in its outbox once it is done."""

    action: str
    done_as: str
    by_staff: bool = False
    body: Any = None


CANCEL = Step("cancel", "order.cancelled")
CLOSE = Step("close", "order.completed")
DISPUTE = Step("dispute", "order.disputed", body=Complaint("I could not hear anything."))
REFUND = Step("refund", "order.refunded", by_staff=True, body=Refund(300, "A part of it."))
RULE = Step("rule", "order.ruled", by_staff=True, body=Ruling("refund", "All of it."))


class OfficeScene(Scene):
    """`steps` one after the other; who finds the office dead looks what it did, and asks again."""

    def __init__(self, call: Call | None, steps: Sequence[Step], *kill_at: int) -> None:
        super().__init__(call or Call(), *kill_at)
        self._called = call is not None
        self.left_minor = -1
        """What the customer has not got back, or has on hold."""
        self._todo = steps

    async def _talk(self, world: World, order: Order) -> None:
        if self._called:
            await super()._talk(world, order)

    async def _afterwards(self, world: World, order: Order) -> None:
        self.points.clear()
        self.loop.before_turn = lambda turn: self._office_before(world, turn)
        for step in self._todo:
            while not self._done(world, step):
                await self._attempt(world, order, step)
        self.loop.before_turn = lambda turn: None
        paid = world.watch.rows("SELECT COALESCE(SUM(captured_minor), 0) FROM sessions")[0][0]
        if RULE in self._todo:
            order.refunded = paid
        elif REFUND in self._todo:
            order.refunded = REFUND.body.amount_minor

        self.left_minor = world.topped - _available_minor(world)

    def _office_before(self, world: World, turn: int) -> None:
        link = world.office_link
        if turn in self._kill_at:
            link.kill()
        elif not link.dead and link.steps != self._steps:
            self._steps = link.steps
            self.points.append(Turn(turn, 0, 0))

    async def _attempt(self, world: World, order: Order, step: Step) -> None:
        actor = STAFF if step.by_staff else Actor(order.customer)
        asked = world.task("office", world.decide(order, step.action, actor, step.body))
        while not asked.done() and not world.office_link.dead:
            await self.loop.sleep(0.05)
        if world.office_link.dead:
            await self.loop.sleep_ns(NS_PER_S)
            await world.open_office()
        elif not asked.result():
            raise Broken("refused", f"{step.action} of an order of which it may be asked")

    def _done(self, world: World, step: Step) -> bool:
        found = world.watch.rows("SELECT COUNT(*) FROM outbox WHERE type = ?", step.done_as)
        return bool(found[0][0])


def _available_minor(world: World) -> int:
    rows = world.watch.rows(
        "SELECT balance_minor - held_minor FROM accounts WHERE kind = 'wallet'",
    )
    return sum(available for (available,) in rows)
