"""Ordering, paying and cancelling (T17, T38 to T46), on both stores where money moves."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from engine.store.tables import conversations, listings, orders, outbox
from tests.integration.admin.conftest import (
    CUSTOMER,
    EXPERT,
    PER_MINUTE,
    PER_QUARTER,
    PER_SECOND,
    STAFF,
    World,
)


async def test_T38_only_registered_users_order(world: World) -> None:
    body = {"listing_id": PER_QUARTER, "mode": "video"}
    status, refusal = await world.stranger.post("/orders", body)
    assert (status, refusal["code"]) == (401, "token_missing")


@pytest.mark.parametrize(
    ("listing", "mode", "prepay_minor"),
    [(PER_QUARTER, "video", 1_200), (PER_MINUTE, "text", 550), (PER_SECOND, "audio", 750)],
)
async def test_T17_T43_confirming_sets_the_prepaid_time_aside(
    any_world: World, listing: str, mode: str, prepay_minor: int
) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(listing, mode)
    assert order["state"] == "open"
    assert order["held"] == {"amount": prepay_minor, "currency": "EUR"}
    assert order["captured"]["amount"] == 0
    assert await customer.wallet() == (20_000 - prepay_minor, prepay_minor)
    assert any_world.engine.wallets_changed == [(customer.user_id, "EUR")]


async def test_T39_each_mode_has_its_price_and_an_unoffered_one_is_refused(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    _, listing = await customer.get(f"/listings/{PER_QUARTER}")
    assert {t["mode"]: t["grace_seconds"] for t in listing["tariffs"]} == {
        "video": 60,
        "audio": 60,
        "text": 0,
    }
    body = {"listing_id": "lst_demo_interview", "mode": "text"}
    status, refusal = await customer.post("/orders", body)
    assert (status, refusal["code"], refusal["path"]) == (422, "mode_not_offered", "$.mode")


async def test_T40_short_balance_answers_402_with_the_shortfall_and_keeps_the_order(
    any_world: World,
) -> None:
    await any_world.set_balance(CUSTOMER, 1_000)
    customer = await any_world.sign_in(CUSTOMER)
    body = {"listing_id": PER_QUARTER, "mode": "video", "confirm": True}
    status, refusal = await customer.post("/orders", body)
    assert (status, refusal["code"]) == (402, "insufficient_funds")
    assert refusal["shortfall"] == {"amount": 200, "currency": "EUR"}
    _, order = await customer.get(f"/orders/{refusal['order_id']}")
    assert order["state"] == "pending_payment"
    assert (await customer.wallet())[0] == 1_000
    ref = await customer.top_up(refusal["shortfall"]["amount"])
    await customer.post(f"/test-payments/{ref}", {"outcome": "succeed"})
    status, paid = await customer.post(f"/orders/{order['id']}/pay")
    assert (status, paid["state"]) == (200, "open")


async def test_T40_paying_again_after_a_top_up_by_the_needed_sum_succeeds(
    any_world: World,
) -> None:
    await any_world.set_balance(CUSTOMER, 1_000)
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER, confirm=False)
    status, refusal = await customer.post(f"/orders/{order['id']}/pay", key="pay-1")
    assert status == 402
    ref = await customer.top_up(refusal["shortfall"]["amount"])
    await customer.post(f"/test-payments/{ref}", {"outcome": "succeed"})
    status, paid = await customer.post(f"/orders/{order['id']}/pay", key="pay-1")
    assert (status, paid["state"], paid["held"]["amount"]) == (200, "open", 1_200)
    assert (await customer.wallet())[0] == 0


async def test_T42_without_confirmation_nothing_is_debited(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER, confirm=False)
    assert order["state"] == "pending_payment"
    assert not order["can_call"]
    assert await customer.wallet() == (20_000, 0)


async def test_T44_orders_are_listed_newest_first_for_either_party(world: World) -> None:
    customer, expert = await world.sign_in(CUSTOMER), await world.sign_in(EXPERT)
    made = [await customer.order(PER_QUARTER, confirm=False) for _ in range(3)]
    made.append(await customer.order(PER_SECOND, confirm=False))
    wanted = [order["id"] for order in reversed(made)]
    seen, cursor = [], ""
    while cursor is not None:
        _, page = await customer.get(f"/orders?role=customer&limit=3{cursor}")
        seen += [order["id"] for order in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert seen == wanted
    _, page = await expert.get("/orders?role=expert")
    assert [order["id"] for order in page["items"]] == wanted[1:]
    assert {order["role"] for order in page["items"]} == {"expert"}
    _, page = await expert.get("/orders?role=customer")
    assert page["items"] == []


async def test_T45_the_listing_links_to_the_viewers_running_orders(world: World) -> None:
    customer, expert = await world.sign_in(CUSTOMER), await world.sign_in(EXPERT)
    order = await customer.order(PER_QUARTER)
    gone = await customer.order(PER_QUARTER, confirm=False)
    await customer.post(f"/orders/{gone['id']}/cancel")
    _, listing = await customer.get(f"/listings/{PER_QUARTER}")
    assert [mine["id"] for mine in listing["my_orders"]] == [order["id"]]
    for other in (expert, world.stranger):
        _, listing = await other.get(f"/listings/{PER_QUARTER}")
        assert listing["my_orders"] == []


async def test_T46_cancelling_returns_the_whole_prepayment(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    status, cancelled = await customer.post(f"/orders/{order['id']}/cancel")
    assert (status, cancelled["state"]) == (200, "cancelled")
    assert cancelled["closed_reason"] == "by_customer"
    assert cancelled["held"]["amount"] == 0
    assert await customer.wallet() == (20_000, 0)
    status, refusal = await customer.post(f"/orders/{order['id']}/cancel")
    assert (status, refusal["code"]) == (409, "order_closed")
    assert await customer.wallet() == (20_000, 0)


async def test_T46_cancelling_returns_only_what_was_not_consumed(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(PER_SECOND)
    session = await any_world.session(order["id"])
    await any_world.capture(session, 250)
    status, cancelled = await customer.post(f"/orders/{order['id']}/cancel")
    assert (status, cancelled["captured"]["amount"]) == (200, 250)
    assert await customer.wallet() == (19_750, 0)


@pytest.mark.parametrize("state", ["ringing", "connecting", "in_progress"])
async def test_T46_an_order_with_a_running_session_cannot_be_cancelled(
    any_world: World, state: str
) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    await any_world.session(order["id"], state=state, end_reason=None, ended_at_ms=None)
    _, seen = await customer.get(f"/orders/{order['id']}")
    assert not seen["can_cancel"]
    assert not seen["can_call"]
    status, refusal = await customer.post(f"/orders/{order['id']}/cancel")
    assert (status, refusal["code"]) == (409, "session_live")
    assert await customer.wallet() == (18_800, 1_200)


async def test_a_billed_order_can_be_closed_and_an_unbilled_one_only_cancelled(
    any_world: World,
) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(PER_SECOND)
    status, refusal = await customer.post(f"/orders/{order['id']}/close")
    assert (status, refusal["code"]) == (409, "nothing_billed")
    await any_world.capture(await any_world.session(order["id"]), 100)
    status, closed = await customer.post(f"/orders/{order['id']}/close")
    assert (status, closed["state"], closed["closed_reason"]) == (200, "completed", "closed")
    assert await customer.wallet() == (19_900, 0)


async def test_the_expert_sees_the_order_but_can_neither_pay_nor_cancel_it(world: World) -> None:
    customer, expert = await world.sign_in(CUSTOMER), await world.sign_in(EXPERT)
    order = await customer.order(PER_QUARTER)
    _, seen = await expert.get(f"/orders/{order['id']}")
    assert (seen["role"], seen["can_cancel"], seen["can_call"]) == ("expert", False, False)
    for action in ("pay", "cancel", "close"):
        status, refusal = await expert.post(f"/orders/{order['id']}/{action}")
        assert (status, refusal["code"]) == (403, "not_customer")


async def test_an_order_does_not_exist_for_anyone_else(world: World) -> None:
    customer, other = await world.sign_in(CUSTOMER), await world.sign_in(STAFF)
    order = await customer.order(PER_QUARTER)
    for path in ("", "/sessions", "/receipt"):
        status, refusal = await other.get(f"/orders/{order['id']}{path}")
        assert (status, refusal["code"]) == (404, "order_not_found")
    for action in ("pay", "cancel", "close"):
        status, refusal = await other.post(f"/orders/{order['id']}/{action}")
        assert (status, refusal["code"]) == (404, "order_not_found")
    status, refusal = await other.post("/engine/tokens", {"order_id": order["id"]})
    assert (status, refusal["code"]) == (404, "order_not_found")


async def test_nobody_orders_from_themselves(world: World) -> None:
    expert = await world.sign_in(EXPERT)
    status, refusal = await expert.post("/orders", {"listing_id": PER_QUARTER, "mode": "video"})
    assert (status, refusal["code"]) == (409, "own_listing")


async def test_an_unknown_listing_cannot_be_ordered(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    status, refusal = await customer.post("/orders", {"listing_id": "lst_no", "mode": "video"})
    assert (status, refusal["code"]) == (404, "listing_not_found")


async def test_a_paused_listing_is_neither_shown_nor_ordered(world: World) -> None:
    async with world.store.transaction() as tx:
        await tx.execute(
            sa.update(listings).where(listings.c.id == PER_QUARTER).values(state="paused")
        )
    customer = await world.sign_in(CUSTOMER)
    status, _ = await customer.get(f"/listings/{PER_QUARTER}")
    assert status == 404
    status, _ = await customer.post("/orders", {"listing_id": PER_QUARTER, "mode": "video"})
    assert status == 404


async def test_tariff_and_policy_are_snapshots_that_later_changes_do_not_touch(
    world: World,
) -> None:
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER, confirm=False)
    async with world.store.transaction() as tx:
        row = (await tx.execute(sa.select(listings).where(listings.c.id == PER_QUARTER))).one()
        dearer = {mode: tariff | {"price_minor": 9_900} for mode, tariff in row.tariffs.items()}
        await tx.execute(
            sa.update(listings).where(listings.c.id == PER_QUARTER).values(tariffs=dearer)
        )
        stored = (await tx.execute(sa.select(orders).where(orders.c.id == order["id"]))).one()
    assert stored.policy["commission_bps"] == 2_000
    _, paid = await customer.post(f"/orders/{order['id']}/pay")
    assert paid["tariff"]["prepay_minor"] == 1_200
    assert paid["held"]["amount"] == 1_200


async def test_an_order_comes_with_its_conversation_number_and_events(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    assert len(order["number"]) == 12
    async with world.store.reading() as tx:
        query = sa.select(conversations.c.id).where(conversations.c.order_id == order["id"])
        assert await tx.scalar(query) == order["conversation_id"]
        told = sa.select(outbox.c.type).where(outbox.c.subject_id == order["id"])
        types = list((await tx.execute(told.order_by(outbox.c.seq))).scalars())
    assert types == ["order.created", "order.paid"]


async def test_two_orders_race_for_money_that_suffices_for_one(any_world: World) -> None:
    await any_world.set_balance(CUSTOMER, 1_500)
    customer = await any_world.sign_in(CUSTOMER)
    body = {"listing_id": PER_QUARTER, "mode": "video", "confirm": True}
    answers = await asyncio.gather(*(customer.post("/orders", body) for _ in range(4)))
    assert sorted(status for status, _ in answers) == [201, 402, 402, 402]
    assert (await customer.wallet())[0] == 300


async def test_paying_and_cancelling_race_to_one_consistent_end(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER, confirm=False)
    path = f"/orders/{order['id']}"
    await asyncio.gather(customer.post(f"{path}/pay"), customer.post(f"{path}/cancel"))
    _, seen = await customer.get(path)
    assert seen["state"] == "cancelled"
    assert await customer.wallet() == (20_000, 0)


async def test_unpaid_orders_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admin.orders.service.MOST_UNPAID_ORDERS", 2)
    customer = await world.sign_in(CUSTOMER)
    for _ in range(2):
        await customer.order(PER_QUARTER, confirm=False)
    status, refusal = await customer.post("/orders", {"listing_id": PER_QUARTER, "mode": "text"})
    assert (status, refusal["code"]) == (409, "too_many_unpaid_orders")
