"""Orders of work from payment into escrow to acceptance, with their money to the cent."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from engine.store.tables import listings, users
from tests.integration.admin.conftest import STAFF
from tests.integration.admin.market.conftest import DAY, HAS_MINOR, Market


async def test_T55_T58_T68_confirming_sets_the_whole_price_aside(market: Market) -> None:
    order = await market.order(await market.offer("work", 3_333))
    assert (order["fulfilment"], order["state"], order["mode"]) == ("work", "open", None)
    assert (order["held"]["amount"], order["captured"]["amount"]) == (3_333, 0)
    assert order["tariff"] is None
    assert await market.money() == (HAS_MINOR - 3_333, 3_333, 0, 0)


async def test_T67_P12_too_little_money_names_what_is_missing_and_keeps_the_order(
    market: Market,
) -> None:
    listing = await market.offer("work", HAS_MINOR + 550)
    sent = {"listing_id": listing, "confirm": True}
    status, refusal = await market.customer.post("/orders", sent)
    assert (status, refusal["code"]) == (402, "insufficient_funds")
    assert refusal["shortfall"] == {"amount": 550, "currency": "EUR"}
    ref = await market.customer.top_up(550, refusal["order_id"])
    await market.customer.post(f"/test-payments/{ref}", {"outcome": "succeed"})
    assert (await market.see(market.customer, refusal["order_id"]))["state"] == "open"
    assert await market.money() == (0, HAS_MINOR + 550, 0, 0)


async def test_T57_the_expert_is_told_by_e_mail_of_a_paid_order(market: Market) -> None:
    unpaid = await market.order(await market.offer(), confirm=False)
    assert await market.told(market.expert) == []
    await market.do(market.customer, unpaid["id"], "pay")
    assert await market.told(market.expert) == ["order.paid"]


async def test_T60_T62_the_expert_starts_delivers_and_says_that_it_is_done(
    market: Market,
) -> None:
    order_id, expert = await market.work(), market.expert
    started = await market.do(expert, order_id, "start")
    assert started["started_at"] is not None
    assert await market.refused(expert, order_id, "deliver") == (409, "nothing_delivered")
    file_id = await market.file(expert, "attachment", "draft.pdf")
    await market.do(
        expert, order_id, "deliveries", {"text": "A draft", "files": [file_id]}, status=201
    )
    await market.do(expert, order_id, "deliveries", {"text": " The rest\x07"}, status=201)
    done = await market.do(expert, order_id, "deliver")
    assert done["state"] == "delivered"
    seen = await market.see(market.customer, order_id)
    assert [given["text"] for given in seen["deliveries"]] == ["A draft", "The rest"]
    (file,) = seen["deliveries"][0]["files"]
    assert file["name"] == "draft.pdf"
    async with market.world.client.get(file["url"]) as answer:
        assert (answer.status, await answer.read()) == (200, b"%PDF")
    _, talk = await market.customer.get(f"/conversations/{seen['conversation_id']}/messages")
    assert [one["kind"] for one in talk["items"]] == ["delivery", "delivery"]


async def test_T62_K32_what_is_no_delivery_is_refused(market: Market) -> None:
    order_id, expert = await market.work(), market.expert
    theirs = await market.file(market.customer, "attachment")
    photo = await market.file(expert, "image")
    for body, code in (
        ({"text": "  "}, "delivery_empty"),
        ({}, "delivery_empty"),
        ({"files": [theirs]}, "file_not_usable"),
        ({"files": [photo]}, "file_not_usable"),
        ({"files": ["fil_none"]}, "file_not_usable"),
        ({"text": "a\x00b"}, "invalid_body"),
    ):
        assert await market.refused(expert, order_id, "deliveries", body) == (422, code)
    body = {"text": "For you"}
    assert await market.refused(market.customer, order_id, "deliveries", body) == (
        403,
        "not_expert",
    )
    await market.do(expert, order_id, "deliveries", body, status=201)
    await market.do(expert, order_id, "deliver")
    assert await market.refused(expert, order_id, "deliveries", body) == (409, "order_delivered")


@pytest.mark.parametrize(("choice", "state"), [("accept", "completed"), ("return", "open")])
async def test_T70_told_of_the_completion_the_customer_accepts_or_returns(
    market: Market, choice: str, state: str
) -> None:
    order_id = await market.delivered()
    assert (await market.told(market.customer))[-1] == "order.delivered"
    offered = (await market.see(market.customer, order_id))["actions"]
    assert {"accept", "return"} <= set(offered)
    assert (await market.do(market.customer, order_id, choice, {}))["state"] == state


async def test_T63_returned_work_is_delivered_anew(market: Market) -> None:
    order_id = await market.delivered()
    returned = await market.do(market.customer, order_id, "return", {"reason": "Too short"})
    assert (returned["state"], returned["rework_count"]) == ("open", 1)
    assert (await market.told(market.expert))[-1] == "order.returned"
    # What was delivered before the return does not count again.
    assert await market.refused(market.expert, order_id, "deliver") == (409, "nothing_delivered")
    market.clock.advance(1)
    await market.do(market.expert, order_id, "deliveries", {"text": "Longer"}, status=201)
    await market.do(market.expert, order_id, "deliver")
    assert await market.money() == (HAS_MINOR - 3_000, 3_000, 0, 0)


async def test_T63_rework_ends_where_the_terms_say(market: Market) -> None:
    await market.terms(rework_limit=1)
    order_id = await market.delivered()
    await market.do(market.customer, order_id, "return", {})
    market.clock.advance(1)
    await market.do(market.expert, order_id, "deliveries", {"text": "Better"}, status=201)
    await market.do(market.expert, order_id, "deliver")
    assert await market.refused(market.customer, order_id, "return", {}) == (409, "rework_limit")


@pytest.mark.parametrize(
    ("price_minor", "bps", "fee_minor"),
    [(3_000, 2_000, 600), (3_333, 2_000, 666), (1, 2_000, 0), (3_333, 0, 0)],
)
async def test_T64_T71_P14_P15_P16_acceptance_pays_the_expert_less_the_commission(
    market: Market, price_minor: int, bps: int, fee_minor: int
) -> None:
    await market.terms(commission_bps=bps)
    order_id = await market.delivered(price_minor)
    assert await market.money() == (HAS_MINOR - price_minor, price_minor, 0, 0)  # P14
    accepted = await market.do(market.customer, order_id, "accept")
    assert (accepted["state"], accepted["closed_reason"]) == ("completed", "accepted")
    earned_minor = price_minor - fee_minor
    assert await market.money() == (HAS_MINOR - price_minor, 0, earned_minor, fee_minor)
    assert (await market.expert_row()).completed_orders == 1
    async with market.store.reading() as tx:
        query = sa.select(listings.c.order_count).where(listings.c.id == accepted["listing_id"])
        assert await tx.scalar(query) == 1


async def test_T71_both_are_told_at_once_that_their_money_moved(market: Market) -> None:
    order_id = await market.delivered(3_000)
    told = market.world.engine.wallets_changed
    told.clear()
    await market.do(market.customer, order_id, "accept")
    assert told == [(market.customer.user_id, "EUR"), (market.expert.user_id, "EUR")]


async def test_T61_T69_C29_a_refusal_returns_everything_and_weighs_on_the_rating(
    market: Market,
) -> None:
    order_id = await market.work(3_333)
    refused = await market.do(market.expert, order_id, "refuse", {"reason": "I am ill."})
    assert (refused["state"], refused["closed_reason"]) == ("cancelled", "refused")
    assert await market.money() == (HAS_MINOR, 0, 0, 0)
    row = await market.expert_row()
    assert (row.refusal_count, row.rating_milli, row.completed_orders) == (1, 1_000, 0)
    assert (await market.told(market.customer))[-1] == "order.refused"
    assert await market.refused(market.expert, order_id, "refuse", {}) == (409, "order_closed")


async def test_T61_T69_a_consultation_is_refused_only_while_nobody_talks(market: Market) -> None:
    order = await market.customer.order("lst_demo_lease")
    await market.world.session(order["id"], state="ringing", end_reason=None, ended_at_ms=None)
    for who, action in (
        (market.expert, "refuse"),
        (market.customer, "dispute"),
        (market.expert, "dispute"),
    ):
        body = {"reason": "Enough"}
        assert await market.refused(who, order["id"], action, body) == (409, "session_live")
    assert (await market.money())[:2] == (HAS_MINOR - 1_200, 1_200)


async def test_Tx_work_that_has_begun_is_cancelled_by_consent_only(market: Market) -> None:
    order_id = await market.work()
    await market.do(market.expert, order_id, "start")
    assert await market.refused(market.customer, order_id, "cancel") == (409, "work_started")
    agreed = await market.do(market.expert, order_id, "agree-to-cancel")
    assert agreed["cancel_agreed"]
    cancelled = await market.do(market.customer, order_id, "cancel")
    assert (cancelled["state"], cancelled["closed_reason"]) == ("cancelled", "by_customer")
    assert await market.money() == (HAS_MINOR, 0, 0, 0)
    assert (await market.expert_row()).refusal_count == 0


async def test_Tx_work_that_has_not_begun_is_cancelled_at_will(market: Market) -> None:
    order_id = await market.work()
    await market.do(market.customer, order_id, "cancel")
    assert await market.money() == (HAS_MINOR, 0, 0, 0)
    assert await market.refused(market.expert, order_id, "start") == (409, "order_closed")


async def test_Tx_a_delivery_ends_the_consent_to_cancel(market: Market) -> None:
    order_id = await market.work()
    await market.do(market.expert, order_id, "agree-to-cancel")
    await market.do(market.expert, order_id, "deliveries", {"text": "After all"}, status=201)
    await market.do(market.expert, order_id, "deliver")
    returned = await market.do(market.customer, order_id, "return", {})
    assert not returned["cancel_agreed"]
    assert await market.refused(market.customer, order_id, "cancel") == (409, "work_started")


async def test_Pc_overdue_work_is_cancelled_for_free_and_days_count_from_the_payment(
    market: Market,
) -> None:
    order = await market.order(await market.offer(delivery_days=3), confirm=False)
    market.clock.advance(2 * DAY)
    paid = await market.do(market.customer, order["id"], "pay")
    assert paid["delivery_by"] == "2026-01-06T00:00:00.000Z"
    await market.do(market.expert, order["id"], "start")
    market.clock.advance(3 * DAY)
    assert await market.refused(market.customer, order["id"], "cancel") == (409, "work_started")
    market.clock.advance(0.001)
    await market.do(market.customer, order["id"], "cancel")
    assert await market.money() == (HAS_MINOR, 0, 0, 0)


async def test_P26_requirements_may_be_told_until_the_work_has_begun(market: Market) -> None:
    order = await market.order(await market.offer(), requirements="Blue, please")
    assert order["requirements"] == "Blue, please"
    path = f"/orders/{order['id']}/requirements"
    status, seen = await market.customer.put(path, {"requirements": "Green, please"})
    assert (status, seen["requirements"]) == (200, "Green, please")
    assert (await market.told(market.expert))[-1] == "order.requirements_changed"
    status, refusal = await market.expert.put(path, {"requirements": "Grey"})
    assert (status, refusal["code"]) == (403, "not_customer")
    status, refusal = await market.customer.put(path, {"requirements": ""})
    assert (status, refusal["code"]) == (422, "invalid_body")
    await market.do(market.expert, order["id"], "start")
    status, refusal = await market.customer.put(path, {"requirements": "Red"})
    assert (status, refusal["code"]) == (409, "already_started")
    assert (await market.see(market.expert, order["id"]))["requirements"] == "Green, please"


async def test_P27_what_is_unclear_is_asked_in_the_orders_own_conversation(
    market: Market,
) -> None:
    order_id = await market.work()
    seen = await market.see(market.expert, order_id)
    path = f"/conversations/{seen['conversation_id']}/messages"
    for who in (market.customer, market.expert):
        status, _ = await who.get(path)
        assert status == 200
    status, _ = await (await market.sign_in(STAFF)).get(path)
    assert status == 404


async def test_each_party_is_offered_exactly_what_it_may_do(market: Market) -> None:
    order_id = await market.work()

    async def offered() -> tuple[list[str], list[str]]:
        mine = (await market.see(market.customer, order_id))["actions"]
        return mine, (await market.see(market.expert, order_id))["actions"]

    assert await offered() == (
        ["require", "cancel", "dispute"],
        ["start", "add-delivery", "refuse", "agree-to-cancel", "dispute"],
    )
    await market.do(market.expert, order_id, "deliveries", {"text": "Done"}, status=201)
    await market.do(market.expert, order_id, "deliver")
    assert await offered() == (["return", "accept", "dispute"], ["dispute"])
    await market.do(market.customer, order_id, "accept")
    assert await offered() == (["dispute", "review"], ["dispute"])


async def test_a_double_click_pays_the_expert_once(market: Market) -> None:
    order_id = await market.delivered()
    path = f"/orders/{order_id}/accept"
    answers = await asyncio.gather(*(market.customer.post(path) for _ in range(4)))
    assert sorted(status for status, _ in answers) == [200, 409, 409, 409]
    assert await market.money() == (HAS_MINOR - 3_000, 0, 2_400, 600)


async def test_a_repeated_request_with_its_key_is_answered_as_before(market: Market) -> None:
    order_id = await market.work()
    path, body = f"/orders/{order_id}/deliveries", {"text": "Once"}
    first = await market.expert.post(path, body, key="d-1")
    again = await market.expert.post(path, body, key="d-1")
    assert first[0] == again[0] == 201
    assert len((await market.see(market.customer, order_id))["deliveries"]) == 1
    other = await market.expert.post(path, {"text": "Other"}, key="d-1")
    assert (other[0], other[1]["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [("accept", "dispute"), ("return", "dispute")],
)
async def test_races_of_the_parties_have_one_winner(market: Market, theirs: str, mine: str) -> None:
    order_id = await market.delivered()
    body = {"reason": "Pay me"}
    answers = await asyncio.gather(
        market.customer.post(f"/orders/{order_id}/{theirs}", {} if theirs == "return" else None),
        market.expert.post(f"/orders/{order_id}/{mine}", body),
    )
    # The dispute is possible after either; whoever came second met the state of the first.
    assert answers[1][0] == 200
    seen = await market.see(market.customer, order_id)
    assert seen["state"] == "disputed"
    first_was_theirs = answers[0][0] == 200
    assert first_was_theirs or answers[0][1]["code"] == "order_disputed"
    accepted = first_was_theirs and theirs == "accept"
    assert await market.money() == (
        HAS_MINOR - 3_000,
        0 if accepted else 3_000,
        2_400 if accepted else 0,
        600 if accepted else 0,
    )


async def test_cancel_and_start_race_to_one_of_them(market: Market) -> None:
    order_id = await market.work()
    cancelled, started = await asyncio.gather(
        market.customer.post(f"/orders/{order_id}/cancel"),
        market.expert.post(f"/orders/{order_id}/start"),
    )
    assert {cancelled[0], started[0]} == {200, 409}
    code = (cancelled if cancelled[0] == 409 else started)[1]["code"]
    assert code in ("work_started", "order_closed")
    held = 0 if cancelled[0] == 200 else 3_000
    assert await market.money() == (HAS_MINOR - held, held, 0, 0)


async def test_O17_staff_give_back_a_part_and_call_orders_off(market: Market) -> None:
    finance, support = await market.staff("finance"), await market.staff("support")
    order_id = await market.delivered()
    await market.do(market.customer, order_id, "accept")
    body = {"amount_minor": 1_000, "reason": "Goodwill"}
    path = f"/admin/orders/{order_id}/refund"
    status, refusal = await support.post(path, body)
    assert (status, refusal["code"]) == (404, "order_not_found")
    status, _ = await finance.post(path, body)
    assert status == 200
    # 20.00 remain: 4.00 of them commission.
    assert await market.money() == (HAS_MINOR - 2_000, 0, 1_600, 400)
    status, refusal = await finance.post(path, body | {"amount_minor": 2_001})
    assert (status, refusal["code"]) == (409, "refund_exceeds_price")
    assert await market.money() == (HAS_MINOR - 2_000, 0, 1_600, 400)

    other = await market.work()
    status, outcome = await finance.post(f"/admin/orders/{other}/call-off", {"reason": "Fraud"})
    assert (status, outcome["state"]) == (200, "cancelled")
    assert await market.money() == (HAS_MINOR - 2_000, 0, 1_600, 400)


async def test_O17_staff_decide_nothing_about_their_own_orders(market: Market) -> None:
    order_id = await market.delivered()
    await market.do(market.customer, order_id, "accept")
    async with market.store.transaction() as tx:
        me = sa.update(users).where(users.c.id == market.customer.user_id)
        await tx.execute(me.values(roles=["member", "admin"]))
    body = {"amount_minor": 3_000, "reason": "For me"}
    status, refusal = await market.customer.post(f"/admin/orders/{order_id}/refund", body)
    assert (status, refusal["code"]) == (403, "own_order")
    assert await market.money() == (HAS_MINOR - 3_000, 0, 2_400, 600)
