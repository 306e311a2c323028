"""One engine process of the simulation: real service, chat, ledger and store; it can be killed.

`kill -9` cancels nothing: the tasks of a dead process are left where they wait, and whatever they
might still reach (file, clients, media, timers) no longer knows this incarnation.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, MutableSet
from typing import TYPE_CHECKING, Any

from engine.chat.service import ChatService
from engine.clock import NS_PER_MS
from engine.errors import Unavailable
from engine.metering.ledger import Ledger
from engine.session.grants import StoreGrants
from engine.session.ports import SessionSettings
from engine.session.service import SessionService
from tests.simulation.disk import SimStore
from tests.simulation.loop import START_NS, Timer
from tests.simulation.naive import STANDSTILL
from tests.simulation.trace import Broken
from tests.support.fake_media import FakeMediaWorker
from tests.support.virtual_clock import START_WALL_MS

if TYPE_CHECKING:
    from tests.simulation.world import World

TIMERS_LATE_MS = (1, 30, 400, 1_500)


class OrderedSet(MutableSet[Any]):
    """Iterates in order of insertion: a set's order is another one in every process."""

    def __init__(self) -> None:
        self._members: dict[Any, None] = {}

    def __contains__(self, member: object) -> bool:
        return member in self._members

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def add(self, value: Any) -> None:
        self._members[value] = None

    def discard(self, value: Any) -> None:
        self._members.pop(value, None)


class NodeTasks(OrderedSet):
    """The engine's own tasks of a process, for which nobody waits."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node

    def add(self, value: asyncio.Task[Any]) -> None:
        super().add(value)
        self._node.world.look_after(self._node.name, value)


class NodeClock:
    """A process's own monotonic clock, a wall clock that may step, and timers that may be late."""

    def __init__(self, node: Node, offset_ns: int, late: random.Random | None) -> None:
        self._node = node
        self._loop = node.world.loop
        self._late = late
        self.offset_ns = offset_ns

    def now_ns(self) -> int:
        return self._loop.now_ns + self.offset_ns

    def wall_ms(self) -> int:
        since_ms = (self._loop.now_ns - START_NS) // NS_PER_MS
        return START_WALL_MS + since_ms + self._node.world.wall_step_ms(self._node.name)

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> Timer:
        late_ns = 0
        if self._late is not None and self._late.random() < 0.5:
            late_ns = self._late.choice(TIMERS_LATE_MS) * NS_PER_MS
        handle = Timer(callback)
        due_ns = max(self._loop.now_ns, at_ns - self.offset_ns) + late_ns
        self._loop.at(due_ns, lambda: self._node.when_awake(handle.run))
        return handle


class SessionClock(NodeClock):
    """The one that sessions read. Where it was not read for as long as a pause of media, and the
    process was frozen meanwhile, nobody was served.
    """

    def __init__(self, node: Node, offset_ns: int, late: random.Random | None) -> None:
        super().__init__(node, offset_ns, late)
        self._read_ns: int | None = None

    def start(self) -> None:
        self._read_ns = self._loop.now_ns

    def now_ns(self) -> int:
        loop_ns, read_ns = self._loop.now_ns, self._read_ns
        if read_ns is not None and self._node.alive:
            self._read_ns = loop_ns
            if loop_ns - read_ns >= STANDSTILL:
                self._stood_still(read_ns, loop_ns)
        return super().now_ns()

    def _stood_still(self, since_ns: int, until_ns: int) -> None:
        node = self._node
        if not any(since_ns < end_ns and at_ns <= until_ns for at_ns, end_ns in node.freezes):
            raise Broken("asleep", f"{node.name} ran from {since_ns} on and looked at no clock")
        node.standstills.append((since_ns, until_ns))


