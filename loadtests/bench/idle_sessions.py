"""What 10,000 metered sessions cost while nothing happens to them: checkpoints, statements to the
clients, deadlines.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path

from loadtests.bench.many_sessions import many_sessions

SESSIONS = 10_000
WATCHED_S = 60
"""Long enough for each session to be stated once."""


def run(sessions: int = SESSIONS) -> dict[str, float | None]:
    """Shares of one core: `idle_10k_core_share` of chats, `idle_10k_calls_core_share` of calls
    whose media are acknowledged once a second.
    """
    shares = {mode: asyncio.run(_measure(mode, sessions)) for mode in ("text", "audio")}
    return {
        "idle_sessions": sessions,
        "idle_10k_core_share": round(shares["text"] * SESSIONS / sessions, 4),
        "idle_10k_calls_core_share": round(shares["audio"] * SESSIONS / sessions, 4),
    }


async def _measure(mode: str, sessions: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        async with many_sessions(Path(directory), sessions, mode, left_s=850) as many:
            await many.take_over()
            acknowledging = None
            if mode != "text":
                acknowledging = asyncio.create_task(many.acknowledge())
            await many.resume()
            used_s, begun = time.process_time(), time.perf_counter()
            await asyncio.sleep(WATCHED_S)
            share = (time.process_time() - used_s) / (time.perf_counter() - begun)
            if acknowledging is not None:
                acknowledging.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await acknowledging
            views = many.service.live_sessions()
            assert sum(view.elapsed_ms is not None for view in views) == sessions
            return share


if __name__ == "__main__":
    print(run())
