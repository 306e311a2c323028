"""Earnings to the bank: asked for, decided by finance, and back again if that fails."""

from __future__ import annotations

import asyncio
from typing import Any

import sqlalchemy as sa

from engine.metering.ledger import AccountKind
from engine.store.tables import outbox, payments, users
from tests.integration.admin.conftest import CUSTOMER, EXPERT, PER_QUARTER, STAFF, Api, World

IBAN = "DE89 3704 0044 0532 0130 00"


async def earn(world: World, amount_minor: int) -> Api:
    """The expert with so much earned and an account to send it to."""
    expert = await world.sign_in(EXPERT)
    async with world.store.transaction() as tx:
        await world.ledger.adjust(
            tx,
            key="test:earned",
            kind=AccountKind.EARNINGS,
            user_id=await world.user_id(EXPERT),
            currency="EUR",
            amount_minor=amount_minor,
            reason="work of these tests",
        )
    status, _ = await expert.put("/me/payout-details", {"holder": "Maya Lindqvist", "iban": IBAN})
    assert status == 200
    return expert


async def earned(api: Api) -> int:
    _, wallet = await api.get("/wallet")
    return int(wallet["earned"]["amount"])


async def request(expert: Api, amount_minor: int = 5_000) -> Any:
    status, payout = await expert.post("/payouts", {"amount_minor": amount_minor})
    assert status == 201, payout
    return payout


async def test_P11_a_payout_goes_its_way_to_the_bank(any_world: World) -> None:
    expert, staff = await earn(any_world, 8_000), await any_world.sign_in(STAFF)
    payout = await request(expert)
    assert (payout["state"], payout["iban"], payout["actions"]) == (
        "requested",
        "…3000",
        ["cancel"],
    )
    assert await earned(expert) == 3_000
    for action, body, state in (
        ("approve", None, "approved"),
        ("send", {"reference": "run 7"}, "sent"),
        ("confirm", None, "paid"),
    ):
        status, moved = await staff.post(f"/admin/payouts/{payout['id']}/{action}", body)
        assert (status, moved["state"]) == (200, state)
    assert (moved["reference"], moved["actions"]) == ("run 7", [])
    _, page = await expert.get("/payouts")
    assert [(one["id"], one["state"]) for one in page["items"]] == [(payout["id"], "paid")]
    assert await earned(expert) == 3_000
    _, statement = await expert.get("/wallet/transactions")
    lines = [(line["kind"], line["amount"]["amount"]) for line in statement["items"]]
    assert ("payout", -5_000) in lines


async def test_a_payout_that_comes_back_is_earned_again_and_says_why(any_world: World) -> None:
    expert, staff = await earn(any_world, 5_000), await any_world.sign_in(STAFF)
    payout = await request(expert)
    await staff.post(f"/admin/payouts/{payout['id']}/approve")
    status, failed = await staff.post(
        f"/admin/payouts/{payout['id']}/fail", {"reason": "account closed"}
    )
    assert (status, failed["state"], failed["failure"]) == (200, "failed", "account closed")
    assert await earned(expert) == 5_000
    told = [data["type"] for _, event, data in any_world.engine.pushed]
    assert told == ["payout.approved", "payout.failed"]


async def test_an_expert_takes_back_what_is_not_approved_yet(any_world: World) -> None:
    expert, staff = await earn(any_world, 10_000), await any_world.sign_in(STAFF)
    first, second = await request(expert), await request(expert)
    status, cancelled = await expert.post(f"/payouts/{first['id']}/cancel")
    assert (status, cancelled["state"]) == (200, "cancelled")
    await staff.post(f"/admin/payouts/{second['id']}/approve")
    status, refusal = await expert.post(f"/payouts/{second['id']}/cancel")
    assert (status, refusal["code"]) == (409, "payout_approved")
    assert await earned(expert) == 5_000


async def test_what_was_not_earned_is_not_paid_out(any_world: World) -> None:
    expert = await earn(any_world, 5_000)
    status, refusal = await expert.post("/payouts", {"amount_minor": 5_001})
    assert (status, refusal["code"], refusal["lacking_minor"]) == (409, "insufficient_earnings", 1)
    status, refusal = await expert.post("/payouts", {"amount_minor": 999})
    assert (status, refusal["code"], refusal["minimum_minor"]) == (422, "below_minimum", 1_000)
    answers = await asyncio.gather(
        *(expert.post("/payouts", {"amount_minor": 3_000}) for _ in range(3))
    )
    assert sorted(status for status, _ in answers) == [201, 409, 409]
    assert await earned(expert) == 2_000


async def test_C31_a_refund_after_the_payout_leaves_a_debt_that_blocks_payouts(
    any_world: World,
) -> None:
    customer, expert = await any_world.sign_in(CUSTOMER), await earn(any_world, 1_000)
    await request(expert, 1_000)
    order = await customer.order(PER_QUARTER)
    session = await any_world.session(order["id"])
    paid = await any_world.capture(session, 500)
    async with any_world.store.transaction() as tx:
        # All of it was paid out meanwhile.
        await any_world.ledger.payout(
            tx,
            key="test:payout",
            user_id=expert.user_id,
            currency="EUR",
            amount_minor=400,
            payment_id=(await _other_payout(any_world, tx, expert.user_id, 400)),
        )
        await any_world.ledger.reverse(
            tx,
            key="test:refund",
            transfer_id=paid,
            amount_minor=500,
            fee_minor=100,
            reason="not as agreed",
            order_id=order["id"],
            session_id=session,
        )
    assert await earned(expert) == -400
    status, refusal = await expert.post("/payouts", {"amount_minor": 1_000})
    assert (status, refusal["code"]) == (409, "insufficient_earnings")
    assert refusal["lacking_minor"] == 1_400


