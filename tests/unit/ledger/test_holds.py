"""Holds: granted by what is available, refused for good, released once."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from engine.errors import BadInput, Conflict, NotFound
from engine.metering.ledger import (
    AccountKind,
    HoldResult,
    HoldState,
    HoldStatus,
    ReleaseResult,
    ReleaseStatus,
    WalletView,
)
from engine.metering.money import MAX_AMOUNT_MINOR
from engine.store import tables as t
from tests.unit.ledger.conftest import Till


async def test_a_hold_sets_money_aside_without_moving_it(till: Till) -> None:
    await till.topup(1000)
    held = await till.hold("h", 900)
    assert held == HoldResult(HoldStatus.GRANTED, held.hold_id, 900, 0, replayed=False)
    assert await till.wallet() == WalletView(balance_minor=1000, held_minor=900)
    assert (await till.wallet()).available_minor == 100


async def test_the_last_unit_can_be_held_and_no_more(till: Till) -> None:
    await till.topup(1000)
    assert (await till.hold("all", 1000)).status is HoldStatus.GRANTED
    refused = await till.hold("more", 1)
    assert (refused.status, refused.shortfall_minor) == (HoldStatus.REFUSED, 1)
    assert await till.wallet() == WalletView(1000, 1000)


async def test_a_refusal_tells_what_is_missing_and_is_final_for_its_key(till: Till) -> None:
    await till.topup(100)
    await till.hold("other", 40)
    refused = await till.hold("h", 100)
    assert (refused.status, refused.shortfall_minor) == (HoldStatus.REFUSED, 40)

    await till.topup(500)
    again = await till.hold("h", 100)
    assert again == HoldResult(HoldStatus.REFUSED, refused.hold_id, 100, 40, replayed=True)
    assert (await till.wallet()).held_minor == 40
    assert (await till.hold("h:2", 100)).status is HoldStatus.GRANTED


async def test_a_wallet_that_never_was_refuses_the_whole_amount(till: Till) -> None:
    refused = await till.hold("h", 70, user="nobody")
    assert (refused.status, refused.shortfall_minor) == (HoldStatus.REFUSED, 70)
    assert await till.wallet("nobody") == WalletView(0, 0)


async def test_a_wallet_of_another_currency_pays_nothing(till: Till) -> None:
    await till.topup(1000, currency="EUR")
    assert (await till.hold("h", 1, currency="TRY")).status is HoldStatus.REFUSED
    assert await till.wallet(currency="EUR") == WalletView(1000, 0)


async def test_a_repeated_hold_answers_the_same_and_changes_nothing(till: Till) -> None:
    await till.topup(1000)
    first = await till.hold("h", 300)
    again = await till.hold("h", 300)
    assert again == HoldResult(HoldStatus.GRANTED, first.hold_id, 300, 0, replayed=True)
    assert (await till.wallet()).held_minor == 300


async def test_a_resolved_hold_still_answers_its_key_as_granted(till: Till) -> None:
    await till.topup(1000)
    first = await till.hold("h", 300)
    await till.capture("c", [(first.hold_id, 300)])
    again = await till.hold("h", 300)
    assert again == HoldResult(HoldStatus.GRANTED, first.hold_id, 300, 0, replayed=True)
    assert await till.wallet() == WalletView(700, 0)


@pytest.mark.parametrize("change", [{"amount": 301}, {"user": "bob"}, {"currency": "EUR"}])
async def test_the_key_of_a_hold_serves_one_request_only(
    till: Till, change: dict[str, object]
) -> None:
    await till.topup(1000)
    await till.hold("h", 300)
    with pytest.raises(Conflict) as refusal:
        await till.hold("h", **{"amount": 300, **change})  # type: ignore[arg-type]
    assert refusal.value.code == "idempotency_key_reused"
    assert await till.wallet() == WalletView(1000, 300)


async def test_a_release_in_parts_frees_exactly_what_was_held(till: Till) -> None:
    await till.topup(1000)
    hold = await till.hold("h", 300)
    async with till.store.transaction() as tx:
        part = await till.ledger.release(tx, key="r:1", hold_id=hold.hold_id, amount_minor=100)
    assert part == ReleaseResult(ReleaseStatus.RELEASED, 100, replayed=False)
    assert await till.wallet() == WalletView(1000, 200)
    async with till.store.transaction() as tx:
        rest = await till.ledger.release(tx, key="r:2", hold_id=hold.hold_id)
        (view,) = await till.ledger.holds_of_order(tx, "ord_1")
    assert rest == ReleaseResult(ReleaseStatus.RELEASED, 200, replayed=False)
    assert await till.wallet() == WalletView(1000, 0)
    assert (view.state, view.remaining_minor) == (HoldState.RESOLVED, 0)


async def test_a_repeated_release_answers_the_same_and_changes_nothing(till: Till) -> None:
    await till.topup(1000)
    hold = await till.hold("h", 300)
    async with till.store.transaction() as tx:
        await till.ledger.release(tx, key="r", hold_id=hold.hold_id, amount_minor=100)
    async with till.store.transaction() as tx:
        again = await till.ledger.release(tx, key="r", hold_id=hold.hold_id, amount_minor=100)
        rest = await till.ledger.release(tx, key="r", hold_id=hold.hold_id)
    assert again == rest == ReleaseResult(ReleaseStatus.RELEASED, 100, replayed=True)
    assert (await till.wallet()).held_minor == 200
    async with till.store.transaction() as tx:
        with pytest.raises(Conflict) as refusal:
            await till.ledger.release(tx, key="r", hold_id=hold.hold_id, amount_minor=99)
    assert refusal.value.code == "idempotency_key_reused"


async def test_a_resolved_hold_has_nothing_to_release(till: Till) -> None:
    await till.topup(1000)
    hold = await till.hold("h", 300)
    await till.capture("c", [(hold.hold_id, 300)])
    refused = await till.hold("h2", 5000)
    async with till.store.transaction() as tx:
        for hold_id in (hold.hold_id, refused.hold_id):
            done = await till.ledger.release(tx, key="r", hold_id=hold_id)
            assert done == ReleaseResult(ReleaseStatus.ALREADY_RESOLVED, 0, replayed=True)
    assert await till.wallet() == WalletView(700, 0)


async def test_no_more_is_released_than_is_left(till: Till) -> None:
    await till.topup(1000)
    hold = await till.hold("h", 300)
    await till.capture("c", [(hold.hold_id, 100)])
    async with till.store.transaction() as tx:
        with pytest.raises(Conflict) as refusal:
            await till.ledger.release(tx, key="r", hold_id=hold.hold_id, amount_minor=201)
    assert refusal.value.code == "hold_exhausted"
    assert refusal.value.extra["remaining_minor"] == 200
    assert (await till.wallet()).held_minor == 200


async def test_an_unknown_hold_is_not_found(till: Till) -> None:
    async with till.store.transaction() as tx:
        with pytest.raises(NotFound) as refusal:
            await till.ledger.release(tx, key="r", hold_id="hold_none")
    assert refusal.value.code == "hold_not_found"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": 0}, "bad_amount"),
        ({"amount": -5}, "bad_amount"),
        ({"amount": MAX_AMOUNT_MINOR + 1}, "bad_amount"),
        ({"currency": "XYZ"}, "bad_currency"),
        ({"key": ""}, "bad_key"),
        ({"key": "k" * 161}, "bad_key"),
    ],
)
async def test_a_hold_of_nonsense_is_refused(
    till: Till, change: dict[str, object], code: str
) -> None:
    await till.topup(1000)
    with pytest.raises(BadInput) as refusal:
        await till.hold(**{"key": "h", "amount": 300, **change})  # type: ignore[arg-type]
    assert refusal.value.code == code
    assert await till.wallet() == WalletView(1000, 0)


async def test_a_transaction_rolled_back_leaves_no_hold(till: Till) -> None:
    await till.topup(1000)
    with pytest.raises(Conflict, match="later"):
        await _hold_and_fail(till)
    assert await till.wallet() == WalletView(1000, 0)
    assert (await till.hold("h", 300)).replayed is False


async def _hold_and_fail(till: Till) -> None:
    async with till.store.transaction() as tx:
        await till.hold_in(tx, "h", 300)
        raise Conflict("later", "later")


@pytest.mark.parametrize("column", ["balance_minor", "held_minor"])
async def test_the_store_itself_refuses_a_negative_wallet(till: Till, column: str) -> None:
    await till.topup(1000)
    with pytest.raises(sa.exc.IntegrityError):
        async with till.store.transaction() as tx:
            await tx.execute(sa.text(f"UPDATE accounts SET {column} = -1 WHERE kind = 'wallet'"))
    assert await till.wallet() == WalletView(1000, 0)


async def test_a_hold_takes_from_the_wallet_of_who_also_earns(till: Till) -> None:
    await till.topup(500, user="bob")
    earned = await till.hold("of bob", 500, user="bob")
    await till.capture("to ann", [(earned.hold_id, 500)], expert="ann")
    assert (await till.hold("nothing there", 1)).status is HoldStatus.REFUSED
    await till.topup(100)
    assert (await till.hold("h", 100)).status is HoldStatus.GRANTED
    assert await till.wallet() == WalletView(100, 100)
    async with till.store.reading() as tx:
        assert await till.ledger.balance(tx, AccountKind.EARNINGS, "ann", "TRY") == 500
        kinds = sa.select(t.accounts.c.kind, t.accounts.c.held_minor)
        held = {row.kind: row.held_minor for row in await tx.execute(kinds) if row.held_minor}
    assert held == {"wallet": 100}


async def _resolved(till: Till) -> dict[str, bool]:
    """Whether the row of each hold tells when nothing was left of it."""
    async with till.store.reading() as tx:
        rows = await tx.execute(sa.select(t.holds.c.key, t.holds.c.resolved_at_ms))
        return {row.key: row.resolved_at_ms is not None for row in rows}


async def test_a_hold_is_resolved_when_nothing_of_it_is_left(till: Till) -> None:
    await till.topup(1_000)
    hold = await till.hold("h", 300)
    await till.hold("refused", 5_000)
    assert await _resolved(till) == {"h": False, "refused": True}
    await till.capture("c1", [(hold.hold_id, 100)])
    assert await _resolved(till) == {"h": False, "refused": True}
    await till.capture("c2", [(hold.hold_id, 200)])
    assert await _resolved(till) == {"h": True, "refused": True}


async def test_holds_are_told_from_the_oldest_on(till: Till) -> None:
    await till.topup(1_000)
    made = [(await till.hold(f"h{n}", 1)).hold_id for n in range(4)]
    # The second was made first of all; two were made at the same instant.
    names, instants = ("c", "d", "b", "a"), (20, 10, 30, 30)
    async with till.store.transaction() as tx:
        for hold_id, name, at_ms in zip(made, names, instants, strict=True):
            one = sa.update(t.holds).where(t.holds.c.id == hold_id)
            await tx.execute(one.values(id=name, created_at_ms=at_ms))
        told = [hold.id for hold in await till.ledger.holds_of_order(tx, "ord_1")]
    assert told == ["d", "c", "a", "b"]
