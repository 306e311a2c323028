"""What users marked of each other, as far as calls and messages depend on it."""

from __future__ import annotations

import sqlalchemy as sa

from engine.errors import Forbidden
from engine.store.database import Tx
from engine.store.market_tables import marks


async def require_unblocked(tx: Tx, user_id: str, *others: str) -> None:
    """Raises `Forbidden("blocked")` if there is a block between the user and one of the others;
    which of them it is, and whose, is not told.
    """
    m = marks.c
    query = sa.select(m.user_id).where(
        m.kind == "block",
        m.subject_type == "user",
        sa.or_(
            sa.and_(m.user_id == user_id, m.subject_id.in_(others)),
            sa.and_(m.user_id.in_(others), m.subject_id == user_id),
        ),
    )
    if await tx.scalar(query.limit(1)) is not None:
        raise Forbidden("blocked", "One of you has blocked the other.")
