"""What users marked of each other, as far as calls and messages depend on it."""

from __future__ import annotations

import sqlalchemy as sa

from engine.errors import Forbidden
from engine.store.database import Tx
from engine.store.market_tables import marks


async def require_unblocked(tx: Tx, one_id: str, other_id: str) -> None:
    """Raises `Forbidden("blocked")` if either blocked the other; which of them is not told."""
    m = marks.c
    pairs = [(one_id, other_id), (other_id, one_id)]
    query = sa.select(m.user_id).where(
        m.kind == "block",
        m.subject_type == "user",
        sa.or_(*(sa.and_(m.user_id == a, m.subject_id == b) for a, b in pairs)),
    )
    if await tx.scalar(query.limit(1)) is not None:
        raise Forbidden("blocked", "One of you has blocked the other.")
