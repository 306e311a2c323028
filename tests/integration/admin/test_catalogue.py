"""Finding listings (T37, T47)."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from engine.session.ports import LiveSessionView
from engine.store.tables import experts, listings
from tests.integration.admin.conftest import CUSTOMER, EXPERT, PER_QUARTER, Api, World

IN_FILE_ORDER = [
    "lst_demo_lease",
    "lst_demo_contract",
    "lst_demo_vat",
    "lst_demo_interview",
    "lst_demo_sleep",
    "lst_demo_script",
    "lst_demo_phrases",
]
CONSULTATIONS = IN_FILE_ORDER[:5]


async def found(user: Api, query: str) -> list[str]:
    status, page = await user.get(f"/listings?{query}")
    assert status == 200, page
    return [listing["id"] for listing in page["items"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", IN_FILE_ORDER),
        ("kind=consult", CONSULTATIONS),
        ("kind=work", ["lst_demo_script"]),
        ("kind=files", ["lst_demo_phrases"]),
        ("mode=text", [i for i in CONSULTATIONS if i != "lst_demo_interview"]),
        ("category=law", IN_FILE_ORDER[:2]),
        ("q=LEASE", ["lst_demo_lease"]),
        ("q=contract%20freelance", ["lst_demo_contract"]),
        ("q=weber", ["lst_demo_vat"]),
        ("q=%25", []),
        ("q=_", []),
        ("q=nothing%20at%20all", []),
    ],
)
async def test_T37_listings_are_found(any_world: World, query: str, expected: list[str]) -> None:
    assert await found(any_world.stranger, query) == expected


async def test_pages_of_listings_neither_repeat_nor_skip(any_world: World) -> None:
    seen, cursor = [], ""
    while cursor is not None:
        _, page = await any_world.stranger.get(f"/listings?limit=2{cursor}")
        seen += [listing["id"] for listing in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert seen == IN_FILE_ORDER


async def test_T47_online_experts_can_be_asked_for(world: World) -> None:
    world.engine.online = {await world.user_id(EXPERT)}
    assert await found(world.stranger, "online=true") == IN_FILE_ORDER[:2]
    assert await found(world.stranger, "online=true&limit=1") == IN_FILE_ORDER[:1]
    assert await found(world.stranger, "online=false") == IN_FILE_ORDER[2:]


def live(expert_id: str) -> LiveSessionView:
    return LiveSessionView(
        session_id="ses_1",
        order_id="ord_1",
        title="",
        customer_id="usr_x",
        customer_name="",
        expert_id=expert_id,
        expert_name="",
        mode="video",
        state="in_progress",
        since_ms=0,
        elapsed_ms=None,
        charged_minor=0,
        currency="EUR",
    )


@pytest.mark.parametrize(
    ("chosen", "online", "talking", "seen"),
    [
        ("available", True, False, (True, "available", True)),
        ("away", True, False, (True, "away", True)),
        ("busy", True, False, (True, "busy", False)),
        ("undefined", True, False, (True, "undefined", False)),
        ("available", True, True, (True, "busy", False)),
        ("available", False, False, (False, "undefined", False)),
    ],
)
async def test_T16_T47_status_as_customers_see_it(
    world: World, chosen: str, online: bool, talking: bool, seen: tuple[Any, ...]
) -> None:
    expert_id = await world.user_id(EXPERT)
    async with world.store.transaction() as tx:
        await tx.execute(
            sa.update(experts).where(experts.c.user_id == expert_id).values(presence_status=chosen)
        )
    world.engine.online = {expert_id} if online else set()
    world.engine.live = [live(expert_id)] if talking else []
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    _, listing = await customer.get(f"/listings/{PER_QUARTER}")
    card = listing["expert"]
    assert (card["online"], card["status"], card["callable"]) == seen
    assert order["can_call"] == seen[2]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=0", "$.limit"),
        ("limit=101", "$.limit"),
        ("limit=x", "$.limit"),
        ("online=maybe", "$.online"),
        ("mode=smoke", "$.mode"),
        (f"q={'x' * 121}", "$.q"),
        ("q=a%00b", "$"),
    ],
)
async def test_a_wrong_query_is_refused_with_its_place(world: World, query: str, path: str) -> None:
    status, refusal = await world.stranger.get(f"/listings?{query}")
    assert (status, refusal["code"], refusal["path"]) == (422, "invalid_query", path)


@pytest.mark.parametrize("cursor", ["x", "e30", "WzEsMl0", "WzEsImEiLDNd", "%C3%A4", "=" * 10])
async def test_a_made_up_cursor_is_refused(world: World, cursor: str) -> None:
    status, refusal = await world.stranger.get(f"/listings?cursor={cursor}")
    assert (status, refusal["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize("listing", ["lst_none", "A", "x" * 41, "a%00b", "..%2Fx"])
async def test_an_unknown_listing_is_not_found(world: World, listing: str) -> None:
    status, refusal = await world.stranger.get(f"/listings/{listing}")
    assert status == 404
    assert refusal["code"] in {"listing_not_found", "not_found"}


async def test_listings_of_inactive_experts_are_hidden(world: World) -> None:
    async with world.store.transaction() as tx:
        await tx.execute(sa.update(experts).values(active=False))
        await tx.execute(sa.update(listings).values(category="hidden"))
    assert await found(world.stranger, "") == []
