"""Frames into files, in a thread of its own, so that a slow or full disk never holds up a call.

The sound of both parties and every picture that begins within the first seconds share one file. A
picture that begins later, or goes on in another codec, gets a file of its own on the same time
line: nothing that is already being written has to stop for it, and nothing is lost. One that comes
back to a codec it had goes on in that file.
"""

from __future__ import annotations

import errno
import queue
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import av.error
import msgspec
import structlog

from engine.clock import NS_PER_S
from engine.media.interface import MediaKind, Role
from engine.recording.container import Container, Key, can_begin
from engine.recording.depacketize import Frame, Report
from engine.recording.timeline import Timeline

_log = structlog.get_logger(__name__)

# 40 s of a call at full rate: a disk that is further behind is too slow.
_QUEUE_FRAMES: Final = 4000
_QUEUE_BYTES: Final = 32 << 20
# How long the first file waits for pictures before it is begun.
_GATHER_NS: Final = 2 * NS_PER_S
_CHECK_FREE_EVERY_NS: Final = 2 * NS_PER_S
_ASK_EVERY_NS: Final = 2 * NS_PER_S
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LIMIT: Final = 1 << 62


class Item(msgspec.Struct, frozen=True):
    """What came of one stream, `at_ns` after the recording began."""

    key: Key
    what: Frame | Report
    at_ns: int

    @property
    def size_bytes(self) -> int:
        return len(self.what.data) if isinstance(self.what, Frame) else 0


class Writer:
    """The thread of one recording. `put` never waits; `on_end` is called, in either thread, if it
    ends by itself: disk_full, too_large, too_slow, failed. `on_starved` asks, in the thread, for
    keyframes.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        on_end: Callable[[str], None],
        on_starved: Callable[[], None] = lambda: None,
        min_free_bytes: int = 0,
        max_bytes: int = _NO_LIMIT,
    ) -> None:
        self.failure = ""
        self._folder, self._name = folder, name
        self._min_free_bytes, self._max_bytes = min_free_bytes, max_bytes
        self._on_end = on_end
        self._on_starved = on_starved
        self._queue: queue.Queue[Item | None] = queue.Queue(_QUEUE_FRAMES)
        self._put_bytes = self._taken_bytes = 0
        self._closed: list[Path] = []
        self._files: list[Container] = []
        self._by_codec: dict[tuple[Key, str], Container] = {}
        self._timelines = _timelines()
        self._gathered: list[Item] | None = []
        self._checked_ns = -_CHECK_FREE_EVERY_NS
        self._asked_ns = -_ASK_EVERY_NS
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"recording {name}", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        if self._over.is_set():
            return
        try:
            if self._put_bytes - self._taken_bytes > _QUEUE_BYTES:
                raise queue.Full
            self._queue.put_nowait(item)
            self._put_bytes += item.size_bytes
        except queue.Full:
            # Told here: the thread may hang for as long as the disk does.
            self._end("too_slow")

    def finish(self) -> list[Path]:
        """Write what is waiting, close the files and return them. Blocks for as long as the disk
        does: not for the loop.
        """
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=1)
                break
            except queue.Full:  # the thread will take one of these, or has seen that it is over
                continue
        self._thread.join()
        return self._closed

    def _end(self, reason: str) -> None:
        """It ends by itself."""
        self._over.set()
        if not self.failure:
            self.failure = reason
            self._on_end(reason)

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None and not self._over.is_set():
                self._taken_bytes += item.size_bytes
                self._check_free(item.at_ns)
                self._take(item)
                if sum(file.size_bytes for file in self._files) >= self._max_bytes:
                    self._end("too_large")
        except OSError as error:
            self._end(_name_of(error))
        except Exception:
            _log.exception("recording.failed", recording=self._name)
            self._end("failed")
        self._over.set()
        self._close()

    def _check_free(self, at_ns: int) -> None:
        if at_ns - self._checked_ns < _CHECK_FREE_EVERY_NS:
            return
        self._checked_ns = at_ns
        if shutil.disk_usage(self._folder).free < self._min_free_bytes:
            raise OSError(errno.ENOSPC, "not enough space is left")

    def _take(self, item: Item) -> None:
        if self._gathered is not None:
            self._gathered.append(item)
            if item.at_ns - self._gathered[0].at_ns >= _GATHER_NS:
                self._begin()
        elif isinstance(item.what, Report):
            self._timelines[item.key].report(item.what)
        else:
            self._write(item.key, item.what, item.at_ns)

    def _write(self, key: Key, frame: Frame, came_ns: int) -> None:
        file = self._by_codec.get((key, frame.codec))
        if file is None:
            if not can_begin(frame):
                if frame.key:  # one that cannot be read; the next may be better
                    self._ask(came_ns)
                return
            file = self._open({key: frame}, came_ns)
        at_ns = self._timelines[key].place(frame, came_ns)
        if not file.write(key, frame, at_ns=at_ns, came_ns=came_ns):
            self._ask(came_ns)
        for each in self._files:
            each.fill(came_ns)

    def _ask(self, at_ns: int) -> None:
        if at_ns - self._asked_ns >= _ASK_EVERY_NS:
            self._asked_ns = at_ns
            self._on_starved()

    def _begin(self) -> None:
        """The first file, with all that has begun by now and is known of it by now."""
        gathered, self._gathered = self._gathered or [], None
        firsts: dict[Key, Frame] = {}
        for item in gathered:
            if isinstance(item.what, Report):
                self._take(item)
            elif item.key not in firsts and can_begin(item.what):
                firsts[item.key] = item.what
                if item.key[1] is MediaKind.AUDIO:
                    self._timelines[item.key].place(item.what, item.at_ns)
        if firsts:
            self._open(firsts, gathered[0].at_ns)
        for item in gathered:
            if isinstance(item.what, Frame):
                self._take(item)

    def _open(self, firsts: Mapping[Key, Frame], began_ns: int) -> Container:
        name = f"{self._name}-{len(self._files) + 1}"
        file = Container(self._folder, name, firsts, began_ns)
        self._files.append(file)
        self._by_codec.update({(key, frame.codec): file for key, frame in firsts.items()})
        return file

    def _close(self) -> None:
        """Close all files as far as they can be."""
        try:
            if self._gathered:
                self._begin()
        except OSError as error:
            self._end(_name_of(error))
        except Exception:
            _log.exception("recording.failed", recording=self._name)
            self._end("failed")
        for file in self._files:
            try:
                file.close()
            except OSError as error:
                self._end(_name_of(error))
            except av.error.FFmpegError:  # the disk again, told once before
                self._end("failed")
            if file.final.exists():
                self._closed.append(file.final)


def _timelines() -> dict[Key, Timeline]:
    sounds = {role: Timeline(MediaKind.AUDIO) for role in Role}
    pictures = {role: Timeline(MediaKind.VIDEO, sounds[role]) for role in Role}
    return {(role, MediaKind.AUDIO): sounds[role] for role in Role} | {
        (role, MediaKind.VIDEO): pictures[role] for role in Role
    }


def _name_of(error: OSError) -> str:
    return "disk_full" if error.errno in _DISK_FULL else "failed"
