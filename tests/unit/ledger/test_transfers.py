"""Top-up, capture and reverse; and what the ledger tells about them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from engine.errors import BadInput, Conflict, NotFound, TalktimeError
from engine.metering.ledger import (
    AccountKind,
    SessionTotal,
    TransferKind,
    TransferResult,
    WalletView,
)
from engine.metering.ledger.model import PLATFORM
from engine.metering.money import MAX_AMOUNT_MINOR
from tests.unit.ledger.conftest import Till


async def _balances(till: Till) -> dict[str, int]:
    async with till.store.reading() as tx:
        wallet = await till.ledger.wallet(tx, "ann", "TRY")
        sums = {
            kind.value: await till.ledger.balance(tx, kind, owner, "TRY")
            for kind, owner in [
                (AccountKind.EARNINGS, "eva"),
                (AccountKind.FEES, PLATFORM),
                (AccountKind.PSP, PLATFORM),
            ]
        }
    return {"wallet": wallet.balance_minor, "held": wallet.held_minor, **sums}


def _state(wallet: int, held: int, earnings: int, fees: int, psp: int) -> dict[str, int]:
    assert wallet + earnings + fees + psp == 0
    return {"wallet": wallet, "held": held, "earnings": earnings, "fees": fees, "psp": psp}


async def test_C36_the_example_of_the_ledger_adds_up_after_every_step(till: Till) -> None:
    await till.topup(100_000)
    assert await _balances(till) == _state(100_000, 0, 0, 0, -100_000)
    hold = await till.hold("order:o:prepay", 90_000)
    assert await _balances(till) == _state(100_000, 90_000, 0, 0, -100_000)
    paid = await till.capture("session:s:capture:1", [(hold.hold_id, 60_000)], fee=9_000)
    assert await _balances(till) == _state(40_000, 30_000, 51_000, 9_000, -100_000)
    async with till.store.transaction() as tx:
        await till.ledger.release(tx, key="session:s:settle", hold_id=hold.hold_id)
    assert await _balances(till) == _state(40_000, 0, 51_000, 9_000, -100_000)
    await till.reverse("refund:r", paid.transfer_id, 60_000, fee=9_000)
    assert await _balances(till) == _state(100_000, 0, 0, 0, -100_000)


async def test_C35_the_same_topup_twice_is_posted_once(till: Till) -> None:
    first = await till.topup(500, key="topup:pay_1")
    again = await till.topup(500, key="topup:pay_1")
    assert first == TransferResult(first.transfer_id, TransferKind.TOPUP, 500, 0, replayed=False)
    assert again == TransferResult(first.transfer_id, TransferKind.TOPUP, 500, 0, replayed=True)
    assert await _balances(till) == _state(500, 0, 0, 0, -500)
    with pytest.raises(Conflict) as refusal:
        await till.topup(501, key="topup:pay_1")
    assert refusal.value.code == "idempotency_key_reused"
    assert await _balances(till) == _state(500, 0, 0, 0, -500)


async def test_a_capture_takes_parts_of_several_holds(till: Till) -> None:
    await till.topup(1000)
    one, two = await till.hold("h:1", 300), await till.hold("h:2", 200)
    await till.capture("c", [(one.hold_id, 300), (two.hold_id, 50), (two.hold_id, 10)], fee=36)
    assert await _balances(till) == _state(640, 140, 324, 36, -1000)
    async with till.store.reading() as tx:
        holds = await till.ledger.holds_of_order(tx, "ord_1")
        open_holds = await till.ledger.open_holds(tx, session_id="ses_1")
    assert [hold.remaining_minor for hold in holds] == [0, 140]
    assert [hold.id for hold in open_holds] == [two.hold_id]


@pytest.mark.parametrize("fee", [0, 300])
async def test_C10_a_fee_of_nothing_or_of_everything_still_balances(till: Till, fee: int) -> None:
    await till.topup(1000)
    hold = await till.hold("h", 300)
    await till.capture("c", [(hold.hold_id, 300)], fee=fee)
    assert await _balances(till) == _state(700, 0, 300 - fee, fee, -1000)


async def test_a_repeated_capture_answers_the_same_and_changes_nothing(till: Till) -> None:
    await till.topup(1000)
    hold = await till.hold("h", 300)
    first = await till.capture("c", [(hold.hold_id, 100)], fee=10)
    again = await till.capture("c", [(hold.hold_id, 100)], fee=10)
    assert again == TransferResult(first.transfer_id, TransferKind.CAPTURE, 100, 10, replayed=True)
    assert await _balances(till) == _state(900, 200, 90, 10, -1000)


@pytest.mark.parametrize("change", [{"amount": 99}, {"fee": 9}, {"expert": "max"}])
async def test_the_key_of_a_capture_serves_one_request_only(
    till: Till, change: dict[str, object]
) -> None:
    await till.topup(1000)
    hold = await till.hold("h", 300)

    async def capture(amount: int = 100, fee: int = 10, expert: str = "eva") -> None:
        await till.capture("c", [(hold.hold_id, amount)], fee=fee, expert=expert)

    await capture()
    with pytest.raises(Conflict) as refusal:
        await capture(**change)  # type: ignore[arg-type]
    assert refusal.value.code == "idempotency_key_reused"
    assert await _balances(till) == _state(900, 200, 90, 10, -1000)


async def test_one_settlement_may_capture_and_release_under_one_key(till: Till) -> None:
    await till.topup(1000)
    hold = await till.hold("h", 300)
    for _ in range(2):
        async with till.store.transaction() as tx:
            await till.capture_in(tx, "session:s:settle", [(hold.hold_id, 100)])
            done = await till.ledger.release(tx, key="session:s:settle", hold_id=hold.hold_id)
        assert done.amount_minor == 200
        assert await _balances(till) == _state(900, 0, 100, 0, -1000)


async def test_no_more_is_captured_than_is_left_even_if_the_caller_commits(till: Till) -> None:
    await till.topup(1000)
    one, two = await till.hold("h:1", 300), await till.hold("h:2", 200)
    async with till.store.transaction() as tx:
        with pytest.raises(Conflict) as refusal:
            await till.capture_in(tx, "c", [(one.hold_id, 300), (two.hold_id, 201)])
    assert refusal.value.code == "hold_exhausted"
    assert refusal.value.extra["remaining_minor"] == 200
    assert await _balances(till) == _state(1000, 500, 0, 0, -1000)
    # The refusal left no trace: its key can still be used.
    assert (await till.capture("c", [(two.hold_id, 200)])).replayed is False


async def test_a_refused_hold_pays_nothing(till: Till) -> None:
    await till.topup(100)
    refused = await till.hold("h", 300)
    with pytest.raises(Conflict) as refusal:
        await till.capture("c", [(refused.hold_id, 1)])
    assert refusal.value.code == "hold_exhausted"
    assert await _balances(till) == _state(100, 0, 0, 0, -100)


async def test_a_capture_of_zero_is_recorded_and_moves_nothing(till: Till) -> None:
    await till.topup(1000)
    hold = await till.hold("h", 300)
    paid = await till.capture("c", [(hold.hold_id, 0)])
    assert paid.amount_minor == 0
    assert (await till.capture("c", [(hold.hold_id, 0)])).replayed is True
    with pytest.raises(Conflict) as refusal:
        await till.reverse("r", paid.transfer_id, 1)
    assert refusal.value.code == "reversal_exceeds_capture"
    assert await _balances(till) == _state(1000, 300, 0, 0, -1000)


@pytest.mark.parametrize(
    ("parts", "fee", "code"),
    [
        ([("h", 100), ("nothing", 1)], 0, "hold_not_found"),
        ([("nothing", 1)], 0, "hold_not_found"),
        ([("h", 100), ("of_bob", 1)], 0, "holds_of_two_wallets"),
        ([("h", 100)], 101, "bad_amount"),
        ([("h", 100)], -1, "bad_amount"),
        ([("h", -100)], 0, "bad_amount"),
        ([], 0, "bad_amount"),
    ],
)
async def test_a_capture_of_nonsense_changes_nothing(
    till: Till, parts: list[tuple[str, int]], fee: int, code: str
) -> None:
    await till.topup(1000)
    await till.topup(1000, user="bob")
    ids = {
        "h": (await till.hold("h", 300)).hold_id,
        "of_bob": (await till.hold("of_bob", 300, user="bob")).hold_id,
    }
    async with till.store.transaction() as tx:
        named = [(ids.get(name, name), amount) for name, amount in parts]
        with pytest.raises(TalktimeError) as refusal:
            await till.capture_in(tx, "c", named, fee=fee)
    assert refusal.value.code == code
    assert await till.wallet() == await till.wallet("bob") == WalletView(1000, 300)


async def test_reversals_never_exceed_what_expert_or_platform_got(till: Till) -> None:
    await till.topup(1000)
    hold = await till.hold("h", 300)
    paid = await till.capture("c", [(hold.hold_id, 300)], fee=30)
    await till.reverse("r:1", paid.transfer_id, 100, fee=10)
    assert await _balances(till) == _state(800, 0, 180, 20, -1000)
    for amount, fee in [(201, 20), (200, 0), (200, 21)]:
        with pytest.raises(Conflict) as refusal:
            await till.reverse("r:2", paid.transfer_id, amount, fee=fee)
        assert refusal.value.code == "reversal_exceeds_capture"
        assert refusal.value.extra == {"remaining_minor": 200, "remaining_fee_minor": 20}
    await till.reverse("r:2", paid.transfer_id, 200, fee=20)
    assert await _balances(till) == _state(1000, 0, 0, 0, -1000)


async def test_C31_a_reversal_after_the_money_left_puts_the_expert_in_debt(till: Till) -> None:
    await till.topup(1000)
    hold = await till.hold("h", 300)
    paid = await till.capture("c", [(hold.hold_id, 300)], fee=30)
    async with till.store.transaction() as tx:  # as a payout would
        await tx.execute(sa.text("UPDATE accounts SET balance_minor = 0 WHERE kind = 'earnings'"))
    await till.reverse("r", paid.transfer_id, 300, fee=30)
    async with till.store.reading() as tx:
        assert await till.ledger.balance(tx, AccountKind.EARNINGS, "eva", "TRY") == -270
    assert await till.wallet() == WalletView(1000, 0)


async def test_a_repeated_reversal_answers_the_same_and_changes_nothing(till: Till) -> None:
    await till.topup(1000)
    hold = await till.hold("h", 300)
    paid = await till.capture("c", [(hold.hold_id, 300)], fee=30)
    first = await till.reverse("r", paid.transfer_id, 100, fee=10)
    again = await till.reverse("r", paid.transfer_id, 100, fee=10)
    assert again == TransferResult(first.transfer_id, TransferKind.REVERSE, 100, 10, replayed=True)
    assert await _balances(till) == _state(800, 0, 180, 20, -1000)
    with pytest.raises(Conflict) as refusal:
        await till.reverse("r", paid.transfer_id, 100, fee=9)
    assert refusal.value.code == "idempotency_key_reused"


async def test_only_captures_can_be_reversed(till: Till) -> None:
    came_in = await till.topup(1000)
    for transfer_id in (came_in.transfer_id, "tr_none"):
        with pytest.raises(NotFound) as refusal:
            await till.reverse("r", transfer_id, 1)
        assert refusal.value.code == "capture_not_found"
    with pytest.raises(BadInput):
        await till.reverse("r", came_in.transfer_id, 0)
    assert await _balances(till) == _state(1000, 0, 0, 0, -1000)


async def test_a_session_total_tells_what_was_captured_and_given_back(till: Till) -> None:
    await till.topup(1000)
    hold = await till.hold("h", 300)
    first = await till.capture("c:1", [(hold.hold_id, 100)], fee=10)
    await till.capture("c:2", [(hold.hold_id, 150)], fee=15)
    await till.reverse("r", first.transfer_id, 40, fee=4)
    async with till.store.reading() as tx:
        assert await till.ledger.session_total(tx, "ses_1") == SessionTotal(250, 25, 40, 4)
        assert await till.ledger.session_total(tx, "ses_2") == SessionTotal(0, 0, 0, 0)


async def test_a_statement_lists_the_wallets_movements_newest_first_page_by_page(
    till: Till,
) -> None:
    await till.topup(1000)
    await till.topup(77, user="bob")
    hold = await till.hold("h", 300)
    paid = await till.capture("c", [(hold.hold_id, 300)], fee=30)
    await till.reverse("r", paid.transfer_id, 100, fee=10)
    async with till.store.reading() as tx:
        newest = await till.ledger.transactions(tx, "ann", "TRY", limit=2)
        older = await till.ledger.transactions(tx, "ann", "TRY", limit=2, before=newest[-1].cursor)
    assert [(line.kind.value, line.amount_minor) for line in newest + older] == [
        ("reverse", 100),
        ("capture", -300),
        ("topup", 1000),
    ]
    assert (newest[0].order_id, newest[0].session_id, newest[0].reason) == (
        "ord_1",
        "ses_1",
        "not served",
    )
    assert older[0].order_id is None


async def test_accounts_are_created_once(till: Till) -> None:
    async with till.store.transaction() as tx:
        made = await till.ledger.account(tx, AccountKind.EARNINGS, "eva", "TRY")
        assert await till.ledger.account(tx, AccountKind.EARNINGS, "eva", "TRY") == made
        fees = await till.ledger.account(tx, AccountKind.FEES, PLATFORM, "TRY")
    assert (made.balance_minor, made.held_minor, made.available_minor) == (0, 0, 0)
    assert fees.balance_minor is None


async def test_an_id_says_what_it_is_of(till: Till) -> None:
    topup = await till.topup(10)
    hold = await till.hold("h", 1)
    async with till.store.transaction() as tx:
        account = await till.ledger.account(tx, AccountKind.WALLET, "ann", "TRY")
    kinds = {"tr": topup.transfer_id, "hold": hold.hold_id, "acc": account.id}
    assert {name: found.rsplit("_", 1)[0] for name, found in kinds.items()} == dict(
        zip(kinds, kinds, strict=True)
    )


async def test_no_fee_is_given_back_where_none_was_taken(till: Till) -> None:
    await till.topup(1_000)
    hold = await till.hold("h", 300)
    paid = await till.capture("c", [(hold.hold_id, 300)])
    with pytest.raises(Conflict) as refusal:
        await till.reverse("r", paid.transfer_id, 100, fee=1)
    assert refusal.value.extra == {"remaining_minor": 300, "remaining_fee_minor": 0}
    assert await _balances(till) == _state(700, 0, 300, 0, -1_000)


@pytest.mark.parametrize("amounts", [(300, -10), (MAX_AMOUNT_MINOR, 1), (MAX_AMOUNT_MINOR + 1, 0)])
async def test_a_capture_of_an_impossible_amount_is_refused(
    till: Till, amounts: tuple[int, int]
) -> None:
    await till.topup(1_000)
    held = [(await till.hold(f"h{n}", 300)).hold_id for n in range(2)]
    with pytest.raises(BadInput) as refusal:
        await till.capture("c", list(zip(held, amounts, strict=True)))
    assert refusal.value.code == "bad_amount"
    assert await till.wallet() == WalletView(1_000, 600)


async def test_a_capture_pays_into_the_accounts_of_its_own_currency(till: Till) -> None:
    for n, currency in enumerate(("EUR", "TRY", "EUR", "TRY"), start=1):
        await till.topup(100 * n, currency=currency, key=f"topup:{n}")
        held = await till.hold(f"h:{n}", 100 * n, currency=currency)
        await till.capture(f"c:{n}", [(held.hold_id, 100 * n)], fee=10 * n)
    async with till.store.reading() as tx:
        for currency, paid in (("EUR", 400), ("TRY", 600)):
            balance, fee = till.ledger.balance, paid // 10
            assert await balance(tx, AccountKind.EARNINGS, "eva", currency) == paid - fee
            assert await balance(tx, AccountKind.FEES, PLATFORM, currency) == fee
            assert await till.ledger.wallet(tx, "ann", currency) == WalletView(0, 0)


async def test_an_account_in_which_nothing_moved_has_nothing(till: Till) -> None:
    async with till.store.transaction() as tx:
        for kind in AccountKind:
            await till.ledger.account(tx, kind, "eva", "TRY")
            assert await till.ledger.balance(tx, kind, "eva", "TRY") == 0
