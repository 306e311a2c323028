"""A call on a phone: money, time and buttons stay in reach whatever else is open."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.test_call_page import call, order_from
from tests.support.accessibility import in_reach
from tests.support.browser import Tab, open_tab
from tests.support.running_app import CUSTOMER, RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PHONES = [
    pytest.param((390, 844), id="phone"),
    pytest.param((320, 568), id="small"),
    pytest.param((390, 430), id="keyboard-up"),
    pytest.param((740, 360), id="on-its-side"),
]
MONEY = ("status-elapsed", "status-charged", "status-left")


async def all_in_reach(tab: Tab, *testids: str) -> None:
    for testid in testids:
        await tab.see(testid)
        assert await in_reach(tab[testid]), f"{testid} is covered or off the screen"


@pytest.mark.parametrize("size", PHONES)
async def test_T53_an_open_chat_leaves_start_and_end_the_status_line_and_the_picture_in_reach(
    app: RunningApp, browser: Browser, customer: Tab, size: tuple[int, int]
) -> None:
    width, height = size
    async with open_tab(browser, f"{app.url}/?demo=expert", width=width, height=height) as expert:
        await expert.see("presence-select")
        listing = await app.add_listing()
        await customer.page.reload()
        await order_from(customer, listing, "video")
        await call(customer)
        await expert.click("answer")
        await expert.see("start")
        await expert.click("chat-toggle")
        await all_in_reach(expert, "start", "hangup", "chat-input", *MONEY, "status-earned")
        await expert.click("start")
        await customer.wait_frames(5)
        await customer.click("camera")
        await expert.wait_frames(5)
        await all_in_reach(expert, "hangup", "chat-input", *MONEY, "status-earned")
        picture = await expert.page.locator(".remote-box").bounding_box()
        assert picture is not None
        assert await in_reach(expert.page.locator(".remote-box"))
        assert picture["height"] >= 96, "a picture of which nothing is to be seen"
        assert await expert.page.evaluate("document.documentElement.scrollWidth") == width
        await expert.click("hangup")
        await expert.see("end-screen")


async def test_T48_a_customer_on_a_phone_can_stop_calling_with_the_chat_open(
    app: RunningApp, browser: Browser, expert: Tab
) -> None:
    listing = await app.add_listing()
    async with open_tab(browser, f"{app.url}/?demo=customer", width=320, height=568) as customer:
        await order_from(customer, listing, "video")
        await call(customer)
        await customer.click("chat-toggle")
        await all_in_reach(customer, "call-cancel", "chat-input", *MONEY)
        await customer.click("call-cancel")
        await customer.see("end-screen")


async def test_however_much_there_is_to_say_the_buttons_stay_on_the_screen(
    app: RunningApp, browser: Browser, customer: Tab
) -> None:
    """The expert's devices are off and the clock stands still, beside an open chat."""
    async with open_tab(browser, f"{app.url}/?demo=expert", width=320, height=568) as expert:
        await expert.see("presence-select")
        listing = await app.add_listing(grace_seconds=0)
        await customer.page.reload()
        await order_from(customer, listing, "video")
        await call(customer)
        await expert.click("answer-start")
        await customer.wait_frames(5)
        await expert.click("chat-toggle")
        await expert.click("camera")
        await expert.click("microphone")
        await expert.see("devices-off")
        await expert.see("paused-notice")
        await all_in_reach(expert, "hangup", "microphone", "chat-input", *MONEY, "status-earned")
        await expert.click("hangup")
        await expert.see("end-screen")


async def test_the_newest_message_stays_in_view_when_the_keyboard_comes_up(
    app: RunningApp, browser: Browser, expert: Tab
) -> None:
    listing = await app.add_listing()
    async with open_tab(browser, f"{app.url}/?demo=customer", width=390, height=844) as customer:
        await order_from(customer, listing, "text")
        await call(customer, text=True)
        await expert.click("answer")
        for number in range(8):
            await expert["chat-input"].fill(f"Message {number}\nof two lines")
            await expert.click("chat-send")
        newest = customer["chat-message"].filter(has_text="Message 7")
        await expect(newest).to_be_in_viewport(ratio=1)
        await customer.page.set_viewport_size({"width": 390, "height": 430})
        await expect(newest).to_be_in_viewport(ratio=1)
        await customer.click("hangup")
        await customer.see("end-screen")


async def test_an_orders_title_is_readable_beside_its_state(
    app: RunningApp, browser: Browser
) -> None:
    async with app.party(CUSTOMER, connect=False) as party:
        await party.post(
            "/orders",
            {
                "listing_id": await app.add_listing(price_minor=90_000),
                "mode": "audio",
                "confirm": True,
            },
        )
    async with open_tab(browser, f"{app.url}/?demo=customer#/orders", width=320) as tab:
        await tab.see("order")
        await expect(tab["order"].first).to_have_attribute("data-state", "pending_payment")
        # Once everything is laid out: what comes late may still push for a moment.
        await tab.page.wait_for_function(
            "() => document.querySelector('.order-title').getBoundingClientRect().width > 140"
            " && document.documentElement.scrollWidth === 320",
            timeout=10_000,
        )
