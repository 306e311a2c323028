"""Receipts and sessions: money from the ledger, the story from the session's events."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from admin.receipts.links import LIFE_S, ReceiptLinks
from engine.store.tables import users
from tests.integration.admin.conftest import (
    CUSTOMER,
    EXPERT,
    PER_QUARTER,
    PER_SECOND,
    SECRET,
    STAFF,
    World,
)

STORY: list[tuple[str, dict[str, Any]]] = [
    ("session.ringing", {"alert": "ring"}),
    ("session.answered", {"device": "d"}),
    ("session.started", {}),
    ("meter.hold", {"block": 1}),
    ("meter.started", {"trigger": "first_frame", "ordinal": 1}),
    ("meter.charged", {"block": 1, "amount_minor": 1_200, "fee_minor": 240}),
    ("session.ended", {"reason": "completed", "ended_by": "customer"}),
]


async def billed(world: World) -> tuple[Any, str]:
    """An order with one session that cost a block of 12.00."""
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    session = await world.session(order["id"], billed_seconds=900, blocks=1)
    await world.capture(session, 1_200)
    await world.happened(session, *STORY)
    return order, session


async def test_the_total_equals_the_change_of_the_wallet(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    before = sum(await customer.wallet())
    order, session = await billed(any_world)
    status, receipt = await customer.get(f"/sessions/{session}/receipt")
    assert status == 200
    assert receipt["total"]["amount"] == before - sum(await customer.wallet()) == 1_200
    assert sum(line["amount"]["amount"] for line in receipt["lines"]) == 1_200
    assert [line["text"] for line in receipt["lines"]] == ["0 to 15 minutes"]
    assert receipt["number"] == f"{order['number']}-01"
    assert receipt["session"]["total"] == receipt["total"]
    assert (receipt["fee"], receipt["earned"]) == (None, None)


async def test_T29_the_expert_sees_commission_and_earnings(any_world: World) -> None:
    expert = await any_world.sign_in(EXPERT)
    _, session = await billed(any_world)
    _, receipt = await expert.get(f"/sessions/{session}/receipt")
    assert receipt["fee"]["amount"] == 240
    assert receipt["earned"]["amount"] == 960
    assert "12.00 EUR charged, 2.40 EUR of it commission." in [
        entry["text"] for entry in receipt["timeline"]
    ]


async def test_the_story_is_told_in_sentences_and_order(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    _, session = await billed(world)
    _, receipt = await customer.get(f"/sessions/{session}/receipt")
    assert [entry["text"] for entry in receipt["timeline"]] == [
        "Mira Lind called Dr. Elena Marin.",
        "Dr. Elena Marin answered.",
        "The session was opened.",
        "The clock started with the first picture or sound of Dr. Elena Marin that arrived.",
        "12.00 EUR charged.",
        "Mira Lind ended the session.",
    ]
    times = [entry["at"] for entry in receipt["timeline"]]
    assert times == sorted(times)


async def test_T22_a_void_session_is_explained_and_costs_nothing(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    session = await any_world.session(order["id"], end_reason="void")
    _, receipt = await customer.get(f"/sessions/{session}/receipt")
    (line,) = receipt["lines"]
    assert (line["amount"]["amount"], receipt["total"]["amount"]) == (0, 0)
    assert line["text"] == "Free of charge: ended within 1 min, in the order's first session"
    assert await customer.wallet() == (18_800, 1_200)


async def test_what_is_given_back_is_a_line_and_lowers_the_total(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    expert = await any_world.sign_in("jonas@demo.talktime.test")
    order = await customer.order(PER_SECOND)
    session = await any_world.session(order["id"], billed_seconds=100)
    transfer = await any_world.capture(session, 250)
    async with any_world.store.transaction() as tx:
        await any_world.ledger.reverse(
            tx,
            key="test:reverse",
            transfer_id=transfer,
            amount_minor=100,
            fee_minor=20,
            reason="unserved part of a block",
            order_id=order["id"],
            session_id=session,
        )
    _, receipt = await customer.get(f"/sessions/{session}/receipt")
    assert [(line["text"], line["amount"]["amount"]) for line in receipt["lines"]] == [
        ("1 min 40 s at 90.00 EUR per hour", 250),
        ("Given back: unserved part of a block", -100),
    ]
    assert receipt["total"]["amount"] == 150
    _, receipt = await expert.get(f"/sessions/{session}/receipt")
    assert (receipt["fee"]["amount"], receipt["earned"]["amount"]) == (30, 120)


async def test_there_is_no_receipt_before_the_end(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    session = await world.session(order["id"], state="in_progress", end_reason=None)
    status, refusal = await customer.get(f"/sessions/{session}/receipt")
    assert (status, refusal["code"]) == (409, "session_live")
    _, seen = await customer.get(f"/sessions/{session}")
    assert (seen["state"], seen["receipt_url"]) == ("in_progress", None)
    _, order = await customer.get(f"/orders/{order['id']}")
    assert order["live_session_id"] == session


async def test_sessions_and_receipts_do_not_exist_for_anyone_else(world: World) -> None:
    other = await world.sign_in(STAFF)
    _, session = await billed(world)
    for path in (f"/sessions/{session}", f"/sessions/{session}/receipt", "/sessions/ses_none"):
        status, refusal = await other.get(path)
        assert (status, refusal["code"]) == (404, "session_not_found")
    status, refusal = await world.stranger.get(f"/sessions/{session}/receipt")
    assert (status, refusal["code"]) == (401, "token_missing")


async def test_T31_the_sessions_of_an_order_and_its_receipt(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    order, first = await billed(any_world)
    second = await any_world.session(order["id"], ordinal=2, rung_at_ms=2**41)
    missed = await any_world.session(
        order["id"], end_reason="no_answer", answered_at_ms=None, metered_at_ms=None
    )
    _, page = await customer.get(f"/orders/{order['id']}/sessions")
    assert {one["id"] for one in page["items"]} == {first, second, missed}
    assert page["items"][-1]["id"] == second
    totals = {one["id"]: one["total"]["amount"] for one in page["items"]}
    assert totals == {first: 1_200, second: 0, missed: 0}
    status, receipt = await customer.get(f"/orders/{order['id']}/receipt")
    assert status == 200
    assert [one["session"]["id"] for one in receipt["sessions"]] == [first, second]
    assert receipt["total"]["amount"] == receipt["order"]["captured"]["amount"] == 1_200


async def page(world: World, url: str, **headers: str) -> tuple[int, str]:
    async with world.client.get(url, headers=headers) as answer:
        assert answer.content_type == "text/html"
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.status, await answer.text()


async def test_the_link_in_an_answer_opens_the_printable_receipt(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    order, session = await billed(any_world)
    _, seen = await customer.get(f"/sessions/{session}")
    _, receipt = await customer.get(f"/sessions/{session}/receipt")
    _, whole = await customer.get(f"/orders/{order['id']}/receipt")
    for url in (seen["receipt_url"], receipt["url"], whole["url"]):
        status, text = await page(any_world, url)
        assert status == 200
        assert "12.00 EUR" in text
        assert order["number"] in text


async def test_a_link_opens_one_receipt_for_one_user_for_a_while(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    order, session = await billed(world)
    other = await world.session(order["id"])
    _, seen = await customer.get(f"/sessions/{session}")
    url = seen["receipt_url"]
    token = url.rpartition("token=")[2]
    expiry, user, signature = token.split(".")

    class Later:
        def wall_ms(self) -> int:
            return world.clock.wall_ms() - (LIFE_S + 1) * 1_000

    clock: Any = Later()
    expired = ReceiptLinks(SECRET, clock).session_url(customer.user_id, session)
    foreign = ReceiptLinks("x" * 32, world.clock).session_url(customer.user_id, session)
    for attempt in (
        url.replace(session, other),
        url.replace(user, await world.user_id(EXPERT)),
        url.replace(expiry, str(int(expiry) + 9_999)),
        url.replace(signature, signature[:-1] + "."),
        url.replace(token, "%C3%A4.b.c"),
        url.replace(token, ""),
        expired,
        foreign,
    ):
        status, text = await page(world, attempt)
        assert status == 401, attempt
        assert "12.00" not in text
    # Nor is a link a bearer token.
    status, _ = await world.stranger.get("/wallet", Authorization=f"Bearer {token}")
    assert status == 401


async def test_the_link_of_a_suspended_user_opens_nothing(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    _, session = await billed(world)
    _, seen = await customer.get(f"/sessions/{session}")
    async with world.store.transaction() as tx:
        await tx.execute(sa.update(users).values(state="suspended"))
    assert (await page(world, seen["receipt_url"]))[0] == 401


@pytest.mark.parametrize(
    ("accept", "query", "html"),
    [
        ("text/html,*/*;q=0.8", "", True),
        ("*/*", "", False),
        ("application/json, text/html", "", False),
        ("application/json", "?format=html", True),
        ("text/html", "?format=json", False),
    ],
)
async def test_who_asks_for_a_page_gets_one(
    world: World, accept: str, query: str, html: bool
) -> None:
    customer = await world.sign_in(CUSTOMER)
    _, session = await billed(world)
    url = f"/api/v1/sessions/{session}/receipt{query}"
    async with world.client.get(url, headers=customer.headers | {"Accept": accept}) as answer:
        assert answer.status == 200
        assert answer.content_type == ("text/html" if html else "application/json")


async def test_names_on_a_page_cannot_inject_markup(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    _, session = await billed(world)
    name = "<script>alert(1)</script>{expert}"
    async with world.store.transaction() as tx:
        await tx.execute(sa.update(users).where(users.c.email == EXPERT).values(display_name=name))
    _, seen = await customer.get(f"/sessions/{session}")
    _, text = await page(world, seen["receipt_url"])
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{expert}" in text


async def test_pages_show_the_readers_own_time_zone(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    _, session = await billed(world)
    async with world.store.transaction() as tx:
        await tx.execute(sa.update(users).values(timezone="Asia/Kathmandu"))
    _, seen = await customer.get(f"/sessions/{session}")
    _, text = await page(world, seen["receipt_url"])
    assert "times in Asia/Kathmandu" in text


async def test_messages_of_a_conversation_come_in_pages_oldest_first(any_world: World) -> None:
    customer, other = await any_world.sign_in(CUSTOMER), await any_world.sign_in(STAFF)
    order = await customer.order(PER_QUARTER)
    conversation = order["conversation_id"]
    for number in range(5):
        async with any_world.store.transaction() as tx:
            chat: Any = any_world.deps.chat
            await chat.post_system(tx, conversation, f"message {number}")
    path = f"/conversations/{conversation}/messages?limit=2"
    bodies, cursor = [], ""
    while cursor is not None:
        status, page = await customer.get(path + cursor)
        assert status == 200, page
        bodies = [message["body"] for message in page["items"]] + bodies
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert bodies == [f"message {number}" for number in range(5)]
    status, _ = await other.get(path)
    assert status == 404
    status, refusal = await customer.get(f"{path}&cursor=abc")
    assert (status, refusal["code"]) == (422, "invalid_cursor")
