"""One seed, one run: build the world, let it live, heal it, wait for the last session, audit."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest import mock

import structlog

import engine.ids
from engine.audit import audit
from engine.clock import NS_PER_S
from engine.store import migrate
from tests.simulation.auditor import Auditor
from tests.simulation.chaos import Chaos
from tests.simulation.loop import START_NS, SimLoop
from tests.simulation.people import Couple
from tests.simulation.plan import Plan, plan
from tests.simulation.trace import Broken
from tests.simulation.world import World

DEFECTS = {"session.fault", "session.quarantined", "session.heartbeat_failed"}
DEFECTS |= {"session.surroundings_failed", "session.offer_failed", "session.telling_failed"}
DEFECTS |= {"transition_not_told", "wallet_change_not_announced"}


@dataclass(frozen=True)
class Result:
    seed: int
    plan: Plan
    digest: str
    events: int
    commits: int
    virtual_s: float
    real_s: float
    sessions: int
    metered: int
    served_s: float
    broken: Broken | None
    story: list[str]


Scenes = Callable[[World, Auditor], Awaitable[None]]


def run_seed(seed: int, *, hours: float = 0.25) -> Result:
    """Never raises, whatever goes wrong within the simulated world: `Result.broken` tells."""
    return run_plan(plan(seed), SimLoop(), lambda world, auditor: _scenes(world, auditor, hours))


def run_plan(plan: Plan, loop: SimLoop, scenes: Scenes) -> Result:
    """What happens is up to `scenes`; the rest is as in `run_seed`."""
    began = time.perf_counter()
    with _directory() as directory, _quiet_collector():
        path = directory / "store.db"
        shutil.copyfile(_template(), path)
        asyncio.set_event_loop(loop)
        world = World(loop, path, plan)
        loop.set_exception_handler(lambda _, context: _unhandled(world, context))
        auditor = Auditor(world)
        ids = SimpleNamespace(randbits=world.randbits)
        now = SimpleNamespace(time_ns=lambda: loop.now_ns)
        try:
            with (
                mock.patch.object(engine.ids, "secrets", ids),
                mock.patch.object(engine.ids, "time", now),
                _listening(world),
            ):
                loop.run_until_complete(_live(world, scenes(world, auditor)))
        except Exception as error:  # the loop itself: everybody waits for ever
            world.failed("loop", error)
        finally:
            world.watch.close()
            asyncio.set_event_loop(None)
            loop.close()
    broken = world.broken
    about = broken.about[-6:] if broken is not None else ""
    return Result(
        seed=plan.seed,
        plan=world.plan,
        digest=world.trace.digest,
        events=world.trace.count,
        commits=world.watch.commits,
        virtual_s=(loop.now_ns - START_NS) / NS_PER_S,
        real_s=time.perf_counter() - began,
        sessions=auditor.checked,
        metered=auditor.metered,
        served_s=auditor.served_ns / NS_PER_S,
        broken=broken,
        story=_story(world, about),
    )


def _story(world: World, about: str) -> list[str]:
    if world.broken is None:
        return []
    lines = world.trace.newest(40)
    return [*(world.trace.newest(40, about) if about else []), "...", *lines]


async def _live(world: World, scenes: Awaitable[None]) -> None:
    world.watch.open()
    try:
        await scenes
    except Exception as error:
        world.failed("scenes", error)
    finally:
        await world.exorcise()


def _unhandled(world: World, context: dict[str, Any]) -> None:
    """A callback or a task failed, and nobody was there to hear of it."""
    if "exception" in context:
        world.failed("loop", context["exception"])


async def _scenes(world: World, auditor: Auditor, hours: float) -> None:
    loop = world.loop
    await world.open_office()
    customers = [await world.user(f"Customer {n}") for n in range(world.plan.customers)]
    experts = [await world.user(f"Expert {n}") for n in range(world.plan.experts)]
    for number in range(world.plan.nodes):
        await world.launch(f"node-{number}")
    chaos = Chaos(world)
    couples = [
        Couple(world, number, customers[number % len(customers)], experts)
        for number in range(world.plan.couples)
    ]
    for one in couples:
        world.task("people", one.live())
    for customer in customers:
        world.task("bank", _bank(world, customer))
    misery = world.task("chaos", chaos.live())
    end_ns = loop.now_ns + round(hours * 3_600 * NS_PER_S)
    while loop.now_ns < end_ns and world.broken is None:
        await loop.sleep(5)
    if world.broken is not None:
        return
    world.closing = True
    await misery
    await world.heal()
    await last_look(world, auditor)


async def last_look(world: World, auditor: Auditor) -> None:
    """Invariant 13: with all faults gone, everything ends within the longest patience there is."""
    unended = "SELECT COUNT(*) FROM sessions WHERE state <> 'ended'"
    await world.loop.sleep(45)  # requests still under way, nodes still frozen
    for _ in range(60):
        await world.loop.sleep(5)
        if world.watch.rows(unended) == [(0,)] or world.broken is not None:
            break
    await world.loop.sleep(20)
    if world.broken is None:
        auditor.audit()
        report = await audit(world.office)
        bad = [check for check in report.checks if check.count]
        if bad:
            raise Broken("audit", f"{bad[0].name}: {bad[0].differences[:3]}")


async def _bank(world: World, customer: str) -> None:
    """Top-ups, seldom enough that wallets run empty."""
    dice = world.dice(f"bank {customer}")
    await world.topup(customer, dice.randrange(1, 5_000 if world.plan.poor else 20_000))
    while not world.closing:
        await world.loop.sleep(dice.expovariate(1 / 90))
        await world.topup(customer, dice.choice([1, 77, 1_000, 4_999, 9_000]))


# Around the run -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _listening(world: World) -> Iterator[None]:
    """The engine's log goes into the trace; what it calls a defect of its own is one here."""

    def hear(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> NoReturn:
        name = str(event.get("event"))
        world.trace("log", f"{name} {event.get('session', '')} {event.get('exc_info', '')!r:.120}")
        if name in DEFECTS:
            error = event.pop("exc_info", None)
            error = sys.exc_info()[1] if error is True else error
            what = f"{name}: {event} {error!r}"
            world.fail(Broken("defect", what, str(event.get("session", ""))))
        raise structlog.DropEvent

    pool = logging.getLogger("sqlalchemy.pool")
    level = pool.level
    pool.setLevel(logging.CRITICAL)  # what it says of connections of the dead
    before = structlog.get_config()
    structlog.configure(processors=[hear], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
        pool.setLevel(level)


@contextlib.contextmanager
def _quiet_collector() -> Iterator[None]:
    """A collection at a chance moment would close what dead processes left open.

    What has outlived one is left out of the next: many runs in a large process would search all
    of it each time.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@functools.cache
def _template() -> Path:
    """A migrated, empty store; migrated once per process."""
    path = Path(tempfile.mkdtemp(prefix="talktime-simulation-")) / "template.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path
