"""Customers, experts, a store and a node that do what they like: one seed is one run.

After every step the books must balance; after the last, with all faults gone, every session must
come to an end and cost what its served time costs. A failing seed is in the test's name.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable

import pytest
import sqlalchemy as sa

from engine.errors import TalktimeError
from engine.media.interface import Role
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from engine.store import tables as t
from tests.support.session_rig import CURRENCY, Call, SessionRig

TARIFFS = [
    Tariff(
        currency=CURRENCY,
        price_minor=price,
        per_seconds=per_s,
        block_seconds=block_s,
        prepaid_seconds=prepaid_s,
        grace_seconds=grace_s,
    )
    for price, per_s, block_s, prepaid_s, grace_s in [
        (300_000, 3_600, 1, 0, 0),
        (6_000, 60, 60, 60, 60),
        (4_500, 45, 45, 45, 20),
        (7, 3, 1, 30, 10),
    ]
]


class World:
    """Two customers with two orders each, three experts, and a dice."""

    def __init__(self, rig: SessionRig, seed: int) -> None:
        self.rig = rig
        self.dice = random.Random(seed)
        self.calls: list[Call] = []
        self.users: list[str] = []
        self.tariff: dict[str, Tariff] = {}

    async def settle_in(self) -> None:
        rig, policy = self.rig, Policy(commission_bps=1_234, customer_live_sessions=3)
        experts = [await rig.user(f"Expert {n}") for n in range(3)]
        for number in range(2):
            customer = await rig.user(f"Customer {number}")
            self.users.append(customer)
            await self._topup(customer, self.dice.randrange(20_000))
            for expert in self.dice.sample(experts, 2):
                tariff = self.dice.choice(TARIFFS)
                mode = self.dice.choice(["video", "audio", "text"])
                order = await rig.order(customer, expert, tariff, mode=mode, policy=policy)
                self.tariff[order] = tariff
                self.calls.append(Call(rig, customer, expert, order, mode))

    async def _topup(self, customer: str, amount: int) -> None:
        if amount:
            await self.rig.topup(customer, amount)

    async def step(self) -> None:
        one = self.dice.choice(self.calls)
        actions: list[tuple[float, Callable[[Call], Awaitable[object]]]] = [
            (12, self.go_on),
            (2, self.out_of_turn),
            (4, self.frames),
            (1, lambda each: each.hangup(self.dice.choice(list(Role)))),
            (3, lambda each: each.say(self.dice.choice(list(Role)))),
            (1, self.lose_socket),
            (2, self.come_back),
            (2, self.money),
            (2, self.store_fails),
            (0.3, lambda _: self.rig.crash()),
            (0.3, lambda each: self.rig.service.terminate(each.id, by="staff")),
            (8, self.time),
        ]
        weights = [weight for weight, _ in actions]
        (action,) = self.dice.choices([act for _, act in actions], weights)
        with contextlib.suppress(TalktimeError):
            await action(one)

    async def go_on(self, one: Call) -> None:
        """What comes next in an ordinary session."""
        live = {view.session_id: view for view in self.rig.service.live_sessions()}.get(one.id)
        if live is None:
            await one.invite("one_way" if self.dice.random() < 0.2 else "two_way")
        elif live.state == "ringing":
            await one.accept()
        elif live.state == "connecting":
            await one.begin()
        elif one.mode == "text":
            await one.say()
        elif one.id not in self.rig.flowing:
            await one.flow()
        else:
            await self.time(one)

    async def out_of_turn(self, one: Call) -> None:
        """What may or may not be possible now."""
        service = self.rig.service
        commands: list[Callable[[], Awaitable[object]]] = [
            one.invite,
            one.accept,
            one.begin,
            lambda: service.decline(one.expert, one.expert_device, one.id),
            lambda: service.cancel(one.customer, one.customer_device, one.id),
            lambda: service.set_direction(one.customer, one.id, "one_way"),
            lambda: service.accept(one.expert, "another", one.id),
            lambda: service.begin(one.customer, one.id),
        ]
        await self.dice.choice(commands)()

    async def frames(self, one: Call) -> None:
        """Frames stop coming through, or come again."""
        call = self.rig.media.calls.get(one.id)
        if call is None or not call.gate_open:
            return
        if one.id in self.rig.flowing:
            self.rig.flowing.discard(one.id)
        else:
            await one.flow()

    async def lose_socket(self, one: Call) -> None:
        user, device = self.dice.choice(
            [(one.customer, one.customer_device), (one.expert, one.expert_device)]
        )
        await self.rig.service.device_gone(user, device)

    async def come_back(self, one: Call) -> None:
        await self.rig.service.join(one.customer, one.customer_device, one.id, 0)
        await self.rig.service.join(one.expert, one.expert_device, one.id, 0)

    async def money(self, one: Call) -> None:
        if not self.rig.store.down:
            await self._topup(one.customer, self.dice.randrange(1, 8_000))

    async def store_fails(self, _: Call) -> None:
        store = self.rig.store
        match self.dice.randrange(4):
            case 0:
                store.down = True
            case 1:
                store.fail_after = store.begun + self.dice.randrange(4)
            case _:
                store.down = False
        if store.down and self.dice.random() < 0.7:
            await self.rig.run(self.dice.random() * 20)
            store.down = False

    async def time(self, _: Call) -> None:
        await self.rig.run(self.dice.choice([0.001, 0.3, 1, 4, 15, 30, 70]))

    # Looking --------------------------------------------------------------------------------------

    async def check_books(self) -> None:
        rig = self.rig
        if rig.store.down:
            return
        kinds = sa.select(t.accounts.c.kind, sa.func.sum(t.entries.c.amount_minor))
        kinds = kinds.join(t.entries, t.entries.c.account_id == t.accounts.c.id)
        sums = {row[0]: row[1] for row in await rig.rows(kinds.group_by(t.accounts.c.kind))}
        assert sum(sums.values()) == 0
        topups = sa.func.coalesce(sa.func.sum(t.transfers.c.amount_minor), 0)
        came = await rig.rows(sa.select(topups).where(t.transfers.c.kind == "topup"))
        assert sums.get("psp", 0) == -came[0][0]
        held = sa.func.coalesce(sa.func.sum(t.accounts.c.held_minor), 0)
        left = t.holds.c.amount_minor - t.holds.c.captured_minor - t.holds.c.released_minor
        open_holds = sa.func.coalesce(sa.func.sum(left), 0)
        granted = sa.select(open_holds).where(t.holds.c.state == "granted")
        assert (await rig.rows(sa.select(held)))[0][0] == (await rig.rows(granted))[0][0]

    async def check_sessions(self) -> None:
        """Every session is over and cost what its time costs."""
        rows = await self.rig.rows(sa.select(t.sessions))
        assert rows
        for row in rows:
            tariff, total = self.tariff[row.order_id], await self.rig.total(row.id)
            whole = tariff.due_minor(tariff.blocks(row.served_ns))
            exact = tariff.prorata_minor(row.served_ns)
            fault = row.end_reason in {"server_restart", "failed"}
            assert row.state == "ended"
            if row.ordinal is None or row.end_reason == "void":
                assert total == 0, row
            else:
                assert total == (exact if fault else whole), row
        ordinals = sa.select(t.sessions.c.order_id, t.sessions.c.ordinal)
        counted = await self.rig.rows(ordinals.where(t.sessions.c.ordinal.is_not(None)))
        assert len(set(counted)) == len(counted)


@pytest.mark.parametrize("seed", range(12))
async def test_seed(sqlite_url: str, seed: int) -> None:
    async with SessionRig(sqlite_url, checkpoint_every_s=5) as rig:
        world = World(rig, seed)
        await world.settle_in()
        for _ in range(60):
            await world.step()
            await world.check_books()
        rig.store.down = False
        rig.store.fail_after = -1
        rig.flowing.clear()
        await rig.run(700)
        await world.check_books()
        await rig.audit()
        await world.check_sessions()
        assert rig.service.metrics().get("faults", 0) == 0
