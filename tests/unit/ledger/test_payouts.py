"""Payouts and adjustments: what leaves earnings is on its way, arrived or back, exactly once."""

from __future__ import annotations

import asyncio

import pytest

from engine.errors import BadInput, Conflict, NotFound
from engine.metering.ledger import AccountKind, TransferResult
from tests.unit.ledger.conftest import Till

KINDS = (AccountKind.EARNINGS, AccountKind.PAYOUTS, AccountKind.PSP)


async def _earn(till: Till, amount: int) -> None:
    await till.topup(amount)
    hold = await till.hold("h", amount)
    await till.capture("c", [(hold.hold_id, amount)])


async def _payout(till: Till, amount: int, payment_id: str = "pay_1") -> TransferResult:
    async with till.store.transaction() as tx:
        return await till.ledger.payout(
            tx,
            key=f"payout:{payment_id}",
            user_id="eva",
            currency="TRY",
            amount_minor=amount,
            payment_id=payment_id,
        )


async def _end(till: Till, *, paid: bool, key: str = "end") -> TransferResult:
    async with till.store.transaction() as tx:
        return await till.ledger.end_payout(tx, key=key, payment_id="pay_1", paid=paid)


async def _balances(till: Till) -> list[int]:
    """Earnings, on the way, outside."""
    async with till.store.reading() as tx:
        return [
            await till.ledger.balance(tx, kind, owner, "TRY")
            for kind, owner in zip(KINDS, ("eva", "platform", "platform"), strict=True)
        ]


async def test_a_payout_reaches_the_bank(till: Till) -> None:
    await _earn(till, 1_000)
    await _payout(till, 600)
    assert await _balances(till) == [400, 600, -1_000]
    await _end(till, paid=True)
    assert await _balances(till) == [400, 0, -400]


async def test_a_failed_payout_comes_back(till: Till) -> None:
    await _earn(till, 1_000)
    await _payout(till, 1_000)
    await _end(till, paid=False)
    assert await _balances(till) == [1_000, 0, -1_000]


async def test_more_than_was_earned_does_not_leave(till: Till) -> None:
    await _earn(till, 1_000)
    with pytest.raises(Conflict) as refusal:
        await _payout(till, 1_001)
    assert (refusal.value.code, refusal.value.extra) == (
        "insufficient_earnings",
        {"lacking_minor": 1},
    )
    assert await _balances(till) == [1_000, 0, -1_000]


async def test_a_repeated_request_pays_once(till: Till) -> None:
    await _earn(till, 1_000)
    first, again = await _payout(till, 600), await _payout(till, 600)
    assert (again.transfer_id, again.replayed) == (first.transfer_id, True)
    with pytest.raises(Conflict) as refusal:
        await _payout(till, 500)
    assert refusal.value.code == "idempotency_key_reused"
    assert await _balances(till) == [400, 600, -1_000]


async def test_it_ends_once_and_one_way(till: Till) -> None:
    await _earn(till, 1_000)
    await _payout(till, 600)
    await _end(till, paid=True)
    assert (await _end(till, paid=True)).replayed
    with pytest.raises(Conflict) as refusal:
        await _end(till, paid=False, key="other")
    assert refusal.value.code == "payout_ended"
    assert await _balances(till) == [400, 0, -400]


async def test_an_unknown_payout_cannot_end(till: Till) -> None:
    with pytest.raises(NotFound) as refusal:
        await _end(till, paid=True)
    assert refusal.value.code == "payout_not_found"


async def test_two_payouts_race_for_the_same_earnings(till: Till) -> None:
    await _earn(till, 1_000)
    results = await asyncio.gather(
        *(_payout(till, 600, f"pay_{number}") for number in range(4)), return_exceptions=True
    )
    assert sum(isinstance(result, TransferResult) for result in results) == 1
    assert await _balances(till) == [400, 600, -1_000]


@pytest.mark.parametrize(("amount", "fees"), [(250, -250), (-250, 250)])
async def test_an_adjustment_moves_between_one_account_and_the_fees(
    till: Till, amount: int, fees: int
) -> None:
    await _earn(till, 1_000)
    async with till.store.transaction() as tx:
        await till.ledger.adjust(
            tx,
            key="a",
            kind=AccountKind.EARNINGS,
            user_id="eva",
            currency="TRY",
            amount_minor=amount,
            reason="agreed on the telephone",
        )
        assert await till.ledger.balance(tx, AccountKind.FEES, "platform", "TRY") == fees
    assert (await _balances(till))[0] == 1_000 + amount


async def test_a_wallet_is_not_adjusted_below_what_is_available(till: Till) -> None:
    await till.topup(100)
    await till.hold("h", 60)
    with pytest.raises(Conflict) as refusal:
        await _adjust_wallet(till, -41)
    assert refusal.value.code == "insufficient_funds"
    await _adjust_wallet(till, -40)
    assert (await till.wallet()).available_minor == 0


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201])
async def test_an_adjustment_needs_a_reason(till: Till, reason: str) -> None:
    with pytest.raises(BadInput) as refusal:
        await _adjust_wallet(till, 1, reason)
    assert refusal.value.code == "bad_reason"


async def _adjust_wallet(till: Till, amount: int, reason: str = "because") -> None:
    async with till.store.transaction() as tx:
        await till.ledger.adjust(
            tx,
            key=f"adjust:{amount}",
            kind=AccountKind.WALLET,
            user_id="ann",
            currency="TRY",
            amount_minor=amount,
            reason=reason,
        )


async def test_a_payout_that_came_back_is_told_again_and_came_to_whom_it_was_of(till: Till) -> None:
    await _earn(till, 1_000)
    await till.topup(50, user="bob")
    other = await till.hold("of bob", 50, user="bob")
    await till.capture("to max", [(other.hold_id, 50)], expert="max")
    await _payout(till, 600)
    first, again = await _end(till, paid=False), await _end(till, paid=False)
    assert (again.transfer_id, again.replayed) == (first.transfer_id, True)
    with pytest.raises(Conflict) as refusal:
        await _end(till, paid=False, key="another")
    assert refusal.value.code == "payout_ended"
    async with till.store.reading() as tx:
        for expert, earned in (("eva", 1_000), ("max", 50)):
            assert await till.ledger.balance(tx, AccountKind.EARNINGS, expert, "TRY") == earned
