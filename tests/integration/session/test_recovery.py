"""A node that died: settled by the next run, or by another node, exactly once."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import sqlalchemy as sa

from engine.clock import NS_PER_S, Clock
from engine.errors import Conflict, TalktimeError, Unavailable
from engine.metering.funds import Fund
from engine.metering.tariff import Tariff
from engine.session import checkpoint
from engine.session.abandoned import Found
from engine.session.journal import LostOwnership
from engine.store import tables as t
from tests.support.meter_rig import tariff
from tests.support.session_rig import Call, SessionRig, call

SECONDLY = Tariff(
    currency="TRY",
    price_minor=300_000,
    per_seconds=3_600,
    block_seconds=1,
    prepaid_seconds=0,
    grace_seconds=0,
)


class SkewedClock:
    """A clock whose wall time is off."""

    def __init__(self, clock: Clock, skew_ms: int) -> None:
        self._clock = clock
        self._skew_ms = skew_ms
        self.now_ns, self.call_at = clock.now_ns, clock.call_at

    def wall_ms(self) -> int:
        return self._clock.wall_ms() + self._skew_ms


async def test_C17_by_the_second_it_is_billed_to_the_last_checkpoint(sqlite_url: str) -> None:
    async with SessionRig(sqlite_url, checkpoint_every_s=2) as rig:
        one = await (await call(rig, SECONDLY, wallet=200_000)).talk()
        await rig.run(1_000.9)
        await rig.crash()
        row = await rig.row(one.id)
        assert 998 <= row.billed_seconds <= 1_000
        total = await rig.total(one.id)
        assert total == SECONDLY.prorata_minor(row.served_ns)
        assert await rig.available(one.customer) == 200_000 - total
        assert await rig.earned(one.expert) == total - total * 1_500 // 10_000
        await rig.audit()


@pytest.mark.parametrize("come_back", [False, True])
async def test_C17_no_service_is_noted_of_a_clock_whose_start_is_not_written(
    sqlite_url: str, come_back: bool
) -> None:
    """Checkpoints go through while the start of the clock waits for its next attempt."""
    async with SessionRig(sqlite_url, checkpoint_every_s=2) as rig:
        one = await (await call(rig, SECONDLY, wallet=200_000, mode="text")).talk()
        await one.say()

        async def unreachable(*_: object) -> list[object]:
            raise Unavailable("store_unavailable", "The store cannot be reached.")

        rig.service._conductor._journal.write = unreachable  # type: ignore[method-assign,assignment]
        await one.say()
        await rig.run(5)
        row = await rig.row(one.id)
        assert (row.metered_at_ms, row.served_ns) == (None, 0)
        await rig.crash(wait=not come_back)
        if come_back:
            for user in (one.customer, one.expert):
                await rig.service.join(user, f"{user}:2", one.id, 0)
            await rig.service.end(one.customer, one.id)
        row = await rig.row(one.id)
        assert (row.state, row.served_ns) == ("ended", 0)
        assert await rig.total(one.id) == 0
        await rig.audit()


async def test_C1_a_crash_within_the_first_minute_is_void(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    await rig.run(59)
    await rig.crash()
    row = await rig.row(one.id)
    assert (row.end_reason, row.ended_by, row.billed_seconds) == ("void", "system", 0)
    assert await rig.held(one.customer) == 90_000
    await rig.run(1)


async def test_Te_a_crashed_session_counts_as_the_first(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    await rig.run(30)
    await rig.crash()
    await one.talk()
    await rig.run(1)
    assert (await one.hangup()).total_minor == 90_000
    assert (await rig.row(one.id)).ordinal == 2


async def test_another_node_settles_what_a_dead_one_left(sqlite_url: str) -> None:
    dead = SessionRig(sqlite_url, node_id="node-1", checkpoint_every_s=2)
    await dead.service.start()
    one = await (await call(dead, tariff(60), wallet=90_000)).talk()
    await dead.run(100)
    dead.store.down = True  # it does not know that it is dead
    async with SessionRig(sqlite_url, node_id="node-2", beside=dead) as other:
        await other.run(9)
        assert (await other.row(one.id)).state == "in_progress"
        await other.run(3)
        row = await other.row(one.id)
        assert (row.state, row.owner, row.epoch) == ("in_progress", "node-2", 2)
        assert other.presence.refreshed == [one.expert]
        await other.run(31)
        assert (await other.row(one.id)).end_reason == "server_restart"
        total = await other.total(one.id)
        assert total == 10_000
        # Whatever the other still wants to write, it cannot.
        dead.store.down = False
        await dead.run(70)
        assert await other.total(one.id) == total
        assert dead.media.calls == {}
        assert dead.service.metrics()["lost_ownership"] == 1
        await other.audit()
    await dead.service.stop()
    await dead.store.close()


@pytest.mark.parametrize("skew_ms", [3_600_000, -3_600_000])
async def test_a_wall_clock_that_is_wrong_takes_nothing_from_anybody(
    sqlite_url: str, skew_ms: int
) -> None:
    """Neither for as long as its node lives, nor does it keep what is dead from being found."""
    async with (
        SessionRig(sqlite_url, node_id="node-1", checkpoint_every_s=2) as running,
        SessionRig(sqlite_url, node_id="node-2", checkpoint_every_s=2, beside=running) as other,
    ):
        one = await (await call(running, tariff(900))).talk()
        await running.run(20)
        # What node-1 writes looks an hour old, or an hour ahead, to node-2.
        looks = other.service._takeover._abandoned
        looks._clock = SkewedClock(running.clock, skew_ms)
        await running.run(40)
        assert (await running.row(one.id)).owner == "node-1"
        running.store.down = True
        await running.run(12)
        assert (await other.row(one.id)).owner == "node-2"
        running.store.down = False
        await running.run(60)
        assert (await other.row(one.id)).state == "ended"


async def test_when_the_store_was_away_nobody_takes_what_others_still_run(
    sqlite_url: str,
) -> None:
    async with (
        SessionRig(sqlite_url, node_id="node-1", checkpoint_every_s=2) as running,
        SessionRig(sqlite_url, node_id="node-2", checkpoint_every_s=3, beside=running) as other,
    ):
        one = await (await call(running, tariff(900))).talk()
        await running.run(20)
        for rig in (other, running):
            rig.store.down = True
        await running.run(60)
        for rig in (other, running):
            rig.store.down = False
        await running.run(30)
        summary = await one.hangup()
        assert (summary.reason, summary.total_minor) == ("completed", 90_000)


async def test_a_node_stops_serving_what_it_lost_at_its_next_checkpoint(sqlite_url: str) -> None:
    """Not merely when the block ends, a quarter of an hour later."""
    async with (
        SessionRig(sqlite_url, node_id="node-1", checkpoint_every_s=2) as lame,
        SessionRig(sqlite_url, node_id="node-2", checkpoint_every_s=2, beside=lame) as other,
    ):
        one = await (await call(lame, tariff(900))).talk()
        await lame.run(10)
        lame.store.down = True
        await lame.run(12)
        assert (await other.row(one.id)).owner == "node-2"
        lame.store.down = False
        assert one.id in lame.media.calls
        await lame.run(2)
        assert lame.media.calls == {}
        assert lame.service.metrics()["lost_ownership"] == 1
        assert lame.service.metrics().get("faults", 0) == 0
        await lame.run(31)


async def test_stale_writes_have_no_effect(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    rt = rig.service._registry.running(one.id)
    assert rt is not None
    async with rig.store.transaction() as tx:
        mine = t.sessions.c.id == one.id
        await tx.execute(sa.update(t.sessions).where(mine).values(epoch=7))
    with pytest.raises(LostOwnership):
        async with rig.store.transaction() as tx:
            await rig.service._conductor._journal._update_row(tx, rt)
    theirs = await rig.row(one.id)
    await rig.run(20)  # one checkpoint
    assert await rig.row(one.id) == theirs
    assert rig.media.calls == {}
    assert await rig.total(one.id) == 0
    async with rig.store.transaction() as tx:
        await tx.execute(sa.update(t.sessions).where(mine).values(checkpoint_at_ms=0))
    await rig.run(60)
    assert (await rig.row(one.id)).state == "ended"


async def test_what_waited_behind_the_loss_of_a_session_finds_it_elsewhere(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    async with rig.store.transaction() as tx:
        mine = t.sessions.c.id == one.id
        await tx.execute(sa.update(t.sessions).where(mine).values(epoch=7))
    rig.store.slow.clear()
    waiting = [
        asyncio.ensure_future(work)
        for work in (
            rig.service.set_direction(one.customer, one.id, "one_way"),
            rig.service.join(one.customer, "another device", one.id, 0),
            rig.service.track_update(one.expert, one.expert_device, one.id, True, False),
            rig.service.end(one.expert, one.id),
        )
    ]
    await asyncio.sleep(0)
    rig.store.slow.set()
    refused = await asyncio.gather(*waiting, return_exceptions=True)
    codes = [one.code for one in refused if isinstance(one, TalktimeError)]
    assert codes == ["session_ended", "wrong_state", "session_ended", "store_unavailable"]
    assert rig.service.metrics().get("faults", 0) == 0
    assert rig.media.calls == {}
    async with rig.store.transaction() as tx:
        await tx.execute(sa.update(t.sessions).where(mine).values(checkpoint_at_ms=0))
    await rig.run(60)
    assert (await rig.row(one.id)).state == "ended"


async def _chat(rig: SessionRig) -> Call:
    """A chat whose clock has just started; its first block is paid, the wallet has the next."""
    free = tariff(60, prepaid_seconds=60, grace_seconds=0)
    one = await (await call(rig, free, wallet=90_000, mode="text")).talk()
    for _ in range(2):
        await one.say()
    return one


async def test_a_crash_does_not_charge_for_the_time_after_a_loss_that_waited_for_the_store(
    rig: SessionRig,
) -> None:
    one = await _chat(rig)
    await rig.run(49)
    rig.store.slow.clear()
    rig.clock.advance(1)  # the next block is being set aside, and the store takes its time
    await asyncio.sleep(0.01)
    rig.clock.advance(2)
    await rig.service.device_gone(one.customer, one.customer_device)
    rig.clock.advance(5)
    rig.store.dead_after = rig.store.begun - 1
    rig.store.slow.set()
    await rig.settle()
    await rig.crash()
    row = await rig.row(one.id)
    assert (row.end_reason, row.served_ns) == ("server_restart", 52 * NS_PER_S)
    assert await rig.total(one.id) == 5_200


async def test_a_checkpoint_does_not_overtake_a_loss_that_waits_to_be_handled(
    rig: SessionRig,
) -> None:
    one = await _chat(rig)
    await rig.run(10)
    rt = rig.service._registry.running(one.id)
    assert rt is not None
    busy = asyncio.Event()

    async def takes_its_time() -> None:
        await busy.wait()

    rt.mailbox.post(takes_its_time, rig.clock.now_ns())
    await asyncio.sleep(0)
    rig.clock.advance(2)
    await rig.service.device_gone(one.customer, one.customer_device)
    rig.clock.advance(5)
    async with rig.store.transaction() as tx:
        await checkpoint.write(
            tx,
            [rt],
            node_id=rig.node_id,
            now_ns=rig.clock.now_ns(),
            now_ms=rig.clock.wall_ms(),
        )
    served_ns = (await rig.row(one.id)).served_ns
    busy.set()
    await rig.settle()
    assert served_ns == 12 * NS_PER_S
    assert (await one.hangup()).billed_seconds == 60


async def retariff(rig: SessionRig, one: Call, tariff: Any) -> Any:
    """Replace the tariff of the call's order, `{}` by one that nobody can read; the former one."""
    (before,) = await rig.rows(sa.select(t.orders.c.tariff).where(t.orders.c.id == one.order_id))
    async with rig.store.transaction() as tx:
        order = sa.update(t.orders).where(t.orders.c.id == one.order_id)
        await tx.execute(order.values(tariff=tariff))
    return before.tariff


