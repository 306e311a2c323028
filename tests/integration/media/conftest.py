"""A worker and a call on it, over real sockets on 127.0.0.1."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.media.worker import WorkerConfig
from tests.support.media_call import Call, WorkerFactory, call_on, worker_factory


@pytest.fixture(params=["python", "native"])
def make_worker(request: pytest.FixtureRequest) -> WorkerFactory:
    """Either kind of worker: every test that uses it runs on both."""
    return worker_factory(request.param)


@pytest.fixture
async def call(make_worker: WorkerFactory) -> AsyncIterator[Call]:
    async with call_on(make_worker(WorkerConfig())) as call:
        yield call
    await no_task_left()


@pytest.fixture
async def one_way_call(make_worker: WorkerFactory) -> AsyncIterator[Call]:
    async with call_on(make_worker(WorkerConfig()), one_way=True) as call:
        yield call
    await no_task_left()


async def no_task_left() -> None:
    """Fails the test if anything still runs after the worker stopped."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    leftover = [task for task in others if "engine/media" in repr(task.get_coro())]
    assert leftover == []
