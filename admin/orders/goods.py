"""Digital goods: the files and links of the revision that was bought (T72, T73, T79, Ts)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from admin.files.service import views
from admin.orders.schemas import OrderFiles
from admin.orders.states import Fulfilment, OrderState
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import Conflict, Forbidden
from engine.store.database import Tx
from engine.store.market_tables import listing_revisions

_HANDED_OVER = (OrderState.COMPLETED, OrderState.DISPUTED)


async def of_order(deps: AdminDeps, tx: Tx, user_id: str, order: Row) -> OrderFiles:
    """What the order's parties may fetch, whatever became of the listing since.

    Raises `Conflict("no_files")` for other kinds of order, `Forbidden("order_not_paid")` to a
    customer who has not paid, or got everything back.
    """
    if order.fulfilment != Fulfilment.FILES:
        raise Conflict("no_files", "This order is not one of files or links.")
    if user_id == order.customer_id and order.state not in _HANDED_OVER:
        raise Forbidden("order_not_paid", "Files and links are handed over with the payment.")
    content = await _bought(tx, order)
    return OrderFiles(
        files=await views(deps, tx, user_id, content.get("files", ())),
        links=list(content.get("links", ())),
    )


async def _bought(tx: Tx, order: Row) -> dict[str, Any]:
    r = listing_revisions.c
    query = sa.select(r.content).where(
        r.listing_id == order.listing_id, r.number == order.listing_revision
    )
    return await tx.scalar(query) or {}
