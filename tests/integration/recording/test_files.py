"""What is recorded of a call can be played: on both workers, with real encoders."""

from __future__ import annotations

import asyncio
import fractions
import os
import resource
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from engine.clock import NS_PER_S
from engine.media import rtcp
from engine.media.interface import MediaKind, Role
from engine.media.worker import WorkerConfig
from engine.recording.depacketize import Depacketizer, Frame
from engine.recording.disk import beside
from engine.recording.writer import Item, Writer
from tests.support.media_call import SESSION, Call, call_on, worker_factory
from tests.support.media_peer import eventually


class Tape:
    """A writer behind a media tap."""

    def __init__(self, folder: Path, *, min_free_bytes: int = 0) -> None:
        self.ends: list[str] = []
        self.reports: set[tuple[Role, MediaKind]] = set()
        self.writer = Writer(folder, "rec", min_free_bytes=min_free_bytes, on_end=self.ends.append)
        self._streams: dict[tuple[Role, MediaKind], Depacketizer] = {}
        self._began_ns = time.monotonic_ns()

    def packet(self, role: Role, kind: MediaKind, packet: bytes, now_ns: int) -> None:
        stream = self._streams.setdefault((role, kind), Depacketizer(kind))
        if packet[1] == rtcp.SR:
            report = stream.report(packet)
            assert report is not None
            self.reports.add((role, kind))
            self.writer.put(Item((role, kind), report, now_ns - self._began_ns))
            return
        for frame in stream.push(packet, now_ns):
            self.writer.put(Item((role, kind), frame, frame.arrived_ns - self._began_ns))


async def _talk(call: Call, tape: Tape) -> None:
    await call.connect(customer=("audio", "video"))
    call.worker.set_tap(SESSION, tape.packet)
    call.open()
    await call.customer.wait_frames("video", 60)
    await call.expert.wait_frames("video", 60)
    await eventually(lambda: len(tape.reports) == 4)
    call.worker.set_tap(SESSION, None)


