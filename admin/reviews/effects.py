"""What reviews do besides changing their state: rows, and what the expert's stars come to."""

from __future__ import annotations

import sqlalchemy as sa

from admin.experts.rating import recompute
from admin.market import settings
from admin.market.transitions import Step
from engine.ids import new_id
from engine.store.market_tables import reviews
from engine.store.tables import experts


async def create(step: Step) -> None:
    """A move of the order: its customer's one review of it (T, P17, C32)."""
    row, said = step.row, step.body
    review_id = new_id("rev")
    await step.tx.execute(
        sa.insert(reviews).values(
            id=review_id,
            order_id=row.id,
            customer_id=row.customer_id,
            expert_id=row.expert_id,
            listing_id=row.listing_id,
            rating_service=said.rating_service,
            rating_expert=said.rating_expert,
            text=said.text.strip(),
            state="published",
            created_at_ms=step.now_ms,
            updated_at_ms=step.now_ms,
        )
    )
    await rate(step, reviews=1, stars=said.rating_expert)
    step.data |= {"review_id": review_id, "rating_expert": said.rating_expert}


async def edit(step: Step) -> None:
    said = step.body
    step.values |= {
        "rating_service": said.rating_service,
        "rating_expert": said.rating_expert,
        "text": said.text.strip(),
    }
    if step.row.state == "published":
        await rate(step, reviews=0, stars=said.rating_expert - step.row.rating_expert)


async def reply(step: Step) -> None:
    step.values["reply"] = step.body.text.strip()


async def hide(step: Step) -> None:
    """What nobody sees does not count either."""
    step.data["reason"] = step.body.reason
    await rate(step, reviews=-1, stars=-step.row.rating_expert)


async def show(step: Step) -> None:
    await rate(step, reviews=1, stars=step.row.rating_expert)


async def rate(step: Step, *, reviews: int, stars: int) -> None:
    """Let the expert's counters follow, and the rating with them (Tq)."""
    e, expert_id = experts.c, step.row.expert_id
    await step.tx.execute(
        sa.update(experts)
        .where(e.user_id == expert_id)
        .values(review_count=e.review_count + reviews, stars_sum=e.stars_sum + stars)
    )
    terms = await settings.current(step.deps, step.tx)
    await recompute(step.tx, expert_id, refusal_weight=terms.refusal_weight)
