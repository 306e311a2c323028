"""The migrations lead to exactly the tables that the code is written against, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from engine.clock import SystemClock
from engine.store import migrate
from engine.store.database import Store, async_url
from engine.store.tables import metadata


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store without tables; on SQLite not even the directory exists."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/folder/store.db"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


def _checks(connection: sa.Connection) -> Mapping[str, set[str]]:
    """The check constraints' names by table; autogenerate does not compare them."""
    inspector = sa.inspect(connection)
    return {
        table: {str(check["name"]) for check in inspector.get_check_constraints(table)}
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def _expected_checks() -> Mapping[str, set[str]]:
    return {
        table.name: {
            str(constraint.name)
            for constraint in table.constraints
            if isinstance(constraint, sa.CheckConstraint)
        }
        for table in metadata.sorted_tables
    }


async def test_migrations_make_exactly_the_declared_tables(empty_url: str) -> None:
    store = Store(empty_url, SystemClock())
    await store.migrate()
    await store.migrate()  # nothing left to do
    async with store.reading() as tx:
        assert await tx.run_sync(migrate.differences) == []
        assert await tx.run_sync(_checks) == _expected_checks()
    await store.close()


async def test_the_way_down_leaves_nothing(empty_url: str) -> None:
    url = async_url(empty_url)
    await migrate.upgrade_async(url)
    await migrate.downgrade_async(url)
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        left = await connection.run_sync(lambda c: sa.inspect(c).get_table_names())
        assert left == ["alembic_version"]
    await engine.dispose()
    await migrate.upgrade_async(url)


async def test_processes_that_start_together_migrate_once(empty_url: str) -> None:
    url = async_url(empty_url)
    await asyncio.gather(*(migrate.upgrade_async(url) for _ in range(3)))
    store = Store(empty_url, SystemClock())
    async with store.reading() as tx:
        assert await tx.run_sync(migrate.differences) == []
    await store.close()


async def test_a_difference_from_the_declared_tables_is_seen(store: Store) -> None:
    async with store.transaction() as tx:
        await tx.exec_driver_sql("ALTER TABLE transfers DROP COLUMN reason")
        assert await tx.run_sync(migrate.differences) != []
