"""A call is recorded through a whole engine, which is killed in the middle of it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from engine.store.tables import recordings
from tests.integration.test_crash import BLOCKS, begin, come_back, parties
from tests.support.media_peer import eventually
from tests.support.mortal_engine import MortalEngine, mortal_engine
from tests.support.recorder_rig import decoded


async def rows_of(engine: MortalEngine, *, ended: int) -> list[Any]:
    """The recordings, oldest first, once so many have ended."""
    query = sa.select(recordings).order_by(recordings.c.started_at_ms)
    async with asyncio.timeout(60):
        while True:
            async with engine.store.reading() as tx:
                rows = list(await tx.execute(query))
            if sum(row.ended_at_ms is not None for row in rows) == ended:
                return rows
            await asyncio.sleep(0.1)


async def written(folder: Path) -> None:
    """Wait for more than sound alone comes to in a while."""
    await eventually(
        lambda: sum(part.stat().st_size for part in folder.glob("*.part")) > 100_000, 60.0
    )


async def test_a_recording_outlives_kill_9_and_goes_on_only_once_both_agree_anew(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "recordings"
    options = ("--recordings", "--recording-min-free-mb", "1")
    async with mortal_engine(tmp_path, *options) as engine:
        async with parties(engine) as (customer, expert):
            order = await customer.order(await engine.add_listing(**BLOCKS), "video")
            session_id = await begin(customer, expert, order)
            await customer.command("recording.request", session_id=session_id)
            await expert.command("recording.consent", session_id=session_id, consent=True)
            await written(folder)
            last_seq = max(event["seq"] for event in customer.events["meter.tick"])
            await engine.kill()
        await engine.start()
        (first,) = await rows_of(engine, ended=1)
        assert first.end_reason == "incomplete"
        async with parties(engine) as (customer, expert):
            await come_back(customer, expert, session_id, last_seq)
            await expert.command("recording.request", session_id=session_id)
            await customer.command("recording.consent", session_id=session_id, consent=True)
            await written(folder)
            await expert.command("session.end", session_id=session_id)
            rows = await rows_of(engine, ended=2)
    assert [row.end_reason for row in rows] == ["incomplete", "stopped"]
    for row in rows:
        assert row.session_id == session_id
        frames = Counter[tuple[str, str]]()
        for file in json.loads(row.files):
            for (title, kind, _), count in decoded(folder / file["name"]).items():
                frames[title, kind] += count
        assert frames["expert", "audio"] > 0
        assert frames["expert", "video"] > 0
