"""Recordings of one session with packets as the media plane would hand them over."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import json
from pathlib import Path
from typing import Any

import av
import msgspec
import sqlalchemy as sa

from engine.clock import NS_PER_S, Clock
from engine.recording.service import Recordings, RecordingSettings
from engine.store.database import Store
from engine.store.tables import recordings
from tests.support.fake_media import FakeMediaWorker
from tests.support.media_peer import eventually
from tests.support.recorded_streams import Stream


class RecorderRig:
    """`play` sends streams; `row` is what the store knows of the only recording."""

    def __init__(
        self, store: Store, clock: Clock, session_id: str, settings: RecordingSettings
    ) -> None:
        self.store, self.clock = store, clock
        self.session_id = session_id
        self.settings = settings
        self.media = FakeMediaWorker()
        self.ends: list[str] = []
        self._make()

    def _make(self, **settings: Any) -> None:
        self.settings = msgspec.structs.replace(self.settings, **settings)
        self.recordings = Recordings(self.store, self.clock, self.media, self.settings)

    async def open(self, **settings: Any) -> None:
        """A new start of the engine, with these settings changed."""
        self._make(**settings)
        await self.recordings.open()

    async def close(self) -> None:
        await self.recordings.close()

    @property
    def folder(self) -> Path:
        return self.settings.folder

    async def start(self) -> None:
        await self.recordings.start(self.session_id, self.ends.append)
        self.began_ns = self.clock.now_ns()

    async def stop(self) -> None:
        """Returns once all is in the store."""
        await self.recordings.stop(self.session_id)
        await self.recordings.settled()

    async def turn(self) -> None:
        """Let what was posted from other threads happen, once those have done what they can."""
        writer = self.recordings._running[self.session_id].writer
        await eventually(lambda: writer._queue.empty() or writer._over.is_set())
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def hand(self, stream: Stream, packet: bytes, at_ns: int) -> None:
        """A packet that came `at_ns` after the beginning."""
        tap = self.media.taps[self.session_id]
        if tap is not None:
            tap(stream.role, stream.kind, packet, self.began_ns + at_ns)

    def play(
        self,
        *streams: Stream,
        seconds: float,
        begin_s: float = 0,
        delay_ns: dict[int, int] | None = None,
    ) -> None:
        """Frames of these streams until then, in the order in which they come; `delay_ns`: how much
        later than sampled, by SSRC.
        """
        delays = delay_ns or {}
        due: list[tuple[int, int, int]] = []
        for index, stream in enumerate(streams):
            for number in range(round(begin_s * stream.per_s), round(seconds * stream.per_s)):
                at_ns = number * NS_PER_S // stream.per_s + delays.get(stream.ssrc, 0)
                heapq.heappush(due, (at_ns, index, number))
        while due:
            at_ns, index, number = heapq.heappop(due)
            for packet in streams[index].frame(number):
                self.hand(streams[index], packet, at_ns)

    async def row(self) -> Any:
        async with self.store.reading() as tx:
            return (await tx.execute(sa.select(recordings))).one()

    async def files(self) -> list[Path]:
        """Of the only recording, once it has ended; they are what the store says of them."""
        row = await self.row()
        assert row.ended_at_ms is not None
        found = []
        for named in json.loads(row.files):
            path = self.recordings.file(named["name"])
            assert path is not None
            assert path.stat().st_size == named["bytes"]
            assert hashlib.sha256(path.read_bytes()).hexdigest() == named["sha256"]
            assert path.stat().st_mode & 0o077 == 0, "for nobody else on this machine"
            found.append(path)
        left = {path.name for path in self.folder.iterdir()}
        assert left == {path.name for path in found}, "nothing else is left"
        return found


def instants_ms(file: Path) -> dict[tuple[str, str], list[float]]:
    """The timestamps of all packets, by title and kind of their stream."""
    with av.open(str(file)) as recorded:
        found: dict[tuple[str, str], list[float]] = {
            (stream.metadata["title"], stream.type): [] for stream in recorded.streams
        }
        for packet in recorded.demux():
            if packet.pts is not None and packet.time_base is not None:
                key = (packet.stream.metadata["title"], packet.stream.type)
                found[key].append(float(packet.pts * packet.time_base) * 1000)
    return found


def decoded(file: Path) -> dict[tuple[str, str, str], int]:
    """How many frames every stream decodes to, by title, kind and codec. Raises on any fault."""
    with av.open(str(file)) as recorded:
        count = len(recorded.streams)
    found = {}
    for number in range(count):
        with av.open(str(file)) as recorded:
            stream: Any = recorded.streams[number]
            key = (stream.metadata["title"], stream.type, stream.codec_context.codec.canonical_name)
            found[key] = sum(1 for _ in recorded.decode(stream))
    return found
