"""What an expert's stars come to.

A refusal weighs as `refusal_weight` one-star reviews, so ``rating = (stars + w x refusals) /
(reviews + w x refusals)``, in thousandths of a star, rounded half up; 0 before the first of either.
"""

from __future__ import annotations

import sqlalchemy as sa

from engine.store.database import Tx
from engine.store.tables import experts, listings


def rating_milli(stars_sum: int, reviews: int, refusals: int, refusal_weight: int = 1) -> int:
    """Thousandths of a star, 1000 to 5000; 0: nothing to go by."""
    weighed = refusals * refusal_weight
    count = reviews + weighed
    return (2_000 * (stars_sum + weighed) + count) // (2 * count) if count else 0


async def recompute(tx: Tx, expert_id: str, *, refusal_weight: int) -> None:
    """Write the rating that the expert's counters amount to, and rank their listings by it."""
    e = experts.c
    query = sa.select(e.stars_sum, e.review_count, e.refusal_count).where(e.user_id == expert_id)
    row = (await tx.execute(query)).one()
    rating = rating_milli(*row, refusal_weight)
    await tx.execute(sa.update(experts).where(e.user_id == expert_id).values(rating_milli=rating))
    await tx.execute(
        sa.update(listings).where(listings.c.expert_id == expert_id).values(rating_milli=rating)
    )
