"""Digital goods: paid and handed over at once, and kept as they were bought."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from engine.store.tables import listings
from tests.integration.admin.conftest import STAFF
from tests.integration.admin.market.conftest import HAS_MINOR, Market

LINKS = ["https://example.org/course"]


async def goods(market: Market, price_minor: int = 1_000) -> tuple[str, str]:
    """A listing of a file and a link; its id and the file's."""
    file_id = await market.file(market.expert, "goods", "course.pdf")
    return await market.offer("files", price_minor, files=[file_id], links=LINKS), file_id


async def fetch(market: Market, url: str) -> tuple[int, bytes]:
    async with market.world.client.get(url) as answer:
        return answer.status, await answer.read()


@pytest.mark.parametrize(("price_minor", "fee_minor"), [(1_000, 200), (999, 199), (1, 0)])
async def test_T78_the_price_is_taken_and_passed_on_at_once(
    market: Market, price_minor: int, fee_minor: int
) -> None:
    listing, _ = await goods(market, price_minor)
    order = await market.order(listing)
    assert (order["state"], order["closed_reason"]) == ("completed", "purchased")
    assert order["captured"]["amount"] == price_minor
    earned_minor = price_minor - fee_minor
    assert await market.money() == (HAS_MINOR - price_minor, 0, earned_minor, fee_minor)
    assert await market.told(market.expert) == ["order.paid"]  # T77
    assert (await market.expert_row()).completed_orders == 1


async def test_T73_T79_C28_files_and_links_are_on_the_order_after_payment(
    market: Market,
) -> None:
    listing, _ = await goods(market)
    order = await market.order(listing, confirm=False)
    path = f"/orders/{order['id']}/files"
    status, refusal = await market.customer.get(path)
    assert (status, refusal["code"]) == (403, "order_not_paid")
    await market.do(market.customer, order["id"], "pay")
    status, bought = await market.customer.get(path)
    assert (status, bought["links"]) == (200, LINKS)
    (file,) = bought["files"]
    assert (file["name"], file["type"], file["size"]) == ("course.pdf", "application/pdf", 4)
    assert await fetch(market, file["url"]) == (200, b"%PDF")


async def test_C28_nobody_else_gets_them_and_the_address_expires(market: Market) -> None:
    listing, file_id = await goods(market)
    order = await market.order(listing)
    _, bought = await market.customer.get(f"/orders/{order['id']}/files")
    stranger = await market.sign_in("jonas@demo.talktime.test")
    status, refusal = await stranger.get(f"/orders/{order['id']}/files")
    assert (status, refusal["code"]) == (404, "order_not_found")
    status, refusal = await stranger.get(f"/files/{file_id}")
    assert (status, refusal["code"]) == (404, "file_not_found")
    status, _ = await market.world.stranger.get(f"/orders/{order['id']}/files")
    assert status == 401
    market.clock.advance(3_600)
    status, _ = await fetch(market, bought["files"][0]["url"])
    assert status == 401
    _, again = await market.customer.get(f"/orders/{order['id']}/files")
    assert (await fetch(market, again["files"][0]["url"]))[0] == 200


async def test_Ts_the_buyer_keeps_the_revision_that_was_bought(market: Market) -> None:
    listing, _ = await goods(market)
    first = await market.order(listing)
    newer = await market.file(market.expert, "goods", "second-edition.pdf")
    await market.revise(listing, 2, files=[newer], links=[])
    second = await market.order(listing)
    async with market.store.transaction() as tx:
        gone = sa.update(listings).where(listings.c.id == listing)
        await tx.execute(gone.values(state="archived"))
    seen = []
    for order in (first, second):
        _, bought = await market.customer.get(f"/orders/{order['id']}/files")
        seen.append(([file["name"] for file in bought["files"]], bought["links"]))
        assert (await fetch(market, bought["files"][0]["url"]))[0] == 200
    assert seen == [(["course.pdf"], LINKS), (["second-edition.pdf"], [])]


async def test_Tr_who_got_everything_back_has_no_access_any_more(market: Market) -> None:
    listing, file_id = await goods(market)
    order = await market.order(listing)
    case = await market.dispute(market.customer, order["id"], "The file is empty.")
    status, _ = await market.customer.get(f"/orders/{order['id']}/files")
    assert status == 200
    arbiter = await market.staff("disputes.decide")
    await arbiter.post(f"/admin/cases/{case}/decide", {"decision": "refund", "reason": "Empty."})
    assert await market.money() == (HAS_MINOR, 0, 0, 0)
    status, refusal = await market.customer.get(f"/orders/{order['id']}/files")
    assert (status, refusal["code"]) == (403, "order_not_paid")
    status, _ = await market.customer.get(f"/files/{file_id}")
    assert status == 404


async def test_orders_of_other_kinds_have_no_files(market: Market) -> None:
    order_id = await market.work()
    status, refusal = await market.customer.get(f"/orders/{order_id}/files")
    assert (status, refusal["code"]) == (409, "no_files")
    status, refusal = await (await market.sign_in(STAFF)).get(f"/orders/{order_id}/files")
    assert (status, refusal["code"]) == (404, "order_not_found")


async def test_T79_the_receipt_of_a_purchase_shows_price_and_to_the_expert_commission(
    market: Market,
) -> None:
    listing, _ = await goods(market, 999)
    order = await market.order(listing)
    _, receipt = await market.customer.get(f"/orders/{order['id']}/receipt")
    assert [(line["text"], line["amount"]["amount"]) for line in receipt["lines"]] == [
        ("The price", 999)
    ]
    assert (receipt["total"]["amount"], receipt["fee"], receipt["sessions"]) == (999, None, [])
    _, receipt = await market.expert.get(f"/orders/{order['id']}/receipt")
    assert (receipt["fee"]["amount"], receipt["earned"]["amount"]) == (199, 800)
    finance = await market.staff("finance")
    body = {"amount_minor": 400, "reason": "One chapter is missing"}
    await finance.post(f"/admin/orders/{order['id']}/refund", body)
    _, receipt = await market.expert.get(f"/orders/{order['id']}/receipt")
    assert [(line["text"], line["amount"]["amount"]) for line in receipt["lines"]] == [
        ("The price", 999),
        ("Given back: One chapter is missing", -400),
    ]
    # The platform keeps its fifth of the 5.99 that remain.
    assert (receipt["total"]["amount"], receipt["fee"]["amount"]) == (599, 119)
    async with market.world.client.get(receipt["url"]) as page:
        text = await page.text()
    assert page.status == 200
    assert "Files and links" in text
    assert "One chapter is missing" in text
