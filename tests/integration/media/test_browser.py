"""Two real Chromium pages through the worker. Needs a browser: `pytest -m browser`."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from engine.media.interface import FirstFrame, LegConnected, LegLost, Role
from engine.media.worker import WorkerConfig
from tests.support.media_browser import BrowserParty, chromium, open_party
from tests.support.media_call import SESSION, Call, WorkerFactory, call_on, worker_factory
from tests.support.media_shim import drop_some
from tests.support.media_trouble import Fate, HandshakeTrouble

pytestmark = pytest.mark.browser
BOTH = ("audio", "video")


class Pages:
    """A call whose parties are browser pages."""

    def __init__(self, call: Call, customer: BrowserParty, expert: BrowserParty) -> None:
        self.call = call
        self.worker = call.worker
        self.customer = customer
        self.expert = expert

    def party(self, role: Role) -> BrowserParty:
        return self.customer if role is Role.CUSTOMER else self.expert

    async def join(self, role: Role, offered: Callable[[str], str] = str) -> str:
        leg = self.worker.add_leg(SESSION, role)
        self.call.legs[role] = leg
        await self.renegotiate(role, offered=offered)
        return leg

    async def renegotiate(
        self, role: Role, *, ice_restart: bool = False, offered: Callable[[str], str] = str
    ) -> None:
        leg = self.call.legs[role]
        offer = offered(await self.worker.offer(leg, ice_restart=ice_restart))
        await self.worker.answer(leg, await self.party(role).answer(offer))


def without_udp(offer: str) -> str:
    """What remains of an offer in a network that lets no UDP through."""
    return re.sub(r"a=candidate:\d+ 1 udp [^\r]*\r\n", "", offer)


@pytest.fixture(params=["native"])
def make_worker(request: pytest.FixtureRequest) -> WorkerFactory:
    """The compiled worker; where a test says so, its reference as well."""
    return worker_factory(request.param)


@pytest.fixture
async def pages(make_worker: WorkerFactory) -> AsyncIterator[Pages]:
    async with call_on(make_worker(WorkerConfig())) as call, chromium() as browser:
        yield Pages(call, await open_party(browser), await open_party(browser))


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 20.0) -> None:
    """Wait for a condition of the pages."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, f"did not come true within {timeout_s} s"
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("make_worker", ["python", "native"], indirect=True)
async def test_browsers_see_each_other_and_the_bitrate_climbs(pages: Pages) -> None:
    await pages.join(Role.CUSTOMER)
    await pages.join(Role.EXPERT)
    await pages.expert.publish(*BOTH)
    await pages.customer.publish(*BOTH)
    pages.call.open()
    first = await pages.call.event(FirstFrame)
    assert first.sent_at_ns < first.acked_at_ns

    async def both_decode() -> bool:
        seen = [await p.received("video", "framesDecoded") for p in (pages.customer, pages.expert)]
        return min(seen) >= 60

    await until(both_decode)

    async def target_climbed() -> bool:
        video = (await pages.expert.stats())["sender"]["video"]
        return float(video.get("targetBitrate", 0)) > 400_000

    # The browser starts at 300 kbit/s: only transport-wide feedback lets it go further.
    await until(target_climbed, 40)
    stats = await pages.customer.stats()
    assert stats["receiver"]["video"]["packetsLost"] <= 0
    assert stats["receiver"]["audio"]["packetsReceived"] > 50
    assert "GCM" in stats["transport"]["srtpCipher"]
    assert pages.call.of(LegLost) == []
    assert pages.worker.counters()["internal_errors"] == 0


@pytest.mark.parametrize("codec", ["vp8", "h264", "vp9", "av1"])
async def test_video_alone_is_a_first_frame(codec: str, make_worker: WorkerFactory) -> None:
    """Each codec's payload descriptor, as a real encoder writes it."""
    worker = make_worker(WorkerConfig(codecs=("opus", codec)))
    async with call_on(worker) as call, chromium() as browser:
        pages = Pages(call, await open_party(browser), await open_party(browser))
        await pages.join(Role.CUSTOMER)
        await pages.join(Role.EXPERT)
        await pages.expert.publish("video")
        call.open()
        first = await call.event(FirstFrame)
        assert first.kind == "video"

        async def decodes() -> bool:
            return await pages.customer.received("video", "framesDecoded") >= 20

        await until(decodes)


