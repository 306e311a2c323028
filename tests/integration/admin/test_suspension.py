"""Staff suspend and reinstate."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from admin import demo
from engine.session.ports import LiveSessionView
from engine.store.tables import outbox, users
from tests.integration.admin.conftest import CUSTOMER, EXPERT, PER_QUARTER, STAFF, World

JONAS = "jonas@demo.talktime.test"
WHY = {"reason": "Asks customers to pay outside."}


def live(session_id: str, customer_id: str, expert_id: str) -> LiveSessionView:
    return LiveSessionView(
        session_id=session_id,
        order_id="ord_x",
        title="Advice",
        customer_id=customer_id,
        customer_name="C",
        expert_id=expert_id,
        expert_name="E",
        mode="video",
        state="in_progress",
        since_ms=0,
        elapsed_ms=1,
        charged_minor=0,
        currency="EUR",
    )


async def test_suspension_ends_everything_that_runs_and_reinstatement_lets_in_again(
    any_world: World,
) -> None:
    world = any_world
    staff, expert = await world.sign_in(STAFF), await world.sign_in(EXPERT)
    body = {"email": EXPERT, "password": demo.PASSWORD}
    _, login = await world.stranger.post("/auth/login", body)
    world.engine.live += [
        live("ses_1", "usr_other", expert.user_id),
        live("ses_2", "usr_other", "usr_third"),
    ]
    path = f"/admin/users/{expert.user_id}"
    status, answer = await staff.post(f"{path}/suspend", WHY)
    assert (status, answer) == (200, {"id": expert.user_id, "state": "suspended"})
    assert world.engine.terminated == [("ses_1", staff.user_id)]
    assert world.engine.dismissed == [(expert.user_id, "account_suspended")]
    assert (await expert.get("/me"))[1]["code"] == "account_suspended"
    assert (await world.stranger.post("/auth/login", body))[1]["code"] == "account_suspended"
    refresh = {"refresh_token": login["refresh_token"]}
    assert (await world.stranger.post("/auth/refresh", refresh))[0] == 401
    _, page = await world.stranger.get("/listings")
    assert expert.user_id not in {one["expert"]["id"] for one in page["items"]}
    customer = await world.sign_in(CUSTOMER)
    order = {"listing_id": PER_QUARTER, "mode": "video"}
    assert (await customer.post("/orders", order))[0] == 404
    (mail,) = await world.mails(EXPERT)
    assert WHY["reason"] in mail.text
    status, refusal = await staff.post(f"{path}/suspend", WHY)
    assert (status, refusal["code"]) == (409, "account_suspended")

    assert (await staff.post(f"{path}/reinstate", {"reason": "Cleared up."}))[0] == 200
    _, login = await world.stranger.post("/auth/login", body)
    assert login["user"]["id"] == expert.user_id
    assert (await world.stranger.post("/auth/refresh", refresh))[0] == 401
    async with world.store.reading() as tx:
        query = sa.select(outbox).where(outbox.c.subject_id == expert.user_id)
        told = [(row.type, row.actor, row.data) for row in await tx.execute(query)]
    assert told == [
        ("user.suspended", staff.user_id, WHY),
        ("user.reinstated", staff.user_id, {"reason": "Cleared up."}),
    ]


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": 7}])
async def test_a_suspension_without_a_reason_is_refused(world: World, body: object) -> None:
    staff, customer = await world.sign_in(STAFF), await world.sign_in(CUSTOMER)
    status, refusal = await staff.post(f"/admin/users/{customer.user_id}/suspend", body)
    assert (status, refusal["code"]) == (422, "invalid_body")
    assert (await customer.get("/me"))[0] == 200


async def test_only_support_suspends_and_only_admins_suspend_staff(world: World) -> None:
    staff, customer = await world.sign_in(STAFF), await world.sign_in(CUSTOMER)
    jonas, expert = await world.sign_in(JONAS), await world.sign_in(EXPERT)

    async def give(user_id: str, *roles: str) -> None:
        async with world.store.transaction() as tx:
            query = sa.update(users).where(users.c.id == user_id)
            await tx.execute(query.values(roles=["member", *roles]))

    path = f"/admin/users/{expert.user_id}/suspend"
    assert (await world.stranger.post(path, WHY))[0] == 401
    for roles in ((), ("finance", "listings.moderate")):
        await give(customer.user_id, *roles)
        status, refusal = await customer.post(path, WHY)
        assert (status, refusal["code"]) == (404, "user_not_found")
    await give(customer.user_id, "support")
    await give(jonas.user_id, "finance")
    status, refusal = await customer.post(f"/admin/users/{jonas.user_id}/suspend", WHY)
    assert (status, refusal["code"]) == (403, "not_permitted")
    own = f"/admin/users/{staff.user_id}/suspend"
    assert (await staff.post(own, WHY))[1]["code"] == "own_account"
    assert (await staff.post("/admin/users/usr_nobody/suspend", WHY))[0] == 404
    assert (await staff.post(f"/admin/users/{jonas.user_id}/suspend", WHY))[0] == 200
    assert (await customer.post(path, WHY))[0] == 200
