"""Top-ups, webhooks and the test provider (T40, T41, C35)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from admin.payments.test_provider import TOLERANCE_S, Delivery, TestProvider
from engine.store.tables import orders, outbox, transfers
from tests.integration.admin.conftest import (
    CUSTOMER,
    EXPERT,
    PER_QUARTER,
    SECRET,
    STAFF,
    World,
)


async def send(world: World, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
    url = "/api/v1/payments/test/webhook"
    async with world.client.post(url, data=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def succeed(world: World, ref: str, amount_minor: int, **other: Any) -> tuple[int, Any]:
    values = {"type": "payment.succeeded", "currency": "EUR"} | other
    delivery = Delivery(payment=ref, amount_minor=amount_minor, **values)
    return await send(world, *world.provider.deliver(delivery))


async def postings(world: World) -> int:
    async with world.store.reading() as tx:
        query = sa.select(sa.func.count()).select_from(transfers)
        return int(await tx.scalar(query.where(transfers.c.kind == "topup")) or 0) - 1  # the demo's


async def test_T41_a_top_up_is_booked_when_the_provider_says_so(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    status, top_up = await customer.post("/wallet/top-ups", {"amount_minor": 2_500})
    assert (status, top_up["state"], top_up["provider"]) == (201, "pending", "test")
    assert await customer.wallet() == (20_000, 0)
    ref = top_up["checkout_url"].rsplit("/", 1)[-1]
    assert await succeed(any_world, ref, 2_500) == (200, {"received": True})
    assert await customer.wallet() == (22_500, 0)
    _, top_up = await customer.get(f"/wallet/top-ups/{top_up['id']}")
    assert (top_up["state"], top_up["checkout_url"]) == ("succeeded", None)
    assert any_world.engine.wallets_changed == [(customer.user_id, "EUR")]


async def test_C35_the_same_webhook_twice_makes_one_posting(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    ref = await customer.top_up(2_500)
    delivery = Delivery("payment.succeeded", ref, "EUR", 2_500)
    headers, body = any_world.provider.deliver(delivery)
    for _ in range(2):
        assert (await send(any_world, headers, body))[0] == 200
    assert (await succeed(any_world, ref, 2_500))[0] == 200
    assert await postings(any_world) == 1
    assert await customer.wallet() == (22_500, 0)
    assert len(any_world.engine.wallets_changed) == 1
    async with any_world.store.reading() as tx:
        told = sa.select(sa.func.count()).where(outbox.c.type == "payment.succeeded")
        assert await tx.scalar(told) == 1


async def test_C35_the_same_webhook_at_once_makes_one_posting(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    ref = await customer.top_up(2_500)
    answers = await asyncio.gather(*(succeed(any_world, ref, 2_500) for _ in range(5)))
    assert {status for status, _ in answers} == {200}
    assert await postings(any_world) == 1


async def test_C35_the_checkout_and_the_webhook_together_make_one_posting(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    ref = await customer.top_up(2_500)
    await customer.post(f"/test-payments/{ref}", {"outcome": "succeed"})
    await customer.post(f"/test-payments/{ref}", {"outcome": "succeed"})
    await succeed(world, ref, 2_500)
    assert await customer.wallet() == (22_500, 0)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"amount_minor": 2_501}, 422, "amount_mismatch"),
        ({"currency": "USD"}, 422, "amount_mismatch"),
        ({"ref": "tp_unknown"}, 404, "payment_not_found"),
        ({"ref": "a\x00b"}, 404, "payment_not_found"),
    ],
)
async def test_a_webhook_that_does_not_fit_changes_nothing(
    any_world: World, change: dict[str, Any], status: int, code: str
) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    values = {"ref": await customer.top_up(2_500), "amount_minor": 2_500} | change
    answer = await succeed(any_world, **values)
    assert (answer[0], answer[1]["code"]) == (status, code)
    assert await postings(any_world) == 0
    assert await customer.wallet() == (20_000, 0)


async def test_finance_hears_once_of_an_amount_that_does_not_fit(any_world: World) -> None:
    customer, staff = await any_world.sign_in(CUSTOMER), await any_world.sign_in(STAFF)
    ref = await customer.top_up(2_500)
    for amount_minor in (2_400, 2_400, 2_300):
        assert (await succeed(any_world, ref, amount_minor))[0] == 422
    _, page = await staff.get("/admin/cases?kind=payment")
    found = {one["title"]: one for one in page["items"]}
    assert len(page["items"]) == 2
    case = found["test told of 24.00 EUR where 25.00 EUR was asked for"]
    for part in (customer.user_id, case["subject_id"], ref, "nothing was booked"):
        assert part in case["body"]
    decision = {"decision": "solved", "reason": "Asked the provider."}
    status, decided = await staff.post(f"/admin/cases/{case['id']}/decide", decision)
    assert (status, decided["state"]) == (200, "decided")
    await succeed(any_world, ref, 2_400)  # it is sent again for days
    _, page = await staff.get("/admin/cases?kind=payment")
    assert len(page["items"]) == 1


async def test_a_webhook_without_the_right_signature_is_refused(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    ref = await customer.top_up(2_500)
    delivery = Delivery("payment.succeeded", ref, "EUR", 2_500)
    headers, body = world.provider.deliver(delivery)
    forger = TestProvider(secret="x" * 32, public_url="http://x", clock=world.clock)
    attempts = [
        ({}, body),
        (headers, body.replace(b"2500", b"9900")),
        (headers | {"webhook-timestamp": "1"}, body),
        (headers | {"webhook-signature": "v1,\u00e4"}, body),
        forger.deliver(delivery),
    ]
    for forged, content in attempts:
        status, refusal = await send(world, forged, content)
        assert (status, refusal["code"]) == (401, "bad_signature")
    assert await postings(world) == 0


async def test_an_old_delivery_is_refused_although_genuine(world: World) -> None:
    class OldClock:
        def wall_ms(self) -> int:
            return world.clock.wall_ms() - (TOLERANCE_S + 5) * 1_000

    customer = await world.sign_in(CUSTOMER)
    ref = await customer.top_up(2_500)
    old: Any = OldClock()
    late = TestProvider(secret=SECRET, public_url="http://x", clock=old)
    delivery = Delivery("payment.succeeded", ref, "EUR", 2_500)
    status, refusal = await send(world, *late.deliver(delivery))
    assert (status, refusal["code"]) == (401, "bad_signature")


async def test_a_signed_delivery_that_cannot_be_read_is_refused(world: World) -> None:
    for content in (b"{}", b"\xff", b"[]", b'{"type": "payment.exploded"}'):
        timestamp = str(world.clock.wall_ms() // 1_000)
        signature = world.provider._signature("evt", timestamp, content)
        headers = {
            "webhook-id": "evt",
            "webhook-timestamp": timestamp,
            "webhook-signature": signature,
        }
        status, refusal = await send(world, headers, content)
        assert (status, refusal["code"]) == (422, "bad_webhook")


async def test_an_unknown_provider_is_not_found(world: World) -> None:
    async with world.client.post("/api/v1/payments/other/webhook", data=b"{}") as answer:
        assert answer.status == 404
        assert (await answer.json())["code"] == "provider_not_found"


async def test_a_refused_card_may_succeed_on_the_next_try_but_not_the_other_way(
    world: World,
) -> None:
    customer = await world.sign_in(CUSTOMER)
    ref = await customer.top_up(2_500)
    path = f"/test-payments/{ref}"
    _, failed = await customer.post(path, {"outcome": "fail"})
    assert failed["state"] == "failed"
    assert await customer.wallet() == (20_000, 0)
    _, paid = await customer.post(path, {"outcome": "succeed"})
    assert paid["state"] == "succeeded"
    _, still = await customer.post(path, {"outcome": "fail"})
    assert still["state"] == "succeeded"
    assert await customer.wallet() == (22_500, 0)


async def test_T40_a_top_up_for_an_order_pays_it_in_the_same_step(any_world: World) -> None:
    await any_world.set_balance(CUSTOMER, 1_000)
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER, confirm=False)
    ref = await customer.top_up(200, order["id"])
    assert (await succeed(any_world, ref, 200))[0] == 200
    _, paid = await customer.get(f"/orders/{order['id']}")
    assert (paid["state"], paid["held"]["amount"]) == ("open", 1_200)
    assert (await customer.wallet())[0] == 0


async def test_a_top_up_too_small_for_its_order_stays_in_the_wallet(any_world: World) -> None:
    await any_world.set_balance(CUSTOMER, 1_000)
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER, confirm=False)
    ref = await customer.top_up(100, order["id"])
    assert (await succeed(any_world, ref, 100))[0] == 200
    _, seen = await customer.get(f"/orders/{order['id']}")
    assert seen["state"] == "pending_payment"
    assert (await customer.wallet())[0] == 1_100
    ref = await customer.top_up(100, order["id"])
    assert (await succeed(any_world, ref, 100))[0] == 200
    _, seen = await customer.get(f"/orders/{order['id']}")
    assert seen["state"] == "open"


async def test_money_for_an_order_cancelled_meanwhile_stays_in_the_wallet(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER, confirm=False)
    ref = await customer.top_up(1_200, order["id"])
    await customer.post(f"/orders/{order['id']}/cancel")
    assert (await succeed(world, ref, 1_200))[0] == 200
    assert await customer.wallet() == (21_200, 0)
    async with world.store.reading() as tx:
        assert await tx.scalar(sa.select(orders.c.state)) == "cancelled"


async def test_a_top_up_names_only_an_own_unpaid_order(world: World) -> None:
    customer, expert = await world.sign_in(CUSTOMER), await world.sign_in(EXPERT)
    order = await customer.order(PER_QUARTER)
    body = {"amount_minor": 500, "order_id": order["id"]}
    status, refusal = await customer.post("/wallet/top-ups", body)
    assert (status, refusal["code"]) == (409, "already_paid")
    status, refusal = await expert.post("/wallet/top-ups", body)
    assert (status, refusal["code"]) == (404, "order_not_found")


@pytest.mark.parametrize("amount", [0, -5, 100_000_001, 1.5, "5", None])
async def test_a_top_up_has_a_sensible_amount(world: World, amount: object) -> None:
    customer = await world.sign_in(CUSTOMER)
    status, refusal = await customer.post("/wallet/top-ups", {"amount_minor": amount})
    assert (status, refusal["path"]) == (422, "$.amount_minor")


async def test_a_payment_is_decided_and_seen_by_its_payer_only(world: World) -> None:
    customer, expert = await world.sign_in(CUSTOMER), await world.sign_in(EXPERT)
    _, top_up = await customer.post("/wallet/top-ups", {"amount_minor": 900})
    ref = top_up["checkout_url"].rsplit("/", 1)[-1]
    status, refusal = await expert.post(f"/test-payments/{ref}", {"outcome": "succeed"})
    assert (status, refusal["code"]) == (404, "payment_not_found")
    status, refusal = await expert.get(f"/wallet/top-ups/{top_up['id']}")
    assert (status, refusal["code"]) == (404, "top_up_not_found")


async def test_the_checkout_page_pays_through_the_same_webhook(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    path = f"/test-checkout/{await customer.top_up(2_500)}"
    async with world.client.get(path) as answer:
        assert answer.status == 200
        assert "25.00 EUR" in await answer.text()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    async with world.client.post(path, data={"outcome": "succeed"}) as answer:
        assert answer.status == 200
        assert "in your wallet" in await answer.text()
    assert await customer.wallet() == (22_500, 0)
    async with world.client.post(path, data={"outcome": "steal"}) as answer:
        assert answer.status == 422
    async with world.client.get("/test-checkout/tp_unknown") as answer:
        assert answer.status == 404


async def test_without_the_test_provider_nobody_mints_money(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    ref = await customer.top_up(2_500)
    world.deps.providers.clear()  # type: ignore[attr-defined]
    status, _ = await customer.post(f"/test-payments/{ref}", {"outcome": "succeed"})
    assert status == 404
    status, refusal = await customer.post("/wallet/top-ups", {"amount_minor": 100})
    assert (status, refusal["code"]) == (503, "no_payment_provider")
    async with world.client.get(f"/test-checkout/{ref}") as answer:
        assert answer.status == 404
    assert await customer.wallet() == (20_000, 0)


async def test_an_announcement_that_fails_does_not_undo_the_booking(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the engine is busy dying")

    monkeypatch.setattr(world.engine, "wallet_changed", broken)
    customer = await world.sign_in(CUSTOMER)
    ref = await customer.top_up(2_500)
    status, _ = await customer.post(f"/test-payments/{ref}", {"outcome": "succeed"})
    assert status == 200
    assert await customer.wallet() == (22_500, 0)
