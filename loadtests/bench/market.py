"""`make bench-market`: the storefront and the cabinets over a big store on PostgreSQL.

100,000 listings, 1,000,000 orders and 5,000,000 ledger entries; 50 requests a second through the
REST surface, evenly spaced whatever the answers take. Prints a table of latencies and, at the end,
one line of JSON. Exit status 1 if a query read one of the big tables from end to end.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import click
import uvloop
from aiohttp import ClientSession
from rich.console import Console
from rich.table import Table

from engine.app import Application
from engine.config import Settings
from engine.store import migrate
from loadtests.bench.market_rows import BIG, WORDS, Sizes, fill
from tests.support.postgres import find_binaries, private_cluster

RATE = 50
SORTS = ("new", "popular", "rating", "price")


class Load:
    """Requests of a storefront's visitors and members, by what they ask for."""

    def __init__(self, app: Application, http: ClientSession, sizes: Sizes, seed: int) -> None:
        self._app, self._http, self._sizes = app, http, sizes
        self._random = random.Random(seed)
        self.took_ms: dict[str, list[float]] = {}
        self.failed: list[str] = []
        self._kinds: dict[str, Callable[[], tuple[str, str]]] = {
            "search by word": self._search,
            "browse a category": self._browse,
            "listing": lambda: (f"/listings/lst_{self._number(sizes.listings)}", ""),
            "orders of a customer": lambda: ("/orders?role=customer&limit=20", self._customer()),
            "orders of an expert": lambda: ("/orders?role=expert&limit=20", self._expert()),
            "wallet statement": lambda: ("/wallet/transactions?limit=20", self._customer()),
        }

    async def run(self, seconds: float) -> None:
        """Send them at RATE, each at its own instant."""
        loop = asyncio.get_running_loop()
        begin, running = loop.time(), set()
        for number in range(int(seconds * RATE)):
            await asyncio.sleep(max(0.0, begin + number / RATE - loop.time()))
            kind = list(self._kinds)[number % len(self._kinds)]
            task = asyncio.create_task(self._ask(kind, *self._kinds[kind]()))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    async def _ask(self, kind: str, path: str, user_id: str) -> None:
        headers = {}
        if user_id:
            token = self._app.tokens.issue_access(user_id, ["member"])
            headers["Authorization"] = f"Bearer {token}"
        asked = time.perf_counter()
        async with self._http.get(f"{self._app.url}/api/v1{path}", headers=headers) as answer:
            await answer.read()
            if answer.status not in (200, 404):  # every fiftieth listing is paused
                self.failed.append(f"{answer.status} {path}")
        self.took_ms.setdefault(kind, []).append((time.perf_counter() - asked) * 1_000)

    def _number(self, most: int) -> int:
        return self._random.randint(1, most)

    def _customer(self) -> str:
        return f"usr_customer{self._number(self._sizes.customers)}"

    def _expert(self) -> str:
        return f"usr_expert{self._number(self._sizes.experts)}"

    def _search(self) -> tuple[str, str]:
        words = "+".join(self._random.sample(WORDS, self._random.choice((1, 2))))
        return f"/listings?q={words}&sort={self._random.choice(SORTS)}&limit=20", ""

    def _browse(self) -> tuple[str, str]:
        category, sort = self._number(20), self._random.choice(SORTS)
        kind = self._random.choice(("", "&kind=work", "&kind=consult"))
        return f"/listings?category=bench-{category}&sort={sort}{kind}&limit=20", ""


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


async def _scans(url: str) -> dict[str, int]:
    """How often each big table was read from end to end so far."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        rows = await connection.fetch("SELECT relname, seq_scan FROM pg_stat_user_tables")
    finally:
        await connection.close()
    return {row["relname"]: row["seq_scan"] for row in rows if row["relname"] in BIG}


async def _measure(url: str, sizes: Sizes, seconds: float, console: Console) -> dict[str, Any]:
    console.print(f"writing {sizes.listings:,} listings and {sizes.orders:,} orders")
    await fill(url, sizes)
    with tempfile.TemporaryDirectory() as folder:
        options = {"store_url": url, "port": 0, "data_dir": Path(folder), "audit_every_s": 86_400}
        settings = Settings.model_validate(options)
        app = Application(settings)
        await app.start()
        try:
            async with ClientSession() as http:
                console.print("auditing, and warming up")
                await app.auditing.done()
                audited_ns = app.auditing.took_ns
                assert app.auditing.last is not None, "the audit came to no end"
                assert app.auditing.last.ok, app.auditing.last
                await Load(app, http, sizes, seed=1).run(min(10.0, seconds))
                before = await _scans(url)
                console.print(f"{RATE} requests a second for {seconds:.0f} s")
                load = Load(app, http, sizes, seed=2)
                await load.run(seconds)
                after = await _scans(url)
        finally:
            await app.stop()
    scanned = {name: after[name] - before[name] for name in BIG if after[name] > before[name]}
    return {
        "took_ms": load.took_ms,
        "failed": load.failed,
        "scanned": scanned,
        "audit_s": round(audited_ns / 1e9, 1),
    }


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long the load lasts.")
@click.option("--scale", default=1.0, show_default=True, help="Of the store; 0.01 to try it out.")
def main(seconds: float, scale: float) -> None:
    """Latencies of the storefront over a big store on PostgreSQL."""
    console = Console(stderr=True)
    binaries = find_binaries()
    if binaries is None:
        raise click.UsageError("no PostgreSQL server is installed")
    full = Sizes()
    sizes = Sizes(*(max(100, int(size * scale)) for size in vars(full).values()))
    with private_cluster(binaries) as cluster:
        cluster.execute("CREATE DATABASE market")
        url = cluster.url("market")
        migrate.upgrade(url)
        found = uvloop.run(_measure(url, sizes, seconds, console))
    figures = _show(found)
    figures["market_audit_s"] = found["audit_s"]
    sys.stdout.write(json.dumps({"bench": "market", **figures}) + "\n")
    sys.exit(1 if found["scanned"] or found["failed"] else 0)


def _show(found: dict[str, Any]) -> dict[str, Any]:
    table = Table("request", "n", "p50 ms", "p99 ms", "max ms", title="Talktime: marketplace")
    together: list[float] = []
    for kind, took in found["took_ms"].items():
        together += took
        table.add_row(kind, str(len(took)), *_row(took))
    table.add_row("all", str(len(together)), *_row(together))
    console = Console()
    console.print(table)
    for failure in found["failed"][:5]:
        console.print(f"failed: {failure}")
    for name, count in found["scanned"].items():
        console.print(f"read from end to end {count} times: {name}")
    p50, p99, _ = _row(together)
    return {
        "market_p50_ms": float(p50),
        "market_p99_ms": float(p99),
        "market_search_p99_ms": float(_row(found["took_ms"]["search by word"])[1]),
        "market_scans": sum(found["scanned"].values()),
    }


def _row(took: Sequence[float]) -> tuple[str, str, str]:
    return (
        f"{percentile(took, 0.5):.1f}",
        f"{percentile(took, 0.99):.1f}",
        f"{max(took):.1f}",
    )


if __name__ == "__main__":
    main()
