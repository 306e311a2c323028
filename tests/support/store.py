"""Stores for tests: `store` is a migrated SQLite file, `postgres_store` a real PostgreSQL database,
`any_store` runs the test on both."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.store import migrate
from engine.store.database import Store

_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 2 << 30


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file: migrate once, copy per test."""
    path = tmp_path_factory.mktemp("store") / "template.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def store_directory(tmp_path: Path) -> Iterator[Path]:
    """In memory where the machine has some to spare: a disk that is busy with something else can
    keep one commit waiting for longer than the engine does. The store does not outlive the test.
    """
    if not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK | os.X_OK):
        yield tmp_path
        return
    room = os.statvfs(_MEMORY)
    if room.f_bavail * room.f_frsize < _ENOUGH_BYTES:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="talktime-store-", dir=_MEMORY) as directory:
        yield Path(directory)


@pytest.fixture
def sqlite_url(sqlite_template: Path, store_directory: Path) -> str:
    """The URL of a fresh, migrated SQLite store."""
    path = store_directory / "store.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    opened = Store(sqlite_url, SystemClock())
    yield opened
    await opened.close()


@pytest.fixture
async def postgres_store(postgres_url: str) -> AsyncIterator[Store]:
    opened = Store(postgres_url, SystemClock())
    yield opened
    await opened.close()


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)],
)
def any_store_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def any_store(any_store_url: str) -> AsyncIterator[Store]:
    opened = Store(any_store_url, SystemClock())
    yield opened
    await opened.close()


@pytest.fixture
def open_store(any_store_url: str) -> Callable[[], Store]:
    """Another `Store` on the database of `any_store`, as a second process would open it."""
    return lambda: Store(any_store_url, SystemClock())
