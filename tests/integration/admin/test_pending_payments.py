"""Payments without news: providers are asked, and each payment ends some day."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from admin.payments.pending import ASK_AFTER_MS, LEFT_AFTER_MS, LOST_AFTER_MS, PendingPayments
from admin.payments.provider import PaymentEvent
from engine.errors import Unavailable
from engine.store.tables import payments, users
from tests.integration.admin.conftest import CUSTOMER, EXPERT, STAFF, Api, World
from tests.integration.admin.test_accounts import PASSWORD, register
from tests.integration.admin.test_payments import succeed

pytestmark = pytest.mark.usefixtures("ref")


@pytest.fixture
async def member(world: World) -> Api:
    return await register(world)


@pytest.fixture
async def ref(member: Api) -> str:
    """Their checkout, which pends."""
    return await member.top_up(2_500)


def answering(world: World, monkeypatch: pytest.MonkeyPatch, standing: Any) -> None:
    """Have the provider tell this of every payment, or raise it."""

    async def ask(_ref: str) -> Any:
        if isinstance(standing, Exception):
            raise standing
        return standing

    monkeypatch.setattr(world.provider, "ask", ask)


async def after(world: World, age_ms: int) -> int:
    """Look at what pends once it is so old; how much has ended."""
    async with world.store.transaction() as tx:
        created_ms = world.clock.wall_ms() - age_ms
        pending = sa.update(payments).where(payments.c.state == "pending")
        await tx.execute(pending.values(created_at_ms=created_ms))
    return await PendingPayments().work_off(world.deps)


async def erased(member: Api) -> str:
    """`erased`, or why not."""
    _, answer = await member.delete("/me", {"password": PASSWORD})
    return str(answer.get("code") or answer["state"])


async def test_a_payment_on_its_way_keeps_its_account_until_it_is_given_up(
    world: World, member: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(world, monkeypatch, "on_its_way")
    assert await after(world, LEFT_AFTER_MS) == 0
    assert await erased(member) == "payments_pending"
    assert await after(world, LOST_AFTER_MS - 60_000) == 0
    assert await after(world, LOST_AFTER_MS) == 1
    assert await erased(member) == "erased"


async def test_a_checkout_that_was_left_ends_after_a_day(
    world: World, member: Api, ref: str
) -> None:
    assert await after(world, LEFT_AFTER_MS - 60_000) == 0
    assert await erased(member) == "payments_pending"
    assert await after(world, LEFT_AFTER_MS) == 1
    _, page = await member.get("/me/export")
    assert [payment["state"] for payment in page["payments"]] == ["expired"]
    await succeed(world, ref, 2_500)  # what comes after all is booked all the same
    assert await member.wallet() == (2_500, 0)


async def test_a_payment_whose_news_was_lost_is_booked_when_asked_about(
    world: World, member: Api, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(world, monkeypatch, PaymentEvent(ref, "succeeded", "EUR", 2_500))
    assert await after(world, ASK_AFTER_MS - 60_000) == 0
    assert await member.wallet() == (0, 0)
    assert [await after(world, ASK_AFTER_MS) for _ in range(2)] == [1, 0]
    assert await member.wallet() == (2_500, 0)


@pytest.mark.parametrize(
    "trouble", [Unavailable("payment_provider_unavailable", "gone"), RuntimeError("a defect")]
)
async def test_a_provider_that_does_not_tell_stops_nothing(
    world: World, member: Api, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    answering(world, monkeypatch, trouble)
    assert await after(world, LEFT_AFTER_MS) == 0
    assert await after(world, LOST_AFTER_MS) == 1
    assert await erased(member) == "erased"


async def test_another_amount_is_put_before_finance_and_ends_some_day(
    world: World, member: Api, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(world, monkeypatch, PaymentEvent(ref, "succeeded", "EUR", 2_400))
    assert await after(world, LEFT_AFTER_MS) == 0
    assert await after(world, LOST_AFTER_MS) == 1
    staff = await world.sign_in(STAFF)
    _, page = await staff.get("/admin/cases?kind=payment")
    assert len(page["items"]) == 1
    assert await member.wallet() == (0, 0)


async def test_a_payment_of_a_provider_that_is_gone_ends_some_day(
    world: World, member: Api
) -> None:
    world.deps.providers.clear()  # type: ignore[attr-defined]
    assert await after(world, LEFT_AFTER_MS) == 0
    assert await after(world, LOST_AFTER_MS) == 1
    assert await erased(member) == "erased"


async def test_nobody_works_on_a_case_about_a_payment_of_their_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def seen(who: Api, ref: str) -> Any:
        """The case about this payment of `who`."""
        answering(world, monkeypatch, PaymentEvent(ref, "succeeded", "EUR", 2_400))
        await after(world, ASK_AFTER_MS)
        _, page = await (await world.sign_in(STAFF)).get("/admin/cases?kind=payment")
        return next(one for one in page["items"] if who.user_id in one["body"])

    finance, staff = await world.sign_in(EXPERT), await world.sign_in(STAFF)
    async with world.store.transaction() as tx:
        mine = sa.update(users).where(users.c.id == finance.user_id)
        await tx.execute(mine.values(roles=["member", "expert", "finance"]))
    solved = {"decision": "solved", "reason": "All is well."}
    for payer, other in ((finance, staff), (staff, finance)):
        case = await seen(payer, await payer.top_up(2_500))
        path = f"/admin/cases/{case['id']}"
        for move in ("assign", "decide"):
            status, refusal = await payer.post(f"{path}/{move}", solved if move == "decide" else {})
            assert (status, refusal["code"]) == (403, "own_case")
        assert (await other.post(f"{path}/assign", {"assignee_id": payer.user_id}))[0] == 403
        assert (await other.post(f"{path}/decide", solved))[0] == 200
    member = await world.sign_in(CUSTOMER)
    case = await seen(member, await member.top_up(2_500))
    assert (await member.get(f"/cases/{case['id']}"))[0] == 404
