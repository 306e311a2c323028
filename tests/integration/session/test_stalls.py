"""A process that stands still serves nobody, and nobody pays for that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import sqlalchemy as sa

from engine.clock import NS_PER_S
from engine.media.interface import Role
from engine.metering.tariff import Tariff
from engine.session.ports import ChatGate
from engine.store import tables as t
from tests.support.meter_rig import tariff
from tests.support.session_rig import Call, SessionRig, call

FROZEN_S = 30
SECOND = tariff(1, grace_seconds=0, prepaid_seconds=120)


async def _chat(rig: SessionRig, each: Tariff = SECOND) -> Call:
    """A chat whose clock has run for ten seconds."""
    one = await (await call(rig, each, mode="text", wallet=900_000)).talk()
    for _ in range(2):
        await one.say()
    await rig.run(10)
    return one


async def _checkpoint(rig: SessionRig, one: Call) -> None:
    """What is written down is all that is left when the process dies."""
    await rig.service._heartbeat._checkpoint()
    row = await rig.row(one.id)
    assert 9 * NS_PER_S <= row.served_ns <= 10 * NS_PER_S


async def _hang_up(rig: SessionRig, one: Call) -> None:
    await one.hangup()


async def _say(rig: SessionRig, one: Call) -> None:
    await one.say()


async def _look(rig: SessionRig, one: Call) -> None:
    rig.service.live_sessions()


async def _top_up(rig: SessionRig, one: Call) -> None:
    await rig.topup(one.customer, 1_000)


async def _run(rig: SessionRig, one: Call) -> None:
    await rig.run(0)


@pytest.mark.parametrize("first", [_checkpoint, _hang_up, _say, _look, _top_up, _run])
async def test_a_chat_does_not_pay_for_the_time_in_which_the_process_stood_still(
    rig: SessionRig, first: Callable[[SessionRig, Call], Awaitable[None]]
) -> None:
    """Whatever happens first after it."""
    one = await _chat(rig)
    rig.clock.leap(FROZEN_S)
    await first(rig, one)
    if first is not _hang_up:
        await rig.run(20)
        await one.hangup()
    served_s = 10 if first is _hang_up else 30
    row = await rig.row(one.id)
    # What was served since the clock was last read, less than a second, is the platform's.
    assert (served_s - 1) * NS_PER_S <= row.served_ns <= served_s * NS_PER_S
    assert row.captured_minor == await rig.total(one.id) == served_s * 100
    await rig.audit()


async def test_the_parties_see_it_as_a_pause(rig: SessionRig) -> None:
    one = await _chat(rig)
    rig.clock.leap(FROZEN_S)
    await rig.run(1)
    evidence = await rig.evidence(one.id)
    assert evidence[-2:] == ["meter.paused", "meter.resumed"]
    events = t.session_events
    query = sa.select(events.c.at_ms).where(events.c.session_id == one.id)
    paused, resumed = (row.at_ms for row in (await rig.rows(query.order_by(events.c.seq)))[-2:])
    assert (FROZEN_S - 1) * 1_000 <= resumed - paused <= (FROZEN_S + 1) * 1_000
    for user in (one.customer, one.expert):
        assert rig.out.of(user, "meter.paused")
        assert rig.out.of(user, "meter.resumed")


async def test_money_lasts_as_much_longer(rig: SessionRig) -> None:
    one = await (
        await call(rig, tariff(60, grace_seconds=0, prepaid_seconds=60), mode="text")
    ).talk()
    for _ in range(2):
        await one.say()
    await rig.run(10)
    rig.clock.leap(70)
    await one.say()  # before anything else is looked at
    await rig.run(49)
    assert (await rig.row(one.id)).state == "in_progress"
    await one.say(Role.EXPERT)
    await rig.run(3)
    row = await rig.row(one.id)
    assert (row.end_reason, row.captured_minor) == ("insufficient_funds", 6_000)
    await rig.audit()


async def test_a_message_before_it_starts_the_clock_without_it(
    rig: SessionRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stored, and the process stopped before the clock was started."""
    one = await (await call(rig, SECOND, mode="text", wallet=90_000)).talk()
    await one.say()
    stored: list[ChatGate] = []

    async def keep(gate: ChatGate) -> None:
        stored.append(gate)

    with monkeypatch.context() as patch:
        patch.setattr(rig.service, "message_stored", keep)
        await one.say()
    rig.clock.leap(FROZEN_S)
    await rig.service.message_stored(stored[0])
    await rig.run(20)
    await one.hangup()
    assert 19 * NS_PER_S <= (await rig.row(one.id)).served_ns <= 20 * NS_PER_S


async def test_who_could_not_come_back_meanwhile_has_the_rest_of_the_window(
    rig: SessionRig,
) -> None:
    one = await _chat(rig)
    await rig.service.device_gone(one.customer, one.customer_device)
    await rig.run(1)
    rig.clock.leap(40)
    await rig.run(20)
    await rig.service.join(one.customer, one.customer_device, one.id, 0)
    await rig.run(5)
    await one.hangup()
    row = await rig.row(one.id)
    assert (row.end_reason, row.served_ns) == ("completed", 15 * NS_PER_S)


async def test_a_chat_in_which_nobody_could_write_is_not_idle(rig: SessionRig) -> None:
    one = await _chat(rig)
    await rig.run(580)
    rig.clock.leap(60)
    await rig.run(5)
    await one.say(Role.EXPERT)
    await rig.run(500)
    assert (await rig.row(one.id)).state == "in_progress"
    await rig.run(101)
    assert (await rig.row(one.id)).end_reason == "idle"


async def test_a_short_delay_is_service(rig: SessionRig) -> None:
    one = await _chat(rig)
    rig.clock.leap(1.9)
    await rig.run(8.1)
    await one.hangup()
    assert (await rig.row(one.id)).served_ns == 20 * NS_PER_S
    assert "meter.paused" not in await rig.evidence(one.id)


async def test_a_call_that_stands_still_pauses_as_its_acknowledgements_say(rig: SessionRig) -> None:
    one = await (await call(rig, SECOND, wallet=90_000)).talk()
    await rig.run(10)
    rig.clock.leap(20)
    await rig.run(20)
    await one.hangup()
    assert 29 * NS_PER_S <= (await rig.row(one.id)).served_ns <= 30 * NS_PER_S
    await rig.audit()
