"""A process that records until it is killed: `recording_process.py STORE_URL FOLDER SESSION_ID`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from engine.clock import SystemClock
from engine.media.interface import Role
from engine.recording.service import RecordingSettings
from engine.store.database import Store
from tests.support.recorded_streams import Stream
from tests.support.recorder_rig import RecorderRig


async def record(url: str, folder: Path, session_id: str) -> None:
    clock = SystemClock()
    settings = RecordingSettings(enabled=True, folder=folder, min_free_mb=1)
    rig = RecorderRig(Store(url, clock), clock, session_id, settings)
    await rig.open()
    await rig.start()
    heard, seen = Stream(Role.EXPERT, "opus", ssrc=1), Stream(Role.EXPERT, "vp8", ssrc=2)
    for second in range(3600):
        rig.play(heard, seen, begin_s=second, seconds=second + 1)
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
