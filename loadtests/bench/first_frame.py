"""From `call.accept` to the first frame that the customer's Chromium has decoded.

Two real browsers on the real page and an engine in a process of its own. The clock starts with the
expert's click on "answer and start" and stops when the customer's video has decoded a frame, so it
includes opening the camera. Run `python -m loadtests.bench.first_frame`.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from loadtests.bench.engine_process import EngineProcess, engine_process, listing_id
from tests.support.browser import FLAGS, chromium
from tests.support.party import Party

CALLS = 10
_WATCH = """() => new Promise(resolve => {
  const timer = setInterval(() => {
    const video = document.querySelector('[data-testid=remote-video]');
    if (video && video.getVideoPlaybackQuality().totalVideoFrames > 0) {
      clearInterval(timer);
      resolve(performance.timeOrigin + performance.now());
    }
  }, 2);
})"""
_ANSWER = """button => {
  button.click();
  return performance.timeOrigin + performance.now();
}"""


async def measure(calls: int = CALLS) -> dict[str, object]:
    """Milliseconds of each call. Raises `RuntimeError` without Chromium."""
    path = chromium()
    if path is None:
        raise RuntimeError("Chromium is not installed")
    with tempfile.TemporaryDirectory() as folder:
        async with engine_process(Path(folder), pairs=calls) as engine, async_playwright() as tool:
            browser = await tool.chromium.launch(executable_path=path, args=FLAGS)
            took_ms = [await _call(engine, browser, number) for number in range(calls)]
            await browser.close()
    return {
        "bench": "first_frame",
        "calls": calls,
        "first_frame_p50_ms": round(statistics.median(took_ms)),
        "first_frame_max_ms": round(max(took_ms)),
    }


async def _call(engine: EngineProcess, browser: Browser, number: int) -> float:
    buyer = await Party.with_token(engine.url, f"cust_{number}", engine.token(f"cust_{number}"))
    await buyer.order(listing_id(number), "video")
    await buyer.close()
    customer = await _page(engine, browser, f"cust_{number}")
    expert = await _page(engine, browser, f"exp_{number}")
    await customer.get_by_test_id("nav-orders").click()
    await customer.get_by_test_id("call-button").first.click()
    await customer.get_by_test_id("call-start").click()
    answer = expert.get_by_test_id("answer-start")
    await answer.wait_for()
    await asyncio.sleep(1.0)  # people take longer: both legs are connected by then
    decoded = asyncio.create_task(customer.evaluate(_WATCH))
    answered_ms: float = await answer.evaluate(_ANSWER)
    async with asyncio.timeout(20):
        decoded_ms: float = await decoded
    for page in (customer, expert):
        await page.context.close()
    return decoded_ms - answered_ms


async def _page(engine: EngineProcess, browser: Browser, user_id: str) -> Page:
    context = await browser.new_context(viewport={"width": 1024, "height": 720})
    token = json.dumps(engine.token(user_id))
    await context.add_init_script(f"sessionStorage.setItem('talktime.token', {token})")
    page = await context.new_page()
    await page.goto(engine.url)
    return page


def run() -> dict[str, Any]:
    return asyncio.run(measure())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run()) + "\n")
