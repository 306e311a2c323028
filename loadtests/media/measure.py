"""The measurements of one run: every server, number of legs and load that makes sense here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

import msgspec

from engine.media import limits
from loadtests.media import janus, servers, traffic
from loadtests.media.child import NotHere
from loadtests.media.plan import Plan, Result
from loadtests.media.rig import Flow, Rig

RATES_PPS: Final = (2_000, 10_000, 40_000)
LEGS: Final = (1, 8, 64, 500)
CALL_LEGS: Final = (64, 128, 256, 500)
SECONDS: Final = 1.5
SATURATED: Final = "saturated"
HALF: Final = "half"
CALLS: Final = "calls"
# Packets under way at most when a server is given all that it takes: every socket buffer holds it.
BACKLOG: Final = 128
SATURATION_PACKETS: Final = 60_000
# The packets of one plan, in memory: 180 MB.
MAX_PACKETS: Final = 150_000
HALF_LOAD_LEGS: Final = 8
# What comes before a measurement on a leg: as many packets as a server keeps of a stream, so that
# none of them costs memory that is used for the first time. A call is there after four seconds.
WARM_UP_PACKETS: Final = limits.RETRANSMIT_RING_PACKETS
CALL_SECONDS: Final = 3.0

OpenRig = Callable[[str, int], AbstractAsyncContextManager[Rig]]


class Server(msgspec.Struct, frozen=True):
    """`open(host, legs)` connects that many legs, at most `most_legs`."""

    name: str
    open: OpenRig
    most_legs: int = max(LEGS)


SERVERS: Final = (
    Server("native", partial(servers.engine, "native")),
    Server("python", partial(servers.engine, "python")),
    Server("janus", janus.echo, 64),
    Server("floor", servers.floor),
)


class Row(msgspec.Struct, frozen=True):
    """One measurement. `load` is packets a second, "saturated", "half" or "calls"."""

    server: str
    legs: int
    load: str
    offered_pps: int
    cpu_us: float | None
    utilisation: float
    lost: int
    delay_p50_us: float | None
    delay_p99_us: float | None
    generator_late_us: float
    loop_lag_ms: float | None = None

    @property
    def calls_per_core(self) -> int | None:
        """Two-way calls that one core could carry, by what `legs` directions cost it."""
        return int(self.legs / 2 / self.utilisation) if self.load == CALLS else None


async def measure(server: Server, host: str, progress: Callable[[str], None]) -> list[Row]:
    """Every load at every number of legs. Raises `NotHere`."""
    rows: list[Row] = []
    for legs in sorted({*LEGS, *CALL_LEGS}):
        if legs > server.most_legs:
            break
        progress(f"{server.name}: connecting {legs} legs")
        async with server.open(host, legs) as rig:
            bench = _Bench(server.name, legs, rig, progress)
            await bench.warm_up()
            if legs in LEGS:
                await bench.rates()
            if legs in CALL_LEGS:
                await bench.calls()
            rows += bench.rows
    return rows


class _Bench:
    """One server process with its legs connected."""

    def __init__(self, server: str, legs: int, rig: Rig, progress: Callable[[str], None]) -> None:
        self._server, self._legs, self._rig = server, legs, rig
        self._progress = progress
        self.rows: list[Row] = []

    async def warm_up(self) -> None:
        """Bring the server to the state of calls that have gone on for some seconds."""
        left = WARM_UP_PACKETS * len(self._rig.video)
        while left > 0:
            count = min(left, SATURATION_PACKETS)
            flood = partial(traffic.backlogged, self._rig, count)
            await self._run("warming up", self._rig.video, flood, backlog=BACKLOG)
            left -= count

    async def rates(self) -> None:
        """Fixed rates, all that it takes, and with some legs half of that."""
        rig = self._rig
        for rate in RATES_PPS:
            await self._load(str(rate), rig.video, partial(traffic.steady, rig, rate, SECONDS))
        flood = partial(traffic.backlogged, rig, SATURATION_PACKETS)
        saturated = await self._load(SATURATED, rig.video, flood, backlog=BACKLOG)
        if self._legs == HALF_LOAD_LEGS:
            rate = saturated.offered_pps // 2
            seconds = min(SECONDS, MAX_PACKETS / rate)
            await self._load(HALF, rig.video, partial(traffic.steady, rig, rate, seconds))

    async def calls(self) -> None:
        flows = [*self._rig.video, *self._rig.audio]
        await self._load(CALLS, flows, partial(traffic.calls, self._rig, CALL_SECONDS))

    async def _load(
        self, load: str, flows: Sequence[Flow], make: Callable[[], Plan], backlog: int = 0
    ) -> Row:
        result, lag_ms = await self._run(load, flows, make, backlog=backlog)
        self.rows.append(_row(self._server, self._legs, load, result, lag_ms))
        return self.rows[-1]

    async def _run(
        self, load: str, flows: Sequence[Flow], make: Callable[[], Plan], backlog: int
    ) -> tuple[Result, float | None]:
        """What came of it, and the lag of the server's event loop."""
        self._progress(f"{self._server}: {self._legs} legs, {load}")
        await self._rig.learn(flows)
        plan = make()
        try:
            await self._lag_ms()
            result = await plan.run(self._rig.fds(), server=self._rig.pid, backlog=backlog)
            return result, await self._lag_ms()
        finally:
            plan.close()

    async def _lag_ms(self) -> float | None:
        """Of the server's event loop since the last look; None where there is none."""
        return await self._rig.lag_ms() if self._rig.lag_ms is not None else None


def _row(server: str, legs: int, load: str, result: Result, lag_ms: float | None) -> Row:
    def us(ns: int | None) -> float | None:
        return None if ns is None else round(ns / 1e3, 1)

    return Row(
        server=server,
        legs=legs,
        load=load,
        offered_pps=round(result.offered * 1e9 / result.elapsed_ns),
        cpu_us=round(result.cpu_us, 2) if result.returned else None,
        utilisation=round(result.utilisation, 4),
        lost=result.lost,
        delay_p50_us=us(result.delay_p50_ns),
        delay_p99_us=us(result.delay_p99_ns),
        generator_late_us=round(result.late_max_ns / 1e3, 1),
        loop_lag_ms=lag_ms,
    )


async def measure_all(
    host: str, progress: Callable[[str], None]
) -> tuple[list[Row], dict[str, str]]:
    """All rows, and why a server that is missing in them is not there."""
    rows: list[Row] = []
    missing: dict[str, str] = {}
    for server in SERVERS:
        try:
            rows += await measure(server, host, progress)
        except NotHere as reason:
            missing[server.name] = str(reason)
    return rows, missing
