"""Two browser tabs agree to record their call; staff find a file that plays."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest
import sqlalchemy as sa
from playwright.async_api import Browser, expect

from engine.store.tables import recordings
from tests.e2e.test_call_page import begin
from tests.support.accessibility import hear, in_reach, listen
from tests.support.browser import Tab, open_tab
from tests.support.full_disk import fill_the_disk
from tests.support.running_app import PASSWORD, STAFF, RunningApp, running_app

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path, recordings=True, recording_min_free_mb=1) as app:
        yield app


async def test_a_call_is_recorded_once_both_agreed(
    app: RunningApp, customer: Tab, expert: Tab, browser: Browser
) -> None:
    await begin(customer, expert, await app.add_listing())
    await customer.click("record")
    await expect(customer["recording"]).to_have_attribute("data-state", "requested")
    await expert.see("recording-agree")
    await expert.shot("recording-asked-expert")
    await expert.click("recording-agree")
    for tab in (customer, expert):
        await expect(tab["recording"]).to_have_attribute("data-state", "recording")
        await expect(tab["recording"]).to_contain_text("being recorded")
    await customer.shot("recording-customer")
    await customer.page.set_viewport_size({"width": 390, "height": 800})
    await customer.shot("recording-customer-phone")
    await customer.page.reload()
    await expect(customer["recording"]).to_have_attribute("data-state", "recording")
    await customer.wait_frames(60)
    await expert.click("recording-stop")
    await expect(customer["recording"]).to_be_hidden()
    await customer.click("hangup")
    await customer.see("end-screen")
    session_id = await _played(app)
    page = await browser.new_page()
    await page.goto(f"{app.url}/admin/login")
    await page.fill("[name=email]", STAFF)
    await page.fill("[name=password]", PASSWORD)
    await page.click("button.main")
    await page.wait_for_url("**/admin")
    await page.goto(f"{app.url}/admin/sessions/{session_id}")
    link = page.locator("a[href*='/recordings/']").first
    await page.set_viewport_size({"width": 320, "height": 640})
    assert await page.evaluate("document.documentElement.scrollWidth") == 320
    async with page.expect_download() as download:
        await link.click()
    assert (await download.value).suggested_filename.endswith((".webm", ".mkv"))
    await page.close()


async def test_the_question_holds_the_focus_and_gives_it_back(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    await begin(customer, expert, await app.add_listing())
    await expert["chat-input"].fill("As I was say")
    await customer.click("record")
    dialog = await expert.see("recording-dialog")
    await expect(dialog).to_have_accessible_name("Record this call?")
    # Who was typing goes on typing for a moment: that is no answer.
    await expert.page.keyboard.type("ing ")
    await expert.page.keyboard.press("Enter")
    await expect(customer["recording"]).to_have_attribute("data-state", "requested")
    for key in ["Tab"] * 5 + ["Shift+Tab"] * 5:
        await expert.page.keyboard.press(key)
        held = await dialog.evaluate("dialog => dialog.contains(document.activeElement)")
        assert held, f"{key} led out of the question"
    # Closing it is no consent.
    await expert.page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(expert["chat-input"]).to_be_focused()
    await expect(customer["recording-notice"]).to_contain_text("does not want this call")
    await customer.click("recording-notice-close")
    await expect(customer["recording-notice"]).to_be_hidden()
    await hang_up(customer, expert)


async def test_each_party_hears_what_the_other_one_decided(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    await listen(customer.page)
    await listen(expert.page)
    await begin(customer, expert, await app.add_listing())
    await customer.click("record")
    await expert.see("recording-dialog")
    await customer.click("recording-stop")
    await expect(expert["recording-dialog"]).to_be_hidden()
    await expect(expert["recording-notice"]).to_contain_text("no longer asks")
    await hear(expert.page, "no longer asks")
    await hear(customer.page, "You no longer ask")
    await expert.click("record")
    await expect(expert["recording-notice"]).to_be_hidden()
    await customer.click("recording-decline")
    await expect(expert["recording-notice"]).to_contain_text("does not want")
    await hear(customer.page, "You did not agree")
    await customer.click("record")
    await expert.click("recording-agree")
    for tab in (customer, expert):
        await hear(tab.page, "being recorded")
    await customer.click("recording-stop")
    await expect(expert["recording-notice"]).to_contain_text("Mira Lind stopped the recording")
    await hear(expert.page, "stopped the recording")
    await expect(customer["recording-notice"]).to_be_hidden()
    await hear(customer.page, "You stopped the recording")
    await hang_up(customer, expert)


async def test_both_hear_that_a_recording_could_not_begin(
    app: RunningApp, customer: Tab, expert: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(monkeypatch)
    await listen(expert.page)
    await begin(customer, expert, await app.add_listing())
    await customer.click("record")
    await expert.click("recording-agree")
    for tab in (customer, expert):
        await expect(tab["recording-notice"]).to_contain_text("could not begin")
        await expect(tab["recording"]).to_be_hidden()
    await hear(expert.page, "could not begin")
    await customer.wait_frames(5)
    await hang_up(customer, expert)


async def test_the_mark_stays_in_view_on_a_small_phone_whatever_is_open(
    app: RunningApp, browser: Browser, customer: Tab
) -> None:
    url = f"{app.url}/?demo=expert"
    async with open_tab(browser, url, width=320, height=568) as expert:
        await expert.see("presence-select")
        await begin(customer, expert, await app.add_listing())
        await customer.click("record")
        await expert.see("recording-dialog")
        for testid in ("recording-agree", "recording-decline"):
            assert await in_reach(expert[testid])
        await expert.click("recording-agree")
        await expect(expert["recording"]).to_have_attribute("data-state", "recording")
        await expert.click("chat-toggle")
        for testid in ("recording", "recording-stop", "hangup", "chat-input"):
            assert await in_reach(expert[testid]), testid
        await expect(expert["recording"]).to_contain_text("This call is being recorded.")
        await expert.click("camera")
        await expert.click("microphone")
        await expert.see("devices-off")
        for testid in ("recording", "recording-stop", "hangup"):
            assert await in_reach(expert[testid]), testid
        await hang_up(customer, expert)


async def hang_up(customer: Tab, expert: Tab) -> None:
    await customer.click("hangup")
    await customer.see("end-screen")
    await expert.see("end-screen")


async def _played(app: RunningApp) -> str:
    """The recording's first file decodes; the id of its session."""
    await app.app.recordings.settled()
    async with app.app.store.reading() as tx:
        row = (await tx.execute(sa.select(recordings))).one()
    assert row.end_reason == "stopped"
    named = json.loads(row.files)
    file = app.app.recordings.file(named[0]["name"])
    assert file is not None
    with av.open(str(file)) as recorded:
        assert {stream.metadata["title"] for stream in recorded.streams} == {"expert"}
        assert sum(1 for _ in recorded.decode(video=0)) > 20
    return str(row.session_id)
