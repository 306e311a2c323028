"""The staff's desks: orders, users, money, settings and the log, each with its permission."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
import sqlalchemy as sa

from engine.store.database import Store
from engine.store.market_tables import settings_versions
from engine.store.tables import outbox, users
from tests.integration.admin.conftest import CUSTOMER, EXPERT, PER_QUARTER, STAFF, World
from tests.integration.admin.test_payouts import earn, request
from tests.integration.admin.test_staff import Browser

DESKS = {
    "/admin": "",
    "/admin/sessions": "",
    "/admin/orders": "support",
    "/admin/users": "support",
    "/admin/money": "finance",
    "/admin/ledger": "finance",
    "/admin/settings": "admin",
    "/admin/log": "admin",
}


@pytest.fixture
def browser(world: World) -> Browser:
    return Browser(world)


async def events(world: World, type_: str) -> list[dict[str, Any]]:
    async with world.store.reading() as tx:
        query = sa.select(outbox.c.data).where(outbox.c.type == type_).order_by(outbox.c.seq)
        return list((await tx.execute(query)).scalars())


@pytest.mark.parametrize("role", ["support", "finance", "disputes.decide", "admin"])
async def test_each_desk_is_open_to_its_permission_only(
    world: World, browser: Browser, role: str
) -> None:
    async with world.store.transaction() as tx:
        await tx.execute(
            sa.update(users).where(users.c.email == STAFF).values(roles=["member", role])
        )
    await browser.sign_in()
    _, start = await browser.get("/admin")
    for path, permission in DESKS.items():
        may = not permission or role in (permission, "admin")
        status, text = await browser.get(path)
        assert status == (200 if may else 403), path
        assert (f'href="{path}"' in start) is may or path == "/admin/ledger"
        assert may or "needs the permission" in text


async def test_an_order_is_found_and_money_given_back(world: World, browser: Browser) -> None:
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    session = await world.session(order["id"])
    await world.capture(session, 600)
    await customer.post(f"/orders/{order['id']}/close")
    await browser.sign_in()
    for text in (order["number"].lower(), order["id"], CUSTOMER):
        _, found = await browser.get(f"/admin/orders?q={text}")
        assert order["number"] in found
    _, nothing = await browser.get("/admin/orders?q=TT-NONE-0000")
    assert "No such order" in nothing
    path = f"/admin/orders/{order['id']}"
    status, page = await browser.get(path)
    assert status == 200
    assert "Give money back" in page
    status, page = await browser.post(f"{path}/refund", amount="2.50", reason="not as agreed")
    assert status == 200
    assert await customer.wallet() == (20_000 - 350, 0)
    assert await events(world, "order.refunded") == [
        {"refunded_minor": 250, "reason": "not as agreed"}
    ]
    status, page = await browser.post(f"{path}/refund", amount="3.51", reason="too much")
    assert (status, "More than was paid" in page) == (409, True)
    for amount in ("", "x", "1e99", "NaN", "0", "1.005"):
        status, _ = await browser.post(f"{path}/refund", amount=amount, reason="wrong")
        assert status == 422
    assert await customer.wallet() == (20_000 - 350, 0)


async def test_a_refund_form_sent_twice_gives_back_once(world: World, browser: Browser) -> None:
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    session = await world.session(order["id"])
    for number in (1, 2):
        await world.capture(session, 400, number)
    await customer.post(f"/orders/{order['id']}/close")
    await browser.sign_in()
    path = f"/admin/orders/{order['id']}"
    _, page = await browser.get(path)
    (once,) = re.findall(r'name="once" value="([^"]+)"', page)
    form = {"once": once, "amount": "5.00", "reason": "not as agreed"}  # more than one capture
    for _ in range(2):
        status, page = await browser.post(f"{path}/refund", **form)
        assert (status, "Give money back" in page) == (200, True)
    assert await customer.wallet() == (20_000 - 300, 0)
    assert len(await events(world, "order.refunded")) == 1
    (other,) = re.findall(r'name="once" value="([^"]+)"', page)
    await browser.post(f"{path}/refund", **form | {"once": other, "amount": "1.00"})
    assert await customer.wallet() == (20_000 - 200, 0)


async def test_a_refund_form_sent_again_with_another_amount_says_that_it_gave_nothing(
    world: World, browser: Browser
) -> None:
    """As from the page before, to which the browser has gone back."""
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    session = await world.session(order["id"])
    for number in (1, 2):
        await world.capture(session, 400, number)
    await browser.sign_in()
    path = f"/admin/orders/{order['id']}/refund"
    form = {"once": "ref_a", "reason": "not as agreed"}
    assert (await browser.post(path, **form, amount="5.00"))[0] == 200
    for amount in ("1.00", "4.00"):  # of the first capture
        status, page = await browser.post(path, **form, amount=amount)
        assert (status, "Another amount" in page) == (409, True)
    assert (await browser.post(path, **form, amount="5.00"))[0] == 200
    for other in ("ref_A", "ref"):
        sent = form | {"once": other, "amount": "0.50"}
        assert (await browser.post(path, **sent))[0] == 200
    assert (await customer.wallet())[0] == 20_000 - 1_200 + 600


async def test_what_is_given_back_is_read_in_the_currency_of_its_order(store: Store) -> None:
    """New orders are in yen by now, which have no decimals."""
    world = World(store, currency="JPY")
    await world.start()
    customer, browser = await world.sign_in(CUSTOMER), Browser(world)
    order = await customer.order(PER_QUARTER)
    await world.capture(await world.session(order["id"]), 600)
    await browser.sign_in()
    form = {"amount": "1.50", "reason": "not as agreed"}
    assert (await browser.post(f"/admin/orders/{order['id']}/refund", **form))[0] == 200
    _, case = await customer.post(f"/orders/{order['id']}/dispute", {"reason": "Less."})
    split = {"decision": "split", "refund": "2", "reason": "As seen."}
    path = f"/admin/cases/{case['dispute_case_id']}/decide"
    assert (await browser.post(path, **split))[0] == 200
    async with store.reading() as tx:
        wallet = await world.ledger.wallet(tx, customer.user_id, "EUR")
    assert wallet.available_minor == 20_000 - 600 + 150 + 200
    await world.stop()


async def test_a_refund_sent_twice_at_once_gives_back_once(any_world: World) -> None:
    customer, staff = await any_world.sign_in(CUSTOMER), await any_world.sign_in(STAFF)
    order = await customer.order(PER_QUARTER)
    await any_world.capture(await any_world.session(order["id"]), 600)
    body = {"amount_minor": 250, "reason": "not as agreed", "once": "ref_1"}
    path = f"/admin/orders/{order['id']}/refund"
    answers = await asyncio.gather(*(staff.post(path, body) for _ in range(4)))
    assert sorted(status for status, _ in answers) == [200, 409, 409, 409]
    codes = {answer["code"] for status, answer in answers if status == 409}
    assert codes == {"already_refunded"}


async def test_an_account_is_set_right_once_per_form(world: World, browser: Browser) -> None:
    customer = await world.sign_in(CUSTOMER)
    await browser.sign_in()
    path = f"/admin/users/{customer.user_id}"
    _, page = await browser.get(path)
    (once,) = re.findall(r'name="once" value="([^"]+)"', page)
    for _ in range(2):
        status, page = await browser.post(
            f"{path}/adjust", once=once, account="wallet", amount="12,50", reason="goodwill"
        )
        assert status == 200
    assert await customer.wallet() == (21_250, 0)
    assert await events(world, "account.adjusted") == [
        {"account": "wallet", "amount_minor": 1_250, "reason": "goodwill"}
    ]
    status, _ = await browser.post(
        f"{path}/adjust", once="other", account="wallet", amount="-300", reason="mistake"
    )
    assert status == 409
    status, _ = await browser.post(f"{path}/adjust", once="x", account="wallet", amount="1")
    assert status == 422
    assert await customer.wallet() == (21_250, 0)


async def test_nobody_adjusts_an_account_of_their_own(world: World, browser: Browser) -> None:
    staff = await world.sign_in(STAFF)
    await browser.sign_in()
    path = f"/admin/users/{staff.user_id}"
    _, page = await browser.get(path)
    assert "Set an account right" not in page
    for account in ("wallet", "earnings"):
        form = {"once": account, "account": account, "amount": "5", "reason": "a present"}
        assert (await browser.post(f"{path}/adjust", **form))[0] == 403
    assert await events(world, "account.adjusted") == []


async def test_users_are_found_by_name_and_e_mail(world: World, browser: Browser) -> None:
    await browser.sign_in()
    for text in ("elena", "expert@", await world.user_id(EXPERT)):
        _, page = await browser.get(f"/admin/users?q={text}")
        assert EXPERT in page
        assert CUSTOMER not in page
    status, page = await browser.get("/admin/users?q=%25%00")
    assert (status, "Nobody of that name" in page) == (200, True)
    status, _ = await browser.get("/admin/users/usr_nobody")
    assert status == 404


async def test_finance_decides_payouts(world: World, browser: Browser) -> None:
    expert = await earn(world, 9_000)
    first, second = await request(expert, 5_000), await request(expert, 4_000)
    await browser.sign_in()
    _, page = await browser.get("/admin/money")
    assert page.count("…3000") == 2
    await browser.post(f"/admin/payouts/{first['id']}/approve")
    await browser.post(f"/admin/payouts/{first['id']}/send", reference="run 7")
    status, _ = await browser.post(f"/admin/payouts/{second['id']}/reject")
    assert status == 422
    await browser.post(f"/admin/payouts/{second['id']}/reject", reason="wrong holder")
    _, page = await browser.get("/admin/money?state=sent")
    assert "run 7" in page
    _, page = await browser.get("/admin/money?state=failed")
    assert "wrong holder" in page
    status, _ = await browser.get("/admin/money?state=none")
    assert status == 422


async def test_terms_change_as_versions_and_running_orders_keep_theirs(
    world: World, browser: Browser
) -> None:
    customer = await world.sign_in(CUSTOMER)
    before = await customer.order(PER_QUARTER)
    await browser.sign_in()
    _, page = await browser.get("/admin/settings")
    fields = dict(re.findall(r'name="([a-z_]+)" value="([^"]*)"', page))
    changed = fields | {"commission_bps": "1500", "auto_accept_after_s": "259200"}
    status, page = await browser.post("/admin/settings", **changed)
    assert (status, 'value="1500"' in page) == (200, True)
    status, _ = await browser.post("/admin/settings", **changed)
    assert status == 409  # from a page that does not show the newest version
    status, page = await browser.post(
        "/admin/settings", **(changed | {"version": "1", "commission_bps": "10001"})
    )
    assert (status, "commission_bps" in page) == (422, True)
    after = await customer.order(PER_QUARTER)
    async with world.store.reading() as tx:
        rows = {
            row.id: (row.terms["commission_bps"], row.policy["commission_bps"])
            for row in await tx.execute(
                sa.text("SELECT id, terms, policy FROM orders").columns(
                    terms=sa.JSON, policy=sa.JSON
                )
            )
        }
        assert await tx.scalar(sa.select(sa.func.count()).select_from(settings_versions)) == 1
    assert rows == {before["id"]: (2_000, 2_000), after["id"]: (1_500, 1_500)}
    (told,) = await events(world, "settings.changed")
    assert told == {"commission_bps": [2_000, 1_500], "auto_accept_after_s": [None, 259_200]}


async def test_the_log_tells_who_did_what(world: World, browser: Browser) -> None:
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    await customer.post(f"/orders/{order['id']}/cancel")
    await browser.sign_in()
    _, page = await browser.get(f"/admin/log?subject={order['id']}")
    assert re.findall(r"order\.[a-z]+", page) == [
        "order.cancelled",
        "order.paid",
        "order.created",
    ]
    _, page = await browser.get(f"/admin/log?actor={customer.user_id}")
    assert "order.cancelled" in page
    for wrong in ("x", "-1", "9" * 30):
        assert (await browser.get(f"/admin/log?before={wrong}"))[0] == 422
