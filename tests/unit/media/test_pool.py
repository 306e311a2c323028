"""Several workers behind the interface of one."""

from __future__ import annotations

import pytest

from engine.errors import NotFound, Unavailable
from engine.media.interface import LegConnected, MediaEvent, Role
from engine.media.pool import WorkerPool
from tests.support.fake_media import FakeMediaWorker


def pool_of(count: int, capacity: int = 100) -> tuple[WorkerPool, list[FakeMediaWorker]]:
    workers = [FakeMediaWorker(capacity=capacity) for _ in range(count)]
    return WorkerPool(workers), workers


def test_a_session_goes_where_the_fewest_are() -> None:
    pool, workers = pool_of(3)
    for number in range(7):
        pool.add_session(f"ses_{number}", one_way=False, video=True)
    assert [len(worker.calls) for worker in workers] == [3, 2, 2]
    for session_id in list(workers[1].calls):
        pool.close_session(session_id)
    pool.add_session("ses_next", one_way=False, video=True)
    assert "ses_next" in workers[1].calls


async def test_both_legs_of_a_session_live_on_its_worker() -> None:
    pool, workers = pool_of(2)
    pool.add_session("ses_a", one_way=False, video=True)
    pool.add_session("ses_b", one_way=False, video=True)
    legs = [pool.add_leg("ses_b", role) for role in Role]
    assert list(workers[1].calls["ses_b"].legs) == legs
    assert await pool.offer(legs[0]) == f"offer {legs[0]}"
    pool.select_leg("ses_b", legs[0])
    pool.open_gate("ses_b")
    assert workers[1].calls["ses_b"].gate_open
    assert not workers[0].calls["ses_a"].gate_open


async def test_what_is_closed_is_forgotten() -> None:
    pool, _ = pool_of(2)
    pool.add_session("ses_a", one_way=False, video=True)
    leg = pool.add_leg("ses_a", Role.CUSTOMER)
    pool.close_session("ses_a")
    pool.close_session("ses_a")
    pool.remove_leg(leg)
    assert pool.leg_stats(leg) is None
    with pytest.raises(NotFound):
        await pool.offer(leg)
    with pytest.raises(NotFound):
        pool.open_gate("ses_a")


def test_a_refused_session_is_on_no_worker() -> None:
    pool, _ = pool_of(1, capacity=0)
    with pytest.raises(Unavailable):
        pool.add_session("ses_a", one_way=False, video=True)
    with pytest.raises(NotFound):
        pool.open_gate("ses_a")


def test_events_of_all_workers_reach_the_subscriber() -> None:
    pool, workers = pool_of(2)
    seen: list[MediaEvent] = []
    pool.subscribe(seen.append)
    for number, worker in enumerate(workers):
        pool.add_session(f"ses_{number}", one_way=False, video=True)
        worker.connect(f"ses_{number}", pool.add_leg(f"ses_{number}", Role.EXPERT))
    assert [event.session_id for event in seen if isinstance(event, LegConnected)] == [
        "ses_0",
        "ses_1",
    ]
