"""A call through a media worker with two aiortc peers, for tests."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest

from engine.media import native
from engine.media.interface import LegConnected, MediaEvent, MediaWorker, Role
from engine.media.worker import NativeWorker, PythonWorker, Worker, WorkerConfig
from tests.support.media_peer import AiortcPeer, eventually
from tests.support.media_shim import Drop, Shim

Event = TypeVar("Event", bound=MediaEvent)
WorkerFactory = Callable[[WorkerConfig], Worker]
SESSION = "ses_test"
BOTH = ("audio", "video")


def worker_factory(kind: str) -> WorkerFactory:
    """``python`` or ``native``; skips the test where that was not built, and fails it in CI."""
    if kind == "native" and not native.AVAILABLE:
        message = "the native media worker was not built: these tests were not run"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return NativeWorker if kind == "native" else PythonWorker


class Call:
    """One session on a started worker; `customer` and `expert` are the peers once they joined."""

    def __init__(self, worker: MediaWorker) -> None:
        self.worker = worker
        self.events: list[MediaEvent] = []
        self.legs: dict[Role, str] = {}
        self.customer = AiortcPeer()
        self.expert = AiortcPeer()
        self._shims: list[Shim] = []
        worker.subscribe(self.events.append)

    def peer(self, role: Role) -> AiortcPeer:
        return self.customer if role is Role.CUSTOMER else self.expert

    async def join(
        self, role: Role, publish: tuple[str, ...] = (), *, peer: AiortcPeer | None = None
    ) -> str:
        """Add a leg for `role` and connect its peer (or `peer`); returns the leg's id."""
        leg = self.worker.add_leg(SESSION, role)
        self.legs.setdefault(role, leg)
        offer = await self.worker.offer(leg)
        answer = await (peer or self.peer(role)).answer(offer, publish=publish)
        await self.worker.answer(leg, answer)
        return leg

    async def connect(
        self, *, customer: tuple[str, ...] = (), expert: tuple[str, ...] = BOTH
    ) -> None:
        """Join both parties, publishing these kinds, and wait until both legs are connected."""
        await self.join(Role.CUSTOMER, customer)
        await self.join(Role.EXPERT, expert)
        await eventually(lambda: len(self.of(LegConnected)) == 2)

    async def shim(self, *, to_peer: Drop | None = None, to_worker: Drop | None = None) -> Shim:
        """A bad network in front of the worker; closed with the call."""
        assert isinstance(self.worker, Worker)
        shim = await Shim.open(self.worker.port, to_peer=to_peer, to_worker=to_worker)
        self._shims.append(shim)
        return shim

    def open(self) -> None:
        self.worker.open_gate(SESSION)

    def of(self, kind: type[Event]) -> list[Event]:
        """The events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def event(self, kind: type[Event], timeout_s: float = 10.0) -> Event:
        """The first event of a kind, waited for."""
        await eventually(lambda: bool(self.of(kind)), timeout_s)
        return self.of(kind)[0]

    def packets_out(self, role: Role) -> int:
        stats = self.worker.leg_stats(self.legs[role])
        assert stats is not None
        return stats.packets_out

    def packets_in(self, role: Role) -> int:
        stats = self.worker.leg_stats(self.legs[role])
        assert stats is not None
        return stats.packets_in

    async def close(self) -> None:
        await self.customer.close()
        await self.expert.close()
        for shim in self._shims:
            shim.close()


@contextlib.asynccontextmanager
async def call_on(
    worker: MediaWorker, *, one_way: bool = False, video: bool = True
) -> AsyncIterator[Call]:
    """A session on `worker`, which this starts and stops."""
    await worker.start()
    worker.add_session(SESSION, one_way=one_way, video=video)
    call = Call(worker)
    try:
        yield call
    finally:
        await call.close()
        await worker.stop()
