"""The node's heartbeat: checkpoints of what runs here, and a look for what other nodes did: money
that came for a session of this one, sessions that run nowhere.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from engine.clock import NS_PER_S, Clock, TimerHandle
from engine.errors import Unavailable
from engine.session import checkpoint
from engine.session.mailbox import Spawn
from engine.session.ports import SessionSettings
from engine.session.recovery import Recovery
from engine.session.registry import Registry
from engine.session.runtime import Runtime
from engine.session.takeover import Takeover
from engine.store.database import Store

_log = structlog.get_logger(__name__)


class Heartbeat:
    """One beat at a time: a slow store makes beats rarer, never more at once."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        registry: Registry,
        takeover: Takeover,
        recovery: Recovery,
        settings: SessionSettings,
        node_id: str,
        spawn: Spawn,
        counters: Counter[str],
        refresh: Callable[[Runtime], Awaitable[None]],
        look_at_wallets: Callable[[], Awaitable[None]],
        on_lost: Callable[[Runtime], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._registry = registry
        self._takeover = takeover
        self._recovery = recovery
        self._settings = settings
        self._node_id = node_id
        self._spawn = spawn
        self._counters = counters
        self._refresh = refresh
        self._look_at_wallets = look_at_wallets
        self._on_lost = on_lost
        self.quarantined = 0
        """Sessions in the store that wait for staff, when last counted."""
        self.leaving = False
        """The node goes down: it checkpoints what it runs, and takes nothing over any more."""
        self._timer: TimerHandle | None = None
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take over what an earlier run of this node left behind, then beat."""
        await self._takeover.own()
        self.quarantined = await self._recovery.quarantined()
        self._later()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _later(self) -> None:
        every_ns = round(self._settings.checkpoint_every_s * NS_PER_S)
        self._timer = self._clock.call_at(self._clock.now_ns() + every_ns, self._beat)

    def _beat(self) -> None:
        if self._beating is None or self._beating.done():
            self._beating = self._spawn(self._work())
        self._later()

    async def _work(self) -> None:
        try:
            await self._checkpoint()
            await self._look_at_wallets()
            if not self.leaving:
                await self._sweep()
        except Unavailable:
            self._takeover.lose_sight()
            self._counters["checkpoints_missed"] += 1
        except Exception:
            _log.exception("session.heartbeat_failed")

    async def _sweep(self) -> None:
        for rt in await self._takeover.stale():
            await self._refresh(rt)
        self.quarantined = await self._recovery.quarantined()

    async def _checkpoint(self) -> None:
        if len(self._registry) == 0:
            return
        async with self._store.transaction() as tx:
            lost = await checkpoint.write(
                tx,
                self._registry,
                node_id=self._node_id,
                now_ns=self._clock.now_ns(),
                now_ms=self._clock.wall_ms(),
            )
        for rt in lost:
            self._on_lost(rt)
