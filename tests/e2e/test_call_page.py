"""A marketplace's day in two browser tabs: order, call, money, chat, receipt, on the real page."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Locator, expect

from engine.errors import Unavailable
from engine.signaling.messages import Message, MessageSend
from tests.support.browser import Tab
from tests.support.running_app import CUSTOMER, RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


async def order_from(customer: Tab, listing_id: str, mode: str) -> None:
    """Order a listing in two steps: the button, then the explicit confirmation (T42)."""
    listing = customer.page.locator(f"[data-testid=listing][data-id={listing_id}]")
    await listing.locator(f"[data-testid=order-button][data-mode={mode}]").click()
    await customer.see("order-hold")
    await customer.click("order-confirm")


async def call(customer: Tab, *, one_way: bool = False, text: bool = False) -> None:
    """Call from the newest order and wait until it rings; a chat asks for no direction."""
    await customer.click("nav-orders")
    button = customer["call-button"].first
    await expect(button).to_be_enabled(timeout=15_000)
    await button.click()
    if one_way:
        await customer.click("direction-one-way")
    if not text:
        await customer.click("call-start")
    await customer.see("waiting")


async def begin(customer: Tab, expert: Tab, listing_id: str, *, one_way: bool = False) -> None:
    """Order, call, answer and start; returns once the customer sees the expert."""
    await customer.page.reload()
    await order_from(customer, listing_id, "video")
    await call(customer, one_way=one_way)
    await expert.click("answer-start")
    await customer.see("remote-video")
    await customer.wait_frames(10)


async def minor(locator: Locator) -> int:
    """An amount on the page in minor units: every currency here has two decimals."""
    return int("".join(char for char in await locator.inner_text() if char.isdigit()))


async def available_minor(app: RunningApp) -> int:
    async with app.party(CUSTOMER, connect=False) as party:
        return await party.available()


async def test_T22_a_first_call_inside_the_first_minute_is_void(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    before = await available_minor(app)
    listing = await app.add_listing()
    await begin(customer, expert, listing)
    # T50: the customer is heard and seen only after switching on.
    await expect(customer["camera"]).to_have_attribute("aria-pressed", "false")
    await expect(customer["microphone"]).to_have_attribute("aria-pressed", "false")
    assert await expert.decoded_frames() == 0
    await customer.click("camera")
    await expert.wait_frames(10)
    await expect(customer["status-elapsed"]).not_to_have_text("0:00", timeout=5_000)
    await customer.click("hangup")
    await customer.see("end-screen")
    await expect(customer["end-reason"]).to_have_attribute("data-reason", "void")
    assert await minor(customer["end-total"]) == 0
    await expert.see("end-screen")
    assert await available_minor(app) == before - 1_200, "the prepayment stays with the order"


async def test_T51_the_meter_waits_for_the_first_frame(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    listing = await app.add_listing()
    await customer.page.reload()
    await order_from(customer, listing, "video")
    await call(customer)
    await expert.click("answer")
    await expert.see("start")
    await asyncio.sleep(1.5)
    await expect(customer["status-elapsed"]).to_have_text("0:00")
    await expert.click("start")
    await customer.wait_frames(5)
    await expect(customer["status-elapsed"]).not_to_have_text("0:00", timeout=5_000)


async def test_T32_the_empty_wallet_cuts_the_call_and_the_receipt_matches_it(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    before = await available_minor(app)
    price = (before - 100) // 6
    listing = await app.add_listing(
        price_minor=price, per_seconds=1, block_seconds=1, prepaid_seconds=6, grace_seconds=0
    )
    await begin(customer, expert, listing)
    await customer.see("end-screen", timeout_s=20)
    await expect(customer["end-reason"]).to_have_attribute("data-reason", "insufficient_funds")
    after = await available_minor(app)
    assert before - after == 6 * price
    assert await minor(customer["end-total"]) == before - after
    async with customer.context.expect_page() as opened:
        await customer.click("receipt-link")
    receipt = await (await opened.value).content() if await opened.value else ""
    assert "insufficient" in receipt.lower() or "balance" in receipt.lower()


async def test_T25_in_a_one_way_call_the_expert_never_sees_the_customer(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    await begin(customer, expert, await app.add_listing(), one_way=True)
    await customer.wait_frames(30)
    assert await expert.decoded_frames() == 0


async def test_C16_a_reload_comes_back_to_the_same_call_without_a_second_charge(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    before = await available_minor(app)
    listing = await app.add_listing(grace_seconds=0)
    await begin(customer, expert, listing)
    session = app.app.sessions.live_sessions()[0].session_id
    await customer.page.reload()
    await customer.see("remote-video")
    await customer.wait_frames(10)
    assert [live.session_id for live in app.app.sessions.live_sessions()] == [session]
    await expert.page.reload()
    await expert.see("hangup")
    await customer.click("hangup")
    await customer.see("end-screen")
    assert await minor(customer["end-total"]) == 1_200
    assert await available_minor(app) == before - 1_200


async def test_T34_T35_an_answered_chat_opens_and_counts_from_the_second_message(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    listing = await app.add_listing()
    await customer.page.reload()
    await order_from(customer, listing, "text")
    await call(customer, text=True)
    await expert.click("answer")
    await expert.see("chat-input")
    for tab, text in ((expert, "Good day!"), (customer, "Hello"), (customer, "A question")):
        await tab["chat-input"].fill(text)
        await tab.click("chat-send")
        if text == "Hello":
            await expect(expert["chat-message"].filter(has_text=text)).to_be_visible()
            await expect(customer["status-elapsed"]).to_have_text("0:00")
    await expect(expert["chat-message"].filter(has_text="A question")).to_be_visible()
    await expect(customer["status-elapsed"]).not_to_have_text("0:00", timeout=5_000)
    await customer.page.reload()
    await expect(customer["chat-message"]).to_have_count(3, timeout=15_000)
    await expert.click("hangup")
    await customer.see("end-screen")
    await expect(customer["end-reason"]).to_have_attribute("data-reason", "completed")


async def test_a_message_that_could_not_be_sent_is_sent_again_by_its_button(
    app: RunningApp, customer: Tab, expert: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = await app.add_listing()
    await customer.page.reload()
    await order_from(customer, listing, "text")
    await call(customer, text=True)
    await expert.click("answer")
    await expert.see("chat-input")
    ids: list[str] = []
    send = app.app.chat.send

    async def refuse_once(user_id: str, msg: MessageSend) -> tuple[Message, bool]:
        ids.append(msg.client_msg_id)
        if len(ids) == 1:
            raise Unavailable("store_unavailable", "Not now.")
        return await send(user_id, msg)

    monkeypatch.setattr(app.app.chat, "send", refuse_once)
    await customer["chat-input"].fill("Hello?")
    await customer.click("chat-send")
    await expect(customer["chat-draft"]).to_contain_text("Not sent")
    await customer.click("chat-retry")
    await expect(customer["chat-draft"]).to_have_count(0)
    for tab in (customer, expert):
        await expect(tab["chat-message"].filter(has_text="Hello?")).to_have_count(1)
    assert len(ids) == 2
    assert ids[0] == ids[1]


async def test_T15_an_expert_on_another_page_reads_who_calls_and_gets_to_the_desk(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    listing = await app.add_listing()
    await customer.page.reload()
    await expert.click("nav-orders")
    await order_from(customer, listing, "video")
    await call(customer)
    await expect(expert["ringing-banner"]).to_contain_text("Mira Lind is calling")
    await expert.click("ringing-go")
    await expert.see("incoming-call")
    await expect(expert["ringing-banner"]).to_be_hidden()
    await expert.click("decline")
    await customer.see("end-screen")


async def test_T40_a_wallet_too_small_offers_the_needed_sum_and_top_up_works_in_the_call(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    before = await available_minor(app)
    listing = await app.add_listing(price_minor=before + 5_000)
    await customer.page.reload()
    await order_from(customer, listing, "video")
    await customer.click("topup-submit")
    await customer.click("topup-pay")
    await customer.click("nav-orders")
    await expect(customer["order"].first).to_have_attribute("data-state", "open", timeout=15_000)
    assert await available_minor(app) == 0


async def test_T30_a_top_up_in_the_call_keeps_it_running(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    before = await available_minor(app)
    price = before // 12
    listing = await app.add_listing(
        price_minor=price, per_seconds=1, block_seconds=1, prepaid_seconds=4, grace_seconds=0
    )
    await begin(customer, expert, listing)
    await customer.see("low-balance")
    await customer.click("call-topup")
    await customer["topup-amount"].fill("5000")
    await customer.click("topup-submit")
    await customer["topup-pay"].dblclick()
    await expect(customer["low-balance"]).to_be_hidden(timeout=10_000)
    await asyncio.sleep(13)  # longer than the money of before
    await customer.wait_frames(5)
    await customer.click("hangup")
    await customer.see("end-screen")
    await expect(customer["end-reason"]).to_have_attribute("data-reason", "completed")
    charged = await minor(customer["end-total"])
    assert charged > before
    assert await available_minor(app) == before + 500_000 - charged


async def test_the_status_line_tells_of_both_connections_with_figures_on_demand(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    await begin(customer, expert, await app.add_listing())
    for tab, own in ((customer, "Receiving"), (expert, "Sending")):
        hint, figures = tab["quality"], tab["quality-figures"]
        await expect(hint).not_to_have_attribute("data-quality", "unknown", timeout=20_000)
        await expect(hint).to_have_accessible_name(re.compile("^Connection: (good|fair|poor)$"))
        await expect(figures).to_be_hidden()
        await hint.focus()
        await expect(figures).to_be_visible()
        await expect(figures).to_contain_text(
            re.compile(rf"{own}[0-9.]+ [kM]bit/s"), timeout=20_000
        )
        await expect(hint).to_have_accessible_description(re.compile("Yours: "))
        await tab.page.keyboard.press("Escape")
        await expect(figures).to_be_hidden()
        await tab.page.mouse.move(0, 300)
        await hint.hover()
        await expect(figures).to_be_visible()
