"""How long 10,000 sessions of a dead engine take: until all can be joined again, and, when nobody
comes back, until all are settled.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from engine.store import tables as t
from loadtests.bench.many_sessions import many_sessions

SESSIONS = 10_000


def run(sessions: int = SESSIONS) -> dict[str, float | None]:
    """`recovery_10k_s`: from the start of the service until every session is at hand again;
    `recovery_settled_10k_s`: until each is charged for what was served, given back the rest and
    ended.
    """
    with tempfile.TemporaryDirectory() as directory:
        taken_s, settled_s = asyncio.run(_run(Path(directory), sessions))
    return {
        "recovery_sessions": sessions,
        "recovery_10k_s": round(taken_s * SESSIONS / sessions, 2),
        "recovery_settled_10k_s": round(settled_s * SESSIONS / sessions, 2),
    }


async def _run(directory: Path, sessions: int) -> tuple[float, float]:
    async with many_sessions(directory, sessions, "audio", left_s=600) as many:
        begun = time.perf_counter()
        await many.take_over()
        taken_s = time.perf_counter() - begun
        begun = time.perf_counter()
        await many.service.drain(600)
        settled_s = time.perf_counter() - begun
        ended = sa.select(sa.func.count()).where(t.sessions.c.state == "ended")
        async with many.store.reading() as tx:
            assert (await tx.execute(ended)).scalar_one() == sessions, "not all were settled"
    return taken_s, settled_s


if __name__ == "__main__":
    print(run())