async def test_a_session_that_cannot_be_settled_does_not_keep_the_others_from_it(
    rig: SessionRig,
) -> None:
    poison = await (await call(rig, tariff(60), wallet=90_000)).talk()
    sound = await (await call(rig, tariff(60), wallet=90_000)).talk()
    await rig.run(100)
    former = await retariff(rig, poison, {})
    await rig.crash()
    assert (await rig.row(sound.id)).state == "ended"
    row = await rig.row(poison.id)
    assert (row.state, row.epoch) == ("in_progress", 2)
    assert row.quarantined_at_ms is not None
    assert row.trouble.startswith("ValidationError")
    await rig.run(30)  # it is not tried again and again
    assert (await rig.row(poison.id)).epoch == 2
    assert rig.service.metrics()["sessions_quarantined"] == 1
    with pytest.raises(Conflict) as refused:
        await rig.service.retry(poison.id, by="staff")
    assert refused.value.code == "still_quarantined"
    await retariff(rig, poison, former)
    await rig.crash()
    row = await rig.row(poison.id)
    assert (row.state, row.quarantined_at_ms) == ("ended", None)
    assert await rig.total(poison.id) == 10_000
    assert rig.service.metrics()["sessions_quarantined"] == 0


async def test_a_late_verdict_takes_no_session_from_the_node_that_runs_it(sqlite_url: str) -> None:
    async with (
        SessionRig(sqlite_url, node_id="node-1", checkpoint_every_s=2) as running,
        SessionRig(sqlite_url, node_id="node-2", checkpoint_every_s=2, beside=running) as other,
    ):
        one = await (await call(running, tariff(900))).talk()
        seen = Found(one.id, True, (await running.row(one.id)).checkpoint_at_ms)
        await running.run(10)  # it was only slow
        parts = other.service._takeover
        await parts._quarantine(one.id, ValueError("odd"), parts._abandoned.unmoved([seen]))
        row = await running.row(one.id)
        assert (row.owner, row.epoch, row.quarantined_at_ms) == ("node-1", 1, None)
        await running.run(60)
        assert (await one.hangup()).total_minor == 90_000


