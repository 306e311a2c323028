"""Chat of a paid session, with the real chat service: what the money does not cover is not said."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from engine.clock import NS_PER_S
from engine.errors import Conflict, Unavailable
from engine.media.interface import Role
from engine.signaling.messages import Message, MessageSend
from engine.store import tables as t
from tests.support.meter_rig import tariff
from tests.support.session_rig import Call, SessionRig, call, turns


async def _paid_minute(rig: SessionRig) -> Call:
    """A text session whose clock runs and whose money lasts for 60 s."""
    one = await call(rig, tariff(60, grace_seconds=0, prepaid_seconds=60), mode="text")
    await one.talk()
    for _ in range(2):
        await one.say()
    return one


async def _send(one: Call, name: str, user: str = "") -> tuple[Message, bool]:
    said = MessageSend(session_id=one.id, client_msg_id=name, body=name)
    sent = await one.rig.chat.send(user or one.expert, said)
    await one.rig.settle()
    return sent


async def _stored(rig: SessionRig) -> list[str]:
    """What was stored after the two messages that start the clock."""
    query = sa.select(t.messages.c.body).order_by(t.messages.c.seq).offset(2)
    async with rig.store.reading() as tx:
        return list((await tx.execute(query)).scalars())


def _heard(rig: SessionRig, user: str) -> list[str]:
    return [told["message"]["body"] for told in rig.out.of(user, "message.created")][2:]


@pytest.mark.parametrize("waited_s", [10, 61])
async def test_a_message_that_waits_for_the_store_beyond_the_cutoff_is_refused(
    rig: SessionRig, waited_s: int
) -> None:
    one = await _paid_minute(rig)
    rig.store.slow.clear()
    sending = asyncio.create_task(_send(one, "late"))
    await turns()
    # Time alone passes, and the engine sees it: no deadline is looked at meanwhile.
    for _ in range(waited_s):
        rig.clock.leap(1)
        rig.service.live_sessions()
    rig.store.slow.set()
    if waited_s == 10:
        await sending
        assert await _stored(rig) == _heard(rig, one.customer) == ["late"]
        return
    with pytest.raises(Conflict) as refusal:
        await sending
    assert refusal.value.code == "session_ended"
    assert await _stored(rig) == _heard(rig, one.customer) == []
    await rig.run(0)
    assert (await rig.row(one.id)).end_reason == "insufficient_funds"


async def test_a_message_sent_before_is_still_answered_after_the_cutoff(rig: SessionRig) -> None:
    one = await _paid_minute(rig)
    message, _ = await _send(one, "early")
    await one.hangup(Role.CUSTOMER)
    assert await _send(one, "early") == (message, True)


async def test_nobody_writes_while_the_clock_stands_still(rig: SessionRig) -> None:
    """Who has left with the device that was counted has other sockets that hear everything."""
    one = await _paid_minute(rig)
    await rig.service.device_gone(one.customer, one.customer_device)
    await rig.settle()
    for user in (one.customer, one.expert):
        with pytest.raises(Conflict) as refusal:
            await _send(one, f"while away, {user}", user)
        assert refusal.value.code == "session_paused"
    await rig.service.join(one.customer, one.customer_device, one.id, 0)
    await rig.settle()
    await _send(one, "back")
    assert await _stored(rig) == ["back"]


async def test_a_message_whose_commit_was_lost_is_told_and_starts_the_clock_when_repeated(
    rig: SessionRig,
) -> None:
    one = await (await call(rig, tariff(60, grace_seconds=0), mode="text", wallet=90_000)).talk()
    await one.say()
    rig.store.fail_after = rig.store.begun
    with pytest.raises(Unavailable):
        await _send(one, "second", one.customer)
    await rig.run(5)
    for _ in range(3):
        assert (await _send(one, "second", one.customer))[1]
    assert len(rig.out.of(one.expert, "message.created")) == 2
    await rig.run(30)
    assert (await one.hangup()).total_minor == 6_000
    assert (await rig.row(one.id)).served_ns == 30 * NS_PER_S


async def test_a_message_whose_commit_was_lost_before_a_pause_is_told_after_it(
    rig: SessionRig,
) -> None:
    one = await _paid_minute(rig)
    rig.store.fail_after = rig.store.begun
    with pytest.raises(Unavailable):
        await _send(one, "lost")
    await rig.service.device_gone(one.customer, one.customer_device)
    await rig.settle()
    with pytest.raises(Conflict) as refusal:
        await _send(one, "lost")
    assert refusal.value.code == "session_paused"
    await rig.service.join(one.customer, one.customer_device, one.id, 0)
    await rig.settle()
    for _ in range(2):
        assert (await _send(one, "lost"))[1]
    assert _heard(rig, one.customer) == ["lost"]


async def test_a_message_that_is_repeated_is_one_message_to_the_clock(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(60, grace_seconds=0), mode="text", wallet=90_000)).talk()
    for _ in range(3):
        await _send(one, "first", one.customer)
    await rig.run(10)
    assert (await one.hangup()).total_minor == 0


async def test_a_node_that_lost_a_session_takes_no_message_for_it(rig: SessionRig) -> None:
    """It learns of that with its next checkpoint only."""
    one = await _paid_minute(rig)
    row = sa.update(t.sessions).where(t.sessions.c.id == one.id)
    async with rig.store.transaction() as tx:
        await tx.execute(row.values(owner="node-2", epoch=2))
    with pytest.raises(Conflict) as refusal:
        await _send(one, "late")
    assert refusal.value.code == "session_ended"
    assert await _stored(rig) == _heard(rig, one.customer) == []
    async with rig.store.transaction() as tx:
        await tx.execute(row.values(owner=rig.node_id, epoch=1))
    await one.hangup()