async def _other_payout(world: World, tx: Any, user_id: str, amount_minor: int) -> str:
    values = {"id": "pay_other", "direction": "out", "user_id": user_id, "currency": "EUR"}
    values |= {"provider": "manual", "provider_ref": "pay_other", "state": "requested"}
    now_ms = world.clock.wall_ms()
    await tx.execute(
        sa.insert(payments).values(
            **values, amount_minor=amount_minor, created_at_ms=now_ms, updated_at_ms=now_ms
        )
    )
    return "pay_other"


async def test_an_account_is_needed_and_checked(world: World) -> None:
    expert, customer = await world.sign_in(EXPERT), await world.sign_in(CUSTOMER)
    status, refusal = await expert.post("/payouts", {"amount_minor": 5_000})
    assert (status, refusal["code"]) == (409, "payout_details_missing")
    wrong = {"holder": "Maya", "iban": "DE89370400440532013001"}
    status, refusal = await expert.put("/me/payout-details", wrong)
    assert (status, refusal["code"], refusal["path"]) == (422, "invalid_iban", "$.iban")
    right = {"holder": "Maya", "iban": IBAN}
    assert (await expert.put("/me/payout-details", right))[0] == 200
    _, details = await expert.get("/me/payout-details")
    assert details["iban"] == IBAN.replace(" ", "")
    status, refusal = await customer.put("/me/payout-details", right)
    assert (status, refusal["code"]) == (404, "expert_not_found")
    async with world.store.reading() as tx:
        query = sa.select(outbox.c.data).where(outbox.c.type == "payout_details.changed")
        assert list((await tx.execute(query)).scalars()) == [{"iban": "…3000"}]


async def test_payouts_are_nobody_elses_business(world: World) -> None:
    expert, customer = await earn(world, 5_000), await world.sign_in(CUSTOMER)
    payout = await request(expert)
    for path in (f"/payouts/{payout['id']}",):
        status, refusal = await customer.get(path)
        assert (status, refusal["code"]) == (404, "payout_not_found")
    status, refusal = await customer.post(f"/payouts/{payout['id']}/cancel")
    assert (status, refusal["code"]) == (404, "payout_not_found")
    for outsider in (customer, expert):
        status, refusal = await outsider.get("/admin/payouts")
        assert (status, refusal["code"]) == (403, "not_permitted")
    status, refusal = await expert.post(f"/admin/payouts/{payout['id']}/approve")
    assert (status, refusal["code"]) == (403, "not_staff")
    status, refusal = await customer.post(f"/admin/payouts/{payout['id']}/approve")
    assert (status, refusal["code"]) == (404, "payout_not_found")


async def test_a_topup_is_no_payout(world: World) -> None:
    customer, staff = await world.sign_in(CUSTOMER), await world.sign_in(STAFF)
    await customer.top_up(2_000)
    _, top_ups = await staff.get("/admin/payouts")
    assert top_ups["items"] == []
    status, refusal = await staff.post("/admin/payouts/pay_usr_demo_customer/approve")
    assert (status, refusal["code"]) == (404, "payout_not_found")


async def test_finance_takes_the_approved_ones_to_the_bank(world: World) -> None:
    expert, staff = await earn(world, 9_000), await world.sign_in(STAFF)
    async with world.store.transaction() as tx:
        await tx.execute(
            sa.text("UPDATE experts SET payout_details = :to WHERE user_id = :id"),
            {"to": '{"holder": "=cmd()", "iban": "DE89370400440532013000"}', "id": expert.user_id},
        )
    first, _second = await request(expert, 4_000), await request(expert, 1_000)
    await staff.post(f"/admin/payouts/{first['id']}/approve")
    url = "/api/v1/admin/payouts.csv"
    async with world.client.get(url, headers=staff.headers) as answer:
        assert answer.content_type == "text/csv"
        lines = (await answer.text()).splitlines()
    assert lines[1:] == [f"{first['id']},'=cmd(),DE89370400440532013000,40.00,EUR"]
    async with world.client.get(url, headers=expert.headers) as answer:
        assert answer.status == 403


async def test_nobody_decides_about_a_payout_of_their_own(any_world: World) -> None:
    expert, staff = await earn(any_world, 9_000), await any_world.sign_in(STAFF)
    async with any_world.store.transaction() as tx:
        mine = sa.update(users).where(users.c.id == expert.user_id)
        await tx.execute(mine.values(roles=["member", "expert", "finance"]))
    payout = await request(expert)
    assert payout["actions"] == ["cancel"]
    path, reason = f"/admin/payouts/{payout['id']}", {"reason": "my money"}
    for actions, then in (
        ({"approve": None, "reject": reason}, ("approve", None)),
        ({"send": {"reference": "run 7"}, "fail": reason}, ("send", {"reference": "run 7"})),
        ({"confirm": None, "fail": reason}, ("confirm", None)),
    ):
        for action, body in actions.items():
            status, refusal = await expert.post(f"{path}/{action}", body)
            assert (status, refusal["code"]) == (403, "own_payout"), action
        assert (await staff.post(f"{path}/{then[0]}", then[1]))[0] == 200


async def test_only_staff_with_finance_decide(world: World) -> None:
    expert, staff = await earn(world, 5_000), await world.sign_in(STAFF)
    payout = await request(expert)
    async with world.store.transaction() as tx:
        await tx.execute(
            sa.update(users).where(users.c.id == staff.user_id).values(roles=["member", "support"])
        )
    status, refusal = await staff.post(f"/admin/payouts/{payout['id']}/approve")
    assert (status, refusal["code"]) == (404, "payout_not_found")
    status, _ = await staff.get("/admin/payouts")
    assert status == 403
