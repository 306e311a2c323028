"""A real engine in a process of its own, with as many demo-like users as a benchmark needs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import sqlalchemy as sa

from admin import demo
from engine.clock import SystemClock
from engine.ids import new_id
from engine.metering.ledger import Ledger
from engine.signaling.tokens import TokenService
from engine.store.database import Store
from engine.store.tables import experts, listings, users

ROOT = Path(__file__).parents[2]
CURRENCY = "EUR"
WALLET_MINOR = 10_000_000
TARIFF = {
    "currency": CURRENCY,
    "price_minor": 1_200,
    "per_seconds": 900,
    "block_seconds": 900,
    "prepaid_seconds": 900,
    "grace_seconds": 60,
}


class EngineProcess:
    """`url` to reach it at, `token()` to speak for a user, `cpu_s()` for what it has used."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, secret: str) -> None:
        self._process = process
        self.pid = process.pid
        self._tokens = TokenService([secret], SystemClock())
        self.url = url

    def token(self, user_id: str) -> str:
        """An access token, without a sign-in: hashing passwords is not what is measured."""
        return self._tokens.issue_access(user_id, ["member"])

    def cpu_s(self) -> float:
        """User and system time of the engine's process so far, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def engine_process(data_dir: Path, pairs: int = 0) -> AsyncIterator[EngineProcess]:
    """Start an engine with demo data and `pairs` further customers and experts; stop it after."""
    await _seed(data_dir, pairs)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "run_engine.py"),
        *("--demo", "--port", "0", "--data-dir", str(data_dir), "--log-level", "warning"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    reading = None
    try:
        async with asyncio.timeout(60):
            url = await _announced_url(process.stdout)
        reading = asyncio.create_task(process.stdout.read())
        yield EngineProcess(process, url, (data_dir / "secret").read_text().strip())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        if reading is not None:
            await reading


async def _announced_url(stdout: asyncio.StreamReader) -> str:
    while line := (await stdout.readline()).decode():
        if found := re.search(r"listens on (\S+)", line):
            return found.group(1)
    raise RuntimeError("the engine did not start")


async def _seed(data_dir: Path, pairs: int) -> None:
    """Users cust-N and exp-N under the demo password; every expert has one published listing."""
    clock = SystemClock()
    store = Store(f"sqlite:///{data_dir / 'talktime.db'}", clock)
    ledger = Ledger(clock)
    await store.migrate()
    await demo.load(store, ledger, clock, CURRENCY)
    async with store.transaction() as tx:
        password_hash = await tx.scalar(sa.select(users.c.password_hash).limit(1))
        for number in range(pairs):
            for kind in ("cust", "exp"):
                user_id = f"{kind}_{number}"
                await tx.execute(
                    sa.insert(users).values(
                        id=user_id,
                        email=f"{kind}-{number}@bench.talktime.test",
                        display_name=user_id,
                        password_hash=password_hash,
                        roles=["member", "expert"] if kind == "exp" else ["member"],
                        email_verified_at_ms=0,
                        created_at_ms=0,
                    )
                )
            await tx.execute(
                sa.insert(experts).values(
                    user_id=f"exp_{number}",
                    slug=f"bench-{number}",
                    languages=["en"],
                    presence_status="available",
                )
            )
            await tx.execute(
                sa.insert(listings).values(
                    id=listing_id(number),
                    expert_id=f"exp_{number}",
                    kind="consult",
                    title=f"Bench {number}",
                    description="For benchmarks.",
                    state="published",
                    tariffs=dict.fromkeys(("video", "audio", "text"), TARIFF),
                    created_at_ms=0,
                )
            )
            await ledger.topup(
                tx,
                key=new_id("bench"),
                user_id=f"cust_{number}",
                currency=CURRENCY,
                amount_minor=WALLET_MINOR,
                payment_id=None,
            )
    await store.close()


def listing_id(number: int) -> str:
    """The listing of expert `number`."""
    return f"lst_bench_{number}"
