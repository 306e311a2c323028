"""Several media workers behind the interface of one, each with a port of its own.

A session is pinned to the worker that had the fewest when it began; both its legs live there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from engine.errors import NotFound
from engine.media.interface import LegStats, MediaEvent, MediaWorker, Role, Tap


class WorkerPool:
    """See `MediaWorker` for the contract."""

    def __init__(self, workers: Sequence[MediaWorker]) -> None:
        self._workers = tuple(workers)
        self._load = dict.fromkeys(range(len(workers)), 0)
        self._of_session: dict[str, int] = {}
        self._legs: dict[str, str] = {}
        self._legs_of: dict[str, list[str]] = {}

    @property
    def media(self) -> str:
        return self._workers[0].media

    @property
    def running(self) -> bool:
        return all(worker.running for worker in self._workers)

    async def start(self) -> None:
        started = []
        try:
            for worker in self._workers:
                await worker.start()
                started.append(worker)
        except BaseException:
            for worker in started:
                await worker.stop()
            raise

    async def stop(self) -> None:
        for worker in self._workers:
            await worker.stop()
        self._of_session.clear()
        self._legs.clear()
        self._legs_of.clear()
        self._load = dict.fromkeys(self._load, 0)

    def subscribe(self, handler: Callable[[MediaEvent], None]) -> None:
        for worker in self._workers:
            worker.subscribe(handler)

    # --- sessions ---

    def add_session(self, session_id: str, *, one_way: bool, video: bool) -> None:
        number = self._of_session.get(session_id)
        if number is None:
            number = min(self._load, key=self._load.__getitem__)
        self._workers[number].add_session(session_id, one_way=one_way, video=video)
        self._of_session[session_id] = number
        self._legs_of[session_id] = []
        self._load[number] += 1

    def close_session(self, session_id: str) -> None:
        number = self._of_session.pop(session_id, None)
        if number is None:
            return
        self._load[number] -= 1
        self._workers[number].close_session(session_id)
        for leg_id in self._legs_of.pop(session_id):
            self._legs.pop(leg_id, None)

    def open_gate(self, session_id: str) -> None:
        self._of(session_id).open_gate(session_id)

    def set_publishing(self, session_id: str, role: Role, *, audio: bool, video: bool) -> None:
        self._of(session_id).set_publishing(session_id, role, audio=audio, video=video)

    def set_one_way(self, session_id: str, *, one_way: bool) -> None:
        self._of(session_id).set_one_way(session_id, one_way=one_way)

    def set_cutoff(self, session_id: str, cutoff_at_ns: int | None) -> None:
        self._of(session_id).set_cutoff(session_id, cutoff_at_ns)

    def set_tap(self, session_id: str, tap: Tap | None) -> None:
        if session_id in self._of_session:
            self._of(session_id).set_tap(session_id, tap)

    # --- legs ---

    def add_leg(self, session_id: str, role: Role) -> str:
        leg_id = self._of(session_id).add_leg(session_id, role)
        self._legs[leg_id] = session_id
        self._legs_of[session_id].append(leg_id)
        return leg_id

    async def offer(self, leg_id: str, *, ice_restart: bool = False) -> str:
        return await self._of_leg(leg_id).offer(leg_id, ice_restart=ice_restart)

    async def answer(self, leg_id: str, sdp: str) -> None:
        await self._of_leg(leg_id).answer(leg_id, sdp)

    def select_leg(self, session_id: str, leg_id: str) -> None:
        self._of(session_id).select_leg(session_id, leg_id)

    def remove_leg(self, leg_id: str) -> None:
        session_id = self._legs.pop(leg_id, None)
        if session_id is not None:
            self._of(session_id).remove_leg(leg_id)

    def leg_stats(self, leg_id: str) -> LegStats | None:
        session_id = self._legs.get(leg_id)
        return self._of(session_id).leg_stats(leg_id) if session_id is not None else None

    def counters(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        for worker in self._workers:
            for name, count in worker.counters().items():
                total[name] += count
        return dict(total)

    # --- inside ---

    def _of(self, session_id: str) -> MediaWorker:
        number = self._of_session.get(session_id)
        if number is None:
            raise NotFound("unknown_session", "No such session on any media worker")
        return self._workers[number]

    def _of_leg(self, leg_id: str) -> MediaWorker:
        session_id = self._legs.get(leg_id)
        if session_id is None:
            raise NotFound("unknown_leg", "No such leg on any media worker")
        return self._of(session_id)


if TYPE_CHECKING:
    # The type checker's word that the pool keeps the contract.
    _IMPLEMENTATION: type[MediaWorker] = WorkerPool