async def test_a_node_that_goes_down_takes_nothing_over(sqlite_url: str) -> None:
    async with (
        SessionRig(sqlite_url, node_id="node-1", checkpoint_every_s=2) as dead,
        SessionRig(sqlite_url, node_id="node-2", checkpoint_every_s=2, beside=dead) as leaving,
    ):
        one = await (await call(dead, tariff(900))).talk()
        await dead.run(5)
        await leaving.service.drain(0)
        await dead.service.stop()
        await leaving.run(60)
        assert (await leaving.row(one.id)).owner == "node-1"


async def test_every_node_tells_of_what_waits_for_staff(rig: SessionRig) -> None:
    """The node that it was of may never come back."""
    one = await (await call(rig, tariff(900))).talk()
    former = await retariff(rig, one, {})
    await rig.crash(wait=False)
    assert (await rig.row(one.id)).quarantined_at_ms is not None
    async with SessionRig(rig.url, node_id="node-2", beside=rig) as other:
        assert other.service.metrics()["sessions_quarantined"] == 1
        await retariff(rig, one, former)
        await other.service.retry(one.id, by="staff")
    assert (await rig.row(one.id)).state == "ended"


async def test_an_order_waits_for_its_last_session_to_be_settled(sqlite_url: str) -> None:
    """Both would reckon with the same prepaid money. The other node does not run the first one."""
    async with (
        SessionRig(sqlite_url, node_id="node-1", checkpoint_every_s=2) as gone,
        SessionRig(sqlite_url, node_id="node-2", checkpoint_every_s=2, beside=gone) as other,
    ):
        one = await (await call(gone, tariff(60, prepaid_seconds=240))).talk()
        two = Call(other, one.customer, one.expert, one.order_id, "video")
        await gone.run(70)
        former = await retariff(gone, one, {})
        await gone.crash(wait=False)
        assert (await gone.row(one.id)).quarantined_at_ms is not None
        await retariff(gone, one, former)
        with pytest.raises(Conflict) as refused:
            await two.invite()
        assert refused.value.code == "order_unsettled"
        await gone.service.retry(one.id, by="staff")
        await two.talk()
        await other.run(10)
        await two.hangup()
        assert (await other.total(one.id), await other.total(two.id)) == (7_000, 6_000)
        await other.audit()


