"""What happens by itself when its time has come: tasks per node, most over `due_at_ms` columns.

A kind of thing that waits for something keeps the instant in its row. Every node looks for rows
that are due, and acts on each in a transaction of its own with the row locked; who finds it locked
leaves it to the other. What acts is a move of the thing's own machine, by `SYSTEM`, whose guards
look again: a row that has changed meanwhile is left as it is, and looked at again when its guard
says. A failure of one row stops no other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import sqlalchemy as sa
import structlog

from admin import queries
from admin.market.transitions import Done
from admin.ports import AdminDeps
from admin.queries import Row
from engine.clock import NS_PER_MS, NS_PER_S, Clock, TimerHandle
from engine.errors import TalktimeError, Unavailable
from engine.store.database import Tx

_log = structlog.get_logger(__name__)

EVERY_S: Final = 5.0
RETRY_MS: Final = 10 * 60_000
"""When a row is looked at again that could not be acted on."""
_BATCH: Final = 100
STEP_MS: Final = 60_000
DOUBT_NS: Final = 3_600 * NS_PER_S


class WallWatch:
    """Tells a wall clock that ran on from one that stepped ahead, which would make things due that
    are not, and pay escrow out.

    A step is believed after an hour, in which somebody may set the clock right: then it was wrong
    before, or the machine had slept. Another step within the hour has an hour of its own. A clock
    that is wrong from the start is not found out.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._believed_ms = self._doubted_ms = self._offset_ms()
        self._doubted_ns: int | None = None

    def believable(self) -> bool:
        now_ns, offset_ms = self._clock.now_ns(), self._offset_ms()
        if offset_ms - self._believed_ms > STEP_MS:
            if self._doubted_ns is None or offset_ms - self._doubted_ms > STEP_MS:
                self._doubted_ns, self._doubted_ms = now_ns, offset_ms
                _log.error("timers.clock_stepped", ahead_ms=offset_ms - self._believed_ms)
            self._doubted_ms = min(self._doubted_ms, offset_ms)
            if now_ns - self._doubted_ns < DOUBT_NS:
                return False
        self._believed_ms, self._doubted_ns = offset_ms, None
        return True

    def _offset_ms(self) -> int:
        return self._clock.wall_ms() - self._clock.now_ns() // NS_PER_MS


class Chore(Protocol):
    """Something to be looked after again and again."""

    async def work_off(self, deps: AdminDeps) -> int:
        """Do what is due now; how much there was. Raises `Unavailable`."""
        ...


class Timers:
    """`start`, then `stop`. `chores` are worked off in this order, every `every_s`."""

    def __init__(
        self, deps: AdminDeps, chores: Sequence[Chore], *, every_s: float = EVERY_S
    ) -> None:
        self._deps = deps
        self._chores = chores
        self._every_ns = round(every_s * NS_PER_S)
        self._watch = WallWatch(deps.clock)
        self._timer: TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Give up what is under way; safe at any moment."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        try:
            if self._watch.believable():
                await self.work_off()
        except Unavailable:
            _log.warning("timers.store_unavailable")
        except Exception:  # the next round tries again
            _log.exception("timers.failed")
        clock = self._deps.clock
        self._timer = clock.call_at(clock.now_ns() + self._every_ns, self.start)

    async def work_off(self) -> int:
        """Do whatever is due now; how much there was. Raises `Unavailable`."""
        return sum([await chore.work_off(self._deps) for chore in self._chores])


@dataclass(frozen=True, kw_only=True)
class Due:
    """Rows of `table` (columns id and due_at_ms) that wait for their time.

    `act` makes the move, in a transaction in which the row is locked; None: there is nothing to do
    any more, and the row waits for nothing.
    """

    name: str
    table: sa.Table
    act: Callable[[AdminDeps, Tx, Row], Awaitable[Done | None]]

    async def work_off(self, deps: AdminDeps) -> int:
        seen: set[str] = set()
        acted = 0
        while True:
            ids = [row_id for row_id in await self._due(deps) if row_id not in seen]
            if not ids:
                return acted
            seen.update(ids)
            for row_id in ids:
                acted += await self._act(deps, row_id)

    async def _due(self, deps: AdminDeps) -> Sequence[str]:
        c = self.table.c
        query = sa.select(c.id).where(c.due_at_ms <= deps.clock.wall_ms())
        async with deps.store.reading() as tx:
            found = await tx.scalars(query.order_by(c.due_at_ms, c.id).limit(_BATCH))
            return found.all()

    async def _act(self, deps: AdminDeps, row_id: str) -> bool:
        """Whether anything was done."""
        try:
            async with deps.store.transaction() as tx:
                row = await self._locked(deps, tx, row_id)
                if row is None:
                    return False
                done = await self.act(deps, tx, row)
                if done is None:
                    await self._wait_until(deps, tx, row_id, None)
        except Unavailable:
            raise
        except TalktimeError as refusal:
            again = refusal.extra.get("due_at_ms")
            await self._put_off(deps, row_id, again if isinstance(again, int) else None)
            _log.info("timers.refused", kind=self.name, row=row_id, code=refusal.code)
            return False
        except Exception:
            _log.exception("timers.row_failed", kind=self.name, row=row_id)
            await self._put_off(deps, row_id, None)
            return False
        if done is not None:
            await done.tell()
        return True

    async def _locked(self, deps: AdminDeps, tx: Tx, row_id: str) -> Row | None:
        """The row, unless somebody else is at it or it is no longer due."""
        c = self.table.c
        query = sa.select(self.table).where(c.id == row_id, c.due_at_ms <= deps.clock.wall_ms())
        return await queries.row(tx, query.with_for_update(skip_locked=True))

    async def _put_off(self, deps: AdminDeps, row_id: str, at_ms: int | None) -> None:
        now_ms = deps.clock.wall_ms()
        if at_ms is None or at_ms <= now_ms:
            at_ms = now_ms + RETRY_MS
        async with deps.store.transaction() as tx:
            await self._wait_until(deps, tx, row_id, at_ms)

    async def _wait_until(self, deps: AdminDeps, tx: Tx, row_id: str, at_ms: int | None) -> None:
        c = self.table.c
        still_due = sa.and_(c.id == row_id, c.due_at_ms <= deps.clock.wall_ms())
        await tx.execute(sa.update(self.table).where(still_due).values(due_at_ms=at_ms))