async def test_a_call_goes_on_through_five_percent_loss(pages: Pages) -> None:
    shim = await pages.call.shim(to_peer=drop_some(0.05))
    await pages.join(Role.CUSTOMER, shim.between)
    await pages.join(Role.EXPERT)
    await pages.expert.publish(*BOTH)
    pages.call.open()
    await pages.call.event(FirstFrame)

    async def enough() -> bool:
        return await pages.customer.received("video", "framesDecoded") >= 150

    await until(enough, 30)
    assert shim.dropped > 10
    assert pages.worker.counters()["packets_resent"] >= 2


async def test_C9_one_way_page_receives_nothing(pages: Pages) -> None:
    pages.worker.set_one_way(SESSION, one_way=True)
    await pages.join(Role.CUSTOMER)
    await pages.join(Role.EXPERT)
    await pages.expert.publish(*BOTH)
    await pages.customer.publish(*BOTH)
    pages.call.open()

    async def customer_sees() -> bool:
        return await pages.customer.received("video", "framesDecoded") >= 40

    await until(customer_sees)
    assert (await pages.expert.stats())["receiver"] == {}
    assert pages.call.packets_out(Role.EXPERT) == 0
    assert pages.call.packets_in(Role.CUSTOMER) > 50


async def test_a_browser_without_udp_calls_over_tcp_and_restarts_there(pages: Pages) -> None:
    await pages.join(Role.CUSTOMER, without_udp)
    await pages.join(Role.EXPERT, without_udp)
    await pages.expert.publish(*BOTH)
    await pages.customer.publish("audio")
    pages.call.open()
    await pages.call.event(FirstFrame)

    async def both_hear_and_see() -> bool:
        seen = await pages.customer.received("video", "framesDecoded")
        heard = await pages.expert.received("audio", "packetsReceived")
        return min(seen, heard) >= 60

    await until(both_hear_and_see)
    for party in (pages.customer, pages.expert):
        assert (await party.stats())["remote"]["protocol"] == "tcp"
    await pages.renegotiate(Role.CUSTOMER, ice_restart=True, offered=without_udp)
    await until(lambda: _nominated(pages, 3))
    before = await pages.customer.received("video", "framesDecoded")

    async def goes_on() -> bool:
        return await pages.customer.received("video", "framesDecoded") >= before + 60

    await until(goes_on)
    counters = pages.worker.counters()
    assert counters["dtls_started"] == 2
    assert counters["internal_errors"] == 0
    assert pages.call.of(LegLost) == []


async def _nominated(pages: Pages, count: int) -> bool:
    return pages.worker.counters()["ice_nominations"] >= count


async def test_C16_an_ice_restart_interrupts_nothing(pages: Pages) -> None:
    await pages.join(Role.CUSTOMER)
    await pages.join(Role.EXPERT)
    await pages.expert.publish(*BOTH)
    pages.call.open()
    await pages.call.event(FirstFrame)
    await pages.renegotiate(Role.CUSTOMER, ice_restart=True)
    await pages.renegotiate(Role.EXPERT, ice_restart=True)
    before = await pages.customer.received("video", "framesDecoded")

    async def goes_on() -> bool:
        return await pages.customer.received("video", "framesDecoded") >= before + 60

    await until(goes_on)
    assert pages.worker.counters()["dtls_started"] == 2
    assert pages.call.of(LegLost) == []
    assert len(pages.call.of(LegConnected)) == 2


async def test_browsers_call_over_ipv6(make_worker: WorkerFactory) -> None:
    worker = make_worker(WorkerConfig(host="::", advertised=("::1",)))
    async with call_on(worker) as call, chromium() as browser:
        pages = Pages(call, await open_party(browser), await open_party(browser))
        await pages.join(Role.CUSTOMER)
        await pages.join(Role.EXPERT)
        await pages.expert.publish(*BOTH)
        call.open()
        await call.event(FirstFrame)

        async def sees() -> bool:
            return await pages.customer.received("video", "framesDecoded") >= 20

        await until(sees)
        assert (await pages.customer.stats())["remote"]["address"] == "::1"


async def test_a_handshake_that_loses_its_first_flights_connects(pages: Pages) -> None:
    """The browser's DTLS is another than OpenSSL's: so are its timers."""
    lost = [Fate.LOST, Fate.DOUBLED, Fate.LOST, Fate.LATE]
    for role in Role:
        shim = await pages.call.shim()
        shim.trouble = (HandshakeTrouble(lost), HandshakeTrouble(lost))
        await pages.join(role, shim.between)
    await pages.expert.publish(*BOTH)
    pages.call.open()
    await pages.call.event(FirstFrame, 20)
    assert pages.call.of(LegLost) == []