async def test_an_answer_waits_for_a_session_that_was_quarantined_since_the_invite(
    sqlite_url: str,
) -> None:
    async with (
        SessionRig(sqlite_url, node_id="node-1", checkpoint_every_s=2) as rig,
        SessionRig(sqlite_url, node_id="node-2", checkpoint_every_s=2, beside=rig) as other,
    ):
        one = await (await call(rig, tariff(60))).invite()
        two = Call(other, one.customer, one.expert, one.order_id, "video")
        await two.invite()
        await one.accept()
        async with rig.store.transaction() as tx:
            mine = sa.update(t.sessions).where(t.sessions.c.id == one.id)
            await tx.execute(mine.values(quarantined_at_ms=0, trouble="ValueError: odd"))
        with pytest.raises(Conflict) as refused:
            await two.accept()
        assert refused.value.code == "order_unsettled"


async def test_staff_have_a_quarantined_session_tried_again(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(60), wallet=90_000)).talk()
    await rig.run(100)
    former = await retariff(rig, one, {})
    await rig.crash()
    # It keeps no expert from working.
    customer = await rig.user("Another")
    other = Call(
        rig, customer, one.expert, await rig.order(customer, one.expert, tariff(60)), "video"
    )
    await other.talk()
    await other.hangup()
    await retariff(rig, one, former)
    await rig.service.retry(one.id, by="staff")
    assert (await rig.row(one.id)).end_reason == "server_restart"
    assert await rig.total(one.id) == 10_000
    assert rig.service.metrics()["sessions_quarantined"] == 0
    assert rig.out.of(one.customer, "wallet.updated")[-1]["held_minor"] == 78_000
    with pytest.raises(Conflict) as refused:
        await rig.service.retry(one.id, by="staff")
    assert refused.value.code == "not_quarantined"


