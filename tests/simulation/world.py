"""The simulated world: processes, people, one file, and all that goes wrong between them."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import sqlalchemy as sa

from admin.market.actors import Actor
from admin.market.terms import Terms
from admin.market.transitions import transition
from admin.orders import service as orders
from admin.orders.machine import order_of
from engine.clock import NS_PER_S
from engine.errors import TalktimeError, Unavailable
from engine.ids import new_id
from engine.metering.ledger import Ledger
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from engine.store import tables as t
from tests.simulation.disk import Link, SimStore
from tests.simulation.loop import SimLoop
from tests.simulation.node import Node, NodeClock
from tests.simulation.plan import Plan
from tests.simulation.trace import Broken, Trace
from tests.simulation.truth import Order, Talk
from tests.simulation.watch import Watch
from tests.support import paid_topup

CURRENCY = "TRY"

TARIFFS = [
    # price, per seconds, block, prepaid, grace
    (90_000, 900, 900, 900, 60),
    (6_000, 60, 60, 60, 60),
    (300_000, 3_600, 1, 0, 0),
    (4_999, 45, 45, 90, 20),
    (7, 3, 1, 30, 10),
    (1_001, 60, 1, 60, 60),
    (999, 7, 7, 0, 5),
    (33, 100, 60, 120, 0),
]

POOR = [
    (6_000, 60, 60, 60, 20),
    (3_000, 60, 1, 0, 0),
    (999, 7, 7, 0, 5),
    (1_001, 60, 1, 30, 10),
]
"""Short blocks and next to nothing prepaid."""


class World:
    def __init__(self, loop: SimLoop, path: Path, plan: Plan) -> None:
        self.loop = loop
        self.path = path
        self.plan = plan
        self.trace = Trace(loop)
        self.broken: Broken | None = None
        self.closing = False
        self.healed = self.over = False
        self.talks: dict[str, Talk] = {}
        self.orders: list[Order] = []
        self.topped = 0
        self.nodes: dict[str, Node] = {}
        self.incarnations: list[Node] = []
        self.drains: list[tuple[int, Node]] = []
        self._wall_ms: dict[str, int] = {}
        self.links: list[Link] = []
        self.watch = Watch(self)
        self._offices: list[SimStore] = []
        self._ids = self.dice("ids")
        self._bank = self.dice("bank")
        self._errands: list[asyncio.Task[Any]] = []

    # Chance ---------------------------------------------------------------------------------------

    def dice(self, name: str) -> random.Random:
        """A stream of its own for every purpose."""
        return random.Random(f"{self.plan.seed} {name}")

    def randbits(self, count: int) -> int:
        return self._ids.getrandbits(count)

    # Processes ------------------------------------------------------------------------------------

    def link(self, name: str) -> Link:
        link = Link(
            self.loop,
            self.path,
            name,
            dice=self.dice(f"link {name}"),
            trace=self.trace,
            on_commit=self.watch.committed,
        )
        if not self.healed:
            link.statement_fails = 0.002 if self.plan.has("statement_fails") else 0.0
            link.commit_fails = 0.06 if self.plan.has("commit_unknown") else 0.0
        self.links.append(link)
        return link

    def task(self, who: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task whose failure nobody can overlook, whoever waits for it or does not."""
        task = self.loop.create_task(work)
        self.look_after(who, task)
        return task

    def look_after(self, who: str, task: asyncio.Task[Any]) -> None:
        def over(done: asyncio.Task[Any]) -> None:
            error = None if done.cancelled() else done.exception()
            if error is not None:
                self.failed(who, error)

        task.add_done_callback(over)

    async def launch(self, name: str) -> None:
        """Start a process under this name, again and again until the store lets it."""
        while True:
            node = Node(self, name, len(self.incarnations))
            self.incarnations.append(node)
            self.nodes[name] = node
            if await node.spawn(node.start()):
                return
            await self.loop.sleep(2)

    def node_of(self, link: Link) -> Node:
        return next(node for node in self.incarnations if node.link is link)

    def serving(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.serving]

    def drained(self, node: Node) -> None:
        self.drains.append((self.loop.now_ns, node))

    def wall_step_ms(self, name: str) -> int:
        return self._wall_ms.get(name, 0)

    def step_wall(self, name: str, by_ms: int) -> None:
        self._wall_ms[name] = self._wall_ms.get(name, 0) + by_ms

    # Money and orders, by the admin's own code ----------------------------------------------------

    async def open_office(self) -> None:
        """The admin side: a process that no chaos kills; opened again where a scene did."""
        self.office_link = self.link("office")
        host: Any = SimpleNamespace(world=self, name="office", when_awake=lambda run: run())
        clock = NodeClock(host, 0, None)
        self.office = SimStore(self.path, clock, self.office_link)
        self._offices.append(self.office)  # a dead one closes nothing, nor is it freed
        self.ledger = Ledger(clock)
        self.deps: Any = SimpleNamespace(
            store=self.office,
            clock=clock,
            ledger=self.ledger,
            sessions=self,
            outbound=_Nobody(),
            delivery=_Nobody(),
        )

    async def until_done(self, work: Any) -> Any:
        """Repeat a transaction under the same keys until the store takes it."""
        while True:
            try:
                async with self.office.transaction() as tx:
                    return await work(tx)
            except Unavailable:
                await self.loop.sleep(1)

    async def user(self, name: str) -> str:
        user_id = new_id("usr")
        row = {
            "id": user_id,
            "email": f"{user_id}@example.com",
            "display_name": name,
            "password_hash": "-",
            "roles": ["member"],
            "created_at_ms": 0,
        }
        await self.until_done(lambda tx: _insert_new(tx, t.users, row))
        return user_id

    async def topup(self, user_id: str, amount: int) -> None:
        key = new_id("top")
        self.topped += amount
        await self.until_done(
            lambda tx: paid_topup.topup(
                tx,
                self.ledger,
                key=key,
                user_id=user_id,
                currency=CURRENCY,
                amount_minor=amount,
            )
        )
        self.trace("office", f"top-up of {amount} for {user_id[-6:]}")
        await self.wallet_changed(user_id, CURRENCY)

    async def wallet_changed(self, user_id: str, currency: str) -> None:
        """The process that took the request tells its own sessions, and nobody tells the others."""
        nodes = self.serving()
        if nodes:
            node = self._bank.choice(nodes)
            node.when_awake(lambda: node.spawn(_announce(node, user_id, currency)))

    def errand(self, work: Coroutine[Any, Any, Any]) -> None:
        """Something that is done beside everything else."""
        self._errands.append(self.task("errand", work))

    def warn(self, user_id: str, left_s: float) -> None:
        """A customer hears that money runs out: most do something about it at the last moment,
        some a little late.
        """
        if left_s < 40 and self._bank.random() < 0.7 and not self.closing:
            amount = self._bank.choice([100, 1_000, 6_000, 30_000])
            after_ns = round((left_s - 15 + self._bank.random() * 17) * NS_PER_S)
            self.loop.at(
                self.loop.now_ns + after_ns,
                lambda: self.errand(self.topup(user_id, amount)),
            )

    async def order(self, customer: str, expert: str, dice: random.Random) -> Order:
        """A paid order; what it takes is topped up."""
        price, per_s, block_s, prepaid_s, grace_s = dice.choice(POOR if self.plan.poor else TARIFFS)
        tariff = Tariff(
            currency=CURRENCY,
            price_minor=price,
            per_seconds=per_s,
            block_seconds=block_s,
            prepaid_seconds=prepaid_s,
            grace_seconds=grace_s,
        )
        policy = Policy(
            commission_bps=dice.choice([0, 1_500, 1_234, 10_000]),
            customer_live_sessions=3,
            ring_timeout_s=20,
            connect_timeout_s=20,
            text_idle_end_s=120,
        )
        mode = dice.choice(self.plan.modes)
        order = Order(new_id("ord"), customer, expert, mode, tariff, policy)
        await self.until_done(lambda tx: self._create(tx, order))
        if tariff.prepay_minor():
            await self.topup(customer, tariff.prepay_minor())
        while not await self.until_done(lambda tx: self._pay(tx, order)):
            await self.topup(customer, tariff.prepay_minor())
        self.orders.append(order)
        self.trace("office", f"order {order.id[-6:]} {mode} {price}/{per_s}/{block_s}")
        return order

    async def _create(self, tx: Any, order: Order) -> None:
        row = {
            "id": order.id,
            "number": order.id[-20:],
            "customer_id": order.customer,
            "expert_id": order.expert,
            "title": "Advice",
            "fulfilment": "live",
            "mode": order.mode,
            "tariff": msgspec.to_builtins(order.tariff),
            "policy": msgspec.to_builtins(order.policy),
            "terms": msgspec.to_builtins(Terms(commission_bps=order.policy.commission_bps)),
            "currency": CURRENCY,
            "prepay_minor": order.tariff.prepay_minor(),
            "state": "pending_payment",
            "created_at_ms": 0,
            "updated_at_ms": 0,
        }
        if await _insert_new(tx, t.orders, row):
            conversation = {"id": new_id("con"), "kind": "order", "order_id": order.id}
            await tx.execute(sa.insert(t.conversations).values(**conversation, created_at_ms=0))

    async def _pay(self, tx: Any, order: Order) -> bool:
        try:
            await orders.pay(self.deps, tx, order.customer, order.id)
            return True
        except TalktimeError as refusal:
            return refusal.code == "already_paid"

    async def finish(self, order: Order, action: str) -> bool:
        """Whether the customer could close or cancel it."""
        return await self.decide(order, action, Actor(order.customer))

    async def decide(self, order: Order, action: str, actor: Actor, body: Any = None) -> bool:
        """Whether they could."""
        subject = order_of(order.id)
        try:
            async with self.office.transaction() as tx:
                done = await transition(self.deps, tx, subject, action, actor, body=body)
        except TalktimeError as refusal:
            self.trace("office", f"{action} of {order.id[-6:]}: {refusal.code}")
            return False
        await done.tell()
        self.trace("office", f"{action} of {order.id[-6:]}")
        return True

    # The end --------------------------------------------------------------------------------------

    def fail(self, broken: Broken) -> None:
        """The first broken invariant stops the run."""
        if self.broken is None and not self.over:
            self.broken = broken
            self.trace("BROKEN", str(broken))

    def failed(self, who: str, error: BaseException) -> None:
        """Something raised what it may not raise: broken in any case, as an invariant or as a
        defect, of the engine or of the simulation.
        """
        if isinstance(error, Broken):
            self.fail(error)
        elif self.broken is None and not self.over:
            for line in traceback.format_exception(error):
                self.trace(who, line.rstrip())
            self.fail(Broken("defect", f"{who}: {type(error).__name__}: {error}"))

    async def heal(self) -> None:
        """From here on nothing goes wrong any more."""
        self.healed = True
        self.trace("world", "heals")
        for link in self.links:
            link.slow_until_ns = link.down_until_ns = 0
            link.statement_fails = link.commit_fails = 0.0
            link.die_at_step = -1

    async def exorcise(self) -> None:
        """End the tasks of dead processes; nothing of what they do on the way matters."""
        self.over = True
        for link in self.links:
            link.kill()
            link.over = True
        tasks = [
            task for task in asyncio.all_tasks(self.loop) if task is not asyncio.current_task()
        ]
        for _ in range(50):
            for task in tasks:
                task.cancel()
            await self.loop.sleep(1)
            tasks = [task for task in tasks if not task.done()]
            if not tasks:
                break


class _Nobody:
    """Hears of what the office announces, apart from money."""

    async def to_user(self, user_id: str, event: str, payload: dict[str, object]) -> None:
        pass

    def wake(self) -> None:
        pass


async def _insert_new(tx: Any, table: sa.Table, row: dict[str, Any]) -> bool:
    """Insert unless an attempt whose answer was lost did."""
    there = await tx.scalar(sa.select(table.c.id).where(table.c.id == row["id"]))
    if there is None:
        await tx.execute(sa.insert(table).values(**row))
    return there is None


async def _announce(node: Node, user_id: str, currency: str) -> None:
    try:
        await node.service.wallet_changed(user_id, currency)
    except TalktimeError as refusal:
        node.world.trace(node.name, f"wallet news: {refusal.code}")


def seconds(duration_ns: int) -> float:
    return duration_ns / NS_PER_S
