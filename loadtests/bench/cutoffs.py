"""How late sessions are ended when the money of 10,000 of them runs out within one minute.

Lateness is from the instant up to which a call was paid until the session side closes its media;
the media worker's own watchdog does not wait for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path

from engine.clock import NS_PER_MS
from loadtests.bench.many_sessions import ManySessions, many_sessions

SESSIONS = 10_000
MINUTE_S = 60
LEAD_S = 90
"""Time for all of them to be resumed before the first one ends."""


def run(sessions: int = SESSIONS) -> dict[str, float | None]:
    """`cutoff_p50_ms`, `cutoff_p99_ms`, `cutoff_max_ms`."""
    with tempfile.TemporaryDirectory() as directory:
        late_ms = asyncio.run(_run(Path(directory), sessions))
    assert len(late_ms) == sessions, f"{len(late_ms)} sessions were cut"
    return {
        "cutoff_sessions": sessions,
        "cutoff_p50_ms": round(late_ms[len(late_ms) // 2], 2),
        "cutoff_p99_ms": round(late_ms[len(late_ms) * 99 // 100], 2),
        "cutoff_max_ms": round(late_ms[-1], 2),
    }


async def _run(directory: Path, sessions: int) -> list[float]:
    late_ms: list[float] = []
    lead_s = LEAD_S * sessions / SESSIONS + 10
    async with many_sessions(
        directory, sessions, "audio", left_s=lead_s + MINUTE_S, spread_s=MINUTE_S
    ) as many:
        all_cut = _listen(many, late_ms)
        await many.take_over()
        acknowledging = asyncio.create_task(many.acknowledge())
        await many.resume()
        assert late_ms == [], "sessions ended before all of them ran: a longer lead is needed"
        try:
            async with asyncio.timeout(lead_s + 3 * MINUTE_S):
                await all_cut.wait()
        except TimeoutError:
            left = len(many.media.calls)
            raise AssertionError(f"{left} of {sessions} sessions were never cut") from None
        acknowledging.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await acknowledging
    return sorted(late_ms)


def _listen(many: ManySessions, late_ms: list[float]) -> asyncio.Event:
    close, all_cut = many.media.close_session, asyncio.Event()

    def closed(session_id: str) -> None:
        call = many.media.calls.get(session_id)
        if call is not None and call.cutoff_ns is not None:
            late_ms.append((many.clock.now_ns() - call.cutoff_ns) / NS_PER_MS)
        close(session_id)
        if not many.media.calls:
            all_cut.set()

    many.media.close_session = closed  # type: ignore[method-assign]
    return all_cut


if __name__ == "__main__":
    print(run())
