"""Looks at both legs of every call in progress, two seconds after the last look.

One queue, so one timer, for all calls; each has its own phase, so that no instant has to do them
all. Parties are told of a change at once and of mere figures now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.clock import NS_PER_S, Clock
from engine.media.interface import MediaWorker, Role
from engine.metering.deadlines import DeadlineQueue
from engine.session.mailbox import Spawn
from engine.session.measures import Measures
from engine.session.quality import Level
from engine.session.runtime import Runtime
from engine.session.states import State
from engine.session.telling import Teller

LOOK_EVERY_NS: Final = 2 * NS_PER_S
TELL_EVERY_NS: Final = 10 * NS_PER_S

Levels = tuple[Level, ...]


class QualityWatch:
    """`running` finds a session of this node by id."""

    def __init__(
        self,
        *,
        clock: Clock,
        media: MediaWorker,
        teller: Teller,
        running: Callable[[str], Runtime | None],
        spawn: Spawn,
    ) -> None:
        self.measures = Measures()
        self._clock = clock
        self._media = media
        self._teller = teller
        self._running = running
        self._spawn = spawn
        self._queue = DeadlineQueue(clock, self._look)
        self._told: dict[str, tuple[Levels, int]] = {}
        """Of each watched session: the levels last told, and when."""

    def begin(self, rt: Runtime) -> None:
        """A leg of this session is connected."""
        if rt.id not in self._told:
            self._told[rt.id] = ((Level.UNKNOWN,) * len(Role), self._clock.now_ns())
            self._queue.set(rt.id, self._clock.now_ns() + LOOK_EVERY_NS)

    def close(self) -> None:
        self._queue.close()

    def _look(self, session_id: str) -> None:
        rt = self._running(session_id)
        if rt is None or rt.state is State.ENDED:
            del self._told[session_id]
            return
        now_ns = self._clock.now_ns()
        self._queue.set(session_id, now_ns + LOOK_EVERY_NS)
        if rt.state is State.IN_PROGRESS:
            self._measure(rt, now_ns)
            self._tell(rt, now_ns)

    def _measure(self, rt: Runtime, now_ns: int) -> None:
        for role, party in rt.quality.items():
            leg_id = rt.selected.get(role)
            stats = None if leg_id is None else self._media.leg_stats(leg_id)
            figures = party.look(leg_id, stats, now_ns)
            if figures is not None:
                self.measures.add(role, figures)

    def _tell(self, rt: Runtime, now_ns: int) -> None:
        levels: Levels = tuple(party.level for party in rt.quality.values())
        told, at_ns = self._told[rt.id]
        known = any(party.latest is not None for party in rt.quality.values())
        if levels != told or (known and now_ns - at_ns >= TELL_EVERY_NS):
            self._told[rt.id] = (levels, now_ns)
            self._spawn(self._teller.quality(rt))