class Wire:
    """Implements `Outbound` and, for experts who are always here, `PresenceView`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def to_user(self, user_id: str, event: str, payload: dict[str, object]) -> None:
        if self._node.alive:
            self._node.world.trace(self._node.name, f"-> {user_id[-6:]} {event}")
            left_s = payload.get("seconds_left")
            if event == "message.created":
                message: Any = payload["message"]
                self._node.world.watch.told(message["id"], message["client_msg_id"])
            if event == "meter.low_balance" and isinstance(left_s, float):
                self._node.world.warn(user_id, left_s)

    async def to_device(self, device: str, event: str, payload: dict[str, object]) -> None:
        pass

    def is_online(self, user_id: str) -> bool:
        return True

    async def chosen_status(self, expert_id: str) -> str:
        return "available"

    async def refresh(self, expert_id: str) -> None:
        pass


class Node:
    """`number` counts incarnations of all nodes."""

    def __init__(self, world: World, name: str, number: int) -> None:
        self.world = world
        self.name = name
        self.number = number
        self.alive = True
        self.serving = False
        self.died_ns: int | None = None
        dice = world.dice(f"node {number}")
        late = world.dice(f"timers {number}") if world.plan.has("late_timers") else None
        self.clock = NodeClock(self, dice.randrange(10**15), late)
        self.session_clock = SessionClock(self, self.clock.offset_ns, late)
        self.standstills: list[tuple[int, int]] = []
        self.freezes: list[tuple[int, int]] = []
        self.link = world.link(f"{name}#{number}")
        self.link.die = self.kill
        self.store = SimStore(world.path, self.clock, self.link)
        self.media = FakeMediaWorker()
        self.service = SessionService(
            store=self.store,
            ledger=Ledger(self.clock),
            media=self.media,
            clock=self.session_clock,
            grants=StoreGrants(),
            node_id=name,
            settings=SessionSettings(
                invites_per_s=100.0,
                checkpoint_every_s=world.plan.checkpoint_every_s,
                stale_after_s=world.plan.stale_after_s,
                resume_within_s=world.plan.resume_within_s,
            ),
        )
        self.service._registry._of_user = defaultdict(OrderedSet)  # type: ignore[arg-type]
        self.service._conductor.tasks = NodeTasks(self)  # type: ignore[assignment]
        self.chat = ChatService(self.store, self.clock, self.service)
        wire = Wire(self)
        self.service.connect(wire, wire)
        self.chat.connect(wire)
        self.tasks: list[asyncio.Task[Any]] = []

    def loop_ns(self, monotonic_ns: int) -> int:
        """An instant of this process's clock as the simulation counts."""
        return monotonic_ns - self.clock.offset_ns

    async def start(self) -> bool:
        """False if the store would not let it: then the process ends."""
        self.world.trace(self.name, f"starts as #{self.number}")
        self.session_clock.start()
        try:
            await self.service.start()
        except Unavailable:
            self.kill()
            return False
        self.serving = self.alive
        return self.alive

    async def drain(self, grace_s: float) -> None:
        """SIGTERM."""
        self.serving = False
        self.world.drained(self)
        await self.service.drain(grace_s)
        await self.service.stop()
        self.kill()

    def kill(self) -> None:
        if not self.alive:
            return
        self.world.trace(self.name, f"dies as #{self.number}")
        self.alive = self.serving = False
        self.died_ns = self.world.loop.now_ns
        self.link.kill()

    def freeze(self, seconds: float) -> None:
        """The process stands still (SIGSTOP, a long swap-in) and knows nothing of it."""
        self.world.trace(self.name, f"freezes for {seconds:.1f} s")
        self.link.troubled(round((seconds + 15) * 1e9))
        self.link.thawed.clear()
        now_ns = self.world.loop.now_ns
        until_ns = now_ns + round(seconds * 1e9)
        self.freezes.append((now_ns, until_ns))
        self.world.loop.at(until_ns, self.link.thawed.set)

    @property
    def frozen(self) -> bool:
        return not self.link.thawed.is_set()

    def when_awake(self, callback: Callable[[], None]) -> None:
        """Run it now, once this process runs again, or never."""
        if not self.alive:
            return
        if self.frozen:
            self.spawn(self._thaw(callback))
            return
        callback()

    async def _thaw(self, callback: Callable[[], None]) -> None:
        await self.link.thawed.wait()
        if self.alive:
            callback()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of this process; it is never cancelled."""
        task = self.world.task(self.name, work)
        self.tasks = [one for one in self.tasks if not one.done()] + [task]
        return task
