"""Frames into one WebM or Matroska file. Blocks as the disk does: for the writer's thread only.

The library writes in the order of time, and waits with everything else for a picture that stands
still. So one that was off for a while is black in the file: a small frame made here, once a second;
it comes back with its next keyframe.
"""

from __future__ import annotations

import contextlib
import fractions
import functools
import io
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import av
import av.error
import msgspec

from engine.clock import NS_PER_MS, NS_PER_S
from engine.media.interface import MediaKind, Role
from engine.recording.depacketize import Frame

PART_SUFFIX: Final = ".part"
# Short clusters: after a crash all but the last second can be read.
OPTIONS: Final = {
    "cluster_time_limit": "1000",
    "max_interleave_delta": "1000000",
    "flush_packets": "1",
}
_BLACK_AFTER_NS: Final = 2 * NS_PER_S
_BLACK_EVERY_NS: Final = 1 * NS_PER_S
_BLACK_SIZE: Final = (320, 180)
_BLACK_ENCODERS: Final = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""The library does not wait for pictures of other codecs."""
_FOURCC: Final = {"vp8": b"VP80", "vp9": b"VP90", "av1": b"AV01"}
_ANY_SIZE: Final = (16, 16, 90_000, 1, 1, 0)
# What the format counts in.
_TICK: Final = fractions.Fraction(1, 1000)

Key = tuple[Role, MediaKind]


class _Track(msgspec.Struct):
    """`shown_ns`: when the newest frame came. `last_ms`: where it stands in the file."""

    stream: Any
    codec: str
    shown_ns: int
    last_ms: int = -1
    black: bool = False

    def needs_black(self, now_ns: int) -> bool:
        wait_ns = _BLACK_EVERY_NS if self.black else _BLACK_AFTER_NS
        return self.codec in _BLACK_ENCODERS and now_ns - self.shown_ns > wait_ns


class _Unbuffered(io.FileIO):
    """What was written is with the system. Unlike its base it writes all of it, or raises."""

    written = 0

    def write(self, data: Any) -> int:
        left = memoryview(data)
        while left:
            left = left[super().write(left) :]
        self.written += len(data)
        return len(data)


class Container:
    """One file, which begins with these frames; `path` ends in `.part` while it is written.

    Raises `OSError`, and leaves no file if it could not even be begun.
    """

    def __init__(self, folder: Path, name: str, firsts: Mapping[Key, Frame], began_ns: int) -> None:
        matroska = any(frame.codec == "h264" for frame in firsts.values())
        self.final = folder / f"{name}.{'mkv' if matroska else 'webm'}"
        self.path = self.final.with_name(self.final.name + PART_SUFFIX)
        # By a file of Python's: one that the library opens itself is opened, begun and ended with
        # the interpreter's lock held, and a disk that hangs would hold up all calls.
        self._raw = _Unbuffered(self.path, "wb", opener=_private)
        try:
            kind = "matroska" if matroska else "webm"
            self._container = av.open(self._raw, "w", format=kind, options=dict(OPTIONS))
            self._tracks = {
                key: _Track(self._stream(key, frame), frame.codec, began_ns)
                for key, frame in firsts.items()
            }
            self._container.start_encoding()
        except BaseException:
            self._raw.close()
            self.path.unlink(missing_ok=True)
            raise

    @property
    def size_bytes(self) -> int:
        return self._raw.written

    def _stream(self, key: Key, first: Frame) -> Any:
        role, kind = key
        stream: Any
        if kind is MediaKind.AUDIO:
            # The encoder is never used: it only writes the stream's description.
            stream = self._container.add_stream("libopus", rate=48_000)
            stream.codec_context.layout = "stereo"
        else:
            with _described(first) as described:
                stream = self._container.add_stream_from_template(described, opaque=True)
        stream.metadata["title"] = role.value
        return stream

    def write(self, key: Key, frame: Frame, *, at_ns: int, came_ns: int) -> bool:
        """False if the picture is black until the next keyframe, which this is not."""
        track = self._tracks[key]
        if track.black and not frame.key:
            return False
        track.black, track.shown_ns = False, came_ns
        self._put(track, frame.data, at_ns, key=frame.key)
        return True

    def fill(self, now_ns: int) -> None:
        """Black for what has shown nothing for a while, so that all else can be written."""
        for track in self._tracks.values() if len(self._tracks) > 1 else ():
            if track.needs_black(now_ns):
                track.black, track.shown_ns = True, now_ns
                self._put(track, _black(track.codec), now_ns, key=True)

    def _put(self, track: _Track, data: bytes, at_ns: int, *, key: bool) -> None:
        # Never back, and no two at one instant: that could be read, but not copied.
        track.last_ms = max(track.last_ms + 1, at_ns // NS_PER_MS)
        packet = av.Packet(data)
        packet.stream = track.stream
        packet.pts = packet.dts = track.last_ms
        packet.time_base = _TICK
        packet.is_keyframe = key
        self._container.mux(packet)

    def close(self) -> Path:
        """Under its own name in any case; raises `OSError` if not all of it could be written."""
        try:
            self._container.close()
        finally:
            self._raw.close()
            self.path.rename(self.final)
        return self.final


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def can_begin(frame: Frame) -> bool:
    """Whether a file can begin with this frame: sound, or a keyframe that tells its size."""
    if frame.codec == "opus":
        return True
    if not frame.key:
        return False
    try:
        with _described(frame) as stream:
            return bool(stream.width and stream.height)
    except (av.error.FFmpegError, IndexError):
        return False


@contextlib.contextmanager
def _described(frame: Frame) -> Iterator[Any]:
    """The stream that a keyframe describes by itself: size, profile, parameter sets."""
    blob, form = frame.data, "h264"
    if frame.codec in _FOURCC:
        delimiter = b"\x12\x00" if frame.codec == "av1" else b""
        data = delimiter + frame.data
        head = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, _FOURCC[frame.codec], *_ANY_SIZE)
        blob, form = head + struct.pack("<IQ", len(data), 0) + data, "ivf"
    with av.open(io.BytesIO(blob), format=form) as container:
        yield container.streams.video[0]


@functools.cache
def _black(codec: str) -> bytes:
    """A black keyframe."""
    encoder: Any = av.CodecContext.create(_BLACK_ENCODERS[codec], "w")
    encoder.width, encoder.height = _BLACK_SIZE
    encoder.pix_fmt, encoder.time_base = "yuv420p", fractions.Fraction(1, 90_000)
    picture = av.VideoFrame(*_BLACK_SIZE, "yuv420p")
    for plane, value in zip(picture.planes, (16, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    picture.pts = 0
    return bytes([*encoder.encode(picture), *encoder.encode(None)][0])
