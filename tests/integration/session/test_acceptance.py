"""The acceptance checks of the product for live sessions, each on the real service and ledger."""

from __future__ import annotations

import pytest

from engine.errors import Conflict, Forbidden
from engine.media.interface import MediaKind, Role
from engine.metering.policy import Policy
from engine.session.states import State
from tests.support.meter_rig import tariff
from tests.support.session_rig import Call, SessionRig, call

FEE = 13_500
"""15 % of 900.00."""


async def test_C1_a_first_session_left_at_60_seconds_is_void(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    await rig.run(60)
    summary = await one.hangup()
    assert (summary.reason, summary.ended_by, summary.total_minor) == ("void", "customer", 0)
    assert await rig.total(one.id) == 0
    assert (await rig.available(one.customer), await rig.held(one.customer)) == (0, 90_000)
    assert await rig.earned(one.expert) == 0


async def test_C2_a_first_session_left_at_60_001_seconds_pays_its_block(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    await rig.run(60.001)
    summary = await one.hangup()
    assert (summary.reason, summary.blocks, summary.total_minor) == ("completed", 1, 90_000)
    assert await rig.earned(one.expert) == 90_000 - FEE
    assert await rig.held(one.customer) == 0


async def test_C3_after_a_void_session_the_next_pays_from_the_prepaid_hold(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    await rig.run(10)
    await one.hangup()
    two = await Call(rig, one.customer, one.expert, one.order_id, "video").talk()
    await rig.run(1)
    summary = await two.hangup()
    assert (summary.reason, summary.total_minor) == ("completed", 90_000)
    assert (await rig.available(one.customer), await rig.held(one.customer)) == (0, 0)


async def test_C4_T24_a_second_session_debits_another_block_at_second_0(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900), wallet=90_000)).talk()
    await rig.run(300)
    assert (await one.hangup()).total_minor == 90_000
    two = await Call(rig, one.customer, one.expert, one.order_id, "video").talk()
    assert await rig.available(one.customer) == 0
    await rig.run(1)
    assert await rig.total(two.id) == 90_000
    assert (await two.hangup()).total_minor == 90_000


async def test_T27_T28_T53_money_moves_during_the_session_and_both_see_it(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900), wallet=100_000)).talk()
    await rig.run(59)
    assert await rig.earned(one.expert) == 0
    await rig.run(2)
    assert rig.service.in_live_session(one.expert)
    earned_minor = await rig.earned(one.expert)
    assert 0 < earned_minor < 90_000
    (expert, customer) = (
        rig.out.of(user_id, "meter.charged")[-1]["meter"] for user_id in (one.expert, one.customer)
    )
    assert expert["earned_minor"] == earned_minor
    assert 60_000 < expert["elapsed_ms"] <= 61_000
    balance_minor = await rig.available(one.customer)
    assert (customer["balance_minor"], customer["charged_minor"]) == (balance_minor, 90_000)
    await one.hangup()


async def test_C5_without_money_for_the_next_block_it_ends_at_900_seconds(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900), wallet=89_999)).talk()
    await rig.run(899.999)
    assert rig.service.in_live_session(one.customer)
    await rig.run(0.001)
    row = await rig.row(one.id)
    assert (row.state, row.end_reason, row.ended_by) == ("ended", "insufficient_funds", "system")
    assert (row.billed_seconds, row.blocks) == (900, 1)
    assert await rig.total(one.id) == 90_000
    assert one.id not in rig.media.calls
    assert await rig.available(one.customer) == 89_999
    with pytest.raises(Conflict) as refused:
        rig.service.chat_gate(one.customer, one.id)
    assert refused.value.code == "session_ended"


async def test_C6_a_topup_at_899_seconds_keeps_it_running(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900), wallet=89_999)).talk()
    await rig.run(899)
    await rig.topup(one.customer, 1)
    await rig.run(2)
    assert await rig.total(one.id) == 180_000
    assert rig.service.in_live_session(one.customer)
    assert (await one.hangup()).blocks == 2


async def test_C7_T49_time_before_the_first_frame_is_not_billed(rig: SessionRig) -> None:
    free = tariff(1, grace_seconds=0)
    one = await call(rig, free)
    await one.invite()
    await rig.run(20)
    await one.accept()
    await one.begin()
    await rig.run(7)
    await one.flow()
    await rig.run(30)
    summary = await one.hangup()
    assert (summary.billed_seconds, summary.total_minor) == (30, 3_000)
    assert await rig.held(one.customer) == 90_000 - 3_000


async def test_C8_T52_audio_of_the_expert_alone_starts_the_clock(rig: SessionRig) -> None:
    one = await call(rig, tariff(900))
    await one.invite()
    await one.accept()
    await one.begin(video=False)
    rig.media.first_frame(one.id, rig.clock.now_ns(), MediaKind.AUDIO)
    await rig.settle()
    (started,) = rig.out.of(one.customer, "meter.started")
    assert started["trigger"] == "first_frame"
    await one.hangup()


async def test_C9_T26_one_way_costs_the_same_and_nothing_of_the_customer_passes(
    rig: SessionRig,
) -> None:
    one = await call(rig, tariff(900))
    await one.invite("one_way")
    await one.accept()
    await one.begin()
    assert rig.media.calls[one.id].one_way
    assert Role.CUSTOMER not in rig.media.calls[one.id].publishing
    await one.flow()
    await rig.run(61)
    assert (await one.hangup()).total_minor == 90_000


