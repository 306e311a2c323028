"""Every page of the storefront under axe: both schemes, desktop and phone, either direction."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, ViewportSize

from tests.support.accessibility import axe_violations
from tests.support.browser import Tab
from tests.support.running_app import RunningApp
from tests.support.storefront import buy, go, visit

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SIZES: tuple[ViewportSize, ...] = ({"width": 1280, "height": 800}, {"width": 390, "height": 844})
Found = dict[str, list[Any]]


async def look(tab: Tab, place: str, found: Found) -> None:
    """Note what axe finds, and whether the page is wider than the screen."""
    for size in SIZES:
        await tab.page.set_viewport_size(size)
        overflow = await tab.page.evaluate(
            "() => document.documentElement.scrollWidth - innerWidth"
        )
        if overflow > 0:
            found[f"{place}, {size['width']}"] = [f"{overflow} px wider than the screen"]
        for dark in (False, True):
            await tab.page.emulate_media(color_scheme="dark" if dark else "light")
            if violations := await axe_violations(tab.page):
                found[f"{place}, {size['width']}, {'dark' if dark else 'light'}"] = violations
    await tab.page.set_viewport_size(SIZES[0])


async def open_and_look(tab: Tab, pages: dict[str, str], found: Found) -> None:
    """`pages`: places, and what shows that each has loaded."""
    for place, sign in pages.items():
        await go(tab, place)
        await tab[sign].first.wait_for()
        await look(tab, place or "catalogue", found)


@pytest.mark.parametrize("language", ["en", "fa"])
async def test_the_pages_of_guests_and_customers_have_contrast_and_names(
    app: RunningApp, browser: Browser, language: str
) -> None:
    found: Found = {}
    async with visit(browser, app) as guest:
        await guest["language"].select_option(language)
        await open_and_look(
            guest,
            {
                "sign-in": "login-email",
                "register": "agree-terms",
                "forgot": "forgot-email",
                "": "listing",
                "listing/lst_demo_lease": "listing-page",
                "expert/pavel": "expert-about",
                "compare/lst_demo_lease,lst_demo_vat": "comparison",
                "nowhere": "nav-browse",
            },
            found,
        )
    async with visit(browser, app, "customer") as customer:
        await customer["language"].select_option(language)
        order_id = await buy(customer, "lst_demo_script", "Bills, by month.")
        await buy(customer, "lst_demo_phrases")
        await go(customer, "")
        await customer["favourite"].first.click()
        await open_and_look(
            customer,
            {
                "orders": "order",
                f"order/{order_id}": "message-input",
                "wallet": "transaction",
                "favourites": "listing",
                "notifications": "notifications-view",
                "account": "no-blocks",
                "desk": "join-submit",
            },
            found,
        )
        await go(customer, "listing/lst_demo_lease")
        for button, dialog in (("report", "ask-dialog"), ("order-button", "order-dialog")):
            await customer[button].first.click()
            await customer.see(dialog)
            await look(customer, dialog, found)
            await customer.page.keyboard.press("Escape")
    assert found == {}


@pytest.mark.parametrize("language", ["en", "fa"])
async def test_the_pages_of_experts_have_contrast_and_names(
    azmoudegan: RunningApp, browser: Browser, language: str
) -> None:
    found: Found = {}
    async with (
        visit(browser, azmoudegan, "expert") as expert,
        visit(browser, azmoudegan, "customer", place="listing/lst_demo_editing") as customer,
    ):
        await customer.click("send-request")
        await customer["request-body"].fill("Ten pages, by Friday.")
        await look(customer, "request-dialog", found)
        await customer.click("request-submit")
        await customer.see("request-detail")
        await go(customer, "listing/lst_demo_editing")
        await customer.click("ask")
        await customer["message-input"].fill("Would you read a letter?")
        await customer.click("message-send")
        order_id = await buy(customer, "lst_demo_editing", "A letter.")
        await expert["language"].select_option(language)
        await open_and_look(
            expert,
            {
                "requests": "request",
                "inbox": "conversation",
                "notifications": "notification",
                "sales": "order",
                f"order/{order_id}": "message-input",
                "desk": "week-cell",
                "edit/new": "edit-kind",
            },
            found,
        )
        await go(expert, "requests")
        await expert["request-link"].first.click()
        await expert.click("make-offer")
        await expert.see("offer-price")
        await look(expert, "offer-dialog", found)
    assert found == {}
