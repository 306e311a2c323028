"""Calls on several workers at once, and an event loop that has time while they are busy."""

from __future__ import annotations

import asyncio
import socket

from engine.media.interface import LegConnected, MediaEvent, Role
from engine.media.pool import WorkerPool
from engine.media.worker import WorkerConfig
from tests.support.media_call import WorkerFactory
from tests.support.media_peer import AiortcPeer, eventually


async def test_calls_run_on_every_worker(make_worker: WorkerFactory) -> None:
    workers = [make_worker(WorkerConfig()) for _ in range(2)]
    pool = WorkerPool(workers)
    events: list[MediaEvent] = []
    pool.subscribe(events.append)
    await pool.start()
    assert pool.running
    peers: list[AiortcPeer] = []
    try:
        for session in ("ses_a", "ses_b"):
            pool.add_session(session, one_way=False, video=False)
            for role in Role:
                peer = AiortcPeer()
                peers.append(peer)
                leg = pool.add_leg(session, role)
                answer = await peer.answer(await pool.offer(leg), publish=("audio",))
                await pool.answer(leg, answer)
            pool.open_gate(session)
        await eventually(lambda: sum(isinstance(e, LegConnected) for e in events) == 4)
        for peer in peers:
            await peer.wait_frames("audio", 5)
        assert {worker.counters()["dtls_connected"] for worker in workers} == {2}
        assert pool.counters()["dtls_connected"] == 4
    finally:
        for peer in peers:
            await peer.close()
        await pool.stop()
    assert not pool.running


async def test_a_port_that_is_taken_stops_them_all(make_worker: WorkerFactory) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        config = WorkerConfig(port=taken.getsockname()[1])
        workers = [make_worker(WorkerConfig()), make_worker(config)]
        pool = WorkerPool(workers)
        (failure,) = await asyncio.gather(pool.start(), return_exceptions=True)
    assert getattr(failure, "code", "") == "media_port"
    assert [worker.running for worker in workers] == [False, False]
