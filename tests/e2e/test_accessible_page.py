"""The page without a mouse, and without eyes: contrast, names, keyboard, what is read out."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.test_call_page import begin, call, order_from
from tests.support.accessibility import axe_violations, hear, listen, tab_through
from tests.support.browser import Tab, open_tab
from tests.support.running_app import CUSTOMER, RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_has_contrast_and_names_for_its_controls(
    app: RunningApp, browser: Browser, customer: Tab, expert: Tab, scheme: str
) -> None:
    found: dict[str, list[object]] = {}

    async def look(tab: Tab, place: str) -> None:
        await tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        if violations := await axe_violations(tab.page):
            found[place] = violations

    async with open_tab(browser, app.url) as stranger:
        await stranger.see("login-email")
        await look(stranger, "sign-in")
    listing = await app.add_listing()
    await customer.page.reload()
    await customer["listing"].first.wait_for()
    await look(customer, "catalogue")
    await customer.click("topup-open")
    await customer.see("topup-amount")
    await look(customer, "top-up")
    await customer.page.keyboard.press("Escape")
    await order_from(customer, listing, "video")
    await customer.see("order")
    await look(customer, "orders")
    await call(customer)
    await expert.see("incoming-call")
    await look(customer, "waiting")
    await look(expert, "desk")
    await expert.click("answer")
    await expert.see("start")
    await look(expert, "ready")
    await expert.click("start")
    await customer.wait_frames(5)
    for tab in (customer, expert):
        await tab["chat-input"].fill("Good day!")
        await tab.click("chat-send")
        await expect(tab["chat-message"].first).to_be_visible()
        await look(tab, "call")
    await customer.click("hangup")
    await customer.see("end-screen")
    await look(customer, "end")
    assert found == {}


async def test_the_keyboard_reaches_every_control_of_a_call_and_shows_where_it_is(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    await begin(customer, expert, await app.add_listing())
    reached = await tab_through(customer.page, 14)
    assert {
        "quality",
        "chat-input",
        "chat-send",
        "microphone",
        "camera",
        "direction",
        "chat-toggle",
        "hangup",
    } <= set(reached)
    unseen = [name for name, outlined in reached.items() if name and not outlined]
    assert unseen == []
    await customer.click("hangup")
    await customer.see("end-screen")


async def test_a_call_is_read_out_from_ringing_to_its_end(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    async with app.party(CUSTOMER, connect=False) as party:
        price = await party.available() // 12
    listing = await app.add_listing(
        price_minor=price, per_seconds=1, block_seconds=1, prepaid_seconds=4, grace_seconds=0
    )
    await listen(customer.page)
    await listen(expert.page)
    await customer.page.reload()
    await order_from(customer, listing, "video")
    await call(customer)
    await hear(customer.page, "Waiting for Dr. Elena Marin")
    await hear(expert.page, "Mira Lind is calling")
    await expert.click("answer")
    await hear(customer.page, "Dr. Elena Marin has answered")
    await hear(expert.page, "Mira Lind is waiting")
    await expert.click("start")
    for tab, other in ((customer, "Dr. Elena Marin"), (expert, "Mira Lind")):
        await hear(tab.page, f"You are connected with {other}")
    await hear(customer.page, "The clock is running")
    await hear(customer.page, "Your money lasts")
    await customer.see("end-screen", timeout_s=30)
    await expect(customer.page.get_by_role("heading", name="The balance ran out")).to_be_focused()
    await expert.see("end-screen")


async def test_what_happens_is_read_out_while_a_dialog_is_open_and_it_gives_the_focus_back(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    """All outside of a modal dialog is inert: what is said there is not heard."""
    listing = await app.add_listing()
    await customer.page.reload()
    await expert["topup-open"].focus()
    await expert.page.keyboard.press("Enter")
    dialog = await expert.see("topup-dialog")
    await order_from(customer, listing, "video")
    await call(customer)
    region = dialog.locator("[data-live=assertive]")
    await expect(region).to_have_text("Mira Lind is calling", timeout=15_000)
    await expert.page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(expert["topup-open"]).to_be_focused()
    await expert.click("decline")
    await customer.see("end-screen")
