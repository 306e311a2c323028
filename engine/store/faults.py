"""Which driver errors mean "the store is out of reach, try again", and their one translation.

A lost connection, a lock not obtained in time, a full disk or a deadlock says nothing about the
request: it becomes `Unavailable("store_unavailable")`. After a fault during COMMIT the outcome is
unknown; the caller repeats with the same idempotency key and reads what happened. Everything else
passes unchanged: `IntegrityError` belongs to the caller, a wrong statement is a defect.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import asyncpg
import sqlalchemy as sa

from engine.errors import Unavailable

# BUSY, LOCKED, IOERR, FULL, CANTOPEN, PROTOCOL; extended codes keep these in their low byte.
_SQLITE_FAULTS = frozenset({5, 6, 10, 13, 14, 15})
# Connection lost, out of resources, operator intervention (statement timeout too), system error;
# then serialization failure, deadlock, lock not available, idle in transaction.
_POSTGRESQL_FAULTS = ("08", "53", "57", "58", "40001", "40P01", "55P03", "25P03")
_NOT_CONNECTED = (
    OSError,
    TimeoutError,
    sa.exc.TimeoutError,  # the pool's
    sa.exc.DBAPIError,
    # Raised as they are while connecting: starting up, too many connections, no such database.
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
)


@contextlib.contextmanager
def connecting() -> Iterator[None]:
    """Obtaining a connection: whatever goes wrong there is a fault of the store."""
    try:
        yield
    except _NOT_CONNECTED as error:
        raise unavailable() from error


@contextlib.contextmanager
def working() -> Iterator[None]:
    """Statements and commit: translate faults, let every other error through."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        if is_fault(error):
            raise unavailable() from error
        raise
    except sa.exc.PendingRollbackError as error:  # a connection that was lost within a savepoint
        raise unavailable() from error
    except (TimeoutError, ConnectionError) as error:  # asyncpg's command timeout, a reset socket
        raise unavailable() from error


def unavailable() -> Unavailable:
    return Unavailable("store_unavailable", "The store cannot be reached; try again.")


def is_fault(error: sa.exc.DBAPIError) -> bool:
    """Whether the same statement may succeed later."""
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error.orig) & 0xFF in _SQLITE_FAULTS
    if isinstance(error, sa.exc.InterfaceError):  # asyncpg: the connection is gone
        return True
    if isinstance(error.orig and error.orig.__cause__, asyncpg.InternalClientError):
        # The server has said that it closes the connection, and the socket's end is still on its
        # way: asyncpg takes no statement any more, and none was sent.
        return True
    return str(getattr(error.orig, "sqlstate", None) or "").startswith(_POSTGRESQL_FAULTS)


def _sqlite_code(error: sqlite3.Error) -> int:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code or 0