@pytest.mark.parametrize("media", ["python", "native"])
@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_both_parties_are_in_the_file(media: str, codec: str, tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    worker = worker_factory(media)(WorkerConfig(codecs=("opus", codec)))
    async with call_on(worker) as call:
        await _talk(call, tape)
        (file,) = tape.writer.finish()
    assert file.suffix == (".mkv" if codec == "h264" else ".webm")
    assert tape.ends == []
    with av.open(str(file)) as recorded:
        titles = sorted(
            (s.type, s.metadata["title"], s.codec_context.name) for s in recorded.streams
        )
        assert titles == [
            ("audio", "customer", "opus"),
            ("audio", "expert", "opus"),
            ("video", "customer", codec),
            ("video", "expert", codec),
        ]
        kinds = [stream.type for stream in recorded.streams]
    begins = []
    for number, kind in enumerate(kinds):
        # Opened anew: wound back, one stream may stand in the middle of another.
        with av.open(str(file)) as recorded:
            decoded: list[Any] = list(recorded.decode(recorded.streams[number]))
        times = [frame.time for frame in decoded]
        assert times == sorted(times)
        begins.append(times[0])
        if kind == "video":
            assert len(decoded) >= 40
        else:
            assert sum(frame.samples for frame in decoded) > 48_000
    # All within the one second or so in which the parties' first frames came.
    assert max(begins) - min(begins) < 5


async def test_a_picture_that_begins_later_has_a_file_of_its_own(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    async with call_on(worker_factory("native")(WorkerConfig())) as call:
        await call.connect(customer=("audio",), expert=("audio",))
        call.worker.set_tap(SESSION, tape.packet)
        call.open()
        await call.customer.wait_frames("audio", 150)
        call.expert.publish("video")
        await call.customer.wait_frames("video", 20)
        call.worker.set_tap(SESSION, None)
        first, second = tape.writer.finish()
    with av.open(str(first)) as sound, av.open(str(second)) as picture:
        assert {stream.type for stream in sound.streams} == {"audio"}
        assert [stream.type for stream in picture.streams] == ["video"]
        frame = next(picture.decode(video=0))
        assert float(frame.pts * frame.time_base) > 1, "on the time line of the call"


async def test_too_little_space_ends_the_recording_and_keeps_what_there_is(
    tmp_path: Path,
) -> None:
    tape = Tape(tmp_path, min_free_bytes=1 << 62)
    async with call_on(worker_factory("native")(WorkerConfig())) as call:
        await _talk(call, tape)
        assert tape.writer.finish() == []
        assert tape.ends == ["disk_full"]
        await call.customer.wait_frames("video", call.customer.frames["video"] + 10)


FPS = 20
SOUND, PICTURE = (Role.EXPERT, MediaKind.AUDIO), (Role.EXPERT, MediaKind.VIDEO)
OTHER_PICTURE = (Role.CUSTOMER, MediaKind.VIDEO)


@pytest.fixture(scope="module")
def noise() -> list[Frame]:
    """Four seconds of a picture that does not compress, as an endless loop would begin."""
    encoder = av.CodecContext.create("libvpx", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 320, 240, "yuv420p"
    encoder.time_base = fractions.Fraction(1, 90_000)
    encoder.options = {"deadline": "realtime", "cpu-used": "8"}
    frames = []
    for number in range(4 * FPS):
        picture = av.VideoFrame(320, 240, "yuv420p")
        for plane in picture.planes:
            plane.update(os.urandom(plane.buffer_size))
        picture.pts, picture.time_base = number * 90_000 // FPS, encoder.time_base
        for packet in encoder.encode(picture):
            frames.append(Frame("vp8", bytes(packet), 0, packet.is_keyframe))
    return frames


def moments(begin_s: float, end_s: float) -> Iterator[tuple[int, int]]:
    """Number and instant of each picture in that time."""
    for number in range(round(begin_s * FPS), round(end_s * FPS)):
        yield number, number * NS_PER_S // FPS


def shown(noise: list[Frame], key: tuple[Role, MediaKind], number: int, at_ns: int) -> Item:
    frame = noise[number % len(noise)]
    timestamp = number * 90_000 // FPS
    return Item(key, Frame(frame.codec, frame.data, timestamp, frame.key, 1), at_ns)


async def _written(writer: Writer, folder: Path, least_bytes: float) -> None:
    def size() -> int:
        return sum(file.stat().st_size for file in folder.iterdir())

    await eventually(lambda: size() >= least_bytes, 60.0)


async def test_a_picture_that_is_off_keeps_nothing_else_from_the_disk(
    tmp_path: Path, noise: list[Frame]
) -> None:
    """Neither in memory until the end, nor lost in a crash."""
    writer = Writer(tmp_path, "rec", on_end=pytest.fail)
    put_bytes = 0
    for number, at_ns in moments(0, 60):
        item = shown(noise, PICTURE, number, at_ns)
        put_bytes += item.size_bytes
        writer.put(item)
        if at_ns < 4 * NS_PER_S:
            writer.put(shown(noise, OTHER_PICTURE, number, at_ns))
    await _written(writer, tmp_path, 0.9 * put_bytes)
    cut_off = tmp_path / "crashed.webm"
    cut_off.write_bytes((tmp_path / "rec-1.webm.part").read_bytes())
    with av.open(str(cut_off)) as recorded:
        number = [stream.metadata["title"] for stream in recorded.streams].index("expert")
        times = [frame.time for frame in recorded.decode(video=number)]
    assert times[-1] is not None
    assert times[-1] > 50
    assert writer.finish() == [tmp_path / "rec-1.webm"]


def test_a_picture_comes_back_from_black_with_a_keyframe_that_is_asked_for(
    tmp_path: Path, noise: list[Frame]
) -> None:
    asked: list[None] = []
    writer = Writer(
        tmp_path,
        "rec",
        on_end=pytest.fail,
        on_starved=lambda: asked.append(None),
    )
    off_s, back_s, key_s, end_s = 4.0, 10.05, 12.0, 15.0
    for number, at_ns in moments(0, end_s):
        writer.put(shown(noise, PICTURE, number, at_ns))
        if at_ns < off_s * NS_PER_S or at_ns >= back_s * NS_PER_S:
            writer.put(shown(noise, OTHER_PICTURE, number, at_ns))
    files = writer.finish()
    assert asked
    with av.open(str(files[0])) as recorded:
        number = [stream.metadata["title"] for stream in recorded.streams].index("customer")
        seen = [
            (frame.time or 0.0, frame.width == 320 and frame.height == 240)
            for frame in recorded.decode(video=number)
        ]
    assert all(real for time_s, real in seen if time_s < off_s)
    assert not any(real for time_s, real in seen if off_s + 1 < time_s < key_s - 0.01)
    back = [time_s for time_s, real in seen if real and time_s > off_s + 1]
    assert back[0] == pytest.approx(key_s, abs=0.1)
    assert len(back) == round((end_s - key_s) * FPS)


@pytest.mark.parametrize("behind_s", [-8, 8])
def test_a_device_that_was_off_goes_on_at_the_time_of_the_call(
    tmp_path: Path, behind_s: int
) -> None:
    """Whatever its timestamps did meanwhile: stood still, or ran away."""
    writer = Writer(tmp_path, "rec", on_end=pytest.fail)
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "stereo", "s16"
    silence = av.AudioFrame("s16", "stereo", 960)
    silence.sample_rate, silence.pts = 48_000, 0
    data = bytes([*encoder.encode(silence), *encoder.encode(None)][0])
    for number in range(50 * 20):
        at_s = number / 50
        if 5 <= at_s < 15:
            continue
        shift_s = -behind_s if at_s >= 15 else 0
        timestamp = round((20 + at_s + shift_s) * 48_000)
        frame = Frame("opus", data, timestamp, True, 1)
        writer.put(Item(SOUND, frame, round(at_s * NS_PER_S)))
    files = writer.finish()
    with av.open(str(files[0])) as recorded:
        times = [
            float(packet.pts * packet.time_base)
            for packet in recorded.demux(audio=0)
            if packet.pts is not None
        ]
    after = [time_s for time_s in times if time_s > 5.5]
    assert after[0] == pytest.approx(15, abs=0.1)
    assert after[-1] == pytest.approx(20, abs=0.1)


async def test_a_full_disk_ends_the_recording_and_keeps_what_there_is_and_the_call(
    tmp_path: Path,
) -> None:
    """The kernel refuses to let the file grow."""
    tape = Tape(tmp_path)
    async with call_on(worker_factory("python")(WorkerConfig(codecs=("opus", "vp8")))) as call:
        await call.connect(customer=("audio", "video"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
        try:
            call.worker.set_tap(SESSION, tape.packet)
            call.open()
            await eventually(lambda: bool(tape.ends), 60.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await call.customer.wait_frames("video", call.customer.frames["video"] + 10)
        files = tape.writer.finish()
    assert tape.ends == ["disk_full"]
    assert files == [tmp_path / "rec-1.webm"]
    with av.open(str(files[0])) as recorded:
        assert next(recorded.decode(video=0)).width == 160


async def test_a_disk_that_hangs_ends_the_recording_and_holds_nobody_up(
    tmp_path: Path, noise: list[Frame]
) -> None:
    """A pipe that nobody empties stands for it: writing to it does not return."""
    pipe = tmp_path / "rec-1.webm.part"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    ends: list[str] = []
    writer = Writer(tmp_path, "rec", on_end=ends.append)
    for number, at_ns in moments(0, 3):
        writer.put(shown(noise, PICTURE, number, at_ns))
    await eventually(lambda: bool(select.select([reader], [], [], 0)[0]), 60.0)
    for number, at_ns in moments(3, 250):
        writer.put(shown(noise, PICTURE, number, at_ns))
    assert ends == ["too_slow"]
    finishing = asyncio.ensure_future(beside(writer.finish))
    await asyncio.sleep(0)  # the loop goes on
    assert not finishing.done()
    os.close(reader)
    await finishing
    assert ends == ["too_slow"]