async def test_a_defect_in_one_session_ends_that_session_only(rig: SessionRig) -> None:
    broken = await (await call(rig, tariff(60), wallet=90_000)).talk()
    sound = await (await call(rig, tariff(60), wallet=90_000)).talk()
    await rig.run(61)
    rt = rig.service._registry.running(broken.id)
    assert rt is not None
    assert rt.machine.meter is not None
    rt.machine.meter._funds.add(Fund("hold_that_is_none", 10_000))
    rt.machine.meter._funds._left = dict(reversed(rt.machine.meter._funds._left.items()))
    await rig.run(70)
    row = await rig.row(broken.id)
    assert (row.state, row.end_reason) == ("ended", "failed")
    assert rig.service.metrics()["faults"] == 1
    assert rig.service.in_live_session(sound.customer)
    assert (await sound.hangup()).blocks == 3


@pytest.mark.parametrize("after_commit", [False, True])
async def test_a_node_that_dies_at_any_transaction_is_settled_to_the_evidence(
    sqlite_url: str, after_commit: bool
) -> None:
    """Nothing reaches the store from the n-th transaction on; the next run puts all in order."""
    reached = ran_to_the_end = False
    at = 0
    while not ran_to_the_end:
        async with SessionRig(sqlite_url, checkpoint_every_s=7) as rig:
            one = await call(rig, SECONDLY, wallet=50_000)
            if after_commit:
                rig.store.dead_after = rig.store.begun + at
            else:
                rig.store.dead_from = rig.store.begun + at
            last = rig.store.begun + at
            with contextlib.suppress(Unavailable):
                await one.talk()
                await rig.run(40)
                await one.hangup()
            ran_to_the_end = rig.store.begun < last
            await rig.crash()
            rows = await rig.rows(
                sa.select(t.sessions).where(t.sessions.c.order_id == one.order_id)
            )
            for row in rows:
                reached = True
                total = await rig.total(row.id)
                assert row.state == "ended", at
                assert total == SECONDLY.prorata_minor(row.served_ns), at
                assert row.billed_seconds <= 40, at
                assert await rig.available(one.customer) == 50_000 - total, at
            assert await rig.held(one.customer) == 0, at
            await rig.audit()
        at += 1
    assert reached
    assert at > 12
