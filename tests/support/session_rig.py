"""A node without sockets and media: the real service, ledger and store on a virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from engine.audit import audit
from engine.chat.service import ChatService
from engine.clock import NS_PER_S
from engine.errors import Unavailable
from engine.ids import new_id
from engine.media.interface import Role
from engine.metering.ledger import AccountKind, Ledger
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from engine.session.grants import StoreGrants
from engine.session.ports import SessionSettings
from engine.session.service import SessionService
from engine.signaling import messages as wire
from engine.store import tables as t
from engine.store.database import Store, Tx
from tests.support import paid_topup
from tests.support.fake_media import FakeMediaWorker
from tests.support.virtual_clock import VirtualClock

CURRENCY = "TRY"


class RigClock(VirtualClock):
    """A clock that can be asked when something is due."""

    def due_ns(self) -> int | None:
        return min((at for at, _, timer in self._timers if not timer.cancelled), default=None)


async def turns() -> None:
    """Let other tasks run, without any time passing."""
    for _ in range(50):
        await asyncio.sleep(0)


class FaultyStore(Store):
    """A store that can be out of reach, before a transaction or (worse) right after its commit."""

    down = False
    begun = 0
    """Transactions so far."""
    fail_before = fail_after = -1
    """The transaction, counted from 0, that fails before it begins or right after its commit."""
    dead_from = dead_after = sys.maxsize
    """The node dies before this transaction, or right after the commit of this one."""

    def __init__(self, url: str, clock: VirtualClock) -> None:
        super().__init__(url, clock)
        self.slow = asyncio.Event()
        """Cleared: transactions wait."""
        self.slow.set()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        number = self.begun
        self.begun += 1
        await self.slow.wait()
        dead = number >= self.dead_from or number > self.dead_after
        if self.down or dead or number == self.fail_before:
            raise Unavailable("store_unavailable", "down")
        async with super().transaction() as tx:
            yield tx
        if number in {self.fail_after, self.dead_after}:
            raise Unavailable("store_unavailable", "committed, but nobody heard of it")

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[Tx]:
        if self.down:
            raise Unavailable("store_unavailable", "down")
        async with super().reading() as tx:
            yield tx


class Recorder:
    """Implements `Outbound`: what users and devices were sent."""

    def __init__(self) -> None:
        self.users: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        self.devices: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)

    async def to_user(self, user_id: str, event: str, payload: dict[str, object]) -> None:
        self.users[user_id].append((event, payload))

    async def to_device(self, device: str, event: str, payload: dict[str, object]) -> None:
        self.devices[device].append((event, payload))

    def of(self, user_id: str, event: str) -> list[dict[str, Any]]:
        return [payload for name, payload in self.users[user_id] if name == event]

    def device(self, device: str, event: str) -> list[dict[str, Any]]:
        return [payload for name, payload in self.devices[device] if name == event]


class Presence:
    """Implements `PresenceView`: experts are here and available unless a test says otherwise."""

    def __init__(self) -> None:
        self.offline: set[str] = set()
        self.chosen: dict[str, str] = {}
        self.refreshed: list[str] = []

    def is_online(self, user_id: str) -> bool:
        return user_id not in self.offline

    async def chosen_status(self, expert_id: str) -> str:
        return self.chosen.get(expert_id, "available")

    async def refresh(self, expert_id: str) -> None:
        self.refreshed.append(expert_id)


class FakeRecordings:
    """A recorder that notes what it is asked for; `refuse` makes it fail; with `goes_on` cleared
    its start hangs.
    """

    def __init__(self) -> None:
        self.enabled = True
        self.refuse = False
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.log: list[tuple[str, str]] = []
        self.cuts: list[str] = []
        self.on_end: dict[str, Callable[[str], None]] = {}

    async def start(self, session_id: str, on_end: Callable[[str], None]) -> None:
        self.log.append(("start", session_id))
        await self.goes_on.wait()
        if self.refuse:
            raise Unavailable("recording_unavailable", "The disk is full.")
        self.on_end[session_id] = on_end

    def cut(self, session_id: str) -> None:
        self.cuts.append(session_id)

    async def stop(self, session_id: str) -> None:
        self.log.append(("stop", session_id))


class SessionRig:
    """`await rig.run(seconds)` passes time; calls that flow are acknowledged once a second."""

    def __init__(
        self,
        url: str,
        *,
        node_id: str = "node-1",
        beside: SessionRig | None = None,
        **settings: Any,
    ) -> None:
        """`beside`: another node, whose clock this one shares."""
        self.url = url
        self.node_id = node_id
        self.settings = SessionSettings(**({"invites_per_s": 100.0} | settings))
        self.clock = RigClock() if beside is None else beside.clock
        self._nodes = [self] if beside is None else beside._nodes
        if beside is not None:
            self._nodes.append(self)
        self.presence = Presence()
        self.out = Recorder()
        self.flowing: set[str] = set()
        self._open()

    def _open(self) -> None:
        self.store = FaultyStore(self.url, self.clock)
        self.ledger = Ledger(self.clock)
        self.media = FakeMediaWorker()
        self.recordings = FakeRecordings()
        self.service = SessionService(
            store=self.store,
            ledger=self.ledger,
            media=self.media,
            clock=self.clock,
            grants=StoreGrants(),
            node_id=self.node_id,
            settings=self.settings,
            recordings=self.recordings,
        )
        self.service.connect(self.out, self.presence)
        self.chat = ChatService(self.store, self.clock, self.service)
        self.chat.connect(self.out)

    async def __aenter__(self) -> SessionRig:
        await self.service.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.service.stop()
        await self.store.close()

    async def crash(self, *, wait: bool = True) -> None:
        """The process dies without a word, and a new one starts.

        `wait`: until nobody came back within the reconnect window.
        """
        self.flowing.clear()
        await self.service.stop()
        await self.store.close()
        self.clock._timers.clear()
        self.out = Recorder()
        self._open()
        await self.service.start()
        await self.settle()
        while wait and self.service.live_sessions():
            await self.run(31)

    # Time -----------------------------------------------------------------------------------------

    async def settle(self) -> None:
        for node in self._nodes:
            await node.service.settled()

    async def run(self, seconds: float) -> None:
        """Pass time: every timer at its instant, every flowing call acknowledged each second."""
        end_ns = self.clock.now_ns() + round(seconds * NS_PER_S)
        await self.settle()
        while True:
            due_ns = self.clock.due_ns()
            beat_ns = (self.clock.now_ns() // NS_PER_S + 1) * NS_PER_S if self.flowing else None
            next_ns = min((at for at in (due_ns, beat_ns) if at is not None), default=end_ns)
            if next_ns > end_ns:
                break
            self._pass_until(next_ns)
            if next_ns == beat_ns:
                self._acknowledge()
            await self.settle()
        self._pass_until(end_ns)
        await self.settle()

    def _pass_until(self, at_ns: int) -> None:
        self.clock.advance(max(0, at_ns - self.clock.now_ns()) / NS_PER_S)

    def _acknowledge(self) -> None:
        now_ns = self.clock.now_ns()
        for session_id in list(self.flowing):
            call = self.media.calls.get(session_id)
            if call is None:
                self.flowing.discard(session_id)
            elif call.cutoff_ns is None or now_ns < call.cutoff_ns:
                self.media.deliver(session_id, now_ns)

    # People and orders ----------------------------------------------------------------------------

    async def user(self, name: str) -> str:
        user_id = new_id("usr")
        async with self.store.transaction() as tx:
            await tx.execute(
                sa.insert(t.users).values(
                    id=user_id,
                    email=f"{user_id}@example.com",
                    display_name=name,
                    password_hash="-",
                    roles=["member"],
                    created_at_ms=0,
                )
            )
        return user_id

    async def topup(self, user_id: str, amount: int, *, tell: bool = True) -> None:
        async with self.store.transaction() as tx:
            await paid_topup.topup(
                tx,
                self.ledger,
                key=new_id("top"),
                user_id=user_id,
                currency=CURRENCY,
                amount_minor=amount,
            )
        if tell:
            await self.service.wallet_changed(user_id, CURRENCY)
            await self.settle()

    async def order(
        self,
        customer: str,
        expert: str,
        tariff: Tariff,
        *,
        mode: str = "video",
        policy: Policy | None = None,
        state: str = "open",
    ) -> str:
        """A paid order: its prepayment is topped up and put on hold, unless it is over."""
        order_id = new_id("ord")
        policy = policy or Policy(commission_bps=1_500)
        async with self.store.transaction() as tx:
            await tx.execute(
                sa.insert(t.orders).values(
                    id=order_id,
                    number=order_id[-20:],
                    customer_id=customer,
                    expert_id=expert,
                    title="Advice",
                    fulfilment="live",
                    mode=mode,
                    tariff=msgspec.to_builtins(tariff),
                    policy=msgspec.to_builtins(policy),
                    currency=CURRENCY,
                    prepay_minor=tariff.prepay_minor(),
                    state=state,
                    created_at_ms=0,
                    updated_at_ms=0,
                )
            )
            await tx.execute(
                sa.insert(t.conversations).values(
                    id=new_id("con"), kind="order", order_id=order_id, created_at_ms=0
                )
            )
        if tariff.prepay_minor() and state == "open":
            await self.topup(customer, tariff.prepay_minor(), tell=False)
            async with self.store.transaction() as tx:
                await self.ledger.hold(
                    tx,
                    key=f"order:{order_id}:prepay",
                    user_id=customer,
                    currency=CURRENCY,
                    amount_minor=tariff.prepay_minor(),
                    order_id=order_id,
                )
        return order_id

    # Looking --------------------------------------------------------------------------------------

    async def rows(self, query: sa.Select[Any]) -> list[Any]:
        async with self.store.reading() as tx:
            return list(await tx.execute(query))

    async def row(self, session_id: str) -> Any:
        (row,) = await self.rows(sa.select(t.sessions).where(t.sessions.c.id == session_id))
        return row

    async def available(self, user_id: str) -> int:
        async with self.store.reading() as tx:
            return (await self.ledger.wallet(tx, user_id, CURRENCY)).available_minor

    async def held(self, user_id: str) -> int:
        async with self.store.reading() as tx:
            return (await self.ledger.wallet(tx, user_id, CURRENCY)).held_minor

    async def earned(self, user_id: str) -> int:
        async with self.store.reading() as tx:
            return await self.ledger.balance(tx, AccountKind.EARNINGS, user_id, CURRENCY)

    async def total(self, session_id: str) -> int:
        async with self.store.reading() as tx:
            total = await self.ledger.session_total(tx, session_id)
        return total.captured_minor - total.reversed_minor

    async def evidence(self, session_id: str) -> list[str]:
        events = t.session_events
        query = sa.select(events.c.type).where(events.c.session_id == session_id)
        return [row.type for row in await self.rows(query.order_by(events.c.seq))]

    async def audit(self) -> None:
        """C36 and its neighbours: sums are zero, no hold is left open by an ended session, every
        wallet is covered, and memory holds nothing that is over."""
        await self.settle()
        (sum_row,) = await self.rows(
            sa.select(sa.func.coalesce(sa.func.sum(t.entries.c.amount_minor), 0))
        )
        assert sum_row[0] == 0
        per_transfer = (
            sa.select(t.entries.c.transfer_id)
            .group_by(t.entries.c.transfer_id)
            .having(sa.func.sum(t.entries.c.amount_minor) != 0)
        )
        assert await self.rows(per_transfer) == []
        leaked = (
            sa.select(t.holds.c.key)
            .join(t.sessions, t.sessions.c.id == t.holds.c.session_id)
            .where(t.sessions.c.state == "ended", t.holds.c.state == "granted")
        )
        assert await self.rows(leaked) == []
        running = {one.session_id for one in self.service.live_sessions()}
        unended = sa.select(t.sessions.c.id).where(t.sessions.c.state != "ended")
        assert {row.id for row in await self.rows(unended)} == running
        assert set(self.media.calls) <= running
        report = await audit(self.store)
        assert report.ok, [check for check in report.checks if check.count]
        assert not self.service._conductor.tasks


class Call:
    """One call of a customer to an expert, driven like two clients would."""

    def __init__(self, rig: SessionRig, customer: str, expert: str, order_id: str, mode: str):
        self.rig = rig
        self.customer = customer
        self.expert = expert
        self.order_id = order_id
        self.mode = mode
        self.id = ""
        self.customer_device = f"{customer}:1"
        self.expert_device = f"{expert}:1"

    async def invite(self, direction: wire.Direction = "two_way") -> Call:
        mode: Any = self.mode
        msg = wire.CallInvite(self.order_id, mode, direction)
        service = self.rig.service
        self.id, _, _ = await service.invite(self.customer, self.customer_device, msg)
        await service.join(self.customer, self.customer_device, self.id, 0)
        await self.rig.settle()
        return self

    async def accept(self) -> Call:
        service = self.rig.service
        await service.join(self.expert, self.expert_device, self.id, 0)
        await service.accept(self.expert, self.expert_device, self.id)
        await self.rig.settle()
        return self

    async def begin(self, *, audio: bool = True, video: bool = True) -> Call:
        service = self.rig.service
        video = video and self.mode == "video"
        await service.track_update(self.expert, self.expert_device, self.id, audio, video)
        await service.begin(self.expert, self.id)
        await self.rig.settle()
        return self

    async def flow(self) -> Call:
        """The expert's first frame is acknowledged now, and so are those that follow."""
        self.rig.media.first_frame(self.id, self.rig.clock.now_ns())
        self.rig.flowing.add(self.id)
        await self.rig.settle()
        return self

    async def talk(self) -> Call:
        """From the invite to the first frame."""
        await self.invite()
        await self.accept()
        if self.mode != "text":
            await self.begin()
            await self.flow()
        return self

    async def say(self, role: Role = Role.CUSTOMER) -> None:
        """A chat message."""
        user = self.customer if role is Role.CUSTOMER else self.expert
        said = wire.MessageSend(session_id=self.id, client_msg_id=new_id("msg"), body="A word.")
        await self.rig.chat.send(user, said)
        await self.rig.settle()

    async def hangup(self, role: Role = Role.CUSTOMER) -> wire.SessionSummary:
        user = self.customer if role is Role.CUSTOMER else self.expert
        summary = await self.rig.service.end(user, self.id)
        await self.rig.settle()
        return summary


async def call(
    rig: SessionRig,
    tariff: Tariff,
    *,
    mode: str = "video",
    wallet: int = 0,
    policy: Policy | None = None,
) -> Call:
    """A customer with a paid order and this much beside it, and the expert."""
    customer, expert = await rig.user("Customer"), await rig.user("Expert")
    order_id = await rig.order(customer, expert, tariff, mode=mode, policy=policy)
    if wallet:
        await rig.topup(customer, wallet, tell=False)
    return Call(rig, customer, expert, order_id, mode)
