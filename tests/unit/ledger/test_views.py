"""What the ledger tells: of whom it was asked, in the currency it was asked for, and no more."""

from __future__ import annotations

from engine.metering.ledger import AccountKind, HoldPart, StatementLine, WalletView
from engine.metering.ledger.views import MAX_STATEMENT_LINES
from tests.unit.ledger.conftest import Till


async def _statement(till: Till, user: str, currency: str, limit: int) -> list[StatementLine]:
    async with till.store.reading() as tx:
        return await till.ledger.transactions(tx, user, currency, limit=limit)


async def test_whoever_never_had_money_has_none(till: Till) -> None:
    assert await till.wallet("stranger") == WalletView(0, 0)
    async with till.store.reading() as tx:
        assert await till.ledger.balance(tx, AccountKind.EARNINGS, "stranger", "TRY") == 0
        found = await till.ledger.money_of(tx, ["stranger"], "TRY")
    assert found == {"stranger": (WalletView(0, 0), 0)}


async def test_the_money_of_several_is_theirs_in_that_currency(till: Till) -> None:
    """eva is a customer, too; some of what she earned is on its way to her bank."""
    await till.topup(7, user="bob")
    await till.topup(30, user="eva")
    await till.topup(100)
    await till.topup(900, currency="EUR", key="euro")
    held = await till.hold("h", 60)
    await till.capture("c", [(held.hold_id, 50)], fee=5)
    async with till.store.transaction() as tx:
        await till.ledger.payout(
            tx, key="p", user_id="eva", currency="TRY", amount_minor=20, payment_id="pay"
        )
    async with till.store.reading() as tx:
        money = await till.ledger.money_of(tx, ["ann", "eva", "nobody"], "TRY")
        euros = await till.ledger.money_of(tx, ["ann"], "EUR")
    assert money == {
        "ann": (WalletView(50, 10), 0),
        "eva": (WalletView(30, 0), 25),
        "nobody": (WalletView(0, 0), 0),
    }
    assert euros == {"ann": (WalletView(900, 0), 0)}


async def test_open_holds_are_those_of_an_order_or_of_a_session_of_it(till: Till) -> None:
    await till.topup(100)
    ledger, owner = till.ledger, {"user_id": "ann", "currency": "TRY"}
    made = (("o1", None), ("o1", "s1"), ("o1", "s2"), ("o2", "s1"), ("o2", None))
    async with till.store.transaction() as tx:
        for n, (order, session) in enumerate(made):
            ids = {"order_id": order, "session_id": session}
            await ledger.hold(tx, key=f"h{n}", amount_minor=1, **owner, **ids)
        refused = await ledger.hold(
            tx, key="no", amount_minor=1_000, **owner, order_id="o1", session_id="s1"
        )
        gone = (await ledger.open_holds(tx, order_id="o1", session_id="s2"))[0]
        await ledger.release(tx, key="r", hold_id=gone.id)
    asked: list[tuple[dict[str, str], list[str]]] = [
        ({"order_id": "o1"}, ["h0", "h1"]),
        ({"session_id": "s1"}, ["h1", "h3"]),
        ({"order_id": "o2", "session_id": "s1"}, ["h3"]),
        ({"order_id": "o1", "session_id": "s2"}, []),
    ]
    async with till.store.reading() as tx:
        for what, keys in asked:
            found = await ledger.open_holds(tx, **what)
            assert sorted(one.key for one in found) == keys
        of_order = await ledger.holds_of_order(tx, "o1")
    assert sorted(one.key for one in of_order) == ["h0", "h1", "h2"]
    assert refused.hold_id not in {one.id for one in of_order}


async def test_a_statement_is_about_one_wallet(till: Till) -> None:
    await till.topup(100)
    await till.topup(40, user="eva")
    await till.topup(900, currency="EUR", key="euro")
    held = await till.hold("h", 60)
    await till.capture("c", [(held.hold_id, 50)], fee=5)
    lines = await _statement(till, "ann", "TRY", 10)
    assert [line.amount_minor for line in lines] == [-50, 100]
    assert [line.amount_minor for line in await _statement(till, "eva", "TRY", 10)] == [40]
    assert [line.amount_minor for line in await _statement(till, "ann", "EUR", 10)] == [900]


async def test_a_statement_has_at_least_one_line_and_at_most_so_many(till: Till) -> None:
    async with till.store.transaction() as tx:
        for n in range(MAX_STATEMENT_LINES + 2):
            await till.ledger.topup(
                tx, key=f"{n}", user_id="ann", currency="TRY", amount_minor=n + 1, payment_id=None
            )
    assert MAX_STATEMENT_LINES == 200
    for asked, told in ((0, 1), (1, 1), (2, 2), (1_000, 200)):
        lines = await _statement(till, "ann", "TRY", asked)
        newest = range(MAX_STATEMENT_LINES + 2, 0, -1)
        assert [line.amount_minor for line in lines] == list(newest[:told])


async def test_a_payout_is_not_ended_by_the_end_of_another(till: Till) -> None:
    await till.topup(100)
    held = await till.hold("h", 100)
    async with till.store.transaction() as tx:
        await till.ledger.capture(
            tx,
            key="c",
            parts=[HoldPart(held.hold_id, 100)],
            expert_id="eva",
            fee_minor=0,
            order_id="ord_1",
            session_id="ses_1",
        )
        for payment in ("p1", "p2"):
            await till.ledger.payout(
                tx, key=payment, user_id="eva", currency="TRY", amount_minor=30, payment_id=payment
            )
        for payment in ("p1", "p2"):
            await till.ledger.end_payout(tx, key=f"end:{payment}", payment_id=payment, paid=True)
    async with till.store.reading() as tx:
        assert await till.ledger.balance(tx, AccountKind.EARNINGS, "eva", "TRY") == 40
