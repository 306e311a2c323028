"""Bring a store's schema up or down, in one transaction.

``python -m engine.store.migrate --store URL`` upgrades to the newest revision; `Store.migrate` does
the same within the engine. Two processes that start together queue: on SQLite for the write lock,
on PostgreSQL for an advisory lock.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from engine.store import faults
from engine.store.market_tables import metadata  # all tables: both modules are read
from engine.store.url import async_url

_SCRIPTS = Path(__file__).parent / "migrations"
_SQLITE_PATIENCE_S = 60
_LOCK = 0x74616C6B74696D65  # "talktime"


def upgrade(url: str, revision: str = "head") -> None:
    """Upgrade the store at `url`; needs no running event loop."""
    asyncio.run(upgrade_async(async_url(url), revision))


async def upgrade_async(url: sa.URL, revision: str = "head") -> None:
    await _run(url, lambda config: command.upgrade(config, revision))


async def downgrade_async(url: sa.URL, revision: str = "base") -> None:
    await _run(url, lambda config: command.downgrade(config, revision))


async def revise_async(url: sa.URL, message: str) -> None:
    """Write a new revision: the difference between the migrated store at `url` and tables.py."""
    await _run(url, lambda config: _revise(config, message))


def _revise(config: Config, message: str) -> None:
    number = len(list((_SCRIPTS / "versions").glob("[0-9]*.py"))) + 1
    command.revision(config, message, autogenerate=True, rev_id=f"{number:04}")


_UNDECLARED = ("ix_listings_words",)


def differences(connection: sa.Connection) -> list[object]:
    """What separates the connected schema from tables.py; empty when they agree."""
    context = MigrationContext.configure(connection, opts=compare_options(connection))
    return list(compare_metadata(context, metadata))


def compare_options(connection: sa.Connection) -> dict[str, Any]:
    """What Alembic compares. PostgreSQL evaluates defaults; on SQLite it can only compare their
    text, which differs for booleans and empty strings."""
    evaluates = connection.dialect.name == "postgresql"
    return {
        "compare_type": True,
        "compare_server_default": _same_default if evaluates else False,
        "include_object": _is_declared,
    }


def _is_declared(_object: object, name: str | None, *_: object) -> bool:
    """Not the indexes that only one database can have: migrations write them themselves."""
    return name not in _UNDECLARED


def _same_default(
    _context: object,
    _found_column: object,
    column: sa.Column[Any],
    found: str | None,
    _declared: object,
    rendered: str | None,
) -> bool | None:
    """False for equal JSON defaults, which PostgreSQL cannot compare; else None: evaluate them."""
    if isinstance(column.type, sa.JSON) and found is not None and rendered is not None:
        return found.removesuffix("::json").strip("'") != rendered.strip("'")
    return None


async def _run(url: sa.URL, run: Callable[[Config], None]) -> None:
    # An engine of its own: rebuilding a SQLite table needs foreign keys off, which
    # is a setting of the connection and out of reach within a transaction.
    # Whoever comes second waits for a whole migration, however slow the machine.
    patience = {"timeout": _SQLITE_PATIENCE_S} if url.get_backend_name() == "sqlite" else {}
    engine = create_async_engine(url, poolclass=sa.NullPool, connect_args=patience)
    if url.get_backend_name() == "sqlite":
        sa.event.listen(engine.sync_engine, "do_connect", create_directory)
        sa.event.listen(engine.sync_engine, "connect", _on_sqlite_connect)
        sa.event.listen(engine.sync_engine, "begin", _begin_immediate)
    try:
        async with contextlib.AsyncExitStack() as stack:
            with faults.connecting():
                connection = await stack.enter_async_context(engine.connect())
            with faults.working():
                async with connection.begin():
                    await connection.run_sync(_locked, run)
    finally:
        await engine.dispose()


def _locked(connection: sa.Connection, run: Callable[[Config], None]) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    run(config)
    if connection.dialect.name == "sqlite":
        _check_references(connection)


def _check_references(connection: sa.Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        raise RuntimeError(f"the migration leaves rows that refer to nothing: {broken[:5]}")


def create_directory(_dialect: object, _record: object, arguments: list[str], _: object) -> None:
    """Make the directory of a SQLite file about to be opened; listens to `do_connect`."""
    Path(arguments[0]).parent.mkdir(parents=True, exist_ok=True)


def _on_sqlite_connect(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA foreign_keys=OFF")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@click.command()
@click.option(
    "--store", required=True, envvar="TALKTIME_STORE_URL", help="sqlite:///… or postgresql://…"
)
@click.option("--revise", metavar="MESSAGE", help="Write a revision for what tables.py changed.")
@click.option("--downgrade", metavar="REVISION", help="Go down to a revision, or to `base`.")
def main(store: str, revise: str | None, downgrade: str | None) -> None:
    """Upgrade the store to the newest schema."""
    url = async_url(store)
    if revise is not None:
        asyncio.run(revise_async(url, revise))
    elif downgrade is not None:
        asyncio.run(downgrade_async(url, downgrade))
    else:
        asyncio.run(upgrade_async(url))


if __name__ == "__main__":
    main()
