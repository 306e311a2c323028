"""What becomes of a recording when a process is killed, a disk is full or hangs, the store away."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import select
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import av
import pytest
import sqlalchemy as sa

from engine.errors import Unavailable
from engine.media.interface import Role
from engine.recording import leftovers, service
from engine.store.tables import recordings
from tests.support.media_peer import eventually
from tests.support.recorded_streams import FPS, Stream
from tests.support.recorder_rig import RecorderRig, decoded, instants_ms

_PROCESS = Path(__file__).parents[3] / "tests" / "support" / "recording_process.py"


def streams() -> tuple[Stream, Stream]:
    return Stream(Role.EXPERT, "opus", ssrc=1), Stream(Role.EXPERT, "vp8", ssrc=2)


# A killed process --------------------------------------------------------------------------------


@pytest.mark.parametrize("enabled", [True, False])
async def test_after_kill_9_the_next_start_closes_off_what_was_written(
    rig: RecorderRig, sqlite_url: str, enabled: bool
) -> None:
    """Also if nothing is recorded any more by then."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.recording_process"),
        *(sqlite_url, str(rig.folder), rig.session_id),
        cwd=_PROCESS.parents[2],
    )
    try:
        part = "*-1.webm.part"
        await eventually(
            lambda: any(file.stat().st_size > 200_000 for file in rig.folder.glob(part)), 60.0
        )
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    (cut_off,) = rig.folder.glob(part)
    cut_off.chmod(0o600)
    before = instants_ms(cut_off)
    await rig.open(enabled=enabled)
    await rig.recordings.settled()
    row = await rig.row()
    assert row.end_reason == "incomplete"
    (file,) = await rig.files()
    assert file.name == cut_off.name.removesuffix(".part")
    after = instants_ms(file)
    assert {key: len(ms) for key, ms in after.items()} == {k: len(ms) for k, ms in before.items()}
    assert decoded(file)["expert", "video", "vp8"] == len(before["expert", "video"])
    with av.open(str(file)) as whole:
        assert whole.duration is not None
        longest_ms = max(ms[-1] for ms in after.values())
        assert whole.duration / 1000 == pytest.approx(longest_ms, abs=100), "it has a length"
    await rig.open()
    await rig.recordings.settled()
    assert await rig.row() == row, "closed off once"


async def _left(rig: RecorderRig, name: str, content: bytes) -> None:
    """A file as a killed process would leave it."""
    row = {"id": "rec_left", "session_id": rig.session_id, "started_at_ms": 0}
    async with rig.store.transaction() as tx:
        await tx.execute(sa.insert(recordings).values(row))
    path = rig.folder / name
    path.write_bytes(content)
    path.chmod(0o600)


@pytest.mark.parametrize("codec", ["vp8", "vp9", "av1", "h264"])
@pytest.mark.parametrize("kept", [0.3, 0.8, 1.0])
async def test_what_can_be_read_of_a_file_is_made_whole(
    rig: RecorderRig, codec: str, kept: float
) -> None:
    await rig.start()
    rig.play(streams()[0], Stream(Role.EXPERT, codec, ssrc=2), seconds=12)
    await rig.stop()
    (file,) = await rig.files()
    content = file.read_bytes()
    file.unlink()
    async with rig.store.transaction() as tx:
        await tx.execute(sa.delete(recordings))
    await _left(rig, f"rec_left-1{file.suffix}.part", content[: int(kept * len(content))])
    await rig.open()
    await rig.recordings.settled()
    (mended,) = await rig.files()
    assert mended.name == f"rec_left-1{file.suffix}"
    assert decoded(mended)["expert", "video", codec] >= (kept - 0.2) * 12 * FPS
    last_ms = instants_ms(mended)["expert", "audio"][-1]
    assert (kept - 0.2) * 12_000 <= last_ms <= 12_020
    with av.open(str(mended)) as whole:
        assert whole.duration is not None
        assert whole.duration / 1000 == pytest.approx(last_ms, abs=100)


@pytest.mark.parametrize("content", [b"", b"\x1a\x45\xdf\xa3", b"garbage" * 700])
async def test_what_cannot_be_read_is_kept_as_it_is(rig: RecorderRig, content: bytes) -> None:
    await _left(rig, "rec_left-1.webm.part", content)
    await rig.open()
    await rig.recordings.settled()
    (file,) = await rig.files()
    assert file.name == "rec_left-1.webm"
    assert file.read_bytes() == content
    assert (await rig.row()).end_reason == "incomplete"


