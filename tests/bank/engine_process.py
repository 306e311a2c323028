"""One engine process of the bank test: the real service, ledger, chat and store, and its scripts.

Files in the run's directory tell it what to do, since a signal may come before anyone listens:
`quiet` stops the scripts, `stop` drains and ends the process.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvloop

from engine.chat.service import ChatService
from engine.clock import SystemClock
from engine.errors import Unavailable
from engine.metering.ledger import Ledger
from engine.session.grants import StoreGrants
from engine.session.service import SessionService
from engine.store.database import Store
from engine.telemetry import configure_logging
from tests.bank import scripts
from tests.bank.evidence import Notebook
from tests.bank.world import POLICY, SETTINGS, TERMS
from tests.support.fake_media import FakeMediaWorker

NOT_STARTED = 3
"""Exit status: the store was out of reach at the start; a supervisor tries again."""


@dataclass(frozen=True)
class Order:
    """How to run one process."""

    url: str
    directory: Path
    node: str
    run: int
    seed: int
    calls: int
    """Calls that the scripts keep going at once."""


class Presence:
    """Every expert is here and available."""

    def is_online(self, user_id: str) -> bool:
        return True

    async def chosen_status(self, expert_id: str) -> str:
        return "available"

    async def refresh(self, expert_id: str) -> None:
        pass


class Outbound:
    """Notes what parties were told of the end of their sessions."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook

    async def to_user(self, user_id: str, event: str, payload: dict[str, Any]) -> None:
        if event == "meter.started":
            self._notebook.note("clock_told", session=payload["session_id"])
        if event == "session.ended" and payload["summary"].get("earned_minor") is None:
            summary = payload["summary"]
            self._notebook.note(
                "end_told",
                session=payload["session_id"],
                total_minor=summary["total_minor"],
                reason=summary["reason"],
            )

    async def to_device(self, device: str, event: str, payload: dict[str, Any]) -> None:
        pass


class Engine:
    """What `engine.app.Application` builds, without sockets and with scripted media."""

    def __init__(self, order: Order) -> None:
        self.clock = SystemClock()
        self.random = random.Random(order.seed)
        self.notebook = Notebook(order.directory, order.node, order.run)
        self.store = Store(order.url, self.clock)
        self.ledger = Ledger(self.clock)
        self.media = FakeMediaWorker()
        self.sessions = SessionService(
            store=self.store,
            ledger=self.ledger,
            media=self.media,
            clock=self.clock,
            grants=StoreGrants(),
            node_id=order.node,
            settings=SETTINGS,
        )
        self.chat = ChatService(self.store, self.clock, self.sessions)
        outbound = Outbound(self.notebook)
        self.chat.connect(outbound)
        self.sessions.connect(outbound, Presence())
        # As much of the admin's dependencies as orders use.
        self.admin: Any = SimpleNamespace(
            clock=self.clock,
            ledger=self.ledger,
            settings=SimpleNamespace(policy=POLICY, preset=SimpleNamespace(terms=TERMS)),
        )
        self.run = order.run
        self.played: set[str] = set()
        """Sessions that a script of this process plays, or leaves alone."""
        self.refusals: Counter[str] = Counter()
        """What scripts were refused, by code."""


async def _live(order: Order) -> int:
    engine = Engine(order)
    try:
        await engine.sessions.start()
    except Unavailable:
        return NOT_STARTED
    engine.notebook.note("started")
    script = asyncio.create_task(scripts.play(engine, calls=order.calls))
    await _file(order.directory / "quiet", script)
    script.cancel()
    await asyncio.gather(script, return_exceptions=True)
    engine.notebook.note("quiet", refusals=engine.refusals)
    await _file(order.directory / "stop")
    await engine.sessions.drain(20)
    engine.notebook.note("drained", **engine.sessions.metrics())
    await engine.sessions.stop()
    await engine.store.close()
    return 0


async def _file(path: Path, watched: asyncio.Task[None] | None = None) -> None:
    """Wait until the file is there; what the watched task raises is raised here."""
    while not path.exists():
        await asyncio.sleep(0.05)
        if watched is not None and watched.done():
            watched.result()


def main(order: Order) -> None:
    """The process's entry; everything it logs goes to a file of its own."""
    log = os.open(
        order.directory / f"log-{order.run:05}-{order.node}.txt", os.O_WRONLY | os.O_CREAT, 0o644
    )
    os.dup2(log, 1)
    os.dup2(log, 2)
    configure_logging("warning", "text")
    sys.exit(uvloop.run(_live(order)))
