"""The real page in networks that are not plain: without UDP, behind a relay, changing in a call."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.e2e.test_call_page import begin, call, order_from
from tests.support.browser import Tab, launched, open_tab
from tests.support.coturn import SECRET, coturn
from tests.support.media_peer import eventually
from tests.support.netns import Network, network
from tests.support.party import Party
from tests.support.running_app import EXPERT, RunningApp, running_app

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

logger = logging.getLogger(__name__)

RELAY_ONLY = """
const Plain = RTCPeerConnection;
globalThis.RTCPeerConnection = class extends Plain {
  constructor(configuration) { super({...configuration, iceTransportPolicy: "relay"}); }
  setConfiguration(configuration) {
    super.setConfiguration({...configuration, iceTransportPolicy: "relay"});
  }
};
"""


def counters(app: RunningApp) -> dict[str, int]:
    return app.app.media.counters()


async def test_a_page_that_comes_online_again_asks_for_a_restart_by_itself(
    app: RunningApp, customer: Tab, expert: Tab
) -> None:
    await begin(customer, expert, await app.add_listing())
    before = counters(app)
    await customer.page.evaluate("dispatchEvent(new Event('online'))")
    await eventually(lambda: counters(app)["ice_nominations"] > before["ice_nominations"], 20)
    await customer.wait_frames(20)
    assert counters(app)["dtls_started"] == before["dtls_started"]


async def test_pages_that_know_the_relay_only_see_each_other(
    tmp_path: Path, browser: Browser
) -> None:
    async with coturn(tmp_path) as turn:
        settings = {"turn_urls": [turn.url()], "turn_secret": SECRET}
        async with (
            running_app(tmp_path / "engine", **settings) as app,
            open_tab(browser, f"{app.url}/?demo=customer") as customer,
            open_tab(browser, f"{app.url}/?demo=expert") as expert,
        ):
            for tab, home in ((customer, "wallet-chip"), (expert, "presence-select")):
                await tab.see(home)
                await tab.page.add_init_script(RELAY_ONLY)
                await tab.page.reload()
                await tab.see(home)
            await begin(customer, expert, await app.add_listing())
            await customer.click("camera")
            await expert.wait_frames(10)
            for role in ("customer", "expert"):
                user = await app.user_id(f"{role}@demo.talktime.test")
                assert f":{user}>" in turn.log
            assert customer.errors == expert.errors == []


# --- in a network of its own ---


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path) as made:
        yield made


@pytest.fixture
async def far_app(wire: Network, tmp_path: Path) -> AsyncIterator[RunningApp]:
    settings = {"host": wire.host, "media_host": wire.host, "media_addresses": [wire.host]}
    async with running_app(tmp_path / "engine", **settings) as app:
        yield app


@pytest.fixture
async def far_customer(wire: Network, far_app: RunningApp) -> AsyncIterator[Tab]:
    # Tests have no certificates; pages of another machine would otherwise miss some functions.
    flag = f"--unsafely-treat-insecure-origin-as-secure={far_app.url}"
    async with (
        launched(wire.browser(), flag) as browser,
        open_tab(browser, f"{far_app.url}/?demo=customer") as tab,
    ):
        await tab.see("wallet-chip")
        yield tab


@pytest.fixture
async def here(far_app: RunningApp) -> AsyncIterator[Party]:
    """An expert on this side of the wire."""
    async with far_app.party(EXPERT) as party:
        await party.command("presence.set", status="available")
        yield party


async def talk(app: RunningApp, customer: Tab, expert: Party) -> str:
    """Order, call, answer and start; returns the session once the customer sees the expert."""
    listing = await app.add_listing()
    await customer.page.reload()
    await order_from(customer, listing, "video")
    await call(customer)
    session_id = str((await expert.wait_for("call.incoming"))["session_id"])
    await expert.command("session.join", session_id=session_id)
    await expert.connected()
    await expert.command("call.accept", session_id=session_id)
    await expert.publish(session_id, "audio", "video")
    await expert.command("session.start", session_id=session_id)
    await customer.see("remote-video")
    await customer.wait_frames(10)
    return session_id


async def test_a_network_without_udp_calls_over_tcp(
    wire: Network, far_app: RunningApp, far_customer: Tab, here: Party
) -> None:
    wire.forbid_udp()
    await talk(far_app, far_customer, here)
    assert counters(far_app)["tcp_opened"] > 0
    await far_customer.wait_frames(40)
    assert not here.events["meter.paused"]
    await far_customer.click("hangup")
    await far_customer.see("end-screen")


async def test_C16_a_page_whose_network_changes_stays_in_its_call(
    wire: Network, far_app: RunningApp, far_customer: Tab, here: Party
) -> None:
    """The old path is gone before anybody knows: the page notices, and comes back by itself."""
    session_id = await talk(far_app, far_customer, here)
    wire.change_address()
    changed_at = time.monotonic()
    await eventually(lambda: counters(far_app)["dtls_connected"] == 3, 30)
    logger.info("media again after %.1f s", time.monotonic() - changed_at)
    await far_customer.wait_frames(40)
    assert [live.session_id for live in far_app.app.sessions.live_sessions()] == [session_id]
    # What could not be delivered is not paid; the rest of the call is.
    paused, resumed = (len(here.events[f"meter.{name}"]) for name in ("paused", "resumed"))
    assert paused == resumed
    await far_customer.click("hangup")
    await far_customer.see("end-screen")
