"""Messages outside of sessions, over real sockets and a real store (P7, P23, T56, T82)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from engine.chat.off_platform import Screened
from engine.chat.ports import After, Conversation, Plain, Screen
from engine.errors import Forbidden
from engine.signaling.messages import Message, MessageSend
from engine.store.database import Store, Tx
from engine.store.tables import messages, read_marks
from tests.integration.signaling.test_chat_store import prepared
from tests.support.signaling import Client, Site

PAIR = "cnv_pair"


@pytest.fixture
async def pair(site: Site) -> tuple[Client, Client]:
    await site.add_conversation(PAIR, "pair", site.customer, site.expert)
    return await site.sign_in(site.customer), await site.sign_in(site.expert)


Pair = tuple[Client, Client]


async def test_P7_P23_a_message_reaches_all_devices_of_all_members_at_once(
    site: Site, pair: Pair
) -> None:
    customer, expert = pair
    phone, stranger = await site.sign_in(site.expert, "msgpack"), await site.sign_in(site.stranger)
    sent = await customer.ok(
        "message.send", conversation_id=PAIR, client_msg_id="1", body="Do you translate?"
    )
    for device in (customer, expert, phone):
        told = await device.wait_for("message.created")
        assert told["message"] == sent["message"]
        assert (told["session_id"], told["order_id"]) == (None, None)
    assert (sent["message"]["seq"], sent["message"]["session_id"]) == (1, None)
    assert (sent["warning"], sent["message"]["masked"], sent["message"]["files"]) == (None, [], [])
    await stranger.settle()
    assert stranger.order == []


async def test_T56_outside_of_a_session_nothing_is_counted(site: Site) -> None:
    customer, expert = await site.sign_in(site.customer), await site.sign_in(site.expert)
    session_id = await site.running(customer, expert)
    for number in range(3):
        sent = await customer.ok(
            "message.send",
            conversation_id=site.conversation_id,
            client_msg_id=f"free{number}",
            body="not of the session",
        )
        assert sent["message"]["session_id"] is None
    assert site.sessions.stored == []
    counted = await customer.ok(
        "message.send", session_id=session_id, client_msg_id="1", body="of the session"
    )
    assert counted["message"]["seq"] == 4
    assert [gate.session_id for gate in site.sessions.stored] == [session_id]
    created = (await expert.wait_for("message.created", 4))["message"]
    assert created == counted["message"]


@pytest.mark.parametrize("place", [{}, {"session_id": "ses_1", "conversation_id": PAIR}])
async def test_a_message_and_typing_name_one_place(
    site: Site, pair: Pair, place: dict[str, str]
) -> None:
    for event, more in (
        ("message.send", {"client_msg_id": "1", "body": "hi"}),
        ("typing", {"typing": True}),
    ):
        assert await pair[0].code(event, **place, **more) == "invalid_payload"


async def test_repetitions_are_answered_and_other_texts_refused(site: Site, pair: Pair) -> None:
    customer, expert = pair
    message = {"conversation_id": PAIR, "client_msg_id": "same", "body": "once"}
    both = await asyncio.gather(*(customer.ok("message.send", **message) for _ in range(3)))
    assert [answer["duplicate"] for answer in both] == [False, True, True]
    assert (
        await customer.code("message.send", **message | {"body": "two"}) == "client_msg_id_reused"
    )
    await expert.settle()
    assert len(expert.events["message.created"]) == 1


async def test_strangers_neither_write_read_nor_type(site: Site, pair: Pair) -> None:
    stranger = await site.sign_in(site.stranger)
    for event, more in (
        ("message.send", {"client_msg_id": "1", "body": "hi"}),
        ("typing", {"typing": True}),
        ("message.read", {"seq": 1}),
        ("message.history", {}),
    ):
        code = await stranger.code(event, conversation_id=PAIR, **more)
        assert code == "conversation_not_found"


async def test_typing_is_told_to_the_other_members(site: Site, pair: Pair) -> None:
    customer, expert = pair
    await customer.ok("typing", conversation_id=PAIR, typing=True)
    told = await expert.wait_for("typing")
    assert (told["conversation_id"], told["user_id"], told["session_id"]) == (
        PAIR,
        site.customer,
        None,
    )
    await customer.settle()
    assert customer.events["typing"] == []


async def test_reading_is_told_to_all_and_whoever_answers_has_read(site: Site, pair: Pair) -> None:
    customer, expert = pair
    for number in range(2):
        await customer.ok(
            "message.send", conversation_id=PAIR, client_msg_id=str(number), body="question"
        )
    await expert.ok("message.read", conversation_id=PAIR, seq=1)
    told = await customer.wait_for("message.read")
    assert (told["user_id"], told["seq"]) == (site.expert, 1)
    await expert.ok("message.send", conversation_id=PAIR, client_msg_id="a", body="answer")
    async with site.store.reading() as tx:
        marks = sa.select(read_marks.c.user_id, read_marks.c.seq)
        assert dict((await tx.execute(marks)).all()) == {site.customer: 2, site.expert: 3}


async def test_an_engine_token_hears_and_writes_of_its_order_only(site: Site, pair: Pair) -> None:
    customer, expert = pair
    device = site.client()
    await device.connect(site.tokens.issue_engine(site.expert, site.order_id, "expert"))
    await site.signaling.settle()
    code = await device.code("message.send", conversation_id=PAIR, client_msg_id="1", body="no")
    assert code == "conversation_not_found"
    await customer.ok("message.send", conversation_id=PAIR, client_msg_id="1", body="not for it")
    await customer.ok(
        "message.send", conversation_id=site.conversation_id, client_msg_id="1", body="for it"
    )
    told = await device.wait_for("message.created")
    assert (told["message"]["body"], told["order_id"]) == ("for it", site.order_id)
    await device.ok(
        "message.send", conversation_id=site.conversation_id, client_msg_id="1", body="answer"
    )
    assert (await customer.wait_for("message.created", 3))["message"]["body"] == "answer"
    await expert.settle()
    assert len(device.events["message.created"]) == 2


async def test_C34_a_cards_number_is_not_even_stored(site: Site) -> None:
    customer, expert = await site.sign_in(site.customer), await site.sign_in(site.expert)
    session_id = await site.running(customer, expert)
    for place in ({"session_id": session_id}, {"conversation_id": site.conversation_id}):
        body = {"client_msg_id": f"m{len(place)}{next(iter(place))}", "body": "4111 1111 1111 1111"}
        sent = await customer.ok("message.send", **place, **body)
        assert (sent["message"]["body"], sent["message"]["masked"]) == ("•••", ["card"])
        assert "pay on this site" in sent["warning"]
        again = await customer.ok("message.send", **place, **body)
        assert again["duplicate"] is True
    await customer.ok("session.end", session_id=session_id)
    again = await customer.ok(
        "message.send", session_id=session_id, client_msg_id="m1session_id", body="4111111111111111"
    )
    assert again["duplicate"] is True
    async with site.store.reading() as tx:
        stored = (await tx.execute(sa.select(messages.c.body, messages.c.original_body))).all()
    assert [tuple(row) for row in stored] == [("•••", None)] * 2


class Market(Plain):
    """Hides the word secret, and closes on request."""

    def __init__(self) -> None:
        self.closed = False
        self.told: list[tuple[str, str]] = []

    async def admit(self, tx: Tx, where: Conversation, author_id: str) -> Screen | None:
        if self.closed:
            raise Forbidden("blocked", "no")

        def screen(text: str) -> Screened:
            hidden = text.replace("secret", "•••")
            return Screened(hidden, ("link",) if hidden != text else ())

        return screen

    async def stored(
        self, tx: Tx, where: Conversation, message: Message, at_ms: int
    ) -> Sequence[After]:
        async def after() -> None:
            self.told.append((where.kind, message.body))

        async def fail() -> None:
            raise RuntimeError

        return [fail, after]


@pytest.fixture
def market(site: Site) -> Market:
    market = Market()
    site.chat.correspondence = market
    return market


async def test_P13_the_receiver_sees_what_the_marketplace_lets_through(
    site: Site, pair: Pair, market: Market
) -> None:
    customer, expert = pair
    message: dict[str, Any] = {"conversation_id": PAIR, "client_msg_id": "1", "body": "a secret"}
    sent = await customer.ok("message.send", **message)
    assert (sent["message"]["body"], sent["message"]["masked"]) == ("a secret", ["link"])
    assert "until an order is paid" in sent["warning"]
    assert (await customer.wait_for("message.created"))["message"]["body"] == "a secret"
    assert (await expert.wait_for("message.created"))["message"]["body"] == "a •••"
    for client, body in ((customer, "a secret"), (expert, "a •••")):
        page = await client.ok("message.history", conversation_id=PAIR)
        assert [each["body"] for each in page["messages"]] == [body]
    assert market.told == [("pair", "a •••")]
    market.closed = True  # what is stored already is answered all the same
    assert (await customer.ok("message.send", **message))["duplicate"] is True
    code = await customer.code("message.send", **message | {"client_msg_id": "2"})
    assert code == "blocked"
    assert len(expert.events["message.created"]) == 1


async def test_files_are_refused_without_a_marketplace(site: Site, pair: Pair) -> None:
    code = await pair[0].code(
        "message.send", conversation_id=PAIR, client_msg_id="1", files=["fil_x"]
    )
    assert code == "file_not_usable"
    code = await pair[0].code("message.send", conversation_id=PAIR, client_msg_id="1", files=[])
    assert code == "message_empty"


async def test_numbers_have_no_gap_across_sessions_and_conversation(any_store: Store) -> None:
    site, session_id = await prepared(any_store)
    site.chat.connect(site.signaling.outbound)
    sent = [
        site.chat.send(
            author,
            MessageSend(
                session_id=session_id if turn else None,
                conversation_id=None if turn else site.conversation_id,
                client_msg_id=f"m{number}:{turn}",
                body="text",
            ),
        )
        for number in range(5)
        for turn in range(2)
        for author in (site.customer, site.expert)
    ]
    answers = await asyncio.gather(*sent)
    assert sorted(message.seq for message, _ in answers) == list(range(1, 21))
    assert len(site.sessions.stored) == 10
