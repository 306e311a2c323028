"""One publisher and one viewer, both real browsers, through a server and two bad lines."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Final

from playwright.async_api import Browser

from engine.media.interface import Role
from engine.media.worker import WorkerConfig, new_worker
from loadtests.media.janus import Handle, Janus
from tests.support.impair import Impairment, Line
from tests.support.media_browser import BrowserParty, open_party
from tests.support.media_shim import Shim

PUBLISHER: Final = "publisher"
VIEWER: Final = "viewer"
BOTH: Final = "both"
_KINDS: Final = ("audio", "video")
_OFFER = """async () => {
  const wanted = {audio: true, video: {width: 1280, height: 720, frameRate: 30}};
  const stream = await navigator.mediaDevices.getUserMedia(wanted);
  for (const track of stream.getTracks())
    pc.addTransceiver(track, {direction: 'sendonly', streams: [stream]});
  await pc.setLocalDescription(await pc.createOffer());
  return pc.localDescription.sdp;
}"""
_ACCEPT = "sdp => pc.setRemoteDescription({type: 'answer', sdp})"


class Call:
    """The two pages, and the shim in front of each leg's server side."""

    def __init__(self, publisher: BrowserParty, viewer: BrowserParty) -> None:
        self.publisher = publisher
        self.viewer = viewer
        self.shims: dict[str, Shim] = {}

    async def between(self, leg: str, description: str, host: str) -> str:
        """The server's description with a shim of this leg in its candidates."""
        port = int(re.findall(r"a=candidate:1 1 udp \d+ \S+ (\d+) typ host", description)[0])
        shim = self.shims[leg] = await Shim.open(port, host=host)
        return shim.between(description)

    def impair(self, leg: str, loss: float) -> None:
        """Lose this share of all datagrams in both directions of `leg`, by seeded dice."""
        for number, name in enumerate((PUBLISHER, VIEWER)):
            if leg in (name, BOTH):
                bad = Impairment(loss=loss)
                self.shims[name].worker_line = Line(bad, seed=2 * number)
                self.shims[name].peer_line = Line(bad, seed=2 * number + 1)

    def heal(self) -> int:
        """Good lines again; returns how many datagrams the bad ones lost."""
        lost = 0
        for shim in self.shims.values():
            lost += sum(line.lost for line in (shim.worker_line, shim.peer_line) if line)
            shim.worker_line = shim.peer_line = None
        return lost

    async def close(self) -> None:
        for shim in self.shims.values():
            shim.close()
        for party in (self.publisher, self.viewer):
            await party.page.context.close()


@contextlib.asynccontextmanager
async def _pages(browser: Browser) -> AsyncIterator[Call]:
    call = Call(await open_party(browser), await open_party(browser))
    try:
        yield call
    finally:
        await call.close()


@contextlib.asynccontextmanager
async def engine_call(browser: Browser, host: str) -> AsyncIterator[Call]:
    """Expert to customer through the engine's media worker."""
    worker = new_worker(WorkerConfig(host=host))
    await worker.start()
    try:
        worker.add_session("quality", one_way=False, video=True)
        async with _pages(browser) as call:
            for name, role in ((VIEWER, Role.CUSTOMER), (PUBLISHER, Role.EXPERT)):
                party = call.viewer if name == VIEWER else call.publisher
                leg = worker.add_leg("quality", role)
                offer = await call.between(name, await worker.offer(leg), host)
                await worker.answer(leg, await party.answer(offer))
            await call.publisher.publish(*_KINDS)
            worker.open_gate("quality")
            yield call
    finally:
        await worker.stop()


@contextlib.asynccontextmanager
async def janus_call(browser: Browser, host: str, server: Janus) -> AsyncIterator[Call]:
    """Publisher to subscriber through Janus's VideoRoom plugin, whose bitrate has no cap."""
    publishing, viewing = await server.attach("videoroom"), await server.attach("videoroom")
    created, _ = await publishing.say(
        {"request": "create", "publishers": 1, "bitrate": 0, "videocodec": "vp8"}
    )
    async with _pages(browser) as call:
        feed = await _publish(call, publishing, created["room"], host)
        await _subscribe(call, viewing, created["room"], feed, host)
        yield call
    await publishing.say({"request": "destroy", "room": created["room"]})


async def _publish(call: Call, handle: Handle, room: int, host: str) -> int:
    """Returns the publisher's id, once it can be subscribed to."""
    offer = await call.publisher.page.evaluate(_OFFER)
    request = {"request": "join", "ptype": "publisher", "room": room}
    joined, _ = await handle.say(request)
    _, answer = await handle.say({"request": "configure"}, _description("offer", offer, host))
    shimmed = await call.between(PUBLISHER, answer, host)
    await call.publisher.page.evaluate(_ACCEPT, shimmed)
    await handle.until("webrtcup")
    return int(joined["id"])


async def _subscribe(call: Call, handle: Handle, room: int, feed: int, host: str) -> None:
    streams = [{"feed": feed}]
    request = {"request": "join", "ptype": "subscriber", "room": room, "streams": streams}
    _, offer = await handle.say(request)
    shimmed = await call.between(VIEWER, offer, host)
    answer = await call.viewer.answer(shimmed)
    await handle.say({"request": "start"}, _description("answer", answer, host))


def _description(kind: str, sdp: str, host: str) -> dict[str, str]:
    """For Janus, without the browser's own addresses: its way is through the shim.

    Janus wants a candidate; nobody listens on port 9 (discard), and checks tell it the shim's.
    """
    lines = [line for line in sdp.splitlines() if not line.startswith("a=candidate:")]
    candidate = f"a=candidate:1 1 udp 2130706431 {host} 9 typ host"
    out: list[str] = []
    for line in lines:
        out.append(line)
        if line.startswith("a=mid:"):
            out.append(candidate)
    return {"type": kind, "sdp": "\r\n".join(out) + "\r\n"}
