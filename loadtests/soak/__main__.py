"""`make soak MINUTES=20`: calls are set up and torn down all the time, and nothing stays behind.

Processes full of clients call one engine without end; every few seconds one of them is killed and
replaced by another with other pairs, so that legs and sockets vanish in every state. Before and
after the minutes asked for everything comes to rest, and what the engine's process has is counted:
threads, file descriptors, memory, running sessions. Ends with status 1 if any of it grew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import click
import msgspec
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from loadtests.bench.engine_process import EngineProcess, engine_process, listing_id
from loadtests.memory import rss_mib
from loadtests.soak.callers import Pair
from tests.support.party import Party

PROCESSES: Final = 2
PAIRS_EACH: Final = 4
# A killed process leaves calls that ring for a minute, or wait half a minute for their parties: its
# pairs are used again after that.
GENERATIONS: Final = 12
LIFE_S: Final = 15.0
REST_S: Final = 100.0
WARM_UP_S: Final = 120.0
SAMPLE_EVERY_S: Final = 60.0
# What the second half of the churn may add: allocators keep some of what was free.
MAX_GROWTH_MIB: Final = 8.0


class Sample(msgspec.Struct, frozen=True):
    """What the engine's process has; `calls` that came to their end so far."""

    at_s: float
    calls: int
    threads: int
    fds: int
    rss_mib: float
    sessions: int


class Churn:
    """Processes of callers, each with a life of its own."""

    def __init__(self, engine: EngineProcess, pairs: list[Pair]) -> None:
        self._engine = engine
        self._pairs = pairs
        self._next = 0
        self.ways: Counter[str] = Counter()
        self.kills = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        lives = [
            asyncio.create_task(self._lives(number * LIFE_S / PROCESSES))
            for number in range(PROCESSES)
        ]
        try:
            yield
        finally:
            for life in lives:
                life.cancel()
            for ended in await asyncio.gather(*lives, return_exceptions=True):
                if isinstance(ended, Exception):
                    raise ended

    async def _lives(self, head_start_s: float) -> None:
        patience_s = LIFE_S - head_start_s
        while True:
            await self._life(patience_s)
            patience_s = LIFE_S

    async def _life(self, seconds: float) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loadtests.soak.callers", self._engine.url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(self._take()) + b"\n")
        try:
            async with asyncio.timeout(seconds):
                while line := await process.stdout.readline():
                    self.ways[line.decode().strip()] += 1
            raise RuntimeError(f"the callers ended with status {await process.wait()}")
        except TimeoutError:
            self.kills += 1
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    def _take(self) -> list[Pair]:
        first, self._next = self._next, (self._next + PAIRS_EACH) % len(self._pairs)
        return self._pairs[first : first + PAIRS_EACH]

    @property
    def calls(self) -> int:
        return sum(n for way, n in self.ways.items() if not way.startswith(("refused", "failed")))


async def _pair(engine: EngineProcess, number: int) -> Pair:
    tokens = {f"{kind}_{number}": engine.token(f"{kind}_{number}") for kind in ("cust", "exp")}
    (customer_id, customer_token), (expert_id, expert_token) = tokens.items()
    customer = await Party.with_token(engine.url, customer_id, customer_token)
    order = await customer.order(listing_id(number), "video")
    await customer.close()
    return Pair(customer_id, customer_token, expert_id, expert_token, str(order["id"]))


async def _sample(engine: EngineProcess, churn: Churn, began_s: float) -> Sample:
    folder = Path(f"/proc/{engine.pid}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    async with aiohttp.ClientSession() as http, http.get(f"{engine.url}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
    found = {family.name: family.samples for family in families}
    return Sample(
        at_s=round(time.monotonic() - began_s),
        calls=churn.calls,
        threads=int(status["Threads"]),
        fds=sum(1 for _ in (folder / "fd").iterdir()),
        rss_mib=round(rss_mib(engine.pid), 1),
        sessions=sum(int(one.value) for one in found["talktime_node_sessions"]),
    )


async def soak(minutes: float, console: Console) -> tuple[list[Sample], Churn]:
    """At rest, then churning, then at rest again: the first and the last sample are to be equal."""
    count = PROCESSES * PAIRS_EACH * GENERATIONS // 2
    with tempfile.TemporaryDirectory() as folder:
        async with engine_process(Path(folder), pairs=count) as engine:
            churn = Churn(engine, [await _pair(engine, number) for number in range(count)])
            began_s = time.monotonic()
            samples: list[Sample] = []

            async def look() -> None:
                samples.append(await _sample(engine, churn, began_s))
                console.print(samples[-1])

            async with churn.running():
                await asyncio.sleep(WARM_UP_S)
            await asyncio.sleep(REST_S)
            await look()
            async with churn.running():
                until_s = time.monotonic() + minutes * 60
                while (left_s := until_s - time.monotonic()) > 0:
                    await asyncio.sleep(min(SAMPLE_EVERY_S, left_s))
                    await look()
            await asyncio.sleep(REST_S)
            await look()
            return samples, churn


def grown(samples: list[Sample]) -> list[str]:
    """What is there at the end and was not at the beginning, or grew through the second half."""
    first, last = samples[0], samples[-1]
    middle = samples[len(samples) // 2]
    found = [
        f"{name}: {before} before, {after} after"
        for name, before, after in (
            ("threads", first.threads, last.threads),
            ("file descriptors", first.fds, last.fds),
            ("sessions", first.sessions, last.sessions),
        )
        if after > before
    ]
    if last.rss_mib - middle.rss_mib > MAX_GROWTH_MIB:
        found.append(f"memory: {middle.rss_mib} MiB at half time, {last.rss_mib} MiB after")
    return found


def _summary(samples: list[Sample], churn: Churn) -> dict[str, Any]:
    first, last = samples[0], samples[-1]
    return {
        "bench": "soak",
        "minutes": round((last.at_s - first.at_s) / 60, 1),
        "calls": last.calls - first.calls,
        "kills": churn.kills,
        "threads": [first.threads, last.threads],
        "fds": [first.fds, last.fds],
        "rss_mib": [first.rss_mib, samples[len(samples) // 2].rss_mib, last.rss_mib],
        "sessions_left": last.sessions,
    }


@click.command()
@click.option("--minutes", default=20.0, show_default=True, help="Of churn, after warming up.")
def main(minutes: float) -> None:
    """Let calls come and go and see that nothing of them stays."""
    console = Console(stderr=True)
    samples, churn = asyncio.run(soak(minutes, console))
    table = Table("how calls ended", "count", title="Talktime: soak")
    for way, count in churn.ways.most_common():
        table.add_row(way, str(count))
    Console().print(table)
    sys.stdout.write(json.dumps(_summary(samples, churn)) + "\n")
    found = grown(samples)
    sys.exit("\n".join(found) if found else 0)


if __name__ == "__main__":
    main()
