"""The audit of a running engine: again and again, the last outcome kept for the metrics."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import structlog

from engine.audit import AuditReport, audit
from engine.clock import NS_PER_S, Clock, TimerHandle
from engine.errors import Unavailable
from engine.store.database import Store

_log = structlog.get_logger(__name__)

_SHARE: Final = 20
"""An audit rests for so many times as long as it took, at least: it reads the whole ledger."""


class Auditing:
    """`start`, then `stop`. One audit at a time, the first at once, `every_s` between them.

    `store` has AUDIT_PATIENCE_S: what reads the whole ledger may take longer than a statement that
    somebody waits for.
    """

    def __init__(self, store: Store, clock: Clock, every_s: float) -> None:
        self._store = store
        self._clock = clock
        self._every_ns = round(every_s * NS_PER_S)
        self._timer: TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.last: AuditReport | None = None
        self.took_ns = 0
        """How long the last one took."""
        self.failures = 0
        """Audits that came to no end: the store did not answer, or held what cannot be read."""

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def done(self) -> None:
        """Wait for the one under way, if there is one."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def stop(self) -> None:
        """Give up the one under way; safe at any moment."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        begun_ns = self._clock.now_ns()
        try:
            self.last = await audit(self._store)
            for check in self.last.checks:
                if check.count:
                    _log.error("audit.difference", check=check.name, count=check.count)
        except Unavailable:
            self.failures += 1
            _log.warning("audit.not_done")
        except Exception:  # what it cannot read may be what it is to find: it must not fall silent
            self.failures += 1
            _log.exception("audit.failed")
        now_ns = self._clock.now_ns()
        self.took_ns = now_ns - begun_ns
        rest_ns = max(self._every_ns, _SHARE * self.took_ns)
        self._timer = self._clock.call_at(now_ns + rest_ns, self.start)
