"""Correspondence over REST: asking before buying, the inbox, orders, cases, staff, the filter."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from engine.store.market_tables import notifications
from engine.store.tables import experts, outbox, sessions
from tests.integration.admin.conftest import STAFF, Api
from tests.integration.admin.market.conftest import Market


def pushed(market: Market, who: Api, event: str) -> list[Any]:
    return [
        payload
        for user_id, name, payload in market.world.engine.pushed
        if (user_id, name) == (who.user_id, event)
    ]


async def off_platform(market: Market) -> list[Any]:
    async with market.store.reading() as tx:
        query = sa.select(outbox.c.actor, outbox.c.data)
        found = await tx.execute(query.where(outbox.c.type == "message.off_platform"))
        return [(row.actor, row.data["kinds"]) for row in found]


async def test_P7_P27_a_question_before_buying_and_its_answer(market: Market) -> None:
    customer, expert = market.customer, market.expert
    listing_id = await market.offer()
    status, talk = await customer.post("/conversations", {"listing_id": listing_id})
    assert status == 200
    assert (talk["kind"], talk["other"]["id"]) == ("pair", expert.user_id)
    assert talk["about"] == {
        "type": "user",
        "id": expert.user_id,
        "title": talk["other"]["display_name"],
        "number": None,
    }
    sent = await market.say(customer, talk["id"], "Do you work with oak?")
    assert (sent["message"]["seq"], sent["duplicate"], sent["warning"]) == (1, False, None)
    for who in (customer, expert):
        (told,) = pushed(market, who, "message.created")
        assert told["message"]["body"] == "Do you work with oak?"
    await market.say(expert, talk["id"], "Yes.")
    seen = await market.messages(customer, talk["id"])
    assert [(m["author_id"], m["body"]) for m in seen] == [
        (customer.user_id, "Do you work with oak?"),
        (expert.user_id, "Yes."),
    ]
    # It stays one conversation, whoever opens it.
    assert await market.conversation(customer, expert) == talk["id"]
    assert await market.conversation(expert, customer) == talk["id"]


async def test_P7_only_experts_are_written_to_and_never_by_a_blocked_pair(market: Market) -> None:
    customer, expert = market.customer, market.expert

    async def refused(who: Api, body: dict[str, str]) -> tuple[int, str]:
        status, answer = await who.post("/conversations", body)
        return status, answer["code"]

    assert await refused(customer, {}) == (422, "invalid_body")
    assert await refused(customer, {"user_id": customer.user_id}) == (409, "own_conversation")
    assert await refused(expert, {"user_id": customer.user_id}) == (404, "expert_not_found")
    assert await refused(customer, {"user_id": "usr_none"}) == (404, "expert_not_found")
    assert await refused(customer, {"listing_id": "lst_none"}) == (404, "listing_not_found")
    talk = await market.conversation(customer, expert)
    await market.block(expert, customer)
    assert await refused(customer, {"user_id": expert.user_id}) == (403, "blocked")
    for who in (customer, expert):
        status, answer = await who.post(f"/conversations/{talk}/messages", {"body": "hi"})
        assert (status, answer["code"]) == (403, "blocked")


async def test_opening_at_once_makes_one_conversation(market: Market) -> None:
    body = {"user_id": market.expert.user_id}
    answers = await asyncio.gather(*(market.customer.post("/conversations", body) for _ in "abcd"))
    assert len({talk["id"] for _, talk in answers}) == 1


async def test_B33_the_inbox_has_the_latest_first_with_what_is_unread(market: Market) -> None:
    customer, expert = market.customer, market.expert
    names = ("ada", "bob", "cyd")
    talks = {}
    for name in names:
        other = await market.expert_named(name)
        talks[name] = await market.conversation(customer, other)
        await market.say(customer, talks[name], f"to {name}")
        market.clock.advance(1)
    ada = await market.sign_in("ada@experts.test")
    await market.say(ada, talks["ada"], "one")
    await market.say(ada, talks["ada"], "two")
    order = await market.order(await market.offer(), confirm=False)  # nothing was said in it
    assert order["conversation_id"]

    status, inbox = await customer.get("/conversations?limit=2")
    assert status == 200
    assert [talk["other"]["display_name"] for talk in inbox["items"]] == ["Ada", "Cyd"]
    first = inbox["items"][0]
    assert (first["unread"], first["read_seq"], first["last_seq"]) == (2, 1, 3)
    assert first["last_message"]["body"] == "two"
    _, rest = await customer.get(f"/conversations?limit=2&cursor={inbox['next_cursor']}")
    assert [talk["other"]["display_name"] for talk in rest["items"]] == ["Bob"]
    assert rest["next_cursor"] is None

    _, unread = await customer.get("/conversations?unread=true")
    assert [talk["id"] for talk in unread["items"]] == [talks["ada"]]
    _, read = await customer.post(f"/conversations/{talks['ada']}/read", {"seq": 99})
    assert (read["unread"], read["read_seq"]) == (0, 3)
    (mark,) = pushed(market, ada, "message.read")
    assert (mark["user_id"], mark["seq"]) == (customer.user_id, 3)
    _, unread = await customer.get("/conversations?unread=true")
    assert unread["items"] == []
    _, known = await customer.get("/conversations?unread=false&kind=pair")
    assert len(known["items"]) == 3
    _, none = await customer.get("/conversations?kind=order")
    assert none["items"] == []
    _, theirs = await expert.get("/conversations")
    assert theirs["items"] == []


@pytest.mark.parametrize("kind", ["work", "files"])
async def test_T56_T60_T77_correspondence_within_the_order(market: Market, kind: str) -> None:
    content = {"files": [], "links": []} if kind == "files" else {}
    order = await market.order(await market.offer(kind, **content))
    talk = order["conversation_id"]
    file_id = await market.file(market.customer, "attachment", "sketch.pdf")
    await market.say(market.customer, talk, "In blue, please.", files=[file_id])
    await market.say(market.expert, talk, "Gladly.")
    asked, answered = await market.messages(market.expert, talk)
    assert (asked["body"], answered["body"]) == ("In blue, please.", "Gladly.")
    (file,) = asked["files"]
    assert (file["name"], file["type"], file["size"]) == ("sketch.pdf", "application/pdf", 4)
    async with market.world.client.get(file["url"]) as opened:
        assert (opened.status, await opened.read()) == (200, b"%PDF")
    _, inbox = await market.expert.get("/conversations?kind=order")
    assert inbox["items"][0]["about"] == {
        "type": "order",
        "id": order["id"],
        "title": "A thing well made",
        "number": order["number"],
    }
    assert await market.told(market.expert) == ["order.paid", "message.received"]


async def test_T56_a_delivery_is_shown_with_its_kind(market: Market) -> None:
    order_id = await market.delivered()
    talk = (await market.see(market.customer, order_id))["conversation_id"]
    assert [m["kind"] for m in await market.messages(market.customer, talk)] == ["delivery"]


async def test_files_of_others_are_not_attached(market: Market) -> None:
    talk = await market.conversation(market.customer, market.expert)
    theirs = await market.file(market.expert, "attachment")
    photo = await market.file(market.customer, "photo")
    for file_id in (theirs, photo, "fil_none"):
        body = {"body": "look", "files": [file_id]}
        status, answer = await market.customer.post(f"/conversations/{talk}/messages", body)
        assert (status, answer["code"]) == (422, "file_not_usable")
    assert await market.messages(market.customer, talk) == []
    mine = await market.file(market.customer, "attachment")
    sent = await market.say(market.customer, talk, "", files=[mine, mine])
    assert [file["id"] for file in sent["message"]["files"]] == [mine]


async def test_T56_strangers_know_of_no_conversation(market: Market) -> None:
    talk = await market.conversation(market.customer, market.expert)
    stranger = await market.expert_named("eve")
    for answer in (
        await stranger.get(f"/conversations/{talk}"),
        await stranger.get(f"/conversations/{talk}/messages"),
        await stranger.post(f"/conversations/{talk}/messages", {"body": "hi"}),
        await stranger.post(f"/conversations/{talk}/read", {"seq": 1}),
    ):
        assert (answer[0], answer[1]["code"]) == (404, "conversation_not_found")


async def test_a_repetition_under_the_same_id_is_stored_once(market: Market) -> None:
    talk = await market.conversation(market.customer, market.expert)
    first = await market.say(market.customer, talk, "once", client_msg_id="x")
    again = await market.say(market.customer, talk, "once", client_msg_id="x")
    assert (again["message"], again["duplicate"]) == (first["message"], True)
    assert len(await market.messages(market.customer, talk)) == 1


async def test_a_running_text_session_takes_its_messages_itself(market: Market) -> None:
    order = await market.customer.order("lst_demo_lease", "text")
    session_id = await market.world.session(order["id"], state="in_progress", ended_at_ms=None)
    path = f"/conversations/{order['conversation_id']}/messages"
    status, answer = await market.customer.post(path, {"body": "free of charge"})
    assert (status, answer["code"]) == (409, "session_live")
    async with market.store.transaction() as tx:
        ended = sa.update(sessions).where(sessions.c.id == session_id).values(state="ended")
        await tx.execute(ended)
    await market.say(market.customer, order["conversation_id"], "and afterwards it goes")


# The off-platform filter --------------------------------------------------------------------------


async def test_P13_C34_contacts_are_hidden_until_an_order_is_paid(market: Market) -> None:
    customer, expert = market.customer, market.expert
    talk = await market.conversation(customer, expert)
    text = "Call +49 151 23456789 by 31.12.2026, I pay 1,200.00 EUR by 4111 1111 1111 1111"
    sent = await market.say(customer, talk, text)
    assert "until an order is paid" in sent["warning"]
    assert sent["message"]["masked"] == ["card", "phone"]
    hidden = "Call ••• by 31.12.2026, I pay 1,200.00 EUR by •••"
    own = "Call +49 151 23456789 by 31.12.2026, I pay 1,200.00 EUR by •••"
    assert sent["message"]["body"] == own
    assert [m["body"] for m in await market.messages(customer, talk)] == [own]
    assert [m["body"] for m in await market.messages(expert, talk)] == [hidden]
    assert pushed(market, expert, "message.created")[0]["message"]["body"] == hidden
    assert await off_platform(market) == [(customer.user_id, ["card", "phone"])]
    _, inbox = await expert.get("/conversations")
    assert inbox["items"][0]["last_message"]["body"] == hidden

    order = await market.order(await market.offer(), confirm=False)
    sent = await market.say(expert, order["conversation_id"], "ask me@example.com")
    assert sent["message"]["masked"] == ["email"]
    await market.do(customer, order["id"], "pay")
    for where in (talk, order["conversation_id"]):
        sent = await market.say(customer, where, "me@example.com 4111 1111 1111 1111")
        assert sent["message"]["masked"] == ["card"]
        assert (await market.messages(expert, where))[-1]["body"] == "me@example.com •••"
    assert len(await off_platform(market)) == 4


async def test_P13_an_operator_may_switch_the_filter_off_but_for_cards(market: Market) -> None:
    await market.terms(off_platform_filter=False)
    talk = await market.conversation(market.customer, market.expert)
    await market.say(market.customer, talk, "me@example.com 4111111111111111")
    seen = await market.messages(market.expert, talk)
    assert [m["body"] for m in seen] == ["me@example.com •••"]


async def test_P13_links_to_the_marketplace_stay(market: Market) -> None:
    talk = await market.conversation(market.customer, market.expert)
    sent = await market.say(market.customer, talk, "http://talktime.test/listings/lst_1")
    assert sent["message"]["masked"] == []


# Being told ---------------------------------------------------------------------------------------


async def test_P23_absent_members_are_told_once_until_they_read(market: Market) -> None:
    customer, expert = market.customer, market.expert
    talk = await market.conversation(customer, expert)
    for text in ("one", "two", "three"):
        await market.say(customer, talk, text)
    assert await market.told(expert) == ["message.received"]
    async with market.store.reading() as tx:
        (row,) = (await tx.execute(sa.select(notifications))).all()
    assert row.channels == {"inapp": "sent", "email": "scheduled"}
    assert (row.data["text"], row.subject_id) == ("one", talk)
    assert row.data["author"] == "Mira Lind"
    market.clock.advance(1)
    await expert.post(f"/conversations/{talk}/read", {"seq": 3})
    market.clock.advance(1)
    await market.say(customer, talk, "four")
    await market.say(customer, talk, "five")
    assert await market.told(expert) == ["message.received"] * 2
    assert await market.told(customer) == []


async def test_P23_whoever_has_a_socket_gets_the_message_and_no_mail(market: Market) -> None:
    market.world.engine.online.add(market.expert.user_id)
    talk = await market.conversation(market.customer, market.expert)
    await market.say(market.customer, talk, "are you there?")
    assert len(pushed(market, market.expert, "message.created")) == 1
    assert await market.told(market.expert) == []


async def test_P24_the_first_answer_counts_for_the_response_time(market: Market) -> None:
    customer, expert = market.customer, market.expert

    async def figure() -> tuple[int, int]:
        row = await market.expert_row()
        return row.response_count, row.response_sum_s

    talk = await market.conversation(customer, expert)
    await market.say(customer, talk, "a question")
    market.clock.advance(90)
    await market.say(customer, talk, "hello?")
    assert await figure() == (0, 0)
    market.clock.advance(30)
    await market.say(expert, talk, "an answer")
    assert await figure() == (1, 120)
    market.clock.advance(1_000)
    await market.say(expert, talk, "and more")
    await market.say(customer, talk, "thanks")
    assert await figure() == (1, 120)
    order = await market.order(await market.offer())
    await market.say(expert, order["conversation_id"], "I begin")  # nobody had asked
    await market.say(customer, order["conversation_id"], "good")
    await market.say(expert, order["conversation_id"], "fine")
    assert await figure() == (1, 120)
    async with market.store.reading() as tx:
        others = sa.select(sa.func.sum(experts.c.response_count))
        assert await tx.scalar(others) == 1


# Arbitration and staff ----------------------------------------------------------------------------


async def case_talk(market: Market, who: Api) -> str:
    _, inbox = await who.get("/conversations?kind=case")
    return str(inbox["items"][0]["id"])


async def audited(market: Market) -> list[tuple[str, str, str]]:
    async with market.store.reading() as tx:
        o = outbox.c
        query = sa.select(o.type, o.subject_id, o.actor).where(o.type.like("conversation.%"))
        return [tuple(row) for row in await tx.execute(query.order_by(o.seq))]


async def test_T82_each_party_writes_to_the_arbitration_in_the_case(market: Market) -> None:
    order_id = await market.work()
    case_id = await market.dispute(market.customer, order_id)
    _, case = await market.customer.get(f"/cases/{case_id}")
    talk = case["conversation_id"]
    file_id = await market.file(market.customer, "attachment", "proof.pdf")
    await market.say(market.customer, talk, "See a@b.com in this.", files=[file_id])
    await market.say(market.expert, talk, "It is as agreed.")
    arbiter = await market.staff("disputes.decide")
    market.clock.advance(1)
    await market.say(arbiter, talk, "What was agreed? See market.example.com.")
    assert (await market.told(market.customer))[-1] == "message.received"
    seen = await market.messages(market.expert, talk)
    assert [m["body"] for m in seen] == [
        "See a@b.com in this.",
        "It is as agreed.",
        "What was agreed? See market.example.com.",
    ]
    assert await case_talk(market, market.expert) == talk
    assert len(await market.messages(arbiter, talk)) == 3
    assert await audited(market) == [
        ("conversation.wrote_by_staff", talk, arbiter.user_id),
        ("conversation.read_by_staff", talk, arbiter.user_id),
    ]
    for other in (await market.staff("finance"), await market.expert_named("eve")):
        status, _ = await other.get(f"/conversations/{talk}/messages")
        assert status == 404
    body = {"decision": "refund", "reason": "Not as agreed."}
    status, answer = await arbiter.post(f"/admin/cases/{case_id}/decide", body)
    assert status == 200, answer
    status, answer = await market.customer.post(f"/conversations/{talk}/messages", {"body": "ok"})
    assert (status, answer["code"]) == (409, "case_closed")


async def test_T82_staff_read_an_order_only_while_a_case_about_it_is_open(market: Market) -> None:
    order_id = await market.work()
    talk = (await market.see(market.customer, order_id))["conversation_id"]
    await market.say(market.customer, talk, "between us")
    arbiter, admin = await market.staff("disputes.decide"), await market.sign_in(STAFF)
    path = f"/conversations/{talk}/messages"
    for staff in (arbiter, admin):
        assert (await staff.get(path))[0] == 404
    assert await audited(market) == []
    await market.dispute(market.expert, order_id)
    assert [m["body"] for m in await market.messages(arbiter, talk)] == ["between us"]
    assert await audited(market) == [("conversation.read_by_staff", talk, arbiter.user_id)]
    await market.do(market.expert, order_id, "withdraw-dispute")
    assert (await arbiter.get(path))[0] == 404
    assert len(await audited(market)) == 1
