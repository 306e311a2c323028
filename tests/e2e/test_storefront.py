"""Whole walks through the storefront, each person in a browser of their own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, FilePayload, Locator, expect

from tests.support.browser import Tab
from tests.support.mail_server import MailServer
from tests.support.running_app import RunningApp
from tests.support.storefront import (
    PATIENT_MS,
    audited_app,
    buy,
    go,
    shows,
    staff_page,
    state_of,
    visit,
)

pytestmark = pytest.mark.browser

NOTES: FilePayload = {
    "name": "notes.txt",
    "mimeType": "text/plain",
    "buffer": b"First this, then that.",
}
TABLE: FilePayload = {"name": "table.csv", "mimeType": "text/csv", "buffer": b"month,sum\nMay,12\n"}


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    async with MailServer().running() as server:
        yield server


@pytest.fixture
async def mailing_app(tmp_path: Path, mails: MailServer) -> AsyncIterator[RunningApp]:
    """An infotwip whose mails leave by SMTP."""
    smtp = {"smtp_host": "127.0.0.1", "smtp_port": mails.port, "smtp_security": "none"}
    async with audited_app(tmp_path, **smtp) as app:
        yield app


async def mail_to(server: MailServer, address: str) -> str:
    """The text of the first mail to `address`, once it is there."""
    async with asyncio.timeout(PATIENT_MS / 1_000):
        while True:
            for mail in server.taken:
                if mail["To"] == address:
                    return str(mail.get_content())
            await asyncio.sleep(0.05)


async def deliver(tab: Tab, text: str, file: FilePayload | None = None) -> None:
    """Add a delivery to the order that is shown, and say that the work is done."""
    before = await tab["delivery"].count()
    await tab.click("do-add-delivery")
    await tab["delivery-text"].fill(text)
    if file is not None:
        await attach(tab["delivery-dialog"], file)
    await tab.click("delivery-send")
    await expect(tab["delivery-dialog"]).to_be_hidden(timeout=PATIENT_MS)
    await expect(tab["delivery"]).to_have_count(before + 1, timeout=PATIENT_MS)
    await tab.click("do-deliver")
    await state_of(tab, "order-detail", "delivered")


async def attach(place: Locator, file: FilePayload) -> None:
    await place.get_by_test_id("file-input").set_input_files(file)
    await expect(place.get_by_test_id("picked-file")).to_be_visible(timeout=PATIENT_MS)


async def confirm(tab: Tab, action: str, text: str = "") -> None:
    """An action of the order that asks first."""
    await tab.click(f"do-{action}")
    if text:
        await tab["ask-text"].fill(text)
    await tab.click("ask-confirm")
    await expect(tab["ask-dialog"]).to_be_hidden(timeout=PATIENT_MS)


async def review(tab: Tab, service: int, expert: int, text: str) -> None:
    await tab.click("do-review")
    await tab.click(f"service-{service}")
    await tab.click(f"expert-{expert}")
    await tab["review-text"].fill(text)
    await tab.click("review-send")
    await shows(tab["review"], text)


async def test_T2_T37_T40_T41_T73_T79_P5_a_guest_compares_registers_tops_up_and_buys_files(
    mailing_app: RunningApp, mails: MailServer, browser: Browser
) -> None:
    async with visit(browser, mailing_app) as tab:
        await _search_and_compare(tab)
        await _register(tab, mails, "noa@people.test", "plum-violin-84-lake")
        await expect(tab["wallet-available"]).to_have_text("€0.00", timeout=PATIENT_MS)
        await tab.click("nav-wallet")
        await tab.click("wallet-topup")
        await _pay_in(tab, "5.00")
        await expect(tab["total-available"]).to_have_text("€5.00", timeout=PATIENT_MS)
        await expect(tab["transaction"]).to_have_count(1, timeout=PATIENT_MS)

        await go(tab, "listing/lst_demo_phrases")
        await tab.click("order-button")
        await shows(tab["order-dialog"], "€4.00")
        await tab.click("order-confirm")
        await expect(tab["topup-amount"]).to_have_value("4.00", timeout=PATIENT_MS)
        await _pay_in(tab)
        await state_of(tab, "order-detail", "completed")
        await expect(tab["bought-file"]).to_have_count(2, timeout=PATIENT_MS)
        await shows(tab["bought"], "https://example.org/phrases")
        async with tab.page.expect_download() as download:
            await tab["bought-file"].first.click()
        assert "good morning" in (await (await download.value).path()).read_text()
        await expect(tab["wallet-available"]).to_have_text("€0.00", timeout=PATIENT_MS)
        await tab.click("nav-orders")
        await state_of(tab, "order", "completed")


async def _search_and_compare(tab: Tab) -> None:
    await expect(tab["listing"]).to_have_count(7, timeout=PATIENT_MS)
    await tab["search"].fill("spreadsheet")
    await tab.click("search-go")
    await expect(tab["listing"]).to_have_count(1, timeout=PATIENT_MS)
    await shows(tab["listing"], "A script that fills your spreadsheet")
    await tab["search"].fill("")
    await tab.click("search-go")
    await expect(tab["listing"]).to_have_count(7, timeout=PATIENT_MS)
    await tab["filter-kind"].select_option("files")
    await expect(tab["listing"]).to_have_count(1, timeout=PATIENT_MS)
    await shows(tab["price"], "€9.00")
    await tab["filter-kind"].select_option("consult")
    await expect(tab["listing"]).to_have_count(5, timeout=PATIENT_MS)
    for title in ("your lease, your deposit", "VAT across borders"):
        await tab["listing"].filter(has_text=title).get_by_test_id("compare").check()
    await tab.click("compare-go")
    await expect(tab["compared"]).to_have_count(2, timeout=PATIENT_MS)
    await shows(tab["comparison"], "€90.00 per hour")


async def _register(tab: Tab, mails: MailServer, email: str, password: str) -> None:
    """From the listing that asks for it, and back there once the address is confirmed."""
    await go(tab, "listing/lst_demo_phrases")
    await tab.click("order-button")
    await tab.see("login-email")
    await tab.page.get_by_role("link", name="Create an account").click()
    await tab["register-name"].fill("Noa Berg")
    await tab["register-email"].fill(email)
    await tab["new-password"].fill(password)
    await tab["agree-terms"].check()
    await tab["agree-privacy"].check()
    await tab.click("register-submit")
    await tab.see("account-done")
    link = re.search(r"http\S+/verify-email\?token=\S+", await mail_to(mails, email))
    assert link is not None
    await tab.page.goto(link[0])
    await shows(tab["account-done"], "You can sign in now")
    await tab.page.get_by_role("link", name="Sign in").first.click()
    await tab["login-email"].fill(email)
    await tab["login-password"].fill(password)
    await tab.click("login-submit")
    await tab.see("wallet-chip")


async def _pay_in(tab: Tab, amount: str = "") -> None:
    """By the payment provider of the demo."""
    if amount:
        await tab["topup-amount"].fill(amount)
    await tab.click("topup-submit")
    await tab.click("topup-pay")
    await expect(tab["topup-dialog"]).to_be_hidden(timeout=PATIENT_MS)


async def test_T38_a_guest_who_orders_signs_in_and_is_where_they_were(
    app: RunningApp, browser: Browser
) -> None:
    async with visit(browser, app, place="listing/lst_demo_script") as tab:
        await tab.click("order-button")
        await tab.click("demo-customer")
        await tab.see("listing-page")
        await tab.click("order-button")
        await tab.see("order-confirm")


async def test_T58_T60_T62_T63_T70_T71_work_is_returned_done_again_paid_and_reviewed(
    app: RunningApp, browser: Browser
) -> None:
    async with visit(browser, app, "customer") as customer, visit(browser, app, "pavel") as expert:
        order_id = await buy(customer, "lst_demo_script", "Bills, by month.")
        await state_of(customer, "order-detail", "open")
        await expect(customer["wallet-held"]).to_have_text("€60.00", timeout=PATIENT_MS)
        await confirm(customer, "require", "Bills, by month and by shop.")
        await shows(customer["order-needs"], "by shop")

        await expert.click("nav-sales")
        await expert.click("order-link")
        await shows(expert["order-needs"], "by shop")
        await expert.click("do-start")
        await shows(expert["order-notes"], "The expert has begun")
        await shows(customer["order-notes"], "The expert has begun")
        await deliver(expert, "The script, with a note.", NOTES)

        await state_of(customer, "order-detail", "delivered")
        async with customer.page.expect_download() as download:
            await customer["delivery-file"].click()
        assert (await download.value).suggested_filename == "notes.txt"
        await confirm(customer, "return", "The shops are missing.")
        await state_of(customer, "order-detail", "open")
        await shows(expert["order-notes"], "Returned once")
        await deliver(expert, "With the shops.", TABLE)
        await state_of(customer, "order-detail", "delivered")
        await confirm(customer, "accept")
        await state_of(customer, "order-detail", "completed")
        await expect(customer["order-captured"]).to_have_text("€60.00", timeout=PATIENT_MS)
        await state_of(expert, "order-detail", "completed")

        await review(customer, 5, 4, "Just what I needed.")
        await go(expert, f"order/{order_id}")
        await expert.page.reload()
        await shows(expert["review"], "Just what I needed.")
        await expert.click("review-reply")
        await expert["ask-text"].fill("Glad to hear it.")
        await expert.click("ask-confirm")
        await shows(expert["review"], "Glad to hear it.")
        await go(customer, "expert/pavel")
        await shows(customer["review"], "Glad to hear it.")
        await expert.click("nav-wallet")
        await expect(expert["total-earned"]).to_have_text("€48.00", timeout=PATIENT_MS)


async def test_P8_P12_P14_P16_P17_a_request_is_offered_on_escrowed_done_and_paid_out(
    azmoudegan: RunningApp, browser: Browser
) -> None:
    app = azmoudegan
    async with visit(browser, app, "customer") as customer, visit(browser, app, "reza") as expert:
        await customer.click("nav-requests")
        await customer.click("new-request")
        await customer["request-category"].select_option("design")
        await customer["request-title"].fill("A sign for my bakery")
        await customer["request-body"].fill("Two metres wide, to be read from across the street.")
        await customer["request-budget"].fill("100")
        await attach(customer["request-dialog"], NOTES)
        await customer.click("request-submit")
        await state_of(customer, "request-detail", "open")

        await expert.click("nav-requests")
        await expert["request-link"].filter(has_text="A sign for my bakery").click()
        await expert.click("make-offer")
        await expert["offer-price"].fill("90")
        await expert["offer-days"].fill("5")
        await expert["offer-note"].fill("With two sketches first.")
        await expert.click("offer-submit")
        await expect(expert["offer-amount"]).to_have_text("€90.00", timeout=PATIENT_MS)

        await expect(customer["offer-amount"]).to_have_text("€90.00", timeout=PATIENT_MS)
        await customer.click("offer-accept")
        await state_of(customer, "order-detail", "pending_payment")
        await customer.click("do-pay")
        await state_of(customer, "order-detail", "open")
        await expect(customer["order-held"]).to_have_text("€90.00", timeout=PATIENT_MS)

        await expert.click("to-order")
        await expert.click("do-start")
        await deliver(expert, "The sign, ready to print.", TABLE)
        await state_of(customer, "order-detail", "delivered")
        await expert.click("nav-wallet")
        await expect(expert["total-earned"]).to_have_text("€0.00", timeout=PATIENT_MS)
        await confirm(customer, "accept")
        await state_of(customer, "order-detail", "completed")
        # What was earned is told at once, wherever the expert is.
        await expect(expert["total-earned"]).to_have_text("€81.00", timeout=PATIENT_MS)
        await review(customer, 5, 5, "Read from two streets away.")

        await expert.click("nav-desk")
        await expert["payout-holder"].fill("Reza Karimi")
        await expert["payout-iban"].fill("DE89 3704 0044 0532 0130 00")
        await expert.click("payout-save")
        await shows(expert["toast"], "Saved.")
        await expert["payout-amount"].fill("50")
        await expert.click("payout-ask")
        await state_of(expert, "payout", "requested")
        await shows(expert["payout"], "…3000")
        await expect(expert["earned"]).to_have_text("€31.00", timeout=PATIENT_MS)


async def test_T65_T66_T82_a_dispute_is_argued_split_by_staff_and_seen_by_both(
    azmoudegan: RunningApp, browser: Browser
) -> None:
    app = azmoudegan
    async with visit(browser, app, "customer") as customer, visit(browser, app, "expert") as expert:
        order_id = await buy(customer, "lst_demo_editing", "A letter to the landlord.")
        await go(expert, f"order/{order_id}")
        await deliver(expert, "Edited.")
        await state_of(customer, "order-detail", "delivered")
        await confirm(customer, "dispute", "Half of the pages are missing.")
        for tab in (customer, expert):
            await state_of(tab, "order-detail", "disputed")
            await tab.click("to-case")
            await state_of(tab, "case", "open")
            await shows(tab["case"], "Half of the pages are missing.")
        await expert["message-input"].fill("The other half was never sent to me.")
        await expert.click("message-send")
        await shows(customer["message"], "never sent to me")

        async with staff_page(browser, app, "/admin/queue?kind=dispute") as staff:
            await staff.get_by_role("link", name=re.compile(r"^C-\d+")).click()
            await staff.get_by_role("button", name="Take this case").click()
            await staff.get_by_label("Decision").select_option("split")
            await staff.get_by_label("Back to the customer").fill("15.00")
            await staff.get_by_label("Reason").fill("Half of it was done.")
            await staff.get_by_role("button", name="Decide").click()
            await expect(staff.get_by_role("button", name="Decide")).to_be_hidden()

        for tab in (customer, expert):
            await state_of(tab, "case", "decided")
            await shows(tab["case"], "Half of it was done.")
            await go(tab, f"order/{order_id}")
            await state_of(tab, "order-detail", "completed")
            await shows(tab["order-notes"], "the money was split")
            await expect(tab["order-captured"]).to_have_text("€30.00", timeout=PATIENT_MS)
        await expect(customer["wallet-available"]).to_have_text("€170.00", timeout=PATIENT_MS)
        await expert.click("nav-wallet")
        await expect(expert["total-earned"]).to_have_text("€27.00", timeout=PATIENT_MS)


async def test_P7_P23_a_question_before_buying_is_unread_until_it_is_read(
    app: RunningApp, browser: Browser
) -> None:
    async with visit(browser, app, "expert") as expert, visit(browser, app, "customer") as customer:
        await expect(expert["unread-badge"]).to_be_hidden()
        await go(customer, "listing/lst_demo_contract")
        await customer.click("ask")
        await customer["message-input"].fill("Would you read a contract of two pages?")
        await attach(customer.page.locator("main"), NOTES)
        await customer.click("message-send")
        await shows(customer["message-file"], "notes.txt")

        await shows(expert["unread-badge"], "1")
        await expert.click("nav-inbox")
        await expect(expert["conversation"]).to_have_attribute("data-unread", "1")
        await expert["conversation"].get_by_role("link").click()
        await shows(expert["message"], "a contract of two pages")
        async with expert.page.expect_download() as download:
            await expert["message-file"].click()
        assert (await (await download.value).path()).read_bytes() == NOTES["buffer"]
        await expect(expert["unread-badge"]).to_be_hidden(timeout=PATIENT_MS)
        await expert["message-input"].fill("Gladly. Send it with the order.")
        await expert.click("message-send")
        await shows(customer["message"].last, "Send it with the order")


async def test_T6_T7_T8_T75_C33_a_listing_in_two_languages_is_published_by_a_moderator(
    app: RunningApp, browser: Browser
) -> None:
    async with visit(browser, app, "expert") as expert:
        await expert.click("nav-desk")
        await expert.click("new-listing")
        await expert["edit-kind"].select_option("files")
        await expert["edit-category"].select_option("law")
        await expert["edit-title-en"].fill("A model letter to your landlord")
        await expert["edit-description-en"].fill("With the gaps that you fill in.")
        await expert["edit-locale-ru"].check()
        await expert["edit-title-ru"].fill("Образец письма арендодателю")
        await expert["edit-price"].fill("7.50")
        await expect(expert["goods"]).to_be_hidden()
        await expert.click("edit-save")
        await shows(expert.page.locator("main .form-error"), "every language you chose")
        await expert["edit-description-ru"].fill("С пропусками, которые вы заполните.")
        await expert.click("edit-save")
        await expert.see("goods")
        await expert["goods-input"].set_input_files(NOTES)
        await expert.click("goods-add")
        await shows(expert["goods-file"], "notes.txt")
        await expert.click("listing-submit")
        mine = expert["my-listing"].filter(has_text="A model letter")
        await expect(mine).to_have_attribute("data-state", "pending_review", timeout=PATIENT_MS)

        async with staff_page(browser, app, "/admin/queue?kind=listing") as staff:
            await staff.get_by_role("link", name=re.compile(r"^C-\d+")).click()
            await shows(staff.locator("main"), "Образец письма арендодателю")
            await staff.get_by_label("Decision").select_option("approve")
            await staff.get_by_label("Reason").fill("Clear and complete.")
            await staff.get_by_role("button", name="Decide").click()
            await expect(staff.get_by_role("button", name="Decide")).to_be_hidden()
        await expert.page.reload()
        await expect(mine).to_have_attribute("data-state", "published", timeout=PATIENT_MS)

    async with visit(browser, app) as guest:
        await guest["listing-link"].filter(has_text="A model letter").click()
        await expect(guest["listing-text"]).to_have_count(2, timeout=PATIENT_MS)
        await shows(guest["listing-page"], "Образец письма арендодателю")
        await shows(guest["tariff"], "€7.50")
