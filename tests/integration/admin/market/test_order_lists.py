"""Lists of orders: views and filters, and that a page is read along an index."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from admin.orders import views
from engine.store.database import Store
from engine.store.tables import orders
from tests.integration.admin.market.conftest import Market


async def ids(who: Any, query: str = "") -> list[str]:
    """Of all pages of two."""
    seen, cursor = [], ""
    while cursor is not None:
        status, page = await who.get(f"/orders?limit=2&{query}{cursor}")
        assert status == 200, page
        seen += [order["id"] for order in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    return seen


async def test_T44_T59_views_and_filters_of_ones_own_orders(market: Market) -> None:
    work, goods = await market.offer("work", 100), await market.offer("files", 100)
    made = {}
    made["unpaid"] = (await market.order(work, confirm=False))["id"]
    market.clock.advance(1)
    made["open"] = (await market.order(work))["id"]
    market.clock.advance(1)
    made["delivered"] = await market.delivered(100)
    market.clock.advance(1)
    made["disputed"] = await market.delivered(100)
    await market.dispute(market.customer, made["disputed"])
    market.clock.advance(1)
    made["bought"] = (await market.order(goods))["id"]
    market.clock.advance(1)
    made["cancelled"] = (await market.order(work))["id"]
    await market.do(market.customer, made["cancelled"], "cancel")
    newest = list(made.values())[::-1]
    assert await ids(market.customer) == await ids(market.customer, "role=customer") == newest
    assert await ids(market.expert, "role=expert") == newest  # T59: my sales
    assert await ids(market.expert, "role=customer") == []
    for view, wanted in {
        "running": ["disputed", "delivered", "open", "unpaid"],
        "to_pay": ["unpaid"],
        "open": ["open"],
        "delivered": ["delivered"],
        "disputed": ["disputed"],
        "completed": ["bought"],
        "cancelled": ["cancelled"],
    }.items():
        assert await ids(market.customer, f"view={view}") == [made[name] for name in wanted]
    assert await ids(market.expert, "fulfilment=files") == [made["bought"]]
    mine = [made["cancelled"], made["open"], made["unpaid"]]
    assert await ids(market.customer, f"listing_id={work}") == mine
    status, refusal = await market.customer.get("/orders?view=everything")
    assert (status, refusal["code"]) == (422, "invalid_query")


async def test_T44_lists_tell_what_can_be_done_without_opening_each(market: Market) -> None:
    await market.delivered()
    _, page = await market.customer.get("/orders")
    (order,) = page["items"]
    assert order["actions"] == ["return", "accept", "dispute"]
    assert (order["held"]["amount"], order["can_review"]) == (3_000, False)


async def _plan(store: Store, query: sa.Select[Any]) -> str:
    explain = "EXPLAIN QUERY PLAN " if store.is_sqlite else "EXPLAIN "
    async with store.reading() as tx:
        if not store.is_sqlite:
            await tx.execute(sa.text("SET LOCAL enable_seqscan = off"))
        text = str(query.compile(tx.sync_engine, compile_kwargs={"literal_binds": True}))
        return "\n".join(str(row) for row in await tx.execute(sa.text(explain + text)))


@pytest.mark.parametrize("party", ["customer", "expert"])
async def test_T44_a_page_is_read_along_an_index_in_its_order(any_store: Store, party: str) -> None:
    column = orders.c[f"{party}_id"]
    wanted = views.Wanted()
    query = views.part(column == "usr_x", "open", wanted, None, 21)
    plan = await _plan(any_store, query)
    assert f"ix_orders_{party}" in plan
    for detour in ("TEMP B-TREE", "Sort"):
        assert detour not in plan
