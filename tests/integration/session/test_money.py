"""Money while sessions run: short blocks, shared wallets, a store that fails."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from engine.clock import NS_PER_S
from engine.errors import Conflict, Unavailable
from engine.media.interface import Role
from engine.metering.ledger import HoldPart, HoldStatus
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from engine.session.conductor import NotWritten
from engine.store import tables as t
from tests.support.meter_rig import tariff
from tests.support.session_rig import Call, SessionRig, call, turns

HOURLY = Tariff(
    currency="TRY",
    price_minor=300_000,
    per_seconds=3_600,
    block_seconds=1,
    prepaid_seconds=0,
    grace_seconds=0,
)


async def test_3000_an_hour_by_the_second_is_3000_after_an_hour(rig: SessionRig) -> None:
    one = await (await call(rig, HOURLY, wallet=400_000)).talk()
    await rig.run(3_600)
    summary = await one.hangup()
    assert (summary.billed_seconds, summary.total_minor) == (3_600, 300_000)
    assert await rig.total(one.id) == 300_000
    assert await rig.available(one.customer) == 100_000
    assert await rig.earned(one.expert) == 255_000
    captures = sa.select(sa.func.count()).where(t.transfers.c.session_id == one.id)
    assert (await rig.rows(captures))[0][0] <= 121


@pytest.mark.parametrize(
    ("block_s", "seconds", "total"),
    [
        (60, 59.999, 0),
        (60, 60, 0),
        (60, 60.001, 12_000),
        (60, 899.999, 90_000),
        (60, 900, 90_000),
        (60, 900.001, 96_000),
        (1, 60, 0),
        (1, 60.001, 6_100),
        (900, 899.999, 90_000),
        (900, 900, 90_000),
        (900, 900.001, 180_000),
    ],
)
async def test_C1_to_C5_boundaries(
    rig: SessionRig, block_s: int, seconds: float, total: int
) -> None:
    one = await (await call(rig, tariff(block_s), wallet=90_000)).talk()
    await rig.run(seconds)
    assert (await one.hangup()).total_minor == total
    assert await rig.total(one.id) == total


async def test_two_sessions_share_a_wallet_to_the_last_block_and_neither_starves(
    rig: SessionRig,
) -> None:
    policy = Policy(commission_bps=1_500, customer_live_sessions=2)
    one = await call(rig, HOURLY, wallet=10_000, policy=policy)
    expert = await rig.user("Other expert")
    order = await rig.order(one.customer, expert, HOURLY, policy=policy)
    two = Call(rig, one.customer, expert, order, "video")
    await one.talk()
    await two.talk()
    await rig.run(200)
    totals = [await rig.total(one.id), await rig.total(two.id)]
    assert {(await rig.row(each.id)).end_reason for each in (one, two)} == {"insufficient_funds"}
    assert 10_000 - 84 < sum(totals) <= 10_000
    assert abs(totals[0] - totals[1]) <= 500
    assert await rig.held(one.customer) == 0


async def test_what_one_session_leaves_unused_the_other_may_use(rig: SessionRig) -> None:
    policy = Policy(commission_bps=0, customer_live_sessions=2)
    one = await call(rig, tariff(60, prepaid_seconds=60), wallet=6_000, policy=policy)
    expert = await rig.user("Other expert")
    order = await rig.order(one.customer, expert, tariff(60, prepaid_seconds=60), policy=policy)
    two = Call(rig, one.customer, expert, order, "video")
    await one.talk()
    await rig.run(50)  # the first session has set the last block aside
    assert await rig.available(one.customer) == 0
    await two.talk()
    await rig.run(5)
    assert (await one.hangup()).reason == "void"
    await rig.run(115)
    assert (await rig.row(two.id)).billed_seconds == 120


async def test_a_topup_after_a_refusal_is_a_new_attempt(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(60, prepaid_seconds=60))).talk()
    await rig.run(55)
    await rig.topup(one.customer, 6_000)
    tick = rig.out.of(one.customer, "meter.tick")[-1]
    assert (tick["meter"]["seconds_left"], tick["meter"]["elapsed_ms"]) == (65, 55_000)
    (wallet,) = rig.out.of(one.customer, "wallet.updated")
    assert wallet["available_minor"] == 6_000
    await rig.run(10)
    query = sa.select(t.holds.c.key, t.holds.c.state).where(t.holds.c.session_id == one.id)
    keys = {row.key.removeprefix(f"session:{one.id}:"): row.state for row in await rig.rows(query)}
    assert keys == {"hold:2:1": "refused", "hold:2:2": "resolved"}
    assert (await one.hangup()).total_minor == 12_000


async def test_a_topup_that_another_node_took_is_found_before_the_money_is_used_up(
    sqlite_url: str,
) -> None:
    async with (
        SessionRig(sqlite_url, node_id="node-1", checkpoint_every_s=2) as rig,
        SessionRig(sqlite_url, node_id="node-2", checkpoint_every_s=2, beside=rig) as other,
    ):
        one = await (await call(rig, tariff(60, prepaid_seconds=60))).talk()
        await rig.run(55)
        await other.topup(one.customer, 6_000)
        await rig.run(3)
        tick = rig.out.of(one.customer, "meter.tick")[-1]
        assert (tick["meter"]["balance_minor"], tick["meter"]["elapsed_ms"] > 55_000) == (0, True)
        await rig.run(62)
        assert (await rig.row(one.id)).end_reason == "insufficient_funds"
        assert await rig.total(one.id) == 12_000
        await rig.audit()


async def test_no_wallet_is_looked_at_while_money_is_no_worry(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900), wallet=900_000)).talk()
    await rig.run(30)
    rig.store.down = True
    await rig.service._surroundings.look_at_wallets()
    rig.store.down = False
    await one.hangup()


async def test_without_the_store_it_serves_what_is_paid_and_settles_later(
    rig: SessionRig,
) -> None:
    one = await (await call(rig, tariff(60), wallet=90_000)).talk()
    await rig.run(70)
    rig.store.down = True
    await rig.run(900)
    assert one.id not in rig.media.calls  # cut where the prepaid 900 s ended
    assert not rig.service.in_live_session(one.customer)
    assert not rig.out.of(one.customer, "session.ended")  # told when it is written
    with pytest.raises(Unavailable):
        await rig.service.end(one.customer, one.id)
    rig.store.down = False
    await rig.run(1)
    (ended,) = rig.out.of(one.customer, "session.ended")
    assert ended["summary"]["reason"] == "insufficient_funds"
    assert ended["summary"]["billed_seconds"] == 900
    assert await rig.total(one.id) == 90_000
    assert await rig.available(one.customer) == 90_000


async def test_a_store_that_comes_back_in_time_is_not_noticed(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(60, prepaid_seconds=60), wallet=90_000)).talk()
    await rig.run(45)
    rig.store.down = True
    await rig.run(13)  # the next block should have been set aside at 50 s
    rig.store.down = False
    await rig.run(10)
    assert rig.service.in_live_session(one.customer)
    assert (await one.hangup()).total_minor == 12_000


async def test_a_command_that_the_store_refuses_changes_nothing(rig: SessionRig) -> None:
    one = await call(rig, tariff(900))
    rig.store.down = True
    with pytest.raises(Unavailable):
        await one.invite()
    rig.store.down = False
    await one.invite()
    await rig.service.join(one.expert, one.expert_device, one.id, 0)
    await rig.service.track_update(one.expert, one.expert_device, one.id, True, True)
    for command in ("accept", "begin"):
        rig.store.down = True
        before = rig.out.users[one.customer][:]
        arguments = (
            (one.expert, one.expert_device, one.id) if command == "accept" else (one.expert, one.id)
        )
        with pytest.raises(Unavailable) as refused:
            await getattr(rig.service, command)(*arguments)
        assert refused.value.code == "store_unavailable"
        assert rig.out.users[one.customer] == before
        assert not rig.media.calls[one.id].gate_open
        rig.store.down = False
        await getattr(rig.service, command)(*arguments)
    assert rig.media.calls[one.id].gate_open
    await one.hangup()


async def test_a_beginning_whose_commit_was_lost_can_be_repeated_after_something_else(
    rig: SessionRig,
) -> None:
    """The repetition asks for a hold under the key that the store has, for another amount."""
    one = await (await (await call(rig, HOURLY, wallet=2_000)).invite()).accept()
    await rig.service.track_update(one.expert, one.expert_device, one.id, True, True)
    rig.store.fail_after = rig.store.begun
    with pytest.raises(Unavailable):
        await rig.service.begin(one.expert, one.id)
    await rig.service.track_update(one.expert, one.expert_device, one.id, True, False)
    await rig.service.begin(one.expert, one.id)
    await one.flow()
    await rig.run(10)
    assert (await one.hangup()).billed_seconds == 10
    assert await rig.available(one.customer) == 2_000 - HOURLY.due_minor(10)


async def test_an_end_that_the_ledger_refuses_is_settled_at_once(rig: SessionRig) -> None:
    """Not when the next block would have been due: nobody is busy with what is over."""
    one = await (await call(rig, tariff(900, grace_seconds=0), wallet=90_000)).talk()
    await rig.run(70)

    async def refuse(*_: object) -> list[object]:
        raise Conflict("hold_exhausted", "The hold does not cover this amount.")

    journal = rig.service._conductor._journal
    journal.write = refuse  # type: ignore[method-assign,assignment]
    with pytest.raises(NotWritten):
        await one.hangup()
    del journal.write  # type: ignore[method-assign]
    await rig.settle()
    row = await rig.row(one.id)
    assert (row.state, row.end_reason, row.billed_seconds) == ("ended", "failed", 70)
    assert await rig.total(one.id) == tariff(900).prorata_minor(70 * NS_PER_S)


async def test_a_rescue_charges_nothing_after_a_hangup_that_waits(rig: SessionRig) -> None:
    """A chat at 1.00 a second, hung up at 18 s behind a slow write that fails with a defect."""
    price = msgspec.structs.replace(HOURLY, price_minor=360_000)
    one = await (await call(rig, price, wallet=90_000, mode="text")).talk()
    for _ in range(2):
        await one.say()
    await rig.run(14)

    async def fail(*_: object) -> list[object]:
        async with rig.store.transaction():
            raise RuntimeError("a defect")

    journal = rig.service._conductor._journal
    journal.write = fail  # type: ignore[method-assign,assignment]
    rig.store.slow.clear()
    rig.clock.advance(1)  # the next slice is asked for
    await turns()
    rig.clock.advance(3)
    hangup = asyncio.create_task(rig.service.end(one.customer, one.id))
    await turns()
    rig.clock.advance(8)
    rig.store.slow.set()
    summary = await hangup
    del journal.write  # type: ignore[method-assign]
    assert (summary.reason, summary.billed_seconds, summary.total_minor) == ("failed", 18, 1_800)


async def _work(rig: SessionRig, customer: str, expert: str) -> str:
    """An order of work at a fixed price: paid without any session."""
    order_id = await rig.order(customer, expert, tariff(60, prepaid_seconds=0))
    async with rig.store.transaction() as tx:
        of_work = sa.update(t.orders).where(t.orders.c.id == order_id)
        terms = {"commission_bps": 2_000}
        await tx.execute(of_work.values(fulfilment="work", tariff=sa.null(), terms=terms))
    return order_id


async def test_money_moved_away_in_mid_call_does_not_make_the_call_free(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(60, prepaid_seconds=60), wallet=10_000)).talk()
    stranger = await rig.user("Somebody else")
    await rig.run(55)  # block 2 is set aside
    work = await _work(rig, one.customer, stranger)
    elsewhere = {"user_id": one.customer, "currency": "TRY", "order_id": work}
    async with rig.store.transaction() as tx:
        greedy = await rig.ledger.hold(tx, key="all", amount_minor=10_000, **elsewhere)
        rest = await rig.ledger.hold(tx, key="rest", amount_minor=4_000, **elsewhere)
        await rig.ledger.capture(
            tx,
            key="away",
            parts=[HoldPart(rest.hold_id, 4_000)],
            expert_id=stranger,
            fee_minor=800,
            order_id=work,
            session_id=None,
        )
    assert (greedy.status, greedy.shortfall_minor) == (HoldStatus.REFUSED, 6_000)
    assert await rig.available(one.customer) == 0
    await rig.run(120)
    row = await rig.row(one.id)
    assert (row.end_reason, row.billed_seconds) == ("insufficient_funds", 120)
    assert await rig.total(one.id) == 12_000


async def test_a_hangup_beats_what_falls_due_while_it_waits_for_the_store(
    rig: SessionRig,
) -> None:
    free = tariff(60, prepaid_seconds=60, grace_seconds=0)
    one = await (await call(rig, free, wallet=90_000, mode="text")).talk()
    for _ in range(2):
        await one.say()
    await rig.run(49)
    rig.store.slow.clear()
    rig.clock.advance(1)  # the next block is being set aside, and the store takes its time
    await turns()
    rig.clock.advance(10)
    hangup = asyncio.ensure_future(rig.service.end(one.customer, one.id))
    await turns()
    rig.clock.advance(30)  # far into the second block
    rig.store.slow.set()
    summary = await hangup
    assert (summary.reason, summary.ended_by) == ("completed", "customer")
    assert (summary.billed_seconds, summary.total_minor) == (60, 6_000)


async def test_nothing_is_opened_that_nobody_pays_for(rig: SessionRig) -> None:
    one = await call(rig, tariff(900, prepaid_seconds=0), wallet=90_000)
    await one.invite()
    await one.accept()
    work = await _work(rig, one.customer, one.expert)
    async with rig.store.transaction() as tx:
        await rig.ledger.hold(
            tx,
            key="elsewhere",
            user_id=one.customer,
            currency="TRY",
            amount_minor=1,
            order_id=work,
        )
    opened: list[str] = []
    rig.media.open_gate = opened.append  # type: ignore[method-assign]
    await one.begin()
    assert opened == []
    assert (await rig.row(one.id)).end_reason == "insufficient_funds"


async def test_an_answer_reckons_with_what_the_orders_last_session_left(
    rig: SessionRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node may settle that one, from the same hold, while this one is being answered."""
    one = await (await call(rig, tariff(60), wallet=50_000)).invite()
    (prepaid,) = await rig.rows(sa.select(t.holds).where(t.holds.c.order_id == one.order_id))
    conductor = rig.service._conductor
    command = conductor.command

    async def overtaken(*args: Any) -> None:
        monkeypatch.undo()
        async with rig.store.transaction() as tx:
            await rig.ledger.release(tx, key="settled elsewhere", hold_id=prepaid.id)
        await command(*args)

    monkeypatch.setattr(conductor, "command", overtaken)
    await one.accept()
    await one.begin()
    await one.flow()
    await rig.run(100)
    assert (await one.hangup()).total_minor == tariff(60).due_minor(2)
    assert rig.service.metrics().get("faults", 0) == 0


