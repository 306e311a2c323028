"""What real Chromium encodes, kept intact through the worker: redundant and discontinuous audio,
VP9 and AV1, buttons, lip sync and round trips. Needs a browser: `pytest -m browser`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.media.interface import LegConnected, Role
from engine.media.worker import WorkerConfig, new_worker
from tests.integration.media.test_browser import BOTH, Pages, until
from tests.support.media_browser import BrowserParty, chromium, open_party
from tests.support.media_call import SESSION, call_on
from tests.support.media_peer import eventually

pytestmark = pytest.mark.browser


@pytest.fixture(params=["python", "native"])
def media(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.asynccontextmanager
async def talk(media: str, **config: Any) -> AsyncIterator[Pages]:
    """Two pages whose legs are connected and whose gate is open; nobody publishes yet."""
    async with call_on(new_worker(WorkerConfig(**config), media)) as call, chromium() as browser:
        pages = Pages(call, await open_party(browser), await open_party(browser))
        await pages.join(Role.CUSTOMER)
        await pages.join(Role.EXPERT)
        await eventually(lambda: len(call.of(LegConnected)) == 2)
        call.worker.select_leg(SESSION, call.legs[Role.EXPERT])
        call.open()
        yield pages


async def assert_no_hole(party: BrowserParty, kind: str) -> None:
    """Numbers run on: a hole would be many packets, what a busy machine drops is few."""
    entry = (await party.stats())["receiver"][kind]
    assert entry["packetsLost"] < max(3, entry["packetsReceived"] / 20)


async def until_loud(party: BrowserParty, least: float, most: float = 1.0) -> None:
    async def loud() -> bool:
        return least <= await party.hear() <= most

    await until(loud)


async def test_redundant_audio_goes_through_as_it_is(media: str) -> None:
    async with talk(media, codecs=("red", "opus", "vp8")) as pages:
        await pages.expert.hum()
        await until_loud(pages.customer, 0.15, 0.3)

        async def enough() -> bool:
            return await pages.customer.received("audio", "packetsReceived") >= 150

        await until(enough)
        audio = (await pages.customer.stats())["receiver"]["audio"]
        # Each packet brings the one before it again, and where nothing is lost that is discarded.
        assert audio["packetsDiscarded"] > audio["packetsReceived"] / 2
        counters = pages.worker.counters()
        assert counters["rtp_unknown_payload_type"] == counters["internal_errors"] == 0


async def test_silence_is_sent_as_silence_and_speech_comes_back(media: str) -> None:
    async with talk(media) as pages:
        await pages.expert.hum()
        await until_loud(pages.customer, 0.15)
        await pages.expert.set_loudness(0)

        async def rare() -> bool:
            """A second of speech is 50 packets, one of DTX two or three."""
            begun, before = time.monotonic(), pages.call.packets_out(Role.CUSTOMER)
            await asyncio.sleep(1)
            sent = pages.call.packets_out(Role.CUSTOMER) - before
            return sent < 10 * (time.monotonic() - begun)

        await until(rare, 30)
        await until_loud(pages.customer, 0, 0.001)
        await pages.expert.set_loudness(0.5)
        await until_loud(pages.customer, 0.3)
        await assert_no_hole(pages.customer, "audio")
        counters = pages.worker.counters()
        assert counters["rtp_duplicate"] == counters["nacks_sent"] == 0


@pytest.mark.parametrize("codec", ["vp8", "h264", "vp9", "av1"])
async def test_a_camera_that_comes_back_is_seen_at_once(media: str, codec: str) -> None:
    """The engine waits for a frame that can be decoded alone, and asks for one."""
    async with talk(media, codecs=("opus", codec)) as pages:
        await pages.expert.publish("video")

        async def decodes(more: int = 20) -> None:
            start = await pages.customer.received("video", "framesDecoded")

            async def enough() -> bool:
                now = await pages.customer.received("video", "framesDecoded")
                return now >= start + more

            await until(enough)

        await decodes()
        assert await pages.customer.codec("video") == f"video/{codec.upper()}"
        for _ in range(2):
            pages.worker.set_publishing(SESSION, Role.EXPERT, audio=True, video=False)
            before = pages.worker.counters()["keyframe_requests_sent"]
            await pages.customer.page.wait_for_timeout(300)
            pages.worker.set_publishing(SESSION, Role.EXPERT, audio=True, video=True)
            await eventually(
                lambda before=before: pages.worker.counters()["keyframe_requests_sent"] > before
            )
            await decodes()
        await assert_no_hole(pages.customer, "video")
        assert pages.worker.counters()["internal_errors"] == 0


async def test_sound_and_picture_play_from_the_same_instant_also_after_a_reconnect(
    media: str,
) -> None:
    """Where reports were translated wrongly, hours lay between the two."""
    async with talk(media) as pages:
        await pages.expert.publish(*BOTH)
        await in_step(pages)
        before = await pages.customer.received("video", "framesDecoded")
        browser = pages.expert.page.context.browser
        assert browser is not None
        again = await open_party(browser)
        leg = pages.worker.add_leg(SESSION, Role.EXPERT)
        await pages.worker.answer(leg, await again.answer(await pages.worker.offer(leg)))
        await again.publish(*BOTH)
        await eventually(lambda: len(pages.call.of(LegConnected)) == 3)
        pages.worker.select_leg(SESSION, leg)

        async def goes_on() -> bool:
            return await pages.customer.received("video", "framesDecoded") >= before + 150

        await until(goes_on, 30)
        await in_step(pages)
        for kind in BOTH:
            await assert_no_hole(pages.customer, kind)


async def in_step(pages: Pages) -> None:
    """Sound and picture that play now were captured within two seconds of each other."""

    async def near() -> bool:
        playing = await pages.customer.playout()
        return playing is not None and abs(playing[0] - playing[1]) < 2_000

    await until(near, 30)


async def test_both_ends_and_the_engine_measure_a_sane_round_trip(media: str) -> None:
    async with talk(media) as pages:
        await pages.expert.publish(*BOTH)

        async def measured() -> bool:
            reported = (await pages.expert.stats())["reported"]
            stats = pages.worker.leg_stats(pages.call.legs[Role.CUSTOMER])
            assert stats is not None
            rounds = [entry.get("roundTripTimeMeasurements", 0) for entry in reported.values()]
            return len(rounds) == 2 and min(rounds) > 0 and stats.rtt_ms is not None

        await until(measured, 40)
        # On loopback a round trip is short; wrong arithmetic makes minutes or hours of it.
        reported = (await pages.expert.stats())["reported"]
        assert all(0 <= entry["roundTripTime"] < 5 for entry in reported.values())
        stats = pages.worker.leg_stats(pages.call.legs[Role.CUSTOMER])
        assert stats is not None
        assert stats.rtt_ms is not None
        assert 0 <= stats.rtt_ms < 5_000
        assert stats.expected_out > 0
        assert stats.jitter_out_ms is not None
