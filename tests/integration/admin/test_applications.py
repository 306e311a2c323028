"""Members become specialists, at once or when staff have agreed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from admin.presets import AZMOUDEGAN
from engine.store.database import Store
from engine.store.tables import users
from tests.integration.admin.conftest import CUSTOMER, EXPERT, STAFF, Api, World

PROFILE = {"about": "Logos that last.", "education": "Academy of Arts", "experience": "15 years"}


@pytest.fixture
async def market(any_store: Store) -> AsyncIterator[World]:
    """Azmoudegan, where staff decide."""
    made = World(any_store, preset=AZMOUDEGAN)
    await made.start()
    yield made
    await made.stop()


async def apply(world: World) -> tuple[Api, Api, str]:
    """An applicant, a member of staff and the application."""
    applicant, staff = await world.sign_in(CUSTOMER), await world.sign_in(STAFF)
    status, case = await applicant.post("/applications", PROFILE)
    assert status == 201, case
    return applicant, staff, f"/applications/{case['id']}"


async def roles(api: Api) -> list[str]:
    _, me = await api.get("/me")
    return list(me["roles"])


async def test_P19_a_member_joins_at_once_where_nobody_decides(any_world: World) -> None:
    member = await any_world.sign_in(CUSTOMER)
    assert (await member.post("/applications", PROFILE))[0] == 201
    assert await roles(member) == ["expert", "member"]
    assert (await member.get("/me/expert"))[1]["about"] == PROFILE["about"]


async def test_P2_P19_a_buyer_becomes_a_specialist_when_staff_approve(market: World) -> None:
    applicant, staff, path = await apply(market)
    assert await roles(applicant) == ["member"]
    ask = {"decision": "request_info", "reason": "Which academy?"}
    assert (await staff.post(f"{path}/decide", ask))[0] == 200
    (mail,) = await market.mails(CUSTOMER)
    assert "Which academy?" in mail.text
    assert (await applicant.post(f"{path}/answer", PROFILE | {"education": "Tehran"}))[0] == 200
    assert await roles(applicant) == ["member"]
    approve = {"decision": "approve", "reason": "Welcome."}
    assert (await staff.post(f"{path}/decide", approve))[0] == 200
    assert await roles(applicant) == ["expert", "member"]
    assert (await market.mails(CUSTOMER))[-1].subject == "You are an expert at Azmoudegan now"
    assert (await applicant.post("/orders", {"listing_id": "lst_none"}))[0] == 404  # still a buyer


async def test_P19_only_reviewers_decide_applications(market: World) -> None:
    applicant, _, path = await apply(market)
    expert = await market.sign_in(EXPERT)
    async with market.store.transaction() as tx:
        support = sa.update(users).where(users.c.id == expert.user_id)
        await tx.execute(support.values(roles=["member", "expert", "support", "finance"]))
    body = {"decision": "approve", "reason": "Please."}
    assert (await expert.post(f"{path}/decide", body))[0] == 404
    assert (await applicant.post(f"{path}/decide", body))[0] == 403
    assert (await market.stranger.post(f"{path}/decide", body))[0] == 401
    assert await roles(applicant) == ["member"]


async def test_T3_only_registered_users_with_a_confirmed_address_add_listings(
    world: World,
) -> None:
    body = {
        "kind": "work",
        "locales": ["en"],
        "title": {"en": "A logo"},
        "description": {"en": "Drawn by hand, in three drafts."},
        "price_minor": 5_000,
    }
    status, refusal = await world.stranger.post("/listings", body)
    assert (status, refusal["code"]) == (401, "token_missing")
    member = await world.sign_in(CUSTOMER)
    confirmed = sa.update(users).where(users.c.email == CUSTOMER)
    async with world.store.transaction() as tx:
        await tx.execute(confirmed.values(email_verified_at_ms=None))
    status, refusal = await member.post("/listings", body)
    assert (status, refusal["code"]) == (403, "email_not_verified")
    assert await roles(member) == ["member"]
    async with world.store.transaction() as tx:
        await tx.execute(confirmed.values(email_verified_at_ms=1))
    status, listing = await member.post("/listings", body)
    assert status == 201, listing
    assert await roles(member) == ["expert", "member"]
