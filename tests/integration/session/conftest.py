from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.session_rig import SessionRig


@pytest.fixture
async def rig(sqlite_url: str) -> AsyncIterator[SessionRig]:
    async with SessionRig(sqlite_url, checkpoint_every_s=20) as rig:
        yield rig
        await rig.audit()
