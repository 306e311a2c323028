"""Starts the engine processes, hurts them, and watches the wallets while it does."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import asyncpg

from engine.audit import audit
from engine.clock import SystemClock
from engine.errors import Unavailable
from engine.store.database import Store
from tests.bank.engine_process import NOT_STARTED, Order, main
from tests.bank.evidence import Life, path_of
from tests.bank.world import SETTINGS, populate

_MOST = 0.75
"""The share of kills that wait until the process has served; the others hit it at any stage."""
_PATIENCE_S = 10.0
SETTLE_S = 60
"""Within this time after the last fault every session must have ended."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.bank.engine_process"])

_WALLETS = """
    SELECT coalesce(min(balance_minor), 0) AS least, coalesce(min(held_minor), 0) AS held,
           coalesce(min(balance_minor - held_minor), 0) AS free
    FROM accounts WHERE kind = 'wallet'
"""
_SUM = "SELECT coalesce(sum(amount_minor), 0) FROM entries"
_CUT = """
    SELECT count(pg_terminate_backend(pid)) FROM (
        SELECT pid FROM pg_stat_activity WHERE application_name = 'talktime'
        ORDER BY random() LIMIT $1
    ) AS chosen
"""
_UNENDED = "SELECT count(*) FROM sessions WHERE state <> 'ended'"


@dataclass
class Plan:
    """How long and how hard: faults go on until `kills` processes were killed."""

    url: str
    directory: Path
    kills: int
    engines: int = 3
    seed: int = 0
    calls: int = 6
    mean_life_s: float = 1.5
    """How long a process runs on average before it is killed."""
    tell: Callable[[str], None] = lambda _progress: None


@dataclass
class Report:
    """What happened; `breaks` are promises that were not kept."""

    breaks: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    lives: dict[tuple[str, int], Life] = field(default_factory=dict)

    def check(self, kept: bool, otherwise: str) -> None:
        if not kept:
            self.breaks.append(otherwise)


class _Node:
    """One engine, whichever process runs it at the moment."""

    def __init__(self, bank: Bank, number: int) -> None:
        self._bank = bank
        self.name = f"node-{number}"
        self.process: BaseProcess
        self.life: Life
        self._notes: Path

    def start(self) -> None:
        plan, run = self._bank.plan, self._bank.next_run()
        self._notes = path_of(plan.directory, self.name, run)
        order = Order(plan.url, plan.directory, self.name, run, plan.seed + run, plan.calls)
        self.process = _context.Process(target=main, args=(order,), daemon=True)
        self.process.start()
        self.life = self._bank.report.lives[self.name, run] = Life()

    async def kill(self) -> None:
        self.process.kill()
        await self.gone()

    async def gone(self) -> int | None:
        """Wait until the process is dead; its exit status."""
        while self.process.is_alive():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)
        self.life.died_ns = time.monotonic_ns()
        return self.process.exitcode

    async def served(self, most_s: float) -> None:
        """Wait until a session's clock was told to run here, or the process is dead, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                while self.process.is_alive() and not self._has_served():  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    def _has_served(self) -> bool:
        return self._notes.exists() and b'"clock_told"' in self._notes.read_bytes()

    async def freeze(self, seconds: float) -> bool:
        """Stop the process for a while; False if it died meanwhile."""
        pid, life = self.process.pid, self.life
        assert pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            while _state_of(pid) not in "TZ":  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
            since_ns = time.monotonic_ns()
            try:
                await asyncio.sleep(seconds)
            finally:
                life.frozen.append((since_ns, time.monotonic_ns()))
                os.kill(pid, signal.SIGCONT)
            return True
        return False


def _state_of(pid: int) -> str:
    """R, S, D, T (stopped), Z (dead)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return "Z"
    return stat.rpartition(")")[2].split()[0]


