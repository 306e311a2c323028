"""Holds and captures per second: the ledger beside the bare store, in one run.

A pair is a hold and the capture that empties it, in two transactions, each of which is answered
when it is durable. `TASKS` tasks work at once, each on a wallet and an expert of its own. The bare
pair (`money_bare`) is the least that any durable double entry must write; both sides run in short
rounds that take turns, so that a neighbour on the machine disturbs both, and what is told is the
median of the rounds. The ledger reads, checks, and builds its statements beyond that; on SQLite it
lets transactions that queue share a commit, which the bare side does not.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import uvloop

from engine.clock import SystemClock
from engine.ids import new_id
from engine.metering.ledger import HoldPart, Ledger
from engine.store import migrate
from engine.store.database import Store
from loadtests.bench.money_bare import BarePostgres, BareSqlite, BareStore
from tests.support.postgres import find_binaries, private_cluster

TASKS: Final = 16
ROUNDS: Final = 9
PAIRS_PER_ROUND: Final = 160
AMOUNT, FEE = 100, 15
_DEPOSIT: Final = 10**9

Pair = Callable[[int], Awaitable[None]]


class LedgerPairs:
    """Pairs by the engine's own ledger and store."""

    def __init__(self, url: str) -> None:
        self._store = Store(url, SystemClock())
        self._ledger = Ledger(SystemClock())

    async def open(self) -> None:
        for task in range(TASKS):
            async with self._store.transaction() as tx:
                await self._ledger.topup(
                    tx,
                    key=f"topup:{task}",
                    user_id=f"customer{task}",
                    currency="TRY",
                    amount_minor=_DEPOSIT,
                    payment_id=None,
                )

    async def pair(self, task: int) -> None:
        session_id, order_id = new_id("ses"), new_id("ord")
        async with self._store.transaction() as tx:
            held = await self._ledger.hold(
                tx,
                key=f"session:{session_id}:hold:1:1",
                user_id=f"customer{task}",
                currency="TRY",
                amount_minor=AMOUNT,
                order_id=order_id,
                session_id=session_id,
            )
        async with self._store.transaction() as tx:
            await self._ledger.capture(
                tx,
                key=f"session:{session_id}:capture:1",
                parts=[HoldPart(held.hold_id, AMOUNT)],
                expert_id=f"expert{task}",
                fee_minor=FEE,
                order_id=order_id,
                session_id=session_id,
            )

    async def close(self) -> None:
        await self._store.close()


async def _pairs_per_s(pair: Pair, pairs: int) -> float:
    left: Iterator[int] = iter(range(pairs))

    async def work(task: int) -> None:
        for _ in left:
            await pair(task)

    begun = time.perf_counter()
    await asyncio.gather(*(work(task) for task in range(TASKS)))
    return pairs / (time.perf_counter() - begun)


async def _measure(bare: BareStore, ledger: LedgerPairs) -> tuple[float, float, float]:
    """Pairs per second of both, and the median of the rounds' ratios."""
    await bare.open(TASKS)
    await ledger.open()
    rounds: list[tuple[float, float]] = []
    try:
        for number in range(ROUNDS + 1):
            both = (
                await _pairs_per_s(bare.pair, PAIRS_PER_ROUND),
                await _pairs_per_s(ledger.pair, PAIRS_PER_ROUND),
            )
            if number:  # the first is for caches and connections
                rounds.append(both)
    finally:
        await bare.close()
        await ledger.close()
    return (
        statistics.median(ledger for _, ledger in rounds),
        statistics.median(bare for bare, _ in rounds),
        statistics.median(ledger / bare for bare, ledger in rounds),
    )


def _figures(store: str, measured: tuple[float, float, float] | None) -> dict[str, float | None]:
    pairs, bare, ratio = measured if measured is not None else (None, None, None)
    return {
        f"{store}_pairs_s": None if pairs is None else round(pairs, 1),
        f"{store}_bare_pairs_s": None if bare is None else round(bare, 1),
        f"{store}_ratio": None if ratio is None else round(ratio, 2),
    }


def _sqlite() -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        bare, ours = Path(folder) / "bare.db", Path(folder) / "ledger.db"
        for path in (bare, ours):
            migrate.upgrade(f"sqlite:///{path}")
        return uvloop.run(_measure(BareSqlite(bare), LedgerPairs(f"sqlite:///{ours}")))


def _postgres() -> tuple[float, float, float] | None:
    binaries = find_binaries()
    if binaries is None:
        return None
    with private_cluster(binaries, durable=True) as cluster:
        for name in ("bare", "ledger"):
            cluster.execute(f"CREATE DATABASE {name}")
            migrate.upgrade(cluster.url(name))
        bare, ours = BarePostgres(cluster.url("bare")), LedgerPairs(cluster.url("ledger"))
        return uvloop.run(_measure(bare, ours))


def run() -> dict[str, float | None]:
    """Pairs per second on each store, the bare store's, and their ratio; null without a server."""
    return _figures("sqlite", _sqlite()) | _figures("postgres", _postgres())
