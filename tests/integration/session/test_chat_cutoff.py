"""Chat of a paid session, with the real chat service: what the money does not cover is not said."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from engine.chat.service import ChatService
from engine.errors import Conflict
from engine.media.interface import Role
from engine.signaling.messages import Message, MessageSend
from engine.store import tables as t
from tests.support.meter_rig import tariff
from tests.support.session_rig import Call, SessionRig, call, turns


async def _paid_minute(rig: SessionRig) -> tuple[Call, ChatService]:
    """A text session whose clock runs and whose money lasts for 60 s."""
    one = await call(rig, tariff(60, grace_seconds=0, prepaid_seconds=60), mode="text")
    await one.talk()
    for _ in range(2):
        await one.say()
    chat = ChatService(rig.store, rig.clock, rig.service)
    chat.connect(rig.out)
    return one, chat


def _sending(one: Call, chat: ChatService, name: str) -> asyncio.Task[tuple[Message, bool]]:
    said = MessageSend(session_id=one.id, client_msg_id=name, body=name)
    return asyncio.create_task(chat.send(one.expert, said))


async def _stored(rig: SessionRig) -> list[str]:
    async with rig.store.reading() as tx:
        return list((await tx.execute(sa.select(t.messages.c.body))).scalars())


@pytest.mark.parametrize("waited_s", [10, 61])
async def test_a_message_that_waits_for_the_store_beyond_the_cutoff_is_refused(
    rig: SessionRig, waited_s: int
) -> None:
    one, chat = await _paid_minute(rig)
    rig.store.slow.clear()
    sending = _sending(one, chat, "late")
    await turns()
    # Time alone passes: whatever else waits for the store is not looked at.
    rig.clock._now_ns += waited_s * 1_000_000_000
    rig.store.slow.set()
    if waited_s == 10:
        message, _ = await sending
        assert await _stored(rig) == [message.body] == ["late"]
        assert len(rig.out.of(one.customer, "message.created")) == 1
        return
    with pytest.raises(Conflict) as refusal:
        await sending
    assert refusal.value.code == "session_ended"
    assert await _stored(rig) == []
    assert rig.out.of(one.customer, "message.created") == []
    await rig.run(0)
    assert (await rig.row(one.id)).end_reason == "insufficient_funds"


async def test_a_message_sent_before_is_still_answered_after_the_cutoff(rig: SessionRig) -> None:
    one, chat = await _paid_minute(rig)
    message, _ = await _sending(one, chat, "early")
    await one.hangup(Role.CUSTOMER)
    assert await _sending(one, chat, "early") == (message, True)
