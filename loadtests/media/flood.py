"""`make bench-flood`: calls go on while strangers flood the media port.

The same calls in one process, in turn without and with a flood, some rounds of each: what the calls
lost, how long their packets took, what the server spent, and how its memory grew.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from loadtests.bench.media_client import MediaClient
from loadtests.media import native_build, servers, strangers, traffic
from loadtests.media.child import NotHere
from loadtests.media.namespace import enter
from loadtests.media.plan import Plan, Result
from loadtests.media.rig import Rig
from loadtests.memory import rss_mib

SOURCES: Final = 256
LEGS: Final = 16
SECONDS: Final = 5.0
ROUNDS: Final = 4


class Round(msgspec.Struct, frozen=True):
    """One plan's run; `rss_mib` after it."""

    flooded: bool
    strangers_pps: int
    offered: int
    lost: int
    delay_p50_us: float
    delay_p99_us: float
    utilisation: float
    loop_lag_ms: float
    rss_mib: float


async def measure(host: str, worker: str, rate_pps: int) -> list[Round]:
    """Rounds without and with a flood of `rate_pps`, in turn. Raises `NotHere`."""
    async with servers.engine(worker, host, LEGS) as rig:
        address = rig.peers[0].sock.getpeername()
        with strangers.sockets(SOURCES, address) as crowd:
            fds = [*rig.fds(), *(sock.fileno() for sock in crowd)]
            rounds = []
            for number in range(2 * ROUNDS + 1):
                flooded = number % 2 == 1
                found = await _round(rig, fds, rate_pps if flooded else 0)
                if number:  # the first one warms up
                    rounds.append(found)
            return rounds


async def _round(rig: Rig, fds: list[int], rate_pps: int) -> Round:
    assert rig.lag_ms is not None
    await rig.learn([*rig.video, *rig.audio])
    plan: Plan = traffic.calls(rig, SECONDS)
    try:
        if rate_pps:
            legs = range(len(rig.peers), len(fds))
            strangers.flood(plan, legs, rate_pps=rate_pps, seconds=SECONDS, ufrags=_ufrags(rig))
        await rig.lag_ms()
        result: Result = await plan.run(fds, server=rig.pid)
        lag_ms = await rig.lag_ms()
    finally:
        plan.close()
    return Round(
        flooded=rate_pps > 0,
        strangers_pps=round(rate_pps * SECONDS * 1e9 / result.elapsed_ns),
        offered=result.offered,
        lost=result.lost,
        delay_p50_us=(result.delay_p50_ns or 0) / 1e3,
        delay_p99_us=(result.delay_p99_ns or 0) / 1e3,
        utilisation=result.utilisation,
        loop_lag_ms=lag_ms,
        rss_mib=rss_mib(rig.pid),
    )


def _ufrags(rig: Rig) -> list[str]:
    """The server's, of every leg."""
    offers = [peer.offer for peer in rig.peers if isinstance(peer, MediaClient)]
    return [str(re.findall(r"a=ice-ufrag:(\S+)", offer)[0]) for offer in offers]


def summary(rounds: list[Round]) -> dict[str, Any]:
    """Headline figures; `*_quiet` are those of the rounds without strangers."""
    floods = [one for one in rounds if one.flooded]
    quiet = [one for one in rounds if not one.flooded]
    return {
        "bench": "flood",
        "strangers_pps": min(one.strangers_pps for one in floods),
        "calls": LEGS // 2,
        "lost": sum(one.lost for one in floods),
        "lost_quiet": sum(one.lost for one in quiet),
        "offered": sum(one.offered for one in floods),
        "delay_p99_us": round(max(one.delay_p99_us for one in floods)),
        "delay_p99_us_quiet": round(max(one.delay_p99_us for one in quiet)),
        "core_share": round(max(one.utilisation for one in floods), 3),
        "core_share_quiet": round(max(one.utilisation for one in quiet), 3),
        "loop_lag_ms": max(one.loop_lag_ms for one in floods),
        "rss_growth_mib": round(floods[-1].rss_mib - floods[0].rss_mib, 1),
    }


def _show(console: Console, worker: str, rounds: list[Round]) -> None:
    table = Table(
        *("strangers/s", "lost", "of", "p50 µs", "p99 µs", "core", "loop lag ms", "RSS MiB"),
        title=f"{LEGS // 2} calls on the {worker} worker",
    )
    for one in rounds:
        table.add_row(
            *(str(one.strangers_pps), str(one.lost), str(one.offered)),
            *(f"{one.delay_p50_us:.0f}", f"{one.delay_p99_us:.0f}"),
            *(f"{one.utilisation:.0%}", f"{one.loop_lag_ms:.1f}", f"{one.rss_mib:.1f}"),
        )
    console.print(table)


@click.command()
@click.option("--worker", default="native", show_default=True)
@click.option("--rate", default=100_000, show_default=True, help="Strangers' packets a second.")
def main(worker: str, rate: int) -> None:
    """Flood the media port of running calls."""
    try:
        native_build.generator()
        host = enter("loadtests.media.flood")
        rounds = asyncio.run(measure(host, worker, rate))
    except (native_build.NoCompiler, NotHere) as reason:
        sys.exit(f"bench-flood: {reason}")
    _show(Console(), worker, rounds)
    sys.stdout.write(json.dumps(summary(rounds)) + "\n")


if __name__ == "__main__":
    main()
