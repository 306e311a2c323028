"""A real Chromium as a party: the smallest page that behaves like the client, driven by Playwright.

On an offer the page sets the remote description, makes every transceiver sendrecv without a track
and answers; `publish` later gives the senders their tracks by `replaceTrack`, with no negotiation.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from playwright.async_api import Browser, Page

from tests.support.browser import launched, require_chromium

_PAGE = """<!doctype html><title>party</title><video id=view autoplay playsinline muted></video>
<script>
const pc = new RTCPeerConnection();
const incoming = new MediaStream();
pc.ontrack = event => {
  incoming.addTrack(event.track);
  document.getElementById('view').srcObject = incoming;
};
const transceiver = kind =>
  pc.getTransceivers().find(t => t.receiver.track.kind === kind);
async function answer(sdp) {
  await pc.setRemoteDescription({type: 'offer', sdp});
  for (const t of pc.getTransceivers()) t.direction = 'sendrecv';
  await pc.setLocalDescription(await pc.createAnswer());
  return pc.localDescription.sdp;
}
async function publish(kinds) {
  const wanted = {audio: kinds.includes('audio')};
  if (kinds.includes('video')) wanted.video = {width: 1280, height: 720, frameRate: 30};
  const stream = await navigator.mediaDevices.getUserMedia(wanted);
  for (const track of stream.getTracks())
    await transceiver(track.kind).sender.replaceTrack(track);
}
// A tone that can fall silent: digital silence, which a room's noise or a fake device never is.
let loudness;
async function hum() {
  const context = new AudioContext();
  loudness = new GainNode(context, {gain: 0.3});
  const tone = new OscillatorNode(context, {frequency: 440});
  const output = context.createMediaStreamDestination();
  tone.connect(loudness).connect(output);
  tone.start();
  await transceiver('audio').sender.replaceTrack(output.stream.getAudioTracks()[0]);
}
let ear;
function hear() {
  if (!ear) {
    const context = new AudioContext();
    ear = new AnalyserNode(context);
    context.createMediaStreamSource(new MediaStream(incoming.getAudioTracks())).connect(ear);
  }
  const wave = new Float32Array(ear.fftSize);
  ear.getFloatTimeDomainData(wave);
  return Math.sqrt(wave.reduce((sum, value) => sum + value * value, 0) / wave.length);
}
async function synchronise() {
  const entries = [...(await pc.getStats()).values()].filter(e => e.type === 'inbound-rtp');
  const at = kind => entries.find(e => e.kind === kind)?.estimatedPlayoutTimestamp;
  return [at('audio') ?? null, at('video') ?? null];
}
async function stats() {
  const found = {state: pc.connectionState, sender: {}, receiver: {}, reported: {}, codecs: {}};
  const report = await pc.getStats();
  for (const entry of report.values()) {
    if (entry.type === 'inbound-rtp') found.receiver[entry.kind] = entry;
    if (entry.type === 'outbound-rtp') found.sender[entry.kind] = entry;
    if (entry.type === 'candidate-pair' && entry.nominated) found.pair = entry;
    if (entry.type === 'transport') found.transport = entry;
    if (entry.type === 'remote-inbound-rtp') found.reported[entry.kind] = entry;
    if (entry.type === 'codec') found.codecs[entry.id] = entry.mimeType;
  }
  const selected = report.get(found.transport?.selectedCandidatePairId);
  found.local = report.get(selected?.localCandidateId);
  found.remote = report.get(selected?.remoteCandidateId);
  return found;
}
</script>"""


class BrowserParty:
    """One page with one peer connection."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def answer(self, offer: str) -> str:
        return str(await self.page.evaluate("sdp => answer(sdp)", offer))

    async def publish(self, *kinds: str) -> None:
        await self.page.evaluate("kinds => publish(kinds)", list(kinds))

    async def stats(self) -> dict[str, Any]:
        """`sender`, `receiver` and `reported` (what the engine says of the sender's streams) by
        kind, the nominated candidate `pair`, the `transport`, `codecs` by id, the candidates in
        use: `local` and `remote`.
        """
        found: dict[str, Any] = await self.page.evaluate("stats()")
        return found

    async def hum(self) -> None:
        """Publish a tone instead of the fake microphone."""
        await self.page.evaluate("hum()")

    async def set_loudness(self, gain: float) -> None:
        await self.page.evaluate("gain => { loudness.gain.value = gain; }", gain)

    async def hear(self) -> float:
        """How loud what this page receives is just now: the root mean square, 0 for silence."""
        return float(await self.page.evaluate("hear()"))

    async def playout(self) -> tuple[float, float] | None:
        """The sender's instants (ms) of the sound and the picture that play now, once known."""
        audio, video = await self.page.evaluate("synchronise()")
        return None if audio is None or video is None else (float(audio), float(video))

    async def codec(self, kind: str) -> str:
        """The codec received, such as ``video/VP9``; empty if there is no such stream."""
        found = await self.stats()
        entry = found["receiver"].get(kind, {})
        return str(found["codecs"].get(entry.get("codecId"), ""))

    async def received(self, kind: str, member: str) -> int:
        """A member of the inbound stream's statistics, 0 while there is no such stream."""
        entry = (await self.stats())["receiver"].get(kind, {})
        return int(entry.get(member, 0))


async def open_party(browser: Browser) -> BrowserParty:
    page = await (await browser.new_context()).new_page()
    # A page from 127.0.0.1 is a secure context, which getUserMedia asks for.
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    async with server:
        await page.goto(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    return BrowserParty(page)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = _PAGE.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}"
    writer.write(f"{head}\r\nConnection: close\r\n\r\n".encode() + body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    path = require_chromium()
    async with launched(path, "--disable-features=WebRtcHideLocalIpsWithMdns") as browser:
        yield browser