class Bank:
    """One run: `await Bank(plan).run()`, then look at the store."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.report = Report()
        self._random = random.Random(plan.seed)
        self._runs = 0
        self._nodes = [_Node(self, n) for n in range(plan.engines)]
        self._frozen: _Node | None = None

    def next_run(self) -> int:
        self._runs += 1
        return self._runs

    async def run(self) -> Report:
        store = Store(self.plan.url, SystemClock())
        try:
            async with store.transaction() as tx:
                await populate(tx)
            async with self._watching(store):
                for node in self._nodes:
                    node.start()
                try:
                    await self._hurt()
                    await self._settle()
                finally:
                    for node in self._nodes:
                        node.process.kill()
        finally:
            await store.close()
        return self.report

    # Faults ---------------------------------------------------------------------------------------

    async def _hurt(self) -> None:
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(self._freeze()), group.create_task(self._cut())]
            await self._kill()
            for task in others:
                task.cancel()

    async def _kill(self) -> None:
        figures, began = self.report.figures, time.monotonic()
        while figures["kills"] < self.plan.kills:
            await asyncio.sleep(self._random.expovariate(self.plan.engines / self.plan.mean_life_s))
            await self._revive()
            # While one is frozen the others live, so that they may take its sessions.
            if self._frozen is not None and self._random.random() < 0.9:
                continue
            node = self._random.choice(self._nodes)
            if node is self._frozen:
                continue
            if self._random.random() < _MOST:
                # On a busy machine nothing would ever get as far as money.
                await node.served(_PATIENCE_S)
                if node is self._frozen:
                    continue
            await node.kill()
            node.start()
            figures["kills"] += 1
            if figures["kills"] % 25 == 0:
                self.plan.tell(
                    f"{figures['kills']:5} kills, {time.monotonic() - began:4.0f} s, "
                    f"{figures['cuts']} cuts, {figures['freezes']} freezes, "
                    f"{len(self.report.breaks)} breaks"
                )

    async def _revive(self) -> None:
        """A process that ended by itself is a break, unless it could not reach the store."""
        for node in self._nodes:
            if not node.process.is_alive():
                status = await node.gone()
                self.report.figures["failed_starts"] += 1
                self.report.check(
                    status == NOT_STARTED, f"{node.name} ended by itself, status {status}"
                )
                node.start()

    async def _freeze(self) -> None:
        """Longer than the others wait before they take a frozen process's sessions."""
        while True:
            await asyncio.sleep(self._random.uniform(2, 6))
            self._frozen = node = self._random.choice(self._nodes)
            if node.process.is_alive():
                seconds = SETTINGS.stale_after_s * self._random.uniform(1.5, 3)
                self.report.figures["freezes"] += await node.freeze(seconds)
            self._frozen = None

    async def _cut(self) -> None:
        connection = await self._connect()
        try:
            while True:
                await asyncio.sleep(self._random.expovariate(1.5))
                most = self._random.choice((1, 1, 2, 3, 40))
                self.report.figures["cuts"] += await connection.fetchval(_CUT, most)
        finally:
            await connection.close()

    # The end --------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """No more faults, no more calls: everything ends by itself, then the processes do."""
        (self.plan.directory / "quiet").touch()
        began = time.monotonic()
        connection = await self._connect()
        try:
            while await connection.fetchval(_UNENDED):
                await self._revive()
                if time.monotonic() - began > SETTLE_S:
                    left = await connection.fetch(
                        "SELECT id, state, owner, epoch, checkpoint_at_ms FROM sessions "
                        "WHERE state <> 'ended' LIMIT 5"
                    )
                    self.report.check(False, f"sessions that do not end: {left}")
                    break
                await asyncio.sleep(0.1)
        finally:
            await connection.close()
        self.report.figures["settled_ms"] = round(1_000 * (time.monotonic() - began))
        (self.plan.directory / "stop").touch()
        for node in self._nodes:
            async with asyncio.timeout(30):
                status = await node.gone()
            self.report.check(status in {0, NOT_STARTED}, f"{node.name} ended with {status}")

    # Watching -------------------------------------------------------------------------------------

    async def _connect(self) -> asyncpg.Connection:
        settings = {"application_name": "bank"}
        return await asyncpg.connect(self.plan.url, server_settings=settings)

    @contextlib.asynccontextmanager
    async def _watching(self, store: Store) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._sample()), asyncio.create_task(self._audit(store))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for done in await asyncio.gather(*tasks, return_exceptions=True):
                self.report.check(
                    isinstance(done, asyncio.CancelledError), f"watching failed: {done!r}"
                )

    async def _sample(self) -> None:
        connection = await self._connect()
        try:
            while True:
                row = await connection.fetchrow(_WALLETS)
                sound = min(row["least"], row["held"], row["free"]) >= 0
                self.report.check(sound, f"a wallet out of bounds: {dict(row)}")
                total = await connection.fetchval(_SUM)
                self.report.check(total == 0, f"all entries sum to {total}")
                self.report.figures["samples"] += 1
                await asyncio.sleep(0.1)
        finally:
            await connection.close()

    async def _audit(self, store: Store) -> None:
        """The engine's own audit while everything moves."""
        while True:
            await asyncio.sleep(2)
            try:
                report = await audit(store)
            except Unavailable:
                continue
            self.report.figures["audits"] += 1
            for check in report.checks:
                self.report.check(
                    check.count == 0, f"audit on the way: {check.name} {check.differences[:3]}"
                )
