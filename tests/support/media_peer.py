"""A browser's stand-in for tests: an aiortc peer that answers the engine's offers.

Use one `AiortcPeer` per party. It answers an offer as the real client does (every transceiver
sendrecv), sends synthetic audio and video from `publish`, and counts the frames it could decode. It
reports by RTCP receiver reports only: aiortc has no transport-wide feedback.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fractions
import math
import time
from collections.abc import Callable

import aioice
from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcicetransport import candidate_to_aioice
from aiortc.sdp import SessionDescription
from av import AudioFrame, VideoFrame

VIDEO_CLOCK_HZ = 90_000
AUDIO_RATE_HZ = 48_000
AUDIO_SAMPLES = AUDIO_RATE_HZ // 50
_TONE = array.array(
    "h",
    (int(3000 * math.sin(2 * math.pi * 440 * i / AUDIO_RATE_HZ)) for i in range(AUDIO_RATE_HZ)),
)


class SyntheticVideo(MediaStreamTrack):
    """A moving gradient, small enough to encode in about a millisecond."""

    kind = "video"

    def __init__(self, width: int = 160, height: int = 120, fps: int = 20) -> None:
        super().__init__()
        self._width, self._height = width, height
        self._fps = fps
        self._index = 0
        self._began = time.monotonic()

    async def recv(self) -> VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        due = self._began + self._index / self._fps
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        frame = VideoFrame(self._width, self._height, "yuv420p")
        for number, plane in enumerate(frame.planes):
            shift = 5 * self._index if number == 0 else 0
            row = bytes((x + shift) % 256 if number == 0 else 128 for x in range(plane.line_size))
            plane.update(row * (plane.buffer_size // plane.line_size))
        frame.pts = self._index * VIDEO_CLOCK_HZ // self._fps
        frame.time_base = fractions.Fraction(1, VIDEO_CLOCK_HZ)
        self._index += 1
        return frame


class SyntheticAudio(MediaStreamTrack):
    """A quiet 440 Hz tone in 20 ms frames."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._index = 0
        self._began = time.monotonic()

    async def recv(self) -> AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        due = self._began + self._index * 0.02
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        frame = AudioFrame(format="s16", layout="mono", samples=AUDIO_SAMPLES)
        at = self._index * AUDIO_SAMPLES % AUDIO_RATE_HZ
        frame.planes[0].update(_TONE[at : at + AUDIO_SAMPLES].tobytes())
        frame.sample_rate = AUDIO_RATE_HZ
        frame.pts = self._index * AUDIO_SAMPLES
        frame.time_base = fractions.Fraction(1, AUDIO_RATE_HZ)
        self._index += 1
        return frame


class AiortcPeer:
    """One party. `frames["audio"]` and `frames["video"]` count what was received and decoded.

    `relay`: reach the engine through this TURN server and in no other way. Close it with `close`,
    or use it as an asynchronous context manager.
    """

    def __init__(self, relay: RTCIceServer | None = None) -> None:
        policy = RTCIceTransportPolicy.RELAY if relay else RTCIceTransportPolicy.ALL
        self.pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[relay] if relay else [], iceTransportPolicy=policy)
        )
        self.frames = {"audio": 0, "video": 0}
        self._consumers: list[asyncio.Task[None]] = []
        self._restarts: list[asyncio.Task[None]] = []
        self.pc.on("track", self._on_track)

    async def __aenter__(self) -> AiortcPeer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def answer(self, offer: str, *, publish: tuple[str, ...] = ()) -> str:
        """The answer to an offer; `publish` sends these kinds ("audio", "video") from the start."""
        await self.pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for transceiver in self.pc.getTransceivers():
            transceiver.direction = "sendrecv"
        self.publish(*publish)
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return self.pc.localDescription.sdp

    def publish(self, *kinds: str) -> None:
        """Send synthetic media of these kinds, as `replaceTrack` does: without negotiation."""
        for kind in kinds:
            track = SyntheticVideo() if kind == "video" else SyntheticAudio()
            self.transceiver(kind).sender.replaceTrack(track)

    def unpublish(self, kind: str) -> None:
        self.transceiver(kind).sender.replaceTrack(None)

    @property
    def dtls_state(self) -> str:
        """new, connecting, connected, closed or failed."""
        return str(self.pc.getTransceivers()[0].receiver.transport.state)

    def transceiver(self, kind: str) -> RTCRtpTransceiver:
        return next(t for t in self.pc.getTransceivers() if t.kind == kind)

    async def restart_ice(self, offer: str) -> str:
        """Follow an ICE restart on a socket of its own, as after a change of network.

        aiortc knows no restarts, so this moves its transport to a second ICE connection by hand:
        what arrives there is queued where the DTLS transport already waits. Returns the answer.
        """
        transport = self.pc.getTransceivers()[0].receiver.transport.transport
        old, new = transport._connection, aioice.Connection(ice_controlling=True)
        remote = SessionDescription.parse(offer).media[0]
        assert remote.ice is not None
        new.remote_is_lite = True
        new.remote_username = remote.ice.usernameFragment
        new.remote_password = remote.ice.password
        await new.gather_candidates()
        for candidate in remote.ice_candidates:
            await new.add_remote_candidate(candidate_to_aioice(candidate))
        await new.add_remote_candidate(None)
        self._restarts.append(asyncio.get_running_loop().create_task(self._move(old, new)))
        local = self.pc.localDescription.sdp
        local = local.replace(old.local_username, new.local_username)
        return local.replace(old.local_password, new.local_password)

    async def _move(self, old: aioice.Connection, new: aioice.Connection) -> None:
        await new.connect()
        transport = self.pc.getTransceivers()[0].receiver.transport.transport
        transport._send = new.send
        # The old path is given up like one whose network is gone: no more checks, no datagrams.
        assert old._query_consent_task is not None
        old._query_consent_task.cancel()
        try:
            while True:
                old._queue.put_nowait((await new.recv(), 1))
        except (ConnectionError, asyncio.CancelledError):
            await new.close()

    async def wait_frames(self, kind: str, count: int, timeout_s: float = 20.0) -> None:
        """Wait until `count` frames of `kind` were decoded in all."""
        await eventually(lambda: self.frames[kind] >= count, timeout_s)

    async def vanish(self) -> None:
        """Its network is gone: nothing is sent any more, no goodbye either."""
        await self.pc.getTransceivers()[0].receiver.transport.transport._connection.close()

    async def close(self) -> None:
        await self.pc.close()
        tasks = self._consumers + self._restarts
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._consumers.append(asyncio.get_running_loop().create_task(self._consume(track)))

    async def _consume(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()
                self.frames[track.kind] += 1


async def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for `condition`; fails the test with the condition's source when it never comes."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come true within {timeout_s} s: {condition!r}")
        await asyncio.sleep(0.02)
