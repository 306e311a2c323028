"""The floor of a durable double entry: raw statements through the plain driver.

A hold takes a conditional UPDATE of the wallet and an INSERT of the hold; a capture takes UPDATEs
of wallet, hold and earnings, and INSERTs of the transfer, of its three entries (one statement) and
of the hold's move. Same tables, constraints and indexes, same durability (`synchronous=FULL`, WAL;
PostgreSQL's default), same driver; on SQLite one connection, as the engine has one writer. Nothing
is read, no key is looked up, no error is foreseen; the accounts' ids are known.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, Protocol

import aiosqlite
import asyncpg

from engine.ids import new_id

AMOUNT, FEE = 100, 15
_HASH: Final = "0" * 64

_ACCOUNT = (
    "INSERT INTO accounts (id, kind, owner_id, currency, balance_minor, held_minor, created_at_ms)"
    " VALUES ($1, $2, $3, 'TRY', $4, 0, 0)"
)
_GRANT = (
    "UPDATE accounts SET held_minor = held_minor + $1"
    " WHERE id = $2 AND balance_minor - held_minor >= $1"
)
_HOLD = (
    "INSERT INTO holds (id, key, request_hash, account_id, state, amount_minor, order_id,"
    " session_id, created_at_ms) VALUES ($1, $2, $3, $4, 'granted', $5, $6, $7, 0)"
)
_DEBIT = (
    "UPDATE accounts SET balance_minor = balance_minor - $1, held_minor = held_minor - $1"
    " WHERE id = $2"
)
_TAKE = (
    "UPDATE holds SET captured_minor = captured_minor + $1, state = 'resolved', resolved_at_ms = 0"
    " WHERE id = $2"
)
_CREDIT = "UPDATE accounts SET balance_minor = balance_minor + $1 WHERE id = $2"
_TRANSFER = (
    "INSERT INTO transfers (id, key, request_hash, kind, currency, amount_minor, fee_minor,"
    " order_id, session_id, created_at_ms)"
    " VALUES ($1, $2, $3, 'capture', 'TRY', $4, $5, $6, $7, 0)"
)
_ENTRIES = (
    "INSERT INTO entries (transfer_id, account_id, amount_minor)"
    " VALUES ($1, $2, $3), ($1, $4, $5), ($1, $6, $7)"
)
_MOVE = (
    "INSERT INTO hold_moves (hold_id, key, kind, amount_minor, transfer_id, created_at_ms)"
    " VALUES ($1, $2, 'capture', $3, $4, 0)"
)

Statement = tuple[str, tuple[object, ...]]


class BareStore(Protocol):
    async def open(self, wallets: int) -> None: ...

    async def pair(self, task: int) -> None: ...

    async def close(self) -> None: ...


def _accounts(wallets: int) -> list[Statement]:
    made: list[Statement] = [(_ACCOUNT, ("fees", "fees", "platform", None))]
    for number in range(wallets):
        made.append((_ACCOUNT, (f"w{number}", "wallet", f"customer{number}", 10**9)))
        made.append((_ACCOUNT, (f"e{number}", "earnings", f"expert{number}", 0)))
    return made


def _pair(task: int) -> tuple[list[Statement], list[Statement]]:
    """The statements of a hold and of its capture."""
    hold_id, transfer_id = new_id("hold"), new_id("tr")
    session_id, order_id = new_id("ses"), new_id("ord")
    wallet, earnings, key = f"w{task}", f"e{task}", f"session:{session_id}:capture:1"
    of = (order_id, session_id)
    hold: list[Statement] = [
        (_GRANT, (AMOUNT, wallet)),
        (_HOLD, (hold_id, f"session:{session_id}:hold:1:1", _HASH, wallet, AMOUNT, *of)),
    ]
    entries = (transfer_id, wallet, -AMOUNT, earnings, AMOUNT - FEE, "fees", FEE)
    capture: list[Statement] = [
        (_DEBIT, (AMOUNT, wallet)),
        (_TAKE, (AMOUNT, hold_id)),
        (_CREDIT, (AMOUNT - FEE, earnings)),
        (_TRANSFER, (transfer_id, key, _HASH, AMOUNT, FEE, *of)),
        (_ENTRIES, entries),
        (_MOVE, (hold_id, key, AMOUNT, transfer_id)),
    ]
    return hold, capture


class BareSqlite:
    """One connection, as the engine has one writer; tasks take turns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = asyncio.Lock()
        self._connection: aiosqlite.Connection

    async def open(self, wallets: int) -> None:
        self._connection = await aiosqlite.connect(self._path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            await self._connection.execute(f"PRAGMA {pragma}")
        await self._transact(_accounts(wallets))

    async def pair(self, task: int) -> None:
        for statements in _pair(task):
            await self._transact(statements)

    async def _transact(self, statements: list[Statement]) -> None:
        async with self._turn:
            await self._connection.execute("BEGIN IMMEDIATE")
            for sql, values in statements:
                await self._connection.execute(sql.replace("$", "?"), values)
            await self._connection.execute("COMMIT")

    async def close(self) -> None:
        await self._connection.close()


class BarePostgres:
    """One connection for each task, which never has to wait for it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connections: list[asyncpg.Connection[Any]] = []

    async def open(self, wallets: int) -> None:
        self._connections = [await asyncpg.connect(self._url) for _ in range(wallets)]
        await self._transact(self._connections[0], _accounts(wallets))

    async def pair(self, task: int) -> None:
        for statements in _pair(task):
            await self._transact(self._connections[task], statements)

    async def _transact(
        self, connection: asyncpg.Connection[Any], statements: list[Statement]
    ) -> None:
        async with connection.transaction():
            for sql, values in statements:
                await connection.execute(sql, *values)

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()
