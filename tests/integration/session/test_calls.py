"""Ringing, answering, starting, ending: who may do what, and what both parties hear."""

from __future__ import annotations

import asyncio
import itertools

import msgspec
import pytest
import sqlalchemy as sa

from engine.errors import Conflict, Forbidden, NotFound, PaymentRequired, RateLimited, Unavailable
from engine.media.interface import MediaKind, Role
from engine.metering.policy import PAUSE_AFTER_REPORTS_ONLY_NS, Policy
from engine.session.grants import StoreGrants
from engine.session.states import State
from engine.store import tables as t
from tests.support.meter_rig import tariff
from tests.support.session_rig import Call, SessionRig, call


def names(rig: SessionRig, user: str) -> list[str]:
    return [event for event, _ in rig.out.users[user]]


async def test_T14_T48_a_call_rings_is_answered_started_and_ended(rig: SessionRig) -> None:
    one = await call(rig, tariff(900))
    await one.invite()
    (incoming,) = rig.out.of(one.expert, "call.incoming")
    assert (incoming["alert"], incoming["from_name"]) == ("sound", "Customer")
    assert incoming["expires_in_ms"] == 60_000
    assert rig.out.of(one.customer, "call.ringing")
    await one.accept()
    assert rig.out.of(one.customer, "call.accepted")
    assert [c["count"] for c in rig.out.of(one.expert, "call.pending")] == [1, 0]
    await one.begin()
    assert rig.media.calls[one.id].gate_open
    await one.flow()
    await rig.run(61)
    await one.hangup(Role.EXPERT)
    (ended,) = rig.out.of(one.customer, "session.ended")
    assert ended["summary"]["ended_by"] == "expert"
    assert ended["summary"]["earned_minor"] is None
    (told,) = rig.out.of(one.expert, "session.ended")
    assert told["summary"]["earned_minor"] == 76_500
    assert await rig.evidence(one.id) == [
        "session.ringing",
        "session.answered",
        "track.published",
        "track.published",
        "session.started",
        "meter.started",
        "meter.charged",
        "session.ended",
    ]
    topics = await rig.rows(
        sa.select(t.outbox.c.type).where(t.outbox.c.subject_id == one.id).order_by(t.outbox.c.seq)
    )
    assert [row.type for row in topics] == [
        "session.ringing",
        "session.started",
        "session.meter_started",
        "session.block_charged",
        "session.ended",
    ]


