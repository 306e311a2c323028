"""The wallet and its statement (T41): every figure is the ledger's."""

from __future__ import annotations

from typing import Any

from tests.integration.admin.conftest import CUSTOMER, EXPERT, PER_QUARTER, PER_SECOND, Api, World


async def statement(user: Api, limit: int = 50, account: str = "") -> list[dict[str, Any]]:
    lines, cursor = [], ""
    of = f"&account={account}" if account else ""
    while cursor is not None:
        status, page = await user.get(f"/wallet/transactions?limit={limit}{of}{cursor}")
        assert status == 200, page
        lines += page["items"]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    return lines


async def test_the_statement_explains_available_and_balance(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    kept = await customer.order(PER_QUARTER)
    await any_world.capture(await any_world.session(kept["id"]), 1_200)
    returned = await customer.order(PER_SECOND)
    await customer.post(f"/orders/{returned['id']}/cancel")
    lines = await statement(customer)
    assert [(line["kind"], line["amount"]["amount"]) for line in reversed(lines)] == [
        ("topup", 20_000),
        ("hold", -1_200),
        ("capture", -1_200),
        ("hold", -750),
        ("release", 750),
    ]
    moved = sum(line["amount"]["amount"] for line in lines if line["kind"] in ("topup", "capture"))
    assert moved == sum(await customer.wallet())
    assert lines[-2]["text"] == f"Set aside for order {kept['number']}"
    assert lines[0]["order_id"] == returned["id"]


async def test_the_lines_of_an_account_sum_to_its_balance(any_world: World) -> None:
    customer, expert = await any_world.sign_in(CUSTOMER), await any_world.sign_in(EXPERT)
    kept = await customer.order(PER_QUARTER)
    await any_world.capture(await any_world.session(kept["id"]), 1_200)
    await customer.order(PER_SECOND)
    lines = await statement(customer, limit=1, account="wallet")
    assert [(line["kind"], line["account"]) for line in reversed(lines)] == [
        ("topup", "wallet"),
        ("capture", "wallet"),
    ]
    assert sum(line["amount"]["amount"] for line in lines) == sum(await customer.wallet())
    assert (lines[0]["order_number"], lines[0]["order_id"]) == (kept["number"], kept["id"])
    assert lines[0]["order_title"]
    assert await statement(customer, account="earnings") == []
    (earned,) = await statement(expert, account="earnings")
    _, wallet = await expert.get("/wallet")
    assert earned["amount"] == wallet["earned"]
    assert await statement(expert, account="wallet") == []


async def test_the_captures_of_a_session_are_one_line_for_either_party(any_world: World) -> None:
    customer, expert = await any_world.sign_in(CUSTOMER), await any_world.sign_in(EXPERT)
    order = await customer.order(PER_QUARTER)
    session = await any_world.session(order["id"])
    for number, amount in enumerate((300, 400, 500), 1):
        await any_world.capture(session, amount, number)
    line = (await statement(customer))[0]
    assert (line["kind"], line["amount"]["amount"], line["session_id"]) == (
        "capture",
        -1_200,
        session,
    )
    (line,) = await statement(expert)
    assert (line["kind"], line["amount"]["amount"]) == ("capture", 960)
    assert line["text"].startswith("Earned: ")
    _, wallet = await expert.get("/wallet")
    assert wallet["earned"]["amount"] == 960


async def test_what_is_given_back_shows_on_both_sides(any_world: World) -> None:
    customer, expert = await any_world.sign_in(CUSTOMER), await any_world.sign_in(EXPERT)
    order = await customer.order(PER_QUARTER)
    session = await any_world.session(order["id"])
    transfer = await any_world.capture(session, 1_200)
    async with any_world.store.transaction() as tx:
        await any_world.ledger.reverse(
            tx,
            key="test:reverse",
            transfer_id=transfer,
            amount_minor=500,
            fee_minor=100,
            reason="unserved part of a block",
            order_id=order["id"],
            session_id=session,
        )
    line = (await statement(customer))[0]
    assert (line["kind"], line["amount"]["amount"]) == ("reverse", 500)
    line = (await statement(expert))[0]
    assert (line["kind"], line["amount"]["amount"]) == ("reverse", -400)
    _, seen = await customer.get(f"/orders/{order['id']}")
    assert seen["captured"]["amount"] == 700


async def test_what_a_running_session_sets_aside_is_not_listed(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    session = await any_world.session(order["id"], state="in_progress", end_reason=None)
    before = await statement(customer)
    async with any_world.store.transaction() as tx:
        held = await any_world.ledger.hold(
            tx,
            key=f"session:{session}:hold:2:1",
            user_id=customer.user_id,
            currency="EUR",
            amount_minor=1_200,
            order_id=order["id"],
            session_id=session,
        )
    assert await customer.wallet() == (17_600, 2_400)
    assert await statement(customer) == before
    async with any_world.store.transaction() as tx:
        await any_world.ledger.release(tx, key="test:settle", hold_id=held.hold_id)
    assert await statement(customer) == before


async def test_pages_neither_repeat_nor_skip_lines(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    for _ in range(5):
        order = await customer.order(PER_SECOND)
        await customer.post(f"/orders/{order['id']}/cancel")
    whole = await statement(customer)
    assert len(whole) == 11
    assert await statement(customer, limit=1) == whole
    assert await statement(customer, limit=4) == whole


async def test_a_wallet_that_never_moved_is_empty(world: World) -> None:
    expert = await world.sign_in(EXPERT)
    _, wallet = await expert.get("/wallet")
    zero = {"amount": 0, "currency": "EUR"}
    assert wallet == {"available": zero, "held": zero, "earned": zero}
    assert await statement(expert) == []
