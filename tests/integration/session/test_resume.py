"""After a crash both parties come back and the session goes on: the same session, charged once, and
the time without an engine is nobody's debt.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from engine.errors import Unavailable
from engine.media.interface import Role
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
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


@pytest.fixture
async def rig(sqlite_url: str) -> AsyncIterator[SessionRig]:
    async with SessionRig(sqlite_url, checkpoint_every_s=2) as rig:
        yield rig
        await rig.audit()


async def come_back(rig: SessionRig, one: Call, *, last_seq: int = 0) -> None:
    """Both pages have reconnected: new sockets, new legs, and media that flow."""
    one.customer_device, one.expert_device = f"{one.customer}:2", f"{one.expert}:2"
    await rig.service.join(one.customer, one.customer_device, one.id, last_seq)
    await rig.service.join(one.expert, one.expert_device, one.id, last_seq)
    await rig.settle()
    if one.mode != "text":
        await rig.service.track_update(one.expert, one.expert_device, one.id, True, True)
        await one.flow()


async def test_a_call_goes_on_after_a_crash(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(60), wallet=90_000)).talk()
    await rig.run(100)
    before = await rig.row(one.id)
    await rig.crash(wait=False)
    await rig.run(20)
    snapshot, _ = await rig.service.join(one.customer, "again", one.id, 0)
    assert (snapshot.state, snapshot.meter.state) == ("in_progress", "paused")
    assert snapshot.meter.elapsed_ms == pytest.approx(100_000, abs=2_000)
    assert not snapshot.expert.audio
    assert not snapshot.expert.video
    await come_back(rig, one)
    assert rig.media.calls[one.id].gate_open
    await rig.run(50)
    summary = await one.hangup()
    row = await rig.row(one.id)
    # 98 to 100 s before, 50 s after, and nothing for the 20 s without an engine.
    assert 148 <= row.served_ns / 1e9 <= 150
    assert (summary.reason, summary.blocks, summary.total_minor) == ("completed", 3, 18_000)
    assert (row.id, row.ordinal, row.metered_at_ms) == (one.id, 1, before.metered_at_ms)
    assert row.epoch == 2
    assert await rig.total(one.id) == 18_000
    assert await rig.available(one.customer) == 90_000
    assert await rig.held(one.customer) == 90_000 - 18_000
    kinds = await rig.evidence(one.id)
    assert kinds.count("session.suspended") == 1
    assert kinds.count("meter.started") == 1
    assert kinds.index("session.suspended") < kinds.index("meter.resumed")


async def test_by_the_second_a_resumed_session_costs_what_was_served(rig: SessionRig) -> None:
    one = await (await call(rig, SECONDLY, wallet=200_000)).talk()
    await rig.run(333.4)
    await rig.crash(wait=False)
    served_ns = (await rig.row(one.id)).served_ns
    await rig.run(7.7)
    await come_back(rig, one)
    await rig.run(100)
    await one.hangup()
    row = await rig.row(one.id)
    assert row.served_ns - served_ns == pytest.approx(100e9, abs=1e9)
    assert row.billed_seconds == -(-row.served_ns // 10**9)
    assert await rig.total(one.id) == SECONDLY.due_minor(row.billed_seconds)


async def test_crash_after_crash_never_charges_twice(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(60), wallet=90_000)).talk()
    for _ in range(5):
        await rig.run(30)
        await rig.crash(wait=False)
        await rig.run(10)
        await come_back(rig, one)
    await rig.run(30)
    assert (await one.hangup()).blocks == 3
    assert 170 <= (await rig.row(one.id)).served_ns / 1e9 <= 180
    assert (await rig.row(one.id)).epoch == 6
    assert await rig.total(one.id) == 18_000


async def test_paid_until_is_kept_across_a_crash(rig: SessionRig) -> None:
    """Two blocks are all the money there is: 120 s of service, wherever the crash was."""
    one = await (await call(rig, tariff(60, prepaid_seconds=60), wallet=6_000)).talk()
    await rig.run(90)
    await rig.crash(wait=False)
    await rig.run(15)
    await come_back(rig, one)
    started_ns = rig.clock.now_ns()
    left_ns = 120 * 10**9 - (await rig.row(one.id)).served_ns
    assert rig.media.calls[one.id].cutoff_ns == started_ns + left_ns
    await rig.run(60)
    row = await rig.row(one.id)
    assert (row.end_reason, row.billed_seconds) == ("insufficient_funds", 120)
    assert await rig.total(one.id) == 12_000
    assert await rig.available(one.customer) == 0


async def test_money_after_a_crash_and_a_refusal_buys_the_next_block(rig: SessionRig) -> None:
    """The key of a refused hold is used up: the new run must not ask under it again."""
    one = await (await call(rig, tariff(60, prepaid_seconds=60))).talk()
    await rig.run(55)  # the hold for block 2 was refused
    await rig.crash(wait=False)
    await come_back(rig, one)
    await rig.topup(one.customer, 6_000)
    await rig.run(30)
    assert (await one.hangup()).blocks == 2


async def test_one_party_alone_does_not_resume_it(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900), wallet=90_000)).talk()
    await rig.run(300)
    await rig.crash(wait=False)
    await rig.service.join(one.customer, "again", one.id, 0)
    await rig.run(29)
    assert (await rig.row(one.id)).state == "in_progress"
    await rig.run(3)
    row = await rig.row(one.id)
    assert (row.end_reason, row.ended_by) == ("server_restart", "system")
    # Override 5: the block was captured whole, its unserved rest was given back.
    total = tariff(900).prorata_minor(row.served_ns)
    assert await rig.total(one.id) == total
    assert 298 <= row.billed_seconds <= 300
    transfers = t.transfers.c
    query = sa.select(transfers.amount_minor, transfers.reason).where(
        transfers.session_id == one.id, transfers.kind == "reverse"
    )
    (given_back,) = await rig.rows(query)
    assert given_back.amount_minor == 90_000 - total
    assert given_back.reason == "unserved part of a block"
    assert len(rig.out.of(one.customer, "session.ended")) == 1


async def test_who_hangs_up_before_service_runs_again_pays_what_was_served(
    rig: SessionRig,
) -> None:
    one = await (await call(rig, tariff(900), wallet=90_000)).talk()
    await rig.run(300)
    await rig.crash(wait=False)
    await rig.service.join(one.customer, "again", one.id, 0)
    summary = await one.hangup()
    row = await rig.row(one.id)
    assert (summary.reason, summary.ended_by) == ("server_restart", "customer")
    assert summary.total_minor == tariff(900).prorata_minor(row.served_ns)


async def test_a_call_within_its_grace_stays_free_across_a_crash(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    await rig.run(40)
    await rig.crash(wait=False)
    await rig.run(25)  # the clock on the wall is beyond the first minute, the session's is not
    await come_back(rig, one)
    await rig.run(15)
    assert (await one.hangup()).reason == "void"
    assert await rig.total(one.id) == 0


async def test_media_get_their_window_once_both_are_back(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900), wallet=90_000)).talk()
    await rig.run(70)
    await rig.crash(wait=False)
    await rig.run(29)
    await rig.service.join(one.customer, "c2", one.id, 0)
    await rig.service.join(one.expert, "e2", one.id, 0)
    await rig.run(20)
    assert (await rig.row(one.id)).state == "in_progress"
    # Coming again and again does not keep it open for ever.
    await rig.service.device_gone(one.expert, "e2")
    await rig.service.join(one.expert, "e3", one.id, 0)
    await rig.run(11)
    assert (await rig.row(one.id)).end_reason == "server_restart"


async def test_numbers_of_events_go_on_above_those_of_the_run_before(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(60), wallet=90_000)).talk()
    await rig.run(100)
    seen = max(event["seq"] for _, event in rig.out.users[one.customer] if "session_id" in event)
    await rig.crash(wait=False)
    snapshot, missed = await rig.service.join(one.customer, "c2", one.id, seen)
    assert snapshot.last_seq > seen
    assert [event["seq"] for _, event in missed] == list(
        range(snapshot.last_seq - len(missed) + 1, snapshot.last_seq + 1)
    )
    told = len(rig.out.users[one.customer])
    await rig.service.join(one.expert, "e2", one.id, seen)
    await rig.settle()
    fresh = [event for _, event in rig.out.users[one.customer][told:] if "session_id" in event]
    assert fresh
    assert all(event["seq"] > snapshot.last_seq for event in fresh)
    await one.hangup()


async def test_a_chat_goes_on_when_both_sockets_are_back(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(60), mode="text", wallet=90_000)).talk()
    await one.say()
    await one.say()
    await rig.run(100)
    await rig.crash(wait=False)
    await rig.run(20)
    await rig.service.join(one.customer, "c2", one.id, 0)
    await rig.run(5)
    await rig.service.join(one.expert, "e2", one.id, 0)
    await rig.run(40)
    assert (await one.hangup()).blocks == 3
    assert 138 <= (await rig.row(one.id)).served_ns / 1e9 <= 140


async def store_message(rig: SessionRig, one: Call) -> None:
    """The customer says something, the store has it, and the engine never heard of that."""
    rig.store.fail_after = rig.store.begun
    with pytest.raises(Unavailable):
        await one.say()


@pytest.mark.parametrize(("stored", "said_after"), [(1, 1), (2, 0)])
async def test_messages_count_across_a_crash(rig: SessionRig, stored: int, said_after: int) -> None:
    one = await (await call(rig, tariff(60), mode="text", wallet=90_000)).talk()
    for _ in range(stored):
        await store_message(rig, one)
    await rig.crash(wait=False)
    await rig.run(5)
    await come_back(rig, one)
    for _ in range(said_after):
        assert not rig.out.of(one.customer, "meter.started")
        await one.say()
    assert len(rig.out.of(one.customer, "meter.started")) == 1
    await rig.run(70)
    assert (await one.hangup(Role.EXPERT)).blocks == 2


async def test_a_call_that_was_being_connected_is_connected_after_all(rig: SessionRig) -> None:
    one = await call(rig, tariff(900))
    await one.invite()
    await one.accept()
    await rig.crash(wait=False)
    await rig.service.join(one.customer, one.customer_device, one.id, 0)
    await rig.service.join(one.expert, one.expert_device, one.id, 0)
    await one.begin()
    await one.flow()
    await rig.run(61)
    assert (await one.hangup()).total_minor == 90_000


async def test_a_call_that_was_started_but_had_no_frame_yet(rig: SessionRig) -> None:
    one = await call(rig, tariff(60, prepaid_seconds=0), wallet=12_000)
    await one.invite()
    await one.accept()
    await one.begin()
    await rig.crash(wait=False)
    await come_back(rig, one)
    await rig.run(90)
    assert (await one.hangup()).total_minor == 12_000
    assert (await rig.row(one.id)).ordinal == 1


async def test_a_session_of_long_ago_is_settled_at_once(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(60), wallet=90_000)).talk()
    await rig.run(100)
    rig.flowing.clear()
    await rig.service.stop()
    rig.clock._timers.clear()
    rig.clock.advance(3_600)
    await rig.crash(wait=False)
    assert (await rig.row(one.id)).end_reason == "server_restart"
    assert await rig.total(one.id) == tariff(60).prorata_minor((await rig.row(one.id)).served_ns)


async def test_without_room_for_its_media_it_is_settled(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(60), wallet=90_000)).talk()
    await rig.run(100)
    rig.flowing.clear()
    await rig.service.stop()
    await rig.store.close()
    rig.clock._timers.clear()
    rig._open()
    rig.media._capacity = 0
    await rig.service.start()
    assert (await rig.row(one.id)).end_reason == "server_restart"
    assert rig.service.live_sessions() == []


async def test_another_node_goes_on_with_what_a_dead_one_left(sqlite_url: str) -> None:
    dead = SessionRig(sqlite_url, node_id="node-1", checkpoint_every_s=2)
    await dead.service.start()
    one = await (await call(dead, tariff(60), wallet=90_000)).talk()
    await dead.run(100)
    dead.store.down = True
    async with SessionRig(sqlite_url, node_id="node-2", beside=dead) as other:
        await other.run(14)
        one.rig = other
        await come_back(other, one)
        await other.run(30)
        # Whatever the dead one still wants to write, it cannot.
        dead.store.down = False
        await other.run(40)
        assert dead.media.calls == {}
        summary = await one.hangup()
        assert (summary.reason, summary.blocks) == ("completed", 3)
        assert 168 <= (await other.row(one.id)).served_ns / 1e9 <= 171
        await other.audit()
    await dead.service.stop()
    await dead.store.close()


async def test_a_short_window_of_the_order_is_kept(rig: SessionRig) -> None:
    policy = Policy(commission_bps=1_500, reconnect_window_s=5)
    one = await (await call(rig, tariff(60), wallet=90_000, policy=policy)).talk()
    await rig.run(100)
    await rig.crash(wait=False)
    await rig.run(4.9)
    assert (await rig.row(one.id)).state == "in_progress"
    await rig.run(0.2)
    assert (await rig.row(one.id)).end_reason == "server_restart"