async def _whole_life(rig: SessionRig, one: Call) -> None:
    """A session with a slice, a batch, a pause and a hangup, whatever the store does meanwhile."""

    async def insist(attempt: object) -> None:
        for _ in range(5):
            try:
                await attempt()  # type: ignore[operator]
                return
            except Unavailable:
                await rig.run(1)
        raise AssertionError("the store never came back")

    await insist(one.invite)
    await insist(one.accept)
    await insist(one.begin)
    await one.flow()
    await rig.run(20)
    rig.flowing.clear()
    await rig.run(5)
    rig.flowing.add(one.id)
    await rig.run(60)
    await insist(lambda: one.hangup(Role.EXPERT))


@pytest.mark.parametrize("after_commit", [False, True])
async def test_every_transaction_may_fail_once_and_the_money_is_the_same(
    sqlite_url: str, after_commit: bool
) -> None:
    at = -1
    while True:
        at += 1
        async with SessionRig(sqlite_url, checkpoint_every_s=1_000) as rig:
            one = await call(rig, HOURLY, wallet=50_000)
            failing = rig.store.begun + at
            if after_commit:
                rig.store.fail_after = failing
            else:
                rig.store.fail_before = failing
            await _whole_life(rig, one)
            await rig.run(20)
            total = await rig.total(one.id)
            row = await rig.row(one.id)
            assert (row.state, row.end_reason) == ("ended", "completed"), at
            assert total == HOURLY.due_minor(row.blocks), at
            # A retry may move an instant by a second, never the rule.
            assert abs(row.served_ns - 80_000_000_000) <= 6_000_000_000, at
            assert await rig.available(one.customer) == 50_000 - total, at
            assert await rig.held(one.customer) == 0, at
            events = await rig.evidence(one.id)
            assert events.count("session.ended") == events.count("meter.started") == 1, at
            await rig.service.stop()
            if rig.store.begun <= failing:
                break
    assert at > 8
