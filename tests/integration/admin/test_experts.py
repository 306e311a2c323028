"""The expert's desk: profile, week, status, figures; favourites, blocks, complaints."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from engine.store.market_tables import cases
from engine.store.tables import listings
from tests.integration.admin.conftest import CUSTOMER, EXPERT, PER_QUARTER, STAFF, World

OTHER = "jonas@demo.talktime.test"
MONDAY_NINE = "0" * 9 + "1" + "0" * 158


async def test_T9_T10_T11_the_week_is_shown_in_the_viewers_zone(any_world: World) -> None:
    expert = await any_world.sign_in(EXPERT)
    body = {"grid": MONDAY_NINE, "timezone": "Asia/Tokyo"}
    assert await expert.send("PUT", "/me/availability", body) == (200, body)
    assert await expert.get("/me/availability") == (200, body)
    # Tokyo and UTC keep no summer time: Monday 9:00 there is Monday 0:00 here.
    _, page = await any_world.stranger.get("/experts/expert?tz=UTC")
    assert page["availability"] == {"grid": "1" + "0" * 167, "timezone": "UTC"}
    assert page["expert_timezone"] == "Asia/Tokyo"
    _, page = await any_world.stranger.get("/experts/expert?tz=Asia/Tokyo")
    assert page["availability"]["grid"] == MONDAY_NINE


@pytest.mark.parametrize(
    "body",
    [
        {"grid": "1" * 167, "timezone": "UTC"},
        {"grid": "2" * 168, "timezone": "UTC"},
        {"grid": "1" * 168, "timezone": "Mars/Olympus"},
        {"grid": "1" * 168, "timezone": "../../etc/passwd"},
    ],
)
async def test_T10_T11_a_grid_has_168_cells_and_a_real_zone(
    world: World, body: dict[str, Any]
) -> None:
    expert = await world.sign_in(EXPERT)
    before = await expert.get("/me/availability")
    assert (await expert.send("PUT", "/me/availability", body))[0] == 422
    assert await expert.get("/me/availability") == before


async def test_T12_C14_a_status_needs_a_published_consultation(any_world: World) -> None:
    world = any_world
    expert, customer = await world.sign_in(EXPERT), await world.sign_in(CUSTOMER)
    world.engine.online = {expert.user_id}
    status, _ = await expert.send("PUT", "/me/presence", {"status": "away"})
    assert status == 200
    assert (await expert.get("/me/expert"))[1]["presence_status"] == "away"
    async with world.store.transaction() as tx:
        mine = sa.update(listings).where(listings.c.expert_id == expert.user_id)
        await tx.execute(mine.values(state="paused"))
    status, problem = await expert.send("PUT", "/me/presence", {"status": "available"})
    assert (status, problem["code"]) == (409, "no_consultation")
    assert (await expert.get("/me/expert"))[1]["presence_status"] == "away"
    status, problem = await customer.send("PUT", "/me/presence", {"status": "available"})
    assert (status, problem["code"]) == (403, "not_expert")


async def test_an_expert_edits_profile_and_hides_it(world: World) -> None:
    expert = await world.sign_in(EXPERT)
    body = {"about": "New.", "skills": ["a", "b"], "categories": ["taxes", "law"]}
    status, mine = await expert.send("PATCH", "/me/expert", body)
    assert (status, mine["about"], mine["categories"]) == (200, "New.", ["law", "taxes"])
    assert mine["headline"].startswith("Contract")
    status, problem = await expert.send("PATCH", "/me/expert", {"categories": ["nowhere"]})
    assert (status, problem["code"]) == (422, "category_unknown")
    assert (await expert.send("PATCH", "/me/expert", {"photo_file_id": "fil_x"}))[0] == 422
    await expert.send("PATCH", "/me/expert", {"active": False})
    assert (await world.stranger.get("/experts/expert"))[0] == 404
    assert (await world.stranger.get(f"/listings/{PER_QUARTER}"))[0] == 404


async def test_figures_of_ones_own(world: World) -> None:
    expert, customer = await world.sign_in(EXPERT), await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    session = await world.session(order["id"])
    await world.session(order["id"], answered_at_ms=None, end_reason="no_answer")
    await world.session(order["id"], answered_at_ms=None, end_reason="canceled")
    await world.capture(session, 1_200)
    _, stats = await expert.get("/me/stats")
    assert (stats["calls"], stats["answered"], stats["answer_rate"]) == (2, 1, 0.5)
    assert stats["earned"] == {"amount": 960, "currency": "EUR"}
    assert (await customer.get("/me/stats"))[0] == 404


async def test_favourites_are_experts_and_listings(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    expert_id = await any_world.user_id(EXPERT)
    for path in (f"expert/{expert_id}", f"listing/{PER_QUARTER}", f"listing/{PER_QUARTER}"):
        assert (await customer.send("PUT", f"/me/favourites/{path}"))[0] == 200
    assert (await customer.send("PUT", "/me/favourites/listing/lst_x"))[0] == 404
    _, marks = await customer.get("/me/favourites")
    assert {(one["type"], one["id"]) for one in marks["items"]} == {
        ("expert", expert_id),
        ("listing", PER_QUARTER),
    }
    assert (await customer.get("/experts/expert"))[1]["is_favourite"] is True
    for _ in range(2):
        assert (await customer.send("DELETE", f"/me/favourites/expert/{expert_id}"))[0] == 200
    _, marks = await customer.get("/me/favourites")
    assert [one["listing"]["id"] for one in marks["items"]] == [PER_QUARTER]


async def test_a_block_refuses_orders_of_the_pair_both_ways(any_world: World) -> None:
    world = any_world
    expert, customer = await world.sign_in(EXPERT), await world.sign_in(CUSTOMER)
    for blocker, blocked in ((expert, customer), (customer, expert)):
        assert (await blocker.send("PUT", f"/me/blocks/{blocked.user_id}"))[0] == 200
        status, problem = await customer.post(
            "/orders", {"listing_id": PER_QUARTER, "mode": "video"}
        )
        assert (status, problem["code"]) == (403, "blocked")
        _, mine = await blocker.get("/me/blocks")
        assert [one["id"] for one in mine["items"]] == [blocked.user_id]
        assert (await blocked.get("/me/blocks"))[1]["items"] == []
        assert (await blocker.send("DELETE", f"/me/blocks/{blocked.user_id}"))[0] == 200
    await customer.order(PER_QUARTER)
    assert (await customer.send("PUT", f"/me/blocks/{customer.user_id}"))[1]["code"] == (
        "own_account"
    )


async def test_T83_a_complaint_is_a_case_for_staff(any_world: World) -> None:
    world = any_world
    customer, other = await world.sign_in(CUSTOMER), await world.sign_in(OTHER)
    _, file = await customer.upload("attachment", b"see here")
    body = {"subject_type": "listing", "subject_id": PER_QUARTER, "reason": "Not true."}
    status, case = await customer.post("/reports", body | {"files": [file["id"]]})
    assert (status, case["kind"], case["state"]) == (201, "report", "open")
    assert (await customer.post("/reports", body))[1]["code"] == "report_open"
    async with world.store.reading() as tx:
        row = (await tx.execute(sa.select(cases).where(cases.c.id == case["id"]))).one()
    assert (row.opened_by, row.body, row.files) == (customer.user_id, "Not true.", [file["id"]])
    assert row.due_at_ms > row.created_at_ms
    staff = await world.sign_in(STAFF)
    path = f"/api/v1/files/{file['id']}"
    assert (await world.client.get(path, headers=staff.headers)).status == 200
    assert (await world.client.get(path, headers=other.headers)).status == 404
    order = await customer.order(PER_QUARTER)
    theirs = {"subject_type": "order", "subject_id": order["id"], "reason": "No."}
    assert (await other.post("/reports", theirs))[0] == 404
    assert (await customer.post("/reports", theirs))[0] == 201
