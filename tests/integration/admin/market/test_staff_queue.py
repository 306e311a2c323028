"""The staff's queue in their browser: cases are found, taken and decided, and subjects follow."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from engine.store.market_tables import cases
from engine.store.tables import listings, users
from tests.integration.admin.conftest import STAFF
from tests.integration.admin.market.conftest import Market
from tests.integration.admin.test_staff import Browser

LOGO = {
    "kind": "work",
    "category": "law",
    "locales": ["en", "ru"],
    "title": {"en": "A logo", "ru": "Логотип"},
    "description": {"en": "Drawn by hand <b>twice</b>.", "ru": "От руки."},
    "price_minor": 9_000,
    "delivery_days": 5,
}


@pytest.fixture
async def browser(market: Market) -> Browser:
    opened = Browser(market.world)
    await opened.sign_in()
    return opened


async def submitted(market: Market) -> tuple[str, str]:
    """A listing that waits for a moderator, and its case."""
    status, listing = await market.expert.post("/listings", LOGO)
    assert status == 201, listing
    status, _ = await market.expert.post(f"/listings/{listing['id']}/submit")
    assert status == 200
    async with market.store.reading() as tx:
        case_id = await tx.scalar(sa.select(cases.c.id).where(cases.c.subject_id == listing["id"]))
    return str(listing["id"]), str(case_id)


async def state_of(market: Market, listing_id: str) -> str:
    async with market.store.reading() as tx:
        query = sa.select(listings.c.state).where(listings.c.id == listing_id)
        return str(await tx.scalar(query))


async def test_T7_T8_a_moderator_reads_and_publishes_a_listing(
    market: Market, browser: Browser
) -> None:
    listing_id, case_id = await submitted(market)
    _, page = await browser.get("/admin/queue?kind=listing")
    assert f"/admin/cases/{case_id}" in page
    _, page = await browser.get(f"/admin/cases/{case_id}")
    assert "Логотип" in page
    assert "&lt;b&gt;twice&lt;/b&gt;" in page
    await browser.post(f"/admin/cases/{case_id}/assign")
    fields = {"decision": "approve", "reason": "Clear and complete.", "revision": "1"}
    status, page = await browser.post(f"/admin/cases/{case_id}/decide", **fields)
    assert status == 200
    assert await state_of(market, listing_id) == "published"
    _, page = await browser.get("/admin/queue?kind=listing")
    assert "Nothing waits for you" in page


async def test_a_stale_page_publishes_nothing(market: Market, browser: Browser) -> None:
    listing_id, case_id = await submitted(market)
    path = f"/admin/cases/{case_id}/decide"
    for fields in (
        {"decision": "approve", "reason": "Fine.", "revision": "7"},
        {"decision": "approve", "reason": "", "revision": "1"},
        {"decision": "publish", "reason": "Fine.", "revision": "1"},
    ):
        status, _ = await browser.post(path, **fields)
        assert status in {409, 422}
    assert await state_of(market, listing_id) == "pending_review"


async def test_T66_arbitration_splits_the_money_of_a_dispute(
    market: Market, browser: Browser
) -> None:
    order_id = await market.delivered(3_000)
    case_id = await market.dispute(market.customer, order_id)
    _, page = await browser.get(f"/admin/cases/{case_id}")
    assert "It is not as agreed." in page
    assert f"/admin/orders/{order_id}" in page
    status, _ = await browser.post(
        f"/admin/cases/{case_id}/request-info", text="Which part is missing?"
    )
    assert status == 200
    fields: dict[str, Any] = {"decision": "split", "reason": "Half of it was usable."}
    status, _ = await browser.post(f"/admin/cases/{case_id}/decide", **fields, refund="x")
    assert status == 422
    status, page = await browser.post(f"/admin/cases/{case_id}/decide", **fields, refund="15")
    assert (status, "Half of it was usable." in page) == (200, True)
    order = await market.see(market.customer, order_id)
    assert (order["state"], order["captured"]["amount"]) == ("completed", 1_500)


async def test_the_queue_shows_only_ones_own_desk(market: Market, browser: Browser) -> None:
    _, case_id = await submitted(market)
    async with market.store.transaction() as tx:
        await tx.execute(
            sa.update(users).where(users.c.email == STAFF).values(roles=["member", "finance"])
        )
    _, page = await browser.get("/admin/queue")
    assert "Nothing waits for you" in page
    assert (await browser.get("/admin/queue?kind=listing"))[0] == 403
    assert (await browser.get(f"/admin/cases/{case_id}"))[0] == 404
    assert (await browser.get("/admin/queue?kind=nonsense"))[0] == 404


async def test_support_shuts_a_user_out_and_lets_them_in_again(
    market: Market, browser: Browser
) -> None:
    path = f"/admin/users/{market.customer.user_id}"
    status, _ = await browser.post(f"{path}/suspend", reason="")
    assert status == 422
    status, page = await browser.post(f"{path}/suspend", reason="Abuse of others.")
    assert (status, "Let in again" in page) == (200, True)
    assert (await market.customer.get("/me"))[0] == 401
    status, page = await browser.post(f"{path}/reinstate", reason="Settled.")
    assert (status, "Let in again" in page) == (200, False)
