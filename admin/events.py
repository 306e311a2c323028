"""The admin's side of the event outbox: written with the change it tells of, or not at all."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from engine.store.database import Tx
from engine.store.tables import outbox


async def publish(
    tx: Tx, type_: str, subject_id: str, *, actor: str, at_ms: int, data: dict[str, Any]
) -> None:
    """Append one event; `actor` is a user's id or the name of a part of the system."""
    await tx.execute(
        sa.insert(outbox).values(
            type=type_, subject_id=subject_id, actor=actor, data=data, at_ms=at_ms
        )
    )
