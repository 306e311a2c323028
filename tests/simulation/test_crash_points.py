"""One call, killed at every await: of holding, capturing, settling, giving back and recovering.

The call is played once to list the points at which its engine can be killed, and then again for
each of them. What a process leaves behind changes only with its next step to the store (a
connection, a statement, a commit): the first turn of the loop after such a step stands for all
the awaits up to the next one. Afterwards every invariant is checked as at the end of any simulated
day.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

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
    customers=1,
    experts=1,
    couples=1,
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
SHARES = 4
"""The sweeps are cut into so many tests, for several processes to run."""

pytestmark = pytest.mark.timeout(600)  # a timeout within a scene would look like a broken one


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

    async def _come_back(self, talk: Talk, run: Run) -> Run | None:
        return await super()._come_back(talk, run) if self.comes_back else None


class Turn(NamedTuple):
    """Which one, of which incarnation, and how long after the clock started (0 before)."""

    number: int
    incarnation: int
    after_ns: int


class Scene:
    """`kill_at`: the turns of the loop before which the process of that moment dies."""

    def __init__(self, *kill_at: int, comes_back: bool = False) -> None:
        self._kill_at = kill_at
        self._comes_back = comes_back
        self.loop = TurningLoop()
        self.points: list[Turn] = []
        """The first turn after each step to the store, until the session has ended."""
        self._steps = 0

    def play(self) -> Result:
        return run_plan(PLAN, self.loop, self._live)

    async def _live(self, world: World, auditor: Auditor) -> None:
        await world.open_office()
        customer, expert = await world.user("Customer"), await world.user("Expert")
        order = await self._order(world, customer, expert)
        await world.topup(customer, 5_000)
        await world.launch("node-0")
        self.loop.before_turn = lambda turn: self._before(world, turn)
        couple = OneCall(world, 0, customer, [expert])
        couple.dice, couple.comes_back = Even(1), self._comes_back
        await couple._call(world.nodes["node-0"], order)
        await last_look(world, auditor)

    async def _order(self, world: World, customer: str, expert: str) -> Order:
        policy = Policy(commission_bps=1_500)
        order = Order("ord_0", customer, expert, "video", TARIFF, policy)
        await world.topup(customer, TARIFF.prepay_minor())
        await world.until_done(lambda tx: world._create(tx, order))
        assert await world.until_done(lambda tx: world._pay(tx, order))
        return order

    def _before(self, world: World, turn: int) -> None:
        node = world.nodes["node-0"]
        if turn in self._kill_at:
            node.kill()
            self.loop.at(self.loop.now_ns + NS_PER_S, lambda: _restart(world))
        elif node.alive and node.link.steps != self._steps and not world.watch.ended:
            self._steps = node.link.steps
            started = [talk.runs[0].frames[0][1] for talk in _metered(world)]
            after_ns = self.loop.now_ns - started[0] if started else 0
            self.points.append(Turn(turn, node.number, after_ns))


def _metered(world: World) -> list[Talk]:
    return [talk for talk in world.talks.values() if talk.runs[0].frames]


def _restart(world: World) -> None:
    world.errand(world.launch("node-0"))


def _check(scene: Scene) -> None:
    result = scene.play()
    assert result.broken is None, "\n".join(
        [*result.story, str(result.broken), str(scene._kill_at)]
    )


def test_the_call_itself_holds_captures_and_settles() -> None:
    scene = Scene()
    _check(scene)
    assert len(scene.points) > 100
    assert {turn.incarnation for turn in scene.points} == {0}


@pytest.mark.parametrize("comes_back", [False, True])
@pytest.mark.parametrize("share", range(SHARES))
def test_a_call_killed_at_any_await(share: int, comes_back: bool) -> None:
    clean = Scene()
    clean.play()
    for turn in clean.points[share::SHARES]:
        _check(Scene(turn.number, comes_back=comes_back))


@pytest.mark.parametrize("share", range(SHARES))
def test_a_recovery_killed_at_any_await(share: int) -> None:
    """The first crash is in the second block, a part of which is given back."""
    clean = Scene()
    clean.play()
    crash = next(turn.number for turn in clean.points if turn.after_ns > 13 * NS_PER_S)
    first = Scene(crash)
    _check(first)
    recovering = [turn.number for turn in first.points if turn.incarnation == 1]
    assert len(recovering) > 50
    for turn in recovering[share::SHARES]:
        _check(Scene(crash, turn))
