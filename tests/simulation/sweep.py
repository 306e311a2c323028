"""A short scene, played once to list the points at which a process can be killed, and then again
for each of them.

What a process leaves behind changes only with its next step to the store (a connection, a
statement, a commit): the first turn of the loop after such a step stands for all the awaits up to
the next one. Afterwards every invariant is checked as at the end of any simulated day.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec

from engine.clock import NS_PER_S
from engine.media.interface import Role
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from tests.simulation.auditor import Auditor
from tests.simulation.loop import SimLoop
from tests.simulation.people import Couple
from tests.simulation.plan import Plan
from tests.simulation.run import Result, last_look, run_plan
from tests.simulation.truth import Order, Run, Talk
from tests.simulation.world import CURRENCY, World

PLAN = Plan(
    seed=1,
    nodes=1,
    faults=frozenset(),
    checkpoint_every_s=5,
    stale_after_s=10,
    resume_within_s=600,
    customers=1,
    experts=1,
    couples=1,
    modes=("video",),
    poor=False,
    every_s=12,
)
TARIFF = Tariff(
    currency=CURRENCY,
    price_minor=1_000,
    per_seconds=10,
    block_seconds=10,
    prepaid_seconds=10,
    grace_seconds=2,
)
TALK_S = 16
"""Two blocks begin: the first from the prepaid hold, the second from one of its own."""


class TurningLoop(SimLoop):
    """Counts its turns; `before_turn` hears of each."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = 0
        self.before_turn: Callable[[int], None] = lambda turn: None

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        return super().call_soon(self._take_turn, callback, args, context=context)

    def _take_turn(self, callback: Any, args: tuple[Any, ...]) -> None:
        self.turn += 1
        self.before_turn(self.turn)
        callback(*args)


class Even(random.Random):
    """No surprises: nobody cancels, declines or loses anything."""

    def random(self) -> float:
        return 0.5


class OneCall(Couple):
    """They talk for a while and hang up. After a crash both come back, or nobody does."""

    comes_back = False

    async def _leave(self, talk: Talk, run: Run) -> None:
        await self.loop.sleep(TALK_S)
        if not self._gone(talk, run):
            await self._hangup(talk, run, Role.CUSTOMER)

    async def _think(self, talk: Talk) -> None:
        await self.loop.sleep(2)

    async def _come_back(self, talk: Talk, run: Run) -> Run | None:
        return await super()._come_back(talk, run) if self.comes_back else None


class Turn(NamedTuple):
    """Which one, of which incarnation, and how long after the clock started (0 before)."""

    number: int
    incarnation: int
    after_ns: int


@dataclass(frozen=True)
class Call:
    """How the call of a scene goes.

    `by_block`: each block is held and captured for itself; otherwise several at a time, so that
    what was served may be more than what was captured. `resumed`: a restarted engine goes on with
    it; otherwise it is settled at once.
    """

    mode: str = "video"
    by_block: bool = True
    resumed: bool = True
    comes_back: bool = False
    prepaid_s: int = 10


class Scene:
    """`kill_at`: the turns of the loop before which the process of that moment dies."""

    def __init__(self, call: Call, *kill_at: int) -> None:
        self._call = call
        self._kill_at = kill_at
        self.loop = TurningLoop()
        self.points: list[Turn] = []
        """The first turn after each step to the store, until the session has ended."""
        self.moved: Counter[str] = Counter()
        """Movements of money at the end, by kind; `rest`: captures by recovery."""
        self._steps = 0

    def play(self) -> Result:
        plan = replace(PLAN, resume_within_s=PLAN.resume_within_s if self._call.resumed else 0)
        return run_plan(plan, self.loop, self._live)

    def check(self) -> Scene:
        result = self.play()
        assert result.broken is None, "\n".join(
            [*result.story, str(result.broken), f"{self._call} killed at {self._kill_at}"]
        )
        return self

    async def _live(self, world: World, auditor: Auditor) -> None:
        await world.open_office()
        customer, expert = await world.user("Customer"), await world.user("Expert")
        order = await self._order(world, customer, expert)
        await world.topup(customer, 5_000)
        await world.launch("node-0")
        self.loop.before_turn = lambda turn: self._before(world, turn)
        await self._talk(world, order)
        await self._afterwards(world, order)
        await last_look(world, auditor)
        self.moved = _moved(world)

    async def _talk(self, world: World, order: Order) -> None:
        couple = OneCall(world, 0, order.customer, [order.expert])
        couple.dice, couple.comes_back = Even(1), self._call.comes_back
        await couple._call(world.nodes["node-0"], order)

    async def _afterwards(self, world: World, order: Order) -> None:
        pass

    async def _order(self, world: World, customer: str, expert: str) -> Order:
        slice_s = 2 if self._call.by_block else 30
        policy = Policy(commission_bps=1_500, hold_slice_seconds=slice_s)
        tariff = msgspec.structs.replace(TARIFF, prepaid_seconds=self._call.prepaid_s)
        order = Order("ord_0", customer, expert, self._call.mode, tariff, policy)
        world.orders.append(order)
        await world.topup(customer, tariff.prepay_minor())
        await world.until_done(lambda tx: world._create(tx, order))
        assert await world.until_done(lambda tx: world._pay(tx, order))
        return order

    def _before(self, world: World, turn: int) -> None:
        node = world.nodes["node-0"]
        if turn in self._kill_at:
            node.kill()
            self.loop.at(self.loop.now_ns + NS_PER_S, lambda: world.errand(world.launch("node-0")))
        elif node.alive and node.link.steps != self._steps and not world.watch.ended:
            self._steps = node.link.steps
            self.points.append(Turn(turn, node.number, self._after_ns(world)))

    def _after_ns(self, world: World) -> int:
        for talk in world.talks.values():
            start_ns = _started_ns(talk)
            if start_ns is not None:
                return self.loop.now_ns - start_ns
        return 0


def _started_ns(talk: Talk) -> int | None:
    if not talk.text:
        return talk.runs[0].frames[0][1] if talk.runs[0].frames else None
    said = [one.at_ns for one in talk.messages if one.role is Role.CUSTOMER and one.stored]
    return said[1] if len(said) > 1 else None


def _moved(world: World) -> Counter[str]:
    """Movements of money by kind."""
    rows = world.watch.rows("SELECT kind, key FROM transfers")
    moved = Counter(kind for kind, _ in rows)
    moved["rest"] = sum(key.endswith(":capture:rest") for _, key in rows)
    return moved


def sweep(call: Call, points: Iterable[Turn], *kill_before: int) -> Counter[str]:
    """Play the call once for each point; what was moved in all of the scenes together."""
    moved: Counter[str] = Counter()
    for turn in points:
        moved += Scene(call, *kill_before, turn.number).check().moved
    return moved
