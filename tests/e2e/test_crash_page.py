"""The engine dies in the middle of a call: both pages find back into it by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.async_api import Browser, expect

from engine.audit import audit
from engine.store.tables import sessions
from tests.e2e.test_call_page import begin
from tests.support.browser import open_tab
from tests.support.mortal_engine import mortal_engine

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


async def test_after_kill_9_both_pages_go_on_with_the_same_call(
    tmp_path: Path, browser: Browser
) -> None:
    async with mortal_engine(tmp_path) as engine:
        async with (
            open_tab(browser, f"{engine.url}/?demo=customer") as customer,
            open_tab(browser, f"{engine.url}/?demo=expert") as expert,
        ):
            await customer.see("wallet-chip")
            await expert.see("presence-select")
            listing = await engine.add_listing(grace_seconds=0)
            await begin(customer, expert, listing)
            await customer.click("camera")
            await expert.wait_frames(10)
            await engine.kill()
            await engine.start()
            # The expert publishes again, and so does the customer: nobody has to press anything.
            await customer.wait_frames(30)
            await expert.wait_frames(30)
            await expect(customer["camera"]).to_have_attribute("aria-pressed", "true")
            await customer.click("hangup")
            await customer.see("end-screen")
            await expect(customer["end-reason"]).to_have_attribute("data-reason", "completed")
            await expert.see("end-screen")
        async with engine.store.reading() as tx:
            (row,) = (await tx.execute(sa.select(sessions))).all()
        assert (row.epoch, row.blocks, row.captured_minor) == (2, 1, 1_200)
        report = await audit(engine.store)
        assert report.ok, report
