"""Changing what the store keeps from being changed, as a hand at the database would."""

from __future__ import annotations

from typing import Final

from engine.store.database import Tx

_UNLOCK: Final = {
    "sqlite": [
        f"DROP TRIGGER {table}_final_{what}"
        for table in ("transfers", "entries")
        for what in ("update", "delete")
    ],
    "postgresql": [f"DROP TRIGGER {table}_final ON {table}" for table in ("transfers", "entries")],
}


async def unlock(tx: Tx) -> None:
    """From now on transfers and entries may be changed in this store."""
    for statement in _UNLOCK[tx.dialect.name]:
        await tx.exec_driver_sql(statement)
