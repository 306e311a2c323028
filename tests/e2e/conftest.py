from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.support.browser import Tab, open_tab
from tests.support.running_app import RunningApp
from tests.support.storefront import audited_app

FAILED = pytest.StashKey[bool]()


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with audited_app(tmp_path) as app:
        yield app


@pytest.fixture
async def azmoudegan(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with audited_app(tmp_path, preset="azmoudegan") as app:
        yield app


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture
async def customer(
    app: RunningApp, browser: Browser, request: pytest.FixtureRequest
) -> AsyncIterator[Tab]:
    async with _demo_tab(app, browser, request, "customer") as tab:
        yield tab


@pytest.fixture
async def expert(
    app: RunningApp, browser: Browser, request: pytest.FixtureRequest
) -> AsyncIterator[Tab]:
    async with _demo_tab(app, browser, request, "expert") as tab:
        yield tab


@contextlib.asynccontextmanager
async def _demo_tab(
    app: RunningApp, browser: Browser, request: pytest.FixtureRequest, role: str
) -> AsyncIterator[Tab]:
    """A tab signed in by the demo link; a failed test leaves a picture of it."""
    async with open_tab(browser, f"{app.url}/?demo={role}") as tab:
        await tab.see("wallet-chip" if role == "customer" else "presence-select")
        yield tab
        if request.node.stash.get(FAILED, True):
            await tab.shot(f"{request.node.name}-{role}")
        else:
            assert tab.errors == []
