"""Which sessions are recorded, and the files that come of it.

A file carries the suffix `.part` while it is written. What a crash left behind is closed off at the
next start, and marked as incomplete. No disk holds up a call, its end, or the end of the engine:
whatever may hang is done beside, and waited for only so long.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, ParamSpec

import msgspec
import sqlalchemy as sa
import structlog

from engine.clock import NS_PER_S, Clock
from engine.errors import TalktimeError, Unavailable
from engine.ids import new_id
from engine.media import rtcp
from engine.media.interface import MediaKind, MediaWorker, Role
from engine.recording import kept
from engine.recording.container import Key
from engine.recording.depacketize import Depacketizer, Frame
from engine.recording.disk import beside
from engine.recording.leftovers import close_off
from engine.recording.writer import Item, Writer
from engine.store.database import Store
from engine.store.tables import recordings

P = ParamSpec("P")

_log = structlog.get_logger(__name__)
_MB: Final = 1_000_000
_ASK_EVERY_NS: Final = 2 * NS_PER_S
# A disk that does not say within this time how much is free cannot be recorded to.
_START_PATIENCE_S: Final = 5.0
# What a disk may take to write out what waits for it at the end of the engine.
_CLOSE_PATIENCE_S: Final = 20.0
_RETRY_STORE_S: Final = 2.0
_STOPPED: Final = "stopped"


class RecordingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`start_patience_s`, `close_patience_s`: how long the disk is waited for."""

    enabled: bool = False
    folder: Path = Path("var/recordings")
    max_minutes: int = 240
    max_mb: int = 8000
    min_free_mb: int = 500
    start_patience_s: float = _START_PATIENCE_S
    close_patience_s: float = _CLOSE_PATIENCE_S


class _Recording:
    """One running recording. `packet` is the media tap; `on_end` and `on_starved` may be called in
    any thread.
    """

    def __init__(
        self,
        recording_id: str,
        writer: Writer,
        *,
        began_ns: int,
        limit_ns: int,
        on_end: Callable[[str], None],
        on_starved: Callable[[], None],
    ) -> None:
        self.id = recording_id
        self.writer = writer
        self.reason = _STOPPED
        self.open = True
        self._began_ns, self._limit_ns = began_ns, limit_ns
        self._on_end, self._on_starved = on_end, on_starved
        self._asked_ns = began_ns
        self._streams: dict[Key, Depacketizer] = {}

    def packet(self, role: Role, kind: MediaKind, packet: bytes, now_ns: int) -> None:
        if not self.open:
            return
        try:
            self._take((role, kind), packet, now_ns)
        except Exception:  # whatever it is, it is not the call's
            _log.exception("recording.failed", recording=self.id)
            self._end("failed")

    def _take(self, key: Key, packet: bytes, now_ns: int) -> None:
        if now_ns >= self._limit_ns:
            self._end("too_long")
            return
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = Depacketizer(key[1])
        if packet[1] == rtcp.SR:
            report = stream.report(packet)
            if report is not None:
                self.writer.put(Item(key, report, now_ns - self._began_ns))
            return
        self._put(key, stream.push(packet, now_ns))
        for other, waiting in self._streams.items():
            self._put(other, waiting.expire(now_ns))
        if stream.needs_keyframe and now_ns - self._asked_ns >= _ASK_EVERY_NS:
            self._asked_ns = now_ns
            self._on_starved()

    def _put(self, key: Key, frames: list[Frame]) -> None:
        for frame in frames:
            self.writer.put(Item(key, frame, frame.arrived_ns - self._began_ns))

    def _end(self, reason: str) -> None:
        self.open = False
        self._on_end(reason)

    def flush(self) -> None:
        """Nothing comes any more: what still waits for something is written."""
        for key, stream in self._streams.items():
            self._put(key, stream.flush())


