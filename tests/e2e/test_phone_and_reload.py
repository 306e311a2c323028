"""The page on a phone's width, and what a reload in mid-call keeps."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.test_call_page import begin
from tests.support.browser import Tab, open_tab
from tests.support.running_app import CUSTOMER, RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.mark.parametrize("width", [360, 320])
@pytest.mark.parametrize("rich", [False, True])
async def test_the_header_of_a_phone_keeps_money_and_sign_out_in_one_row(
    app: RunningApp, browser: Browser, width: int, rich: bool
) -> None:
    if rich:
        async with app.party(CUSTOMER, connect=False) as party:
            await party.top_up(9_900_000)
    url = f"{app.url}/?demo=customer"
    async with open_tab(browser, url, width=width, height=740) as tab:
        wallet = await (await tab.see("wallet-chip")).bounding_box()
        leave = await tab["sign-out"].bounding_box()
        assert wallet is not None
        assert leave is not None
        middle = leave["y"] + leave["height"] / 2
        assert wallet["y"] < middle < wallet["y"] + wallet["height"]
        assert leave["x"] + leave["width"] <= width
        assert await tab.page.evaluate("document.documentElement.scrollWidth") == width


async def test_a_reload_switches_on_again_what_was_on_and_nothing_else(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    await begin(customer, expert, await app.add_listing())
    await customer.click("microphone")
    await expect(customer["microphone"]).to_have_attribute("aria-pressed", "true")
    await expert.page.reload()
    await expert.see("hangup")
    await customer.page.reload()
    await customer.wait_frames(10)
    await expect(expert["camera"]).to_have_attribute("aria-pressed", "true")
    await expect(customer["microphone"]).to_have_attribute("aria-pressed", "true")
    await expect(customer["camera"]).to_have_attribute("aria-pressed", "false")
    await customer.click("hangup")
    await customer.see("end-screen")


async def test_a_second_tab_takes_the_call_over_and_a_button_brings_it_back(
    app: RunningApp, browser: Browser, customer: Tab, expert: Tab
) -> None:
    await begin(customer, expert, await app.add_listing())
    async with open_tab(browser, f"{app.url}/?demo=customer") as second:
        await second.see("hangup")
        await second.wait_frames(10)
        await customer.see("take-back", timeout_s=30)
        await second.wait_frames(10)  # asking costs the other tab nothing
        await customer.click("take-back")
        await customer.wait_frames(10)
    await customer.page.reload()
    await customer.see("hangup")
    await customer.wait_frames(10)
    assert len(app.app.sessions.live_sessions()) == 1
    await customer.click("hangup")
    await customer.see("end-screen")


async def test_another_user_of_the_tab_does_not_inherit_its_devices(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    await begin(customer, expert, await app.add_listing())
    await customer.click("camera")
    await expect(customer["camera"]).to_have_attribute("aria-pressed", "true")
    await customer.page.goto(f"{app.url}/?demo=customer")
    await customer.see("hangup")
    await expect(customer["camera"]).to_have_attribute("aria-pressed", "false")
    await customer.click("hangup")
    await customer.see("end-screen")