async def test_C10_the_customers_second_message_starts_a_text_session(rig: SessionRig) -> None:
    one = await call(rig, tariff(900, grace_seconds=0), mode="text")
    await one.talk()
    for _ in range(5):
        await one.say(Role.EXPERT)
    await one.say()
    await rig.run(10)
    assert not rig.out.of(one.customer, "meter.started")
    await one.say()
    (started,) = rig.out.of(one.customer, "meter.started")
    assert started["trigger"] == "second_message"
    await rig.run(0.001)
    assert await rig.total(one.id) == 90_000
    assert (await one.hangup()).billed_seconds == 900


async def test_C11_T18_only_the_customer_calls(rig: SessionRig) -> None:
    one = await call(rig, tariff(900))
    other = Call(rig, one.expert, one.customer, one.order_id, "video")
    with pytest.raises(Forbidden) as refused:
        await other.invite()
    assert refused.value.code == "not_customer"


@pytest.mark.parametrize(
    ("status", "code"),
    [("busy", "expert_busy"), ("undefined", "expert_undefined"), (None, "expert_offline")],
)
async def test_C12_T16_experts_who_take_no_calls(
    rig: SessionRig, status: str | None, code: str
) -> None:
    one = await call(rig, tariff(900))
    if status is None:
        rig.presence.offline.add(one.expert)
    else:
        rig.presence.chosen[one.expert] = status
    with pytest.raises(Conflict) as refused:
        await one.invite()
    assert refused.value.code == code
    assert rig.service.ringing_for(one.expert) == 0
    assert not rig.out.of(one.expert, "call.pending")
    assert not rig.media.calls


async def test_C13_T15_an_expert_who_is_away_sees_a_number_and_hears_nothing(
    rig: SessionRig,
) -> None:
    expert = await rig.user("Expert")
    rig.presence.chosen[expert] = "away"
    for number in range(3):
        customer = await rig.user(f"Customer {number}")
        order = await rig.order(customer, expert, tariff(900))
        await Call(rig, customer, expert, order, "video").invite()
    assert [one["count"] for one in rig.out.of(expert, "call.pending")] == [1, 2, 3]
    assert {one["alert"] for one in rig.out.of(expert, "call.incoming")} == {"silent"}
    assert rig.service.ringing_for(expert) == 3
    await rig.run(60)
    assert rig.service.ringing_for(expert) == 0


async def test_C15_the_last_block_of_a_wallet_goes_to_one_of_two_sessions(rig: SessionRig) -> None:
    policy = Policy(commission_bps=1_500, customer_live_sessions=2)
    one = await call(rig, tariff(900), policy=policy)
    expert = await rig.user("Other expert")
    order = await rig.order(one.customer, expert, tariff(900), policy=policy)
    two = Call(rig, one.customer, expert, order, "video")
    await one.talk()
    await two.talk()
    await rig.topup(one.customer, 90_000)
    await rig.run(901)
    states = {(await rig.row(each.id)).state for each in (one, two)}
    assert states == {"ended", "in_progress"}
    assert await rig.available(one.customer) == 0
    totals = sorted([await rig.total(one.id), await rig.total(two.id)])
    assert totals == [90_000, 180_000]


async def test_C16_a_loss_of_ten_seconds_pauses_the_clock(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    await rig.run(30)
    rig.flowing.clear()
    rig.media.lose(one.id, rig.media.calls[one.id].selected[Role.EXPERT])
    await rig.service.device_gone(one.expert, one.expert_device)
    await rig.run(10)
    assert len(rig.out.of(one.customer, "meter.paused")) == 1
    rig.media.deliver(one.id, rig.clock.now_ns())
    rig.flowing.add(one.id)
    await rig.run(30)
    assert len(rig.out.of(one.customer, "meter.resumed")) == 1
    summary = await one.hangup()
    assert summary.reason == "void"  # 60 s served of 70: the same session, the same grace
    row = await rig.row(one.id)
    assert (row.served_ns, row.ordinal) == (60_000_000_000, 1)


async def test_C17_a_node_that_died_at_1000_seconds_is_settled_by_the_next_run(
    rig: SessionRig,
) -> None:
    one = await (await call(rig, tariff(900), wallet=180_000)).talk()
    await rig.run(1_000)
    await rig.crash()
    row = await rig.row(one.id)
    assert (row.state, row.end_reason, row.ended_by) == ("ended", "server_restart", "system")
    assert row.blocks == 2
    served_s = row.served_ns / 1e9
    assert 980 <= served_s <= 1_000
    assert await rig.total(one.id) == int(served_s * 100)  # what was not served was given back
    assert await rig.available(one.customer) == 270_000 - int(served_s * 100)
    assert await rig.held(one.customer) == 0
    before = await rig.total(one.id)
    await rig.crash()
    assert await rig.total(one.id) == before


async def test_C18_the_second_device_to_answer_is_refused(rig: SessionRig) -> None:
    one = await call(rig, tariff(900))
    await one.invite()
    await rig.service.accept(one.expert, "first", one.id)
    with pytest.raises(Conflict) as refused:
        await rig.service.accept(one.expert, "second", one.id)
    assert refused.value.code == "already_answered"
    again = await rig.service.accept(one.expert, "first", one.id)
    assert again.state == State.CONNECTING
    await one.hangup()