class Recordings:
    """See `engine.recording.ports.RecordingPort` for the contract."""

    def __init__(
        self, store: Store, clock: Clock, media: MediaWorker, settings: RecordingSettings
    ) -> None:
        self._store, self._clock, self._media = store, clock, media
        self._settings = settings
        self._running: dict[str, _Recording] = {}
        self._starting: set[str] = set()
        self._disk_asked: asyncio.Task[int] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def enabled(self) -> bool:
        return self._settings.enabled

    async def open(self) -> None:
        """Close off beside what a crash left behind, whether anything is recorded now or not.

        Raises `OSError` if the folder cannot be made.
        """
        folder = self._settings.folder
        if self.enabled:
            await beside(lambda: folder.mkdir(0o700, parents=True, exist_ok=True))
        unended = sa.select(recordings.c.id).where(recordings.c.ended_at_ms.is_(None))
        async with self._store.reading() as tx:
            left = list(await tx.scalars(unended))
        if left:
            self._spawn(self._close_off(left))

    async def close(self) -> None:
        """Close all files, as far as the disk lets us within the time it is given; what is not
        closed then, the next start closes off.
        """
        for session_id in list(self._running):
            await self.stop(session_id)
        if self._disk_asked is not None:
            self._disk_asked.cancel()
        if self._closing:
            _, late = await asyncio.wait(self._closing, timeout=self._settings.close_patience_s)
            for task in late:
                _log.error("recording.not_closed", what=task.get_name())
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until everything that has ended is closed, hashed and in the store."""
        while self._closing:
            await asyncio.wait(list(self._closing))

    # --- one session ---

    async def start(self, session_id: str, on_end: Callable[[str], None]) -> None:
        self._starting.add(session_id)
        try:
            await self._start(session_id, on_end)
        finally:
            self._starting.discard(session_id)

    async def _start(self, session_id: str, on_end: Callable[[str], None]) -> None:
        settings = self._settings
        if not self.enabled or await self._free_bytes() < settings.min_free_mb * _MB:
            raise Unavailable("recording_unavailable", "Nothing can be recorded at the moment.")
        recording_id = new_id("rec")
        row = {"id": recording_id, "session_id": session_id, "started_at_ms": self._clock.wall_ms()}
        async with self._store.transaction() as tx:
            await tx.execute(sa.insert(recordings).values(row))
        if session_id not in self._starting:  # a consent was taken back in the meantime
            self._spawn(self._record_end(recording_id, [], _STOPPED))
            return
        ended = _on_loop(functools.partial(self._ended, session_id, on_end, recording_id))
        starved = _on_loop(functools.partial(self._ask_for_keyframes, session_id))
        writer = Writer(
            settings.folder,
            recording_id,
            on_end=ended,
            on_starved=starved,
            min_free_bytes=settings.min_free_mb * _MB,
            max_bytes=settings.max_mb * _MB,
        )
        now_ns = self._clock.now_ns()
        recording = _Recording(
            recording_id,
            writer,
            began_ns=now_ns,
            limit_ns=now_ns + settings.max_minutes * 60 * NS_PER_S,
            on_end=ended,
            on_starved=starved,
        )
        self._running[session_id] = recording
        self._media.set_tap(session_id, recording.packet)

    async def _free_bytes(self) -> int:
        """Of the disk; 0 if it says nothing. One that hangs is asked once, not by every call."""
        if self._disk_asked is None or self._disk_asked.done():
            folder = self._settings.folder
            asking = beside(lambda: shutil.disk_usage(folder).free)
            self._disk_asked = asyncio.get_running_loop().create_task(asking)
        done, _ = await asyncio.wait({self._disk_asked}, timeout=self._settings.start_patience_s)
        try:
            return done.pop().result() if done else 0
        except OSError as error:
            _log.error("recording.no_folder", error=str(error))
            return 0

    def _ended(
        self, session_id: str, on_end: Callable[[str], None], recording_id: str, reason: str
    ) -> None:
        recording = self._running.get(session_id)
        if recording is None or recording.id != recording_id or recording.reason != _STOPPED:
            return
        recording.reason = reason
        recording.open = False
        _log.warning("recording.ended", session=session_id, reason=reason)
        self._media.set_tap(session_id, None)
        on_end(reason)

    def _ask_for_keyframes(self, session_id: str) -> None:
        recording = self._running.get(session_id)
        if recording is not None and recording.open:
            self._media.set_tap(session_id, recording.packet)

    def cut(self, session_id: str) -> None:
        self._starting.discard(session_id)
        recording = self._running.get(session_id)
        if recording is not None:
            recording.open = False
            self._media.set_tap(session_id, None)

    async def stop(self, session_id: str) -> None:
        recording = self._running.pop(session_id, None)
        if recording is None:
            return
        self._media.set_tap(session_id, None)
        recording.flush()
        self._spawn(self._finish(recording))

    # --- afterwards ---

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _finish(self, recording: _Recording) -> None:
        try:
            files = await beside(recording.writer.finish)
            reason = recording.writer.failure or recording.reason
            await self._record_end(recording.id, files, reason)
        except Exception:
            _log.exception("recording.not_closed", recording=recording.id)

    async def _close_off(self, left: list[str]) -> None:
        folder, least = self._settings.folder, self._settings.min_free_mb * _MB
        for recording_id in left:
            try:
                files = await close_off(folder, recording_id, min_free_bytes=least)
                if files:  # none here: it is another node's
                    await self._record_end(recording_id, files, "incomplete")
            except Exception:
                _log.exception("recording.not_closed", recording=recording_id)

    async def _record_end(self, recording_id: str, files: list[Path], reason: str) -> None:
        described = await beside(lambda: [_describe(file) for file in files])
        values = {
            "ended_at_ms": self._clock.wall_ms(),
            "end_reason": reason,
            "files": json.dumps(described),
        }
        mine = sa.update(recordings).where(recordings.c.id == recording_id).values(values)
        while True:
            try:
                async with self._store.transaction() as tx:
                    await tx.execute(mine)
                return
            except TalktimeError as error:  # the store is out of reach
                _log.warning("recording.store_retry", recording=recording_id, code=error.code)
                await asyncio.sleep(_RETRY_STORE_S)

    def file(self, name: str) -> Path | None:
        """A finished file by its name, as the table has it; None for anything else."""
        path = self._settings.folder / name
        return path if Path(name).name == name and path.is_file() else None

    async def held(self) -> list[str]:
        """Ids of the recordings of which there is anything on this node's disk."""
        return await beside(lambda: kept.held(self._settings.folder))

    async def delete(self, recording_id: str) -> None:
        """Delete whatever this node's disk has of it. Raises `OSError`."""
        await beside(lambda: kept.delete(self._settings.folder, recording_id))


def _on_loop(callback: Callable[P, None]) -> Callable[P, None]:
    """`callback` for any thread: it runs on this loop, soon."""
    loop = asyncio.get_running_loop()

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        with contextlib.suppress(RuntimeError):  # the engine is gone
            loop.call_soon_threadsafe(functools.partial(callback, *args, **kwargs))

    return call


def _describe(file: Path) -> dict[str, object]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {"name": file.name, "bytes": file.stat().st_size, "sha256": digest}
