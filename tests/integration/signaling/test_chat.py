"""Chat over real sockets and a real store (T34 to T36, T54, B33)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from engine.store.tables import conversations, messages
from tests.support.signaling import Client, Serializer, Site


@pytest.fixture
async def chat(site: Site) -> tuple[Client, Client, str]:
    """Customer, expert and a running text session."""
    customer, expert = await site.sign_in(site.customer), await site.sign_in(site.expert)
    return customer, expert, await site.running(customer, expert)


Chat = tuple[Client, Client, str]


async def stored(site: Site) -> list[tuple[int, str, str]]:
    async with site.store.reading() as tx:
        query = sa.select(messages.c.seq, messages.c.author_id, messages.c.body)
        return [tuple(row) for row in await tx.execute(query.order_by(messages.c.seq))]


@pytest.mark.parametrize("serializer", ["json", "msgpack"])
async def test_a_message_reaches_all_devices_of_both_parties(
    site: Site, chat: Chat, serializer: Serializer
) -> None:
    customer, expert, session_id = chat
    tablet, phone = (
        await site.sign_in(site.expert, serializer),
        await site.sign_in(site.customer, serializer),
    )
    stranger = await site.sign_in(site.stranger)
    answer = await customer.ok(
        "message.send", session_id=session_id, client_msg_id="a", body="Grüße 🙂"
    )
    assert answer["duplicate"] is False
    for device in (customer, phone, expert, tablet):
        created = await device.wait_for("message.created")
        assert created["message"] == answer["message"]
        assert created["session_id"] == session_id
    assert answer["message"]["seq"] == 1
    assert answer["message"]["body"] == "Grüße 🙂"
    await stranger.settle()
    assert stranger.order == []


async def test_T35_T54_every_stored_message_is_reported_once_and_in_order(
    site: Site, chat: Chat
) -> None:
    customer, expert, session_id = chat
    for number in range(3):
        for client in (expert, customer):
            for _ in range(2):
                await client.ok(
                    "message.send", session_id=session_id, client_msg_id=str(number), body="text"
                )
    assert [gate.role for gate in site.sessions.stored] == ["expert", "customer"] * 3
    assert len(await stored(site)) == 6


async def test_messages_sent_at_once_keep_the_order_of_their_sender(site: Site, chat: Chat) -> None:
    customer, expert, session_id = chat
    sent = [
        asyncio.ensure_future(
            client.ok(
                "message.send",
                session_id=session_id,
                client_msg_id=f"{name}{number}",
                body=f"{name}{number}",
            )
        )
        for number in range(20)
        for name, client in (("c", customer), ("e", expert))
    ]
    answers = await asyncio.gather(*sent)
    assert sorted(answer["message"]["seq"] for answer in answers) == list(range(1, 41))
    await customer.settle()
    for client in (customer, expert):
        await client.wait_for("message.created", 40)
        seqs = [event["message"]["seq"] for event in client.events["message.created"]]
        assert seqs == list(range(1, 41))
    for name in "ce":
        bodies = [body for _, _, body in await stored(site) if body.startswith(name)]
        assert bodies == [f"{name}{number}" for number in range(20)]


async def test_the_same_message_twice_is_stored_once(site: Site, chat: Chat) -> None:
    customer, expert, session_id = chat
    message = {"session_id": session_id, "client_msg_id": "same", "body": "once"}
    both = await asyncio.gather(*(customer.ok("message.send", **message) for _ in range(2)))
    phone = await site.sign_in(site.customer)
    third = await phone.ok("message.send", **message)
    assert [answer["duplicate"] for answer in (*both, third)] == [False, True, True]
    assert len({answer["message"]["id"] for answer in (*both, third)}) == 1
    await expert.settle()
    assert len(expert.events["message.created"]) == 1
    assert len(site.sessions.stored) == 1
    async with site.store.reading() as tx:
        assert await tx.scalar(sa.select(conversations.c.last_seq)) == 1


async def test_another_text_under_the_same_id_is_refused(site: Site, chat: Chat) -> None:
    customer, expert, session_id = chat
    await customer.ok("message.send", session_id=session_id, client_msg_id="1", body="one")
    code = await customer.code("message.send", session_id=session_id, client_msg_id="1", body="two")
    assert code == "client_msg_id_reused"
    await expert.ok("message.send", session_id=session_id, client_msg_id="1", body="mine")
    assert [body for _, _, body in await stored(site)] == ["one", "mine"]


async def test_after_the_cutoff_nothing_is_accepted_but_a_repetition_is_answered(
    site: Site, chat: Chat
) -> None:
    customer, _expert, session_id = chat
    sent = await customer.ok("message.send", session_id=session_id, client_msg_id="1", body="one")
    await customer.ok("session.end", session_id=session_id)
    code = await customer.code("message.send", session_id=session_id, client_msg_id="2", body="two")
    assert code == "session_ended"
    again = await customer.ok("message.send", session_id=session_id, client_msg_id="1", body="one")
    assert (again["message"], again["duplicate"]) == (sent["message"], True)
    assert len(await stored(site)) == 1
    assert len(site.sessions.stored) == 1


async def test_before_the_answer_nothing_is_accepted(site: Site) -> None:
    customer, expert = await site.sign_in(site.customer), await site.sign_in(site.expert)
    await expert.ok("presence.set", status="available")
    invited = await customer.ok("call.invite", order_id=site.order_id, mode="text")
    code = await customer.code(
        "message.send", session_id=invited["session_id"], client_msg_id="1", body="hello?"
    )
    assert code == "wrong_state"


async def test_strangers_neither_write_nor_read(site: Site, chat: Chat) -> None:
    _customer, _expert, session_id = chat
    stranger = await site.sign_in(site.stranger)
    code = await stranger.code("message.send", session_id=session_id, client_msg_id="1", body="hi")
    assert code == "not_party"
    assert await stranger.code("typing", session_id=session_id, typing=True) == "not_party"
    for conversation_id in (site.conversation_id, "cnv_none"):
        for event, more in (("message.history", {}), ("message.read", {"seq": 1})):
            code = await stranger.code(event, conversation_id=conversation_id, **more)
            assert code == "conversation_not_found"


@pytest.mark.parametrize("body", [" ", "\n\t ", "\x00\x07", "\u202e"])
async def test_a_message_without_text_is_refused(site: Site, chat: Chat, body: str) -> None:
    customer, _expert, session_id = chat
    code = await customer.code("message.send", session_id=session_id, client_msg_id="1", body=body)
    assert code == "message_empty"
    assert site.sessions.stored == []


async def test_typing_goes_to_the_other_party_only_and_is_not_stored(
    site: Site, chat: Chat
) -> None:
    customer, expert, session_id = chat
    await customer.ok("typing", session_id=session_id, typing=True)
    told = await expert.wait_for("typing")
    assert (told["role"], told["typing"]) == ("customer", True)
    await customer.settle()
    assert customer.events["typing"] == []
    assert await stored(site) == []


async def test_read_marks_only_grow_and_are_told_to_both(site: Site, chat: Chat) -> None:
    customer, expert, session_id = chat
    for number in range(3):
        await expert.ok(
            "message.send", session_id=session_id, client_msg_id=str(number), body="text"
        )
    for asked in (2, 1, 2, 99):
        await customer.ok("message.read", conversation_id=site.conversation_id, seq=asked)
    for client in (customer, expert):
        await client.settle()
        marks = [mark["seq"] for mark in client.events["message.read"]]
        assert marks == [2, 3]
        assert {mark["user_id"] for mark in client.events["message.read"]} == {site.customer}


async def test_history_pages_backwards_and_outlives_the_session(site: Site, chat: Chat) -> None:
    customer, expert, session_id = chat
    for number in range(7):
        await customer.ok(
            "message.send", session_id=session_id, client_msg_id=str(number), body=str(number)
        )
    await customer.ok("session.end", session_id=session_id)
    found: list[int] = []
    before = None
    while True:
        page = await expert.ok(
            "message.history", conversation_id=site.conversation_id, before_seq=before, limit=3
        )
        found = [message["seq"] for message in page["messages"]] + found
        if not page["more"]:
            break
        before = found[0]
    assert found == list(range(1, 8))


async def test_a_message_of_the_system_takes_its_place_and_is_told(site: Site, chat: Chat) -> None:
    customer, expert, session_id = chat
    await customer.ok("message.send", session_id=session_id, client_msg_id="1", body="one")
    async with site.store.transaction() as tx:
        posted = await site.chat.post_system(tx, site.conversation_id, "Session ended, 12.00 EUR")
    await site.chat.announce(posted)
    for client in (customer, expert):
        told = (await client.wait_for("message.created", 2))["message"]
        assert (told["seq"], told["kind"], told["author_id"]) == (2, "system", None)


async def test_a_system_message_of_a_failed_transaction_never_was(site: Site) -> None:
    async def fail() -> None:
        async with site.store.transaction() as tx:
            await site.chat.post_system(tx, site.conversation_id, "never")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await stored(site) == []
    async with site.store.reading() as tx:
        assert await tx.scalar(sa.select(conversations.c.last_seq)) == 0


async def test_a_message_waits_until_the_one_before_it_is_told_and_counted(
    site: Site, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer, expert, session_id = chat
    told: list[str] = []
    free = asyncio.Event()
    publish = site.sessions.publish

    async def publish_slowly(session: str, user: str, event: str, payload: Any) -> None:
        if payload["message"]["body"] == "first":
            await free.wait()
        told.append(payload["message"]["body"])
        await publish(session, user, event, payload)

    monkeypatch.setattr(site.sessions, "publish", publish_slowly)
    sent = [
        asyncio.ensure_future(
            client.ok("message.send", session_id=session_id, client_msg_id=body, body=body)
        )
        for client, body in ((customer, "first"), (expert, "second"))
    ]
    stranger = await site.sign_in(site.stranger)
    for _ in range(10):  # others write meanwhile, and so would the second, were it not to wait
        await stranger.settle()
        await site.publish_listing()
    assert told == []
    free.set()
    await asyncio.gather(*sent)
    assert told == ["first", "first", "second", "second"]
    assert [gate.role for gate in site.sessions.stored] == ["customer", "expert"]