async def test_what_there_is_no_room_to_copy_is_kept_as_it_is(
    rig: RecorderRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _left(rig, "rec_left-1.webm.part", b"anything")
    free = shutil.disk_usage(rig.folder)._replace(free=1_000_007)
    monkeypatch.setattr(leftovers.shutil, "disk_usage", lambda _: free)
    monkeypatch.setattr(leftovers, "_remuxed", pytest.fail)
    await rig.open()
    await rig.recordings.settled()
    (file,) = await rig.files()
    assert file.read_bytes() == b"anything"


async def test_another_nodes_recording_is_left_alone(rig: RecorderRig) -> None:
    row = {"id": "rec_other", "session_id": rig.session_id, "started_at_ms": 0}
    async with rig.store.transaction() as tx:
        await tx.execute(sa.insert(recordings).values(row))
    await rig.open()
    await rig.recordings.settled()
    assert (await rig.row()).ended_at_ms is None


async def test_what_runs_is_not_taken_for_what_was_left(rig: RecorderRig) -> None:
    await _left(rig, "rec_left-1.webm.part", b"anything")
    await rig.open()
    await rig.start()
    rig.play(*streams(), seconds=4)
    await rig.stop()
    async with rig.store.reading() as tx:
        rows = list(await tx.execute(sa.select(recordings).order_by(recordings.c.started_at_ms)))
    assert sorted(row.end_reason for row in rows) == ["incomplete", "stopped"]
    assert all(len(json.loads(row.files)) == 1 for row in rows)


# A full disk -------------------------------------------------------------------------------------


async def test_a_full_disk_ends_the_recording_and_what_there_is_is_in_the_store(
    rig: RecorderRig,
) -> None:
    """The kernel refuses to let the file grow."""
    await rig.start()
    tap = rig.media.taps[rig.session_id]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    both = streams()
    await rig.turn()
    # Well beyond the size of the store, which the kernel keeps from growing as well.
    limit = 1 << 20
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        begin_s = 0
        while not rig.ends:
            rig.play(*both, begin_s=begin_s, seconds=begin_s + 10)
            begin_s += 10
            await rig.turn()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert rig.ends == ["disk_full"]
    assert rig.media.taps[rig.session_id] is None
    assert tap is not None
    tap(Role.EXPERT, both[0].kind, both[0].frame(0)[0], rig.began_ns)  # on its way: no harm
    await rig.stop()
    assert (await rig.row()).end_reason == "disk_full"
    (file,) = await rig.files()
    assert file.stat().st_size <= limit
    with av.open(str(file)) as recorded:
        assert sum(1 for _ in recorded.decode(video=0)) > 10 * FPS


async def test_on_a_disk_without_room_nothing_begins(rig: RecorderRig) -> None:
    await rig.open(min_free_mb=1 << 40)
    with pytest.raises(Unavailable) as refused:
        await rig.start()
    assert refused.value.code == "recording_unavailable"


async def test_without_its_folder_nothing_begins(rig: RecorderRig) -> None:
    rig.folder.rmdir()
    with pytest.raises(Unavailable):
        await rig.start()


# A disk that hangs -------------------------------------------------------------------------------


async def test_a_disk_that_hangs_at_the_beginning_is_given_up_and_asked_only_once(
    rig: RecorderRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, asked = threading.Event(), []

    def disk_usage(folder: Path) -> Any:
        asked.append(folder)
        assert hanging.wait(60)
        raise OSError("gone")

    monkeypatch.setattr(service.shutil, "disk_usage", disk_usage)
    await rig.open(start_patience_s=0.05)
    threads = threading.active_count()
    for _ in range(5):
        with pytest.raises(Unavailable):
            await rig.start()
    assert len(asked) == 1
    assert threading.active_count() <= threads + 1
    # Whoever uses the loop's own threads is not held up, nor is the end of the engine.
    assert await asyncio.to_thread(lambda: True)
    await rig.close()
    hanging.set()


def _hanging(rig: RecorderRig, monkeypatch: pytest.MonkeyPatch) -> int:
    """A pipe that nobody empties stands for the disk; its reading end."""
    monkeypatch.setattr(service, "new_id", lambda _: "rec_hangs")
    pipe = rig.folder / "rec_hangs-1.webm.part"
    os.mkfifo(pipe, 0o600)
    return os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)


async def test_a_disk_that_hangs_holds_up_neither_the_end_of_a_call_nor_of_the_engine(
    rig: RecorderRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.open(close_patience_s=0.1)
    reader = _hanging(rig, monkeypatch)
    await rig.start()
    rig.play(*streams(), seconds=20)
    await eventually(lambda: bool(select.select([reader], [], [], 0)[0]), 60.0)
    writer = rig.recordings._running[rig.session_id].writer
    await rig.recordings.stop(rig.session_id)
    await rig.recordings.close()
    assert writer._thread.is_alive(), "it hangs to this moment"
    assert (await rig.row()).ended_at_ms is None, "the next start closes it off"
    os.close(reader)
    await eventually(lambda: not writer._thread.is_alive(), 60.0)


async def test_the_store_is_told_of_the_end_once_it_is_back(
    rig: RecorderRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_RETRY_STORE_S", 0.01)
    store: Any = rig.store
    await rig.start()
    rig.play(*streams(), seconds=3)
    store.down = True
    await rig.recordings.stop(rig.session_id)
    begun = store.begun
    await eventually(lambda: store.begun > begun + 2)
    store.down = False
    await rig.recordings.settled()
    assert (await rig.row()).end_reason == "stopped"
    assert len(await rig.files()) == 1


async def test_the_end_of_the_engine_closes_what_runs(rig: RecorderRig) -> None:
    await rig.start()
    rig.play(*streams(), seconds=3)
    await rig.close()
    (file,) = await rig.files()
    assert decoded(file)["expert", "video", "vp8"] == 3 * FPS


async def test_a_fault_in_the_recorder_is_not_the_calls(
    rig: RecorderRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.start()

    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(service.Depacketizer, "push", broken)
    rig.play(*streams(), seconds=1)
    await rig.turn()
    assert rig.ends == ["failed"]
