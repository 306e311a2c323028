"""Which stores are possible, and the async driver of each."""

from __future__ import annotations

import sqlalchemy as sa

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


def async_url(url: str) -> sa.URL:
    """The URL with this project's async driver. Raises `sqlalchemy.exc.ArgumentError`."""
    parsed = sa.make_url(url)
    backend = parsed.get_backend_name()
    if backend not in _DRIVERS:
        raise sa.exc.ArgumentError(f"unsupported store {backend!r}: use sqlite or postgresql")
    if backend == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise sa.exc.ArgumentError("a SQLite store needs a file: several connections share it")
    return parsed.set(drivername=_DRIVERS[backend])