async def test_what_each_party_hears_is_numbered_without_gaps(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(60), wallet=50_000)).talk()
    await rig.run(130)
    await one.hangup()
    for user in (one.customer, one.expert):
        numbers = [p["seq"] for _, p in rig.out.users[user] if p.get("session_id") == one.id]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_a_device_that_was_away_is_told_what_it_missed(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    heard = max(p["seq"] for _, p in rig.out.users[one.customer] if p.get("session_id") == one.id)
    await rig.run(65)
    snapshot, missed = await rig.service.join(one.customer, "reloaded", one.id, heard)
    assert [p["seq"] for _, p in missed] == list(range(heard + 1, snapshot.last_seq + 1))
    assert "meter.charged" in [event for event, _ in missed]
    assert (snapshot.state, snapshot.role, snapshot.meter.charged_minor) == (
        "in_progress",
        "customer",
        90_000,
    )
    await one.hangup()
    _, after = await rig.service.join(one.customer, "later", one.id, snapshot.last_seq)
    assert after[-1][0] == "session.ended"


async def test_nobody_answers(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    await rig.run(59.9)
    assert rig.service.ringing_for(one.expert) == 1
    await rig.run(0.1)
    row = await rig.row(one.id)
    assert (row.end_reason, row.ended_by, row.ended_at_ms - row.rung_at_ms) == (
        "no_answer",
        "system",
        60_000,
    )
    assert names(rig, one.customer)[-2:] == ["call.no_answer", "session.ended"]
    assert await rig.held(one.customer) == 90_000


async def test_the_expert_declines(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    with pytest.raises(Forbidden) as refused:
        await rig.service.decline(one.customer, "x", one.id)
    assert refused.value.code == "not_expert"
    await rig.service.decline(one.expert, "x", one.id)
    assert (await rig.row(one.id)).end_reason == "declined"
    assert "call.declined" in names(rig, one.customer)
    with pytest.raises(Conflict) as late:
        await rig.service.cancel(one.customer, "x", one.id)
    assert late.value.code == "session_ended"


async def test_the_customer_cancels_until_somebody_answered(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    with pytest.raises(Forbidden) as refused:
        await rig.service.cancel(one.expert, "x", one.id)
    assert refused.value.code == "not_customer"
    await one.accept()
    with pytest.raises(Conflict) as late:
        await rig.service.cancel(one.customer, "x", one.id)
    assert late.value.code == "already_answered"
    assert (await one.hangup()).reason == "completed"
    two = await Call(rig, one.customer, one.expert, one.order_id, "video").invite()
    await rig.service.cancel(one.customer, "x", two.id)
    assert (await rig.row(two.id)).end_reason == "canceled"


async def test_T21_only_the_expert_starts_and_with_a_track(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    with pytest.raises(Conflict) as early:
        await rig.service.begin(one.expert, one.id)
    assert early.value.code == "wrong_state"
    await one.accept()
    with pytest.raises(Forbidden) as refused:
        await rig.service.begin(one.customer, one.id)
    assert refused.value.code == "not_expert"
    with pytest.raises(Conflict) as silent:
        await rig.service.begin(one.expert, one.id)
    assert silent.value.code == "track_not_published"
    await one.begin(video=False)
    snapshot = await rig.service.begin(one.expert, one.id)
    assert snapshot.state == State.IN_PROGRESS
    assert rig.media.calls[one.id].publishing[Role.EXPERT] == (True, False)
    await one.hangup()


async def test_accepted_and_never_any_media_is_failed(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    await one.accept()
    await rig.run(60)
    assert (await rig.row(one.id)).end_reason == "failed"
    two = await Call(rig, one.customer, one.expert, one.order_id, "video").invite()
    await two.accept()
    await two.begin()
    rig.media.withhold(two.id)
    await rig.settle()
    assert (await rig.row(two.id)).end_reason == "failed"


async def test_Tm_one_live_session_per_expert_and_the_others_keep_ringing(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    customer = await rig.user("Second")
    order = await rig.order(customer, one.expert, tariff(900))
    two = await Call(rig, customer, one.expert, order, "video").invite()
    await one.accept()
    with pytest.raises(Conflict) as refused:
        await rig.service.accept(one.expert, "laptop", two.id)
    assert refused.value.code == "expert_busy"
    assert rig.service.ringing_for(one.expert) == 1
    third = await rig.user("Third")
    late = await rig.order(third, one.expert, tariff(900))
    with pytest.raises(Conflict) as busy:
        await Call(rig, third, one.expert, late, "video").invite()
    assert busy.value.code == "expert_busy"
    await one.hangup()
    assert rig.presence.refreshed == [one.expert, one.expert]
    await rig.run(60)
    assert (await rig.row(two.id)).end_reason == "no_answer"


async def test_the_store_decides_between_two_answers_at_once(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    customer = await rig.user("Second")
    order = await rig.order(customer, one.expert, tariff(900))
    two = await Call(rig, customer, one.expert, order, "video").invite()
    results = await asyncio.gather(
        rig.service.accept(one.expert, "phone", one.id),
        rig.service.accept(one.expert, "laptop", two.id),
        return_exceptions=True,
    )
    refusals = [result for result in results if isinstance(result, Conflict)]
    assert [refusal.code for refusal in refusals] == ["expert_busy"]
    states = sorted([(await rig.row(each.id)).state for each in (one, two)])
    assert states == ["connecting", "ringing"]
    await one.hangup()
    await two.hangup()


async def test_one_call_at_a_time_per_customer_ringing_ones_included(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    other = await rig.user("Other expert")
    order = await rig.order(one.customer, other, tariff(900))
    two = Call(rig, one.customer, other, order, "video")
    with pytest.raises(Conflict) as refused:
        await two.invite()
    assert refused.value.code == "customer_busy"
    await one.hangup()
    await two.invite()
    await two.hangup()


async def test_two_invites_at_once_ring_once(rig: SessionRig) -> None:
    one = await call(rig, tariff(900))
    two = Call(rig, one.customer, one.expert, one.order_id, "video")
    results = await asyncio.gather(one.invite(), two.invite(), return_exceptions=True)
    (refusal,) = [result for result in results if isinstance(result, Conflict)]
    assert refusal.code == "customer_busy"
    assert rig.service.ringing_for(one.expert) == 1
    await (one if one.id else two).hangup()


async def test_T17_T40_without_a_block_the_shortfall_is_told(rig: SessionRig) -> None:
    one = await call(rig, tariff(900, prepaid_seconds=0), wallet=60_000)
    with pytest.raises(PaymentRequired) as refused:
        await one.invite()
    assert (refused.value.code, refused.value.extra) == (
        "insufficient_funds",
        {"shortfall": 30_000},
    )
    await rig.topup(one.customer, 30_000)
    await one.invite()
    await one.hangup()


async def test_orders_that_cannot_be_called(rig: SessionRig) -> None:
    one = await call(rig, tariff(900))
    closed = await rig.order(one.customer, one.expert, tariff(900), state="completed")
    stranger = await rig.user("Stranger")
    cases = [
        (Call(rig, one.customer, one.expert, closed, "video"), "order_not_open"),
        (Call(rig, one.customer, one.expert, "ord_none", "video"), "order_not_open"),
        (Call(rig, stranger, one.expert, one.order_id, "video"), "order_not_open"),
        (Call(rig, one.customer, one.expert, one.order_id, "audio"), "mode_not_ordered"),
    ]
    for each, code in cases:
        with pytest.raises((Conflict, NotFound)) as refused:
            await each.invite()
        assert refused.value.code == code
    assert not rig.media.calls


@pytest.mark.parametrize("fulfilment", ["work", "files"])
async def test_T17_work_and_files_cannot_be_called(rig: SessionRig, fulfilment: str) -> None:
    """Their orders have no tariff and no mode; that is a refusal, not a crash."""
    one = await call(rig, tariff(900))
    without_calls = {"fulfilment": fulfilment, "mode": None, "tariff": None}
    async with rig.store.transaction() as tx:
        of = sa.update(t.orders).where(t.orders.c.id == one.order_id)
        await tx.execute(of.values(without_calls))
        assert await StoreGrants().grants(tx, [one.order_id]) == {}
    for user in (one.customer, one.expert):
        with pytest.raises(NotFound) as refused:
            await Call(rig, user, one.expert, one.order_id, "video").invite()
        assert refused.value.code == "order_not_open"
    assert not rig.media.calls
    async with rig.store.transaction() as tx:
        await tx.execute(
            of.values(fulfilment="live", mode="video", tariff=msgspec.to_builtins(tariff(900)))
        )


@pytest.mark.parametrize("state", ["pending_payment", "disputed", "cancelled"])
async def test_Tv_an_order_that_is_not_open_cannot_be_called(rig: SessionRig, state: str) -> None:
    one = await call(rig, tariff(900))
    async with rig.store.transaction() as tx:
        of = sa.update(t.orders).where(t.orders.c.id == one.order_id)
        await tx.execute(of.values(state=state))
    with pytest.raises(Conflict) as refused:
        await one.invite()
    assert refused.value.code == "order_not_open"
    async with rig.store.transaction() as tx:
        await tx.execute(of.values(state="open"))  # its prepayment is on hold still


async def test_away_may_be_set_to_refuse(rig: SessionRig) -> None:
    strict = {"available": "ring", "away": "refuse", "busy": "refuse", "undefined": "refuse"}
    one = await call(rig, tariff(900), policy=Policy(commission_bps=0, presence=strict))
    rig.presence.chosen[one.expert] = "away"
    with pytest.raises(Conflict) as refused:
        await one.invite()
    assert refused.value.code == "expert_away_refused"


async def test_an_order_cancelled_while_it_rings_cannot_be_answered(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    async with rig.store.transaction() as tx:
        await tx.execute(
            sa.update(t.orders).where(t.orders.c.id == one.order_id).values(state="cancelled")
        )
        (held,) = await rig.ledger.open_holds(tx, order_id=one.order_id)
        await rig.ledger.release(tx, key=f"order:{one.order_id}:finish", hold_id=held.id)
    with pytest.raises(Conflict) as refused:
        await one.accept()
    assert refused.value.code == "order_not_open"
    await one.hangup()


async def test_strangers_and_unknown_sessions(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    stranger = await rig.user("Stranger")
    for attempt in (
        rig.service.end(stranger, one.id),
        rig.service.join(stranger, "x", one.id, 0),
        rig.service.accept(stranger, "x", one.id),
        rig.service.track_update(stranger, "x", one.id, True, True),
    ):
        with pytest.raises(Forbidden) as refused:
            await attempt
        assert refused.value.code == "not_party"
    for lost in (
        rig.service.end(one.customer, "ses_none"),
        rig.service.join(one.customer, "x", "ses_none", 0),
        rig.service.begin(one.expert, "ses_none"),
        rig.service.rtc_restart(one.expert, "x", "ses_none"),
        rig.service.terminate("ses_none", by="staff"),
    ):
        with pytest.raises(NotFound) as unknown:
            await lost
        assert unknown.value.code == "session_not_found"
    await one.hangup()


async def test_an_end_is_answered_again_and_again(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    await rig.run(61)
    first = await one.hangup()
    assert await one.hangup() == first
    assert (await rig.service.end(one.expert, one.id)).earned_minor == 76_500
    await rig.crash()
    remembered = await rig.service.end(one.customer, one.id)
    assert remembered == first
    snapshot, missed = await rig.service.join(one.expert, "x", one.id, 99)
    assert (snapshot.state, snapshot.last_seq, missed) == ("ended", 0, [])


async def test_T15_invites_are_rate_limited_per_customer(sqlite_url: str) -> None:
    async with SessionRig(sqlite_url, invites_per_s=0.2, invite_burst=2) as rig:
        one = await call(rig, tariff(900))
        for _ in range(2):
            await one.invite()
            await one.hangup()
        with pytest.raises(RateLimited) as refused:
            await one.invite()
        assert refused.value.extra["retry_after"] == 5
        await rig.run(5)
        await one.invite()
        await one.hangup()
        await rig.audit()


async def test_a_full_media_worker_refuses_and_leaves_nothing(rig: SessionRig) -> None:
    rig.media._capacity = 0
    one = await call(rig, tariff(900))
    with pytest.raises(Unavailable) as refused:
        await one.invite()
    assert refused.value.code == "overloaded"
    assert rig.service.live_sessions() == []


async def test_T25_one_way_and_two_way_at_the_customers_wish(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    with pytest.raises(Forbidden):
        await rig.service.set_direction(one.expert, one.id, "one_way")
    await rig.service.set_direction(one.customer, one.id, "one_way")
    assert rig.media.calls[one.id].one_way
    await rig.service.set_direction(one.customer, one.id, "two_way")
    assert not rig.media.calls[one.id].one_way
    assert (await rig.row(one.id)).direction == "two_way"
    await one.hangup()


async def test_a_lost_customer_gives_up_ringing_after_the_window(rig: SessionRig) -> None:
    patient = Policy(commission_bps=0, ring_timeout_s=300)
    one = await (await call(rig, tariff(900), policy=patient)).invite()
    await rig.service.device_gone(one.customer, one.customer_device)
    await rig.run(29)
    await rig.service.join(one.customer, "back", one.id, 0)
    await rig.run(20)
    assert rig.service.ringing_for(one.expert) == 1
    await rig.service.device_gone(one.customer, "back")
    await rig.run(31)
    row = await rig.row(one.id)
    assert (row.end_reason, row.ended_by) == ("canceled", "customer")


async def test_staff_end_a_session_by_the_ordinary_rule(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    await rig.run(100)
    summary = await rig.service.terminate(one.id, by="staff:ada")
    assert (summary.reason, summary.ended_by, summary.total_minor) == (
        "terminated",
        "staff",
        90_000,
    )


async def test_live_sessions_and_figures_for_operators(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    await rig.run(70)
    (live,) = rig.service.live_sessions()
    assert (live.session_id, live.state, live.elapsed_ms, live.charged_minor) == (
        one.id,
        "in_progress",
        70_000,
        90_000,
    )
    figures = rig.service.metrics()
    assert (figures["sessions_in_progress"], figures["blocks_charged"]) == (1, 1)
    assert rig.service.in_live_session(one.expert)
    await one.hangup()
    assert not rig.service.in_live_session(one.expert)
    assert rig.service.metrics()["ended_completed"] == 1


async def test_statements_and_warnings_on_the_way(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    await rig.run(905)
    ticks = rig.out.of(one.customer, "meter.tick")
    told = [payload["meter"] for _, payload in rig.out.users[one.customer] if "meter" in payload]
    running_ms = [meter["elapsed_ms"] for meter in told if meter["state"] in {"grace", "running"}]
    assert running_ms[0] == 0
    assert running_ms[-1] >= 840_000
    assert {later - earlier <= 60_000 for earlier, later in itertools.pairwise(running_ms)} == {
        True
    }
    lows = rig.out.of(one.customer, "meter.low_balance")
    assert [(low["seconds_left"], low["shortfall_minor"]) for low in lows] == [
        (120, 90_000),
        (30, 90_000),
    ]
    assert not rig.out.of(one.expert, "meter.low_balance")
    assert all("balance_minor" in tick["meter"] for tick in ticks)
    assert (await rig.row(one.id)).end_reason == "insufficient_funds"


async def test_a_customer_who_reports_seldom_is_billed_all_the_same(rig: SessionRig) -> None:
    one = await call(rig, tariff(60, grace_seconds=0), wallet=900_000, mode="audio")
    await (await (await one.invite()).accept()).begin()
    patience_ns = PAUSE_AFTER_REPORTS_ONLY_NS
    rig.media.first_frame(one.id, rig.clock.now_ns(), MediaKind.AUDIO, patience_ns)
    for _ in range(8):
        await rig.run(7.5)
        rig.media.deliver(one.id, rig.clock.now_ns(), patience_ns)
    await rig.run(9)
    rig.media.deliver(one.id, rig.clock.now_ns(), patience_ns)
    summary = await one.hangup()
    assert summary.billed_seconds == 60
    assert (await rig.evidence(one.id)).count("meter.paused") == 1


async def test_the_chat_gate(rig: SessionRig) -> None:
    one = await call(rig, tariff(60, grace_seconds=0, prepaid_seconds=60), mode="text")
    await one.invite()
    with pytest.raises(Conflict) as early:
        rig.service.chat_gate(one.customer, one.id)
    assert early.value.code == "wrong_state"
    await one.accept()
    stranger = await rig.user("Stranger")
    with pytest.raises(Forbidden):
        rig.service.chat_gate(stranger, one.id)
    for _ in range(2):
        await one.say()
    gate = rig.service.chat_gate(one.expert, one.id)
    assert (gate.role, gate.mode, gate.order_id) == ("expert", "text", one.order_id)
    await rig.run(59.999)
    rig.service.chat_gate(one.customer, one.id)
    # The money is used up at 60 s, and no timer has run yet.
    rig.clock._now_ns += 1_000_000
    with pytest.raises(Conflict) as late:
        rig.service.chat_gate(one.customer, one.id)
    assert late.value.code == "session_ended"
    await rig.run(0)
    assert (await rig.row(one.id)).end_reason == "insufficient_funds"


async def test_T36_a_text_session_pauses_while_a_party_is_away_and_ends_after_the_window(
    rig: SessionRig,
) -> None:
    one = await (await call(rig, tariff(60, grace_seconds=0), mode="text")).talk()
    await one.say()
    await one.say()
    await rig.run(10)
    await rig.service.device_gone(one.customer, one.customer_device)
    await rig.run(20)
    await rig.service.join(one.customer, "back", one.id, 0)
    await rig.run(10)
    (paused,) = rig.out.of(one.expert, "meter.paused")
    assert paused["reason"] == "disconnected"
    await rig.service.device_gone(one.expert, one.expert_device)
    await rig.run(31)
    row = await rig.row(one.id)
    assert (row.end_reason, row.served_ns, row.billed_seconds) == (
        "disconnected",
        20_000_000_000,
        60,
    )


async def test_chat_events_share_the_sessions_sequence(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900), mode="text")).talk()
    before, _ = await rig.service.join(one.customer, one.customer_device, one.id, 0)
    await rig.service.publish(one.id, one.customer, "message.created", {"session_id": one.id})
    await rig.service.publish(one.id, one.customer, "typing", {"session_id": one.id})
    _, missed = await rig.service.join(one.customer, "other", one.id, before.last_seq)
    assert [event for event, _ in missed] == ["message.created"]
    await rig.service.publish("ses_none", one.customer, "typing", {})
    await one.hangup()
