"""What the storefront keeps for one person: language, favourites, blocks, notices, the wallet."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from tests.support.browser import Tab
from tests.support.running_app import RunningApp
from tests.support.storefront import PATIENT_MS, buy, go, shows, state_of, visit

pytestmark = pytest.mark.browser


async def speaks(tab: Tab, language: str, direction: str, browse: str) -> None:
    """The page is in this language, and so is its navigation."""
    html = tab.page.locator("html")
    await expect(html).to_have_attribute("lang", language, timeout=PATIENT_MS)
    await expect(html).to_have_attribute("dir", direction)
    await expect(tab["language"]).to_have_value(language)
    await expect(tab["nav-browse"]).to_have_text(browse)


async def choose(tab: Tab, language: str) -> None:
    await tab["language"].select_option(language)


async def test_a_guest_chooses_the_language_and_it_stays(app: RunningApp, browser: Browser) -> None:
    async with visit(browser, app) as tab:
        await speaks(tab, "en", "ltr", "Browse")
        await shows(tab["price"].first, "€")
        await choose(tab, "fa")
        await speaks(tab, "fa", "rtl", "گشت‌وگذار")
        await expect(tab["language"]).to_be_focused()
        await shows(tab["price"].first, re.compile("[۰-۹]"))
        mark = await tab.page.locator(".brand-mark").bounding_box()
        assert mark is not None
        assert mark["x"] > 640, "the page is read from its right edge"
        await tab.page.reload()
        await speaks(tab, "fa", "rtl", "گشت‌وگذار")
        await go(tab, "listing/lst_demo_script")
        await tab.click("order-button")
        await tab["login-email"].fill("nobody@people.test")
        await tab["login-password"].fill("not this one")
        await tab.click("login-submit")
        await expect(tab["login-error"]).to_have_text("ایمیل یا گذرواژه نادرست است.")
        await choose(tab, "tr")
        await expect(tab.page.get_by_role("link", name="Hesap oluştur")).to_be_visible()
        await go(tab, "")
        await speaks(tab, "tr", "ltr", "Göz at")


async def test_the_browsers_language_is_the_first_guess(app: RunningApp, browser: Browser) -> None:
    async with visit(browser, app, locale="tr-TR") as tab:
        await speaks(tab, "tr", "ltr", "Göz at")


async def test_the_account_keeps_the_language_for_another_browser(
    azmoudegan: RunningApp, browser: Browser
) -> None:
    async with visit(browser, azmoudegan, "customer") as tab:
        await speaks(tab, "en", "ltr", "Browse")
        await choose(tab, "fa")
        await speaks(tab, "fa", "rtl", "گشت‌وگذار")
        await shows(tab["filter-category"], "طراحی")
    async with visit(browser, azmoudegan, "customer") as another:
        await speaks(another, "fa", "rtl", "گشت‌وگذار")
        await choose(another, "en")
        await speaks(another, "en", "ltr", "Browse")


async def test_a_rating_is_said_to_be_the_experts(app: RunningApp, browser: Browser) -> None:
    async with visit(browser, app, "customer") as customer:
        await buy(customer, "lst_demo_phrases")
        await customer.click("do-review")
        await customer.click("service-5")
        await customer.click("expert-4")
        await customer.click("review-send")
        await customer.see("review")
        await go(customer, "")
        card = customer["listing"].filter(has_text="A script that fills")
        await shows(card.get_by_test_id("expert-rating"), "Expert")
        await shows(card.get_by_test_id("expert-rating"), "4.0")
        await shows(card.get_by_test_id("expert-rating"), "(1)")
        await choose(customer, "fa")
        await shows(card.get_by_test_id("expert-rating"), "متخصص★۴٫۰(۱)")


async def test_favourites_are_kept_until_their_heart_is_taken_away(
    app: RunningApp, browser: Browser
) -> None:
    async with visit(browser, app, "customer") as tab:
        script = tab["listing"].filter(has_text="A script that fills")
        await script.get_by_test_id("favourite").click()
        await expect(script.get_by_test_id("favourite")).to_have_attribute("aria-pressed", "true")
        await go(tab, "expert/jonas")
        await expect(tab["expert-about"]).to_be_visible(timeout=PATIENT_MS)
        await tab.page.locator(".expert-head").get_by_test_id("favourite").click()
        await tab.page.reload()
        await tab.click("nav-favourites")
        await expect(tab["nav-favourites"]).to_have_attribute("aria-current", "page")
        await expect(tab["listing"]).to_have_count(1, timeout=PATIENT_MS)
        await shows(tab["listing"], "A script that fills")
        await expect(tab["favourite-expert"]).to_have_count(1)
        await tab["favourite-expert"].get_by_test_id("favourite").click()
        await expect(tab["favourite-expert"]).to_have_count(0, timeout=PATIENT_MS)
        await tab["listing"].get_by_test_id("favourite").click()
        await tab.see("no-favourites")


async def test_a_guest_who_wants_a_favourite_signs_in_first(
    app: RunningApp, browser: Browser
) -> None:
    async with visit(browser, app, place="listing/lst_demo_script") as tab:
        await tab.page.locator(".page-head").get_by_test_id("favourite").click()
        await tab.see("login-form")


async def test_somebody_blocked_is_not_written_to_until_the_block_is_lifted(
    app: RunningApp, browser: Browser
) -> None:
    async with visit(browser, app, "customer", place="account") as tab:
        await tab.see("no-blocks")
        await go(tab, "expert/pavel")
        await tab.click("block")
        await tab.click("ask-confirm")
        await shows(tab["toast"], "is blocked")
        await go(tab, "listing/lst_demo_script")
        await tab.click("ask")
        await shows(tab["toast"], "You cannot write to each other.")
        await tab.click("nav-account")
        await expect(tab["blocked"]).to_have_attribute("data-id", "usr_demo_pavel")
        await tab.click("unblock")
        await tab.see("no-blocks")
        await go(tab, "listing/lst_demo_script")
        await tab.click("ask")
        await tab.see("message-input")


async def test_a_complaint_about_a_listing_is_a_case_of_its_own(
    app: RunningApp, browser: Browser
) -> None:
    async with visit(browser, app, "customer", place="listing/lst_demo_script") as tab:
        await tab.click("report")
        await tab["ask-text"].fill("The text is copied from my own page.")
        await tab.click("ask-confirm")
        await state_of(tab, "case", "open")
        await shows(tab["case"], "copied from my own page")
        await go(tab, "listing/lst_demo_script")
        await tab.click("report")
        await tab["ask-text"].fill("Once more.")
        await tab.click("ask-confirm")
        await shows(tab["ask-dialog"], "You have reported this already")


async def test_an_expert_is_notified_of_a_sale_and_finds_it_among_the_sales(
    app: RunningApp, browser: Browser
) -> None:
    async with visit(browser, app, "pavel") as expert, visit(browser, app, "customer") as customer:
        await expect(expert["notices-badge"]).to_be_hidden()
        order_id = await buy(customer, "lst_demo_script", "Bills, by month.")
        await expect(customer["nav-orders"]).to_have_attribute("aria-current", "page")
        await shows(expert["notices-badge"], "1")
        await expert.click("nav-notifications")
        await expect(expert["notification"]).to_have_attribute("data-read", "false")
        await expert["notification-link"].click()
        await expect(expert["order-detail"]).to_have_attribute("data-id", order_id)
        await expect(expert["nav-sales"]).to_have_attribute("aria-current", "page")
        await expect(expert["nav-orders"]).not_to_have_attribute("aria-current", "page")
        await expect(expert["notices-badge"]).to_be_hidden(timeout=PATIENT_MS)

        await customer.click("do-require")
        await customer["ask-text"].fill("Bills, by month and by shop.")
        await customer.click("ask-confirm")
        await buy(customer, "lst_demo_phrases")
        await expert.click("nav-notifications")
        await expect(expert["notification"]).to_have_count(3, timeout=PATIENT_MS)
        await expert["notification"].first.get_by_test_id("notification-read").click()
        await shows(expert["notices-badge"], "1")
        await expert["notifications-view"].select_option("true")
        await expect(expert["notification"]).to_have_count(1, timeout=PATIENT_MS)
        await expert.click("read-all")
        await expect(expert["notification"]).to_have_count(0, timeout=PATIENT_MS)
        await expect(expert["notices-badge"]).to_be_hidden()


async def test_the_movements_of_a_wallet_add_up_to_its_balance(
    app: RunningApp, browser: Browser
) -> None:
    async with visit(browser, app, "customer") as customer, visit(browser, app, "pavel") as expert:
        script = await buy(customer, "lst_demo_script", "Bills, by month.")
        await buy(customer, "lst_demo_phrases")
        await customer.click("nav-wallet")
        # What is held is no movement: 60 of the 191 are on hold, and only the files are paid.
        await expect(customer["transaction"]).to_have_count(2, timeout=PATIENT_MS)
        await _adds_up(customer, 19_100)
        await expect(customer["total-balance"]).to_have_text("€191.00")
        await expect(customer["total-available"]).to_have_text("€131.00")
        await expect(customer["hold-amount"]).to_have_text("€60.00")
        await shows(customer["hold"], "A script that fills your spreadsheet")

        await go(expert, f"order/{script}")
        await expert.click("do-start")
        await expert.click("do-add-delivery")
        await expert["delivery-text"].fill("The script.")
        await expert.click("delivery-send")
        await expert.click("do-deliver")
        await go(customer, f"order/{script}")
        await customer.click("do-accept")
        await customer.click("ask-confirm")
        await state_of(customer, "order-detail", "completed")
        await customer.click("nav-wallet")
        await expect(customer["transaction"]).to_have_count(3, timeout=PATIENT_MS)
        await _adds_up(customer, 13_100)
        await expect(customer["total-balance"]).to_have_text("€131.00")
        await expect(customer["hold"]).to_have_count(0)
        await expert.click("nav-wallet")
        earnings = expert["earnings"].get_by_test_id("transaction-after")
        await expect(earnings.first).to_have_text("€55.20", timeout=PATIENT_MS)
        await expect(expert["total-earned"]).to_have_text("€55.20")


async def _adds_up(tab: Tab, balance_minor: int) -> None:
    amounts = tab["transactions"].get_by_test_id("transaction-amount")
    minor = await amounts.evaluate_all("cells => cells.map(cell => Number(cell.dataset.minor))")
    assert sum(minor) == balance_minor, minor
    last = tab["transaction-after"].first
    await expect(last).to_have_text(f"€{balance_minor / 100:.2f}")
    oldest = tab["transactions"].locator("tr").last
    first_amount = await oldest.get_by_test_id("transaction-amount").inner_text()
    await expect(oldest.get_by_test_id("transaction-after")).to_have_text(first_amount)
