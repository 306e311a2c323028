from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.recording.service import RecordingSettings
from tests.support.meter_rig import tariff
from tests.support.recorder_rig import RecorderRig
from tests.support.session_rig import SessionRig, call


@pytest.fixture
async def rig(sqlite_url: str, tmp_path: Path) -> AsyncIterator[RecorderRig]:
    """Recordings of one session on a real store and a real disk."""
    async with SessionRig(sqlite_url) as sessions:
        one = await (await call(sessions, tariff(900))).invite()
        settings = RecordingSettings(enabled=True, folder=tmp_path / "recordings", min_free_mb=1)
        made = RecorderRig(sessions.store, sessions.clock, one.id, settings)
        await made.open()
        yield made
        await made.close()
