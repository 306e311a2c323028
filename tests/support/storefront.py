"""Walks through the storefront, each person in a browser of their own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Locator, Page, expect

from engine.audit import audit
from tests.support.browser import Tab, open_tab
from tests.support.running_app import PASSWORD, STAFF, RunningApp, running_app

PATIENT_MS = 15_000


@contextlib.asynccontextmanager
async def audited_app(tmp_path: Path, **settings: Any) -> AsyncIterator[RunningApp]:
    """The running application; its ledger is audited before it ends."""
    async with running_app(tmp_path, **settings) as app:
        yield app
        report = await audit(app.app.store)
        assert report.ok, report


@contextlib.asynccontextmanager
async def visit(
    browser: Browser, app: RunningApp, person: str = "", *, place: str = "", **options: Any
) -> AsyncIterator[Tab]:
    """A tab at `place` of the storefront, of a demo `person` or a guest; it ends without errors."""
    demo = f"?demo={person}" if person else ""
    async with open_tab(browser, f"{app.url}/store{demo}#/{place}", **options) as tab:
        try:
            await tab.see("wallet-chip" if person else "sign-in")
            yield tab
        except BaseException:
            await tab.shot(f"storefront-{person or 'guest'}")
            raise
        assert tab.errors == []


@contextlib.asynccontextmanager
async def staff_page(browser: Browser, app: RunningApp, path: str) -> AsyncIterator[Page]:
    """A page of the staff's, signed in."""
    async with open_tab(browser, f"{app.url}/admin/login") as tab:
        page = tab.page
        await page.get_by_label("E-mail").fill(STAFF)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url("**/admin")
        await page.goto(f"{app.url}{path}")
        yield page
        assert tab.errors == []


async def state_of(tab: Tab, testid: str, state: str) -> None:
    await expect(tab[testid]).to_have_attribute("data-state", state, timeout=PATIENT_MS)


async def shows(place: Locator, text: str | re.Pattern[str]) -> None:
    await expect(place).to_contain_text(text, timeout=PATIENT_MS)


async def go(tab: Tab, place: str) -> None:
    """As a link would."""
    await tab.page.evaluate("place => { location.hash = place; }", f"#/{place}")


async def buy(tab: Tab, listing: str, requirements: str = "") -> str:
    """Order and pay from the balance; the order's id."""
    await go(tab, f"listing/{listing}")
    await tab.click("order-button")
    if requirements:
        await tab["requirements"].fill(requirements)
    await tab.click("order-confirm")
    await expect(tab["order-detail"]).not_to_have_attribute(
        "data-state", "pending_payment", timeout=PATIENT_MS
    )
    return str(await tab["order-detail"].get_attribute("data-id"))
