"""Real Chromium for tests: one browser, one isolated context per party."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    async_playwright,
    expect,
)

ARTIFACTS = Path(os.environ.get("TEST_ARTIFACTS", "var/test-artifacts"))

FLAGS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]

CLIENT_BUILT = (Path(__file__).parents[2] / "engine/client/dist/index.html").is_file()


def chromium() -> str | None:
    """The browser's path, None if there is none; the one without windows first, it is lighter."""
    for name in ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    return None


def require_chromium(*, client: bool = False) -> str:
    """The path of the browser; skips the test without it (or the `client` built), fails in CI."""
    path = chromium()
    if path is None or (client and not CLIENT_BUILT):
        reason = "Chromium is not installed" if path is None else "the browser client is not built"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and in CI it has to be")
        pytest.skip(reason)
    return path


@contextlib.asynccontextmanager
async def launched(path: str, *flags: str) -> AsyncIterator[Browser]:
    """A browser of its own, with further flags."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            await browser.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with launched(require_chromium(client=True)) as browser:
        yield browser


class Tab:
    """One party's tab: its page, what it logged, and the few moves that tests repeat."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self.errors: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _on_console(self, message: ConsoleMessage) -> None:
        # A refused command (402, 409) shows as a failed request: that is no error of the page.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def __getitem__(self, testid: str) -> Locator:
        return self.page.get_by_test_id(testid)

    async def text(self, testid: str) -> str:
        return (await self[testid].inner_text()).strip()

    async def see(self, testid: str, timeout_s: float = 15) -> Locator:
        await expect(self[testid]).to_be_visible(timeout=timeout_s * 1_000)
        return self[testid]

    async def click(self, testid: str) -> None:
        await self[testid].click(timeout=15_000)

    async def decoded_frames(self) -> int:
        """Frames that this tab's remote video has decoded so far."""
        frames = await self.page.evaluate(
            "() => document.querySelector('[data-testid=remote-video]')"
            "?.getVideoPlaybackQuality().totalVideoFrames ?? 0"
        )
        return int(frames)

    async def wait_frames(self, more: int = 10) -> None:
        """Wait until the remote video has decoded `more` frames than now."""
        start = await self.decoded_frames()
        await self.page.wait_for_function(
            "least => (document.querySelector('[data-testid=remote-video]')"
            "?.getVideoPlaybackQuality().totalVideoFrames ?? 0) >= least",
            arg=start + more,
            timeout=20_000,
        )

    async def shot(self, name: str) -> None:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=str(ARTIFACTS / f"{name}.png"))


@contextlib.asynccontextmanager
async def open_tab(
    browser: Browser,
    url: str,
    *,
    width: int = 1280,
    height: int = 800,
    locale: str | None = None,
) -> AsyncIterator[Tab]:
    """A tab in a context of its own, as another person's browser would be, speaking `locale`."""
    context = await browser.new_context(viewport={"width": width, "height": height}, locale=locale)
    tab = Tab(context, await context.new_page())
    await tab.page.goto(url)
    try:
        yield tab
    finally:
        await context.close()
