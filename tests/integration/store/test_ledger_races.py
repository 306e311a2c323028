"""The ledger under concurrency: several stores on one database, as several processes would be.

Where the order matters, the first transaction stays open until the second is seen waiting for it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import sqlalchemy as sa

from engine.audit import audit
from engine.clock import SystemClock
from engine.errors import Conflict
from engine.metering.ledger import (
    AccountKind,
    HoldPart,
    HoldResult,
    HoldStatus,
    Ledger,
    ReleaseResult,
    ReleaseStatus,
    TransferResult,
    WalletView,
)
from engine.metering.ledger.checks import BOOKS
from engine.metering.ledger.model import PLATFORM
from engine.store.database import Store, Tx

ledger = Ledger(SystemClock())
NODES = 4


@pytest.fixture
async def nodes(open_store: Callable[[], Store]) -> AsyncIterator[list[Store]]:
    """Stores with connections of their own on one database."""
    stores = [open_store() for _ in range(NODES)]
    yield stores
    for store in stores:
        await store.close()


async def _in(store: Store, call: Callable[[Tx], Awaitable[Any]]) -> Any:
    async with store.transaction() as tx:
        return await call(tx)


def _topup(amount: int, *, user: str = "ann", key: str = "t") -> Callable[[Tx], Any]:
    return lambda tx: ledger.topup(
        tx, key=key, user_id=user, currency="TRY", amount_minor=amount, payment_id=None
    )


def _hold(key: str, amount: int, *, user: str = "ann") -> Callable[[Tx], Any]:
    return lambda tx: ledger.hold(
        tx, key=key, user_id=user, currency="TRY", amount_minor=amount, order_id=None
    )


def _capture(
    key: str, hold_id: str, amount: int, *, expert: str = "eva", fee: int = 0
) -> Callable[[Tx], Any]:
    return _capture_parts(key, [HoldPart(hold_id, amount)], expert=expert, fee=fee)


def _capture_parts(
    key: str, parts: list[HoldPart], *, expert: str = "eva", fee: int = 0
) -> Callable[[Tx], Any]:
    return lambda tx: ledger.capture(
        tx,
        key=key,
        parts=parts,
        expert_id=expert,
        fee_minor=fee,
        order_id=None,
        session_id=None,
    )


def _reverse(key: str, transfer_id: str, amount: int, fee: int) -> Callable[[Tx], Any]:
    return lambda tx: ledger.reverse(
        tx,
        key=key,
        transfer_id=transfer_id,
        amount_minor=amount,
        fee_minor=fee,
        reason="race",
        order_id=None,
        session_id=None,
    )


def _payout(payment: str, amount: int, *, expert: str) -> Callable[[Tx], Any]:
    return lambda tx: ledger.payout(
        tx,
        key=f"payout:{payment}",
        user_id=expert,
        currency="TRY",
        amount_minor=amount,
        payment_id=payment,
    )


def _end_payout(payment: str, *, paid: bool) -> Callable[[Tx], Any]:
    key = f"payout:{payment}:{'paid' if paid else 'returned'}"
    return lambda tx: ledger.end_payout(tx, key=key, payment_id=payment, paid=paid)


def _take_back(key: str, amount: int, *, user: str) -> Callable[[Tx], Any]:
    return lambda tx: ledger.adjust(
        tx,
        key=key,
        kind=AccountKind.WALLET,
        user_id=user,
        currency="TRY",
        amount_minor=-amount,
        reason="a gift by mistake",
    )


async def _earned(store: Store, expert: str) -> int:
    async with store.reading() as tx:
        return await ledger.balance(tx, AccountKind.EARNINGS, expert, "TRY")


async def _earn(store: Store, expert: str, amount: int) -> None:
    await _in(store, _topup(amount, key=f"topup:{expert}"))
    held = await _in(store, _hold(f"hold:{expert}", amount))
    await _in(store, _capture(f"capture:{expert}", held.hold_id, amount, expert=expert))


async def _wallet(store: Store, user: str = "ann") -> WalletView:
    async with store.reading() as tx:
        return await ledger.wallet(tx, user, "TRY")


async def _assert_sound(store: Store) -> None:
    report = await audit(store, BOOKS)
    assert report.ok, [check for check in report.checks if check.count]


async def test_thirty_calls_do_not_pass_on_the_money_of_one(nodes: list[Store]) -> None:
    await _in(nodes[0], _topup(90_000))
    rivals = [_in(nodes[n % NODES], _hold(f"call{n}", 90_000)) for n in range(30)]
    held: list[HoldResult] = await asyncio.gather(*rivals)
    assert sum(result.status is HoldStatus.GRANTED for result in held) == 1
    assert await _wallet(nodes[0]) == WalletView(90_000, 90_000)
    await _assert_sound(nodes[0])


async def test_topups_beside_captures_are_never_lost(nodes: list[Store]) -> None:
    """What reads a balance, adds and writes it back loses one of two."""
    await _in(nodes[0], _topup(1_000))
    held: HoldResult = await _in(nodes[0], _hold("h", 1_000))
    moves = [_in(nodes[n % NODES], _topup(7, key=f"t{n}")) for n in range(20)]
    moves += [
        _in(nodes[n % NODES], _capture(f"c{n}", held.hold_id, 50, fee=5)) for n in range(1, 21)
    ]
    await asyncio.gather(*moves)
    assert await _wallet(nodes[0]) == WalletView(140, 0)
    await _assert_sound(nodes[0])


async def test_C15_two_holds_race_for_the_last_block_and_exactly_one_wins(
    nodes: list[Store],
) -> None:
    for n in range(15):
        user = f"user{n}"
        await _in(nodes[0], _topup(90_000, user=user, key=f"t{n}"))
        rivals = [
            _in(store, _hold(f"h{n}:{i}", 90_000, user=user)) for i, store in enumerate(nodes)
        ]
        held: list[HoldResult] = await asyncio.gather(*rivals)
        outcomes = sorted(result.status for result in held)
        assert outcomes == [HoldStatus.GRANTED] + [HoldStatus.REFUSED] * (NODES - 1)
        missing = {result.shortfall_minor for result in held}
        assert missing == {0, 90_000}
        assert await _wallet(nodes[0], user) == WalletView(90_000, 90_000)
    await _assert_sound(nodes[0])


async def test_C35_the_same_topup_from_everywhere_is_posted_once(nodes: list[Store]) -> None:
    for n in range(10):
        posted: list[TransferResult] = await asyncio.gather(
            *(_in(store, _topup(500, user=f"user{n}", key=f"t{n}")) for store in nodes)
        )
        assert [result.replayed for result in posted].count(False) == 1
        assert len({result.transfer_id for result in posted}) == 1
        assert await _wallet(nodes[0], f"user{n}") == WalletView(500, 0)


async def test_the_same_hold_from_everywhere_is_granted_once(nodes: list[Store]) -> None:
    await _in(nodes[0], _topup(10_000))
    for n in range(10):
        held: list[HoldResult] = await asyncio.gather(
            *(_in(store, _hold(f"h{n}", 100)) for store in nodes)
        )
        assert {result.status for result in held} == {HoldStatus.GRANTED}
        assert [result.replayed for result in held].count(False) == 1
        assert await _wallet(nodes[0]) == WalletView(10_000, 100 * (n + 1))
    await _assert_sound(nodes[0])


async def test_the_same_capture_from_everywhere_is_posted_once(nodes: list[Store]) -> None:
    await _in(nodes[0], _topup(10_000))
    for n in range(10):
        hold = await _in(nodes[0], _hold(f"h{n}", 100))
        call = _capture(f"c{n}", hold.hold_id, 60, expert=f"expert{n}", fee=6)
        posted: list[TransferResult] = await asyncio.gather(*(_in(store, call) for store in nodes))
        assert [result.replayed for result in posted].count(False) == 1
        assert await _wallet(nodes[0]) == WalletView(10_000 - 60 * (n + 1), 40 * (n + 1))
    await _assert_sound(nodes[0])


async def test_a_sweeper_racing_a_late_settlement_never_frees_what_was_paid(
    nodes: list[Store],
) -> None:
    await _in(nodes[0], _topup(10_000))
    for n in range(15):
        before = await _wallet(nodes[0])
        hold = await _in(nodes[0], _hold(f"h{n}", 100))

        def sweep(tx: Tx, key: str = f"r{n}", hold_id: str = hold.hold_id) -> Awaitable[Any]:
            return ledger.release(tx, key=key, hold_id=hold_id)

        paid, swept = await asyncio.gather(
            _in(nodes[n % 2], _capture(f"c{n}", hold.hold_id, 100)),
            _in(nodes[1 - n % 2], sweep),
            return_exceptions=True,
        )
        after = await _wallet(nodes[0])
        assert after.held_minor == 0
        assert isinstance(swept, ReleaseResult)
        if swept.status is ReleaseStatus.RELEASED:
            assert isinstance(paid, Conflict)
            assert after == before
        else:
            assert isinstance(paid, TransferResult)
            assert after.balance_minor == before.balance_minor - 100
    await _assert_sound(nodes[0])


async def test_a_refund_racing_another_gives_the_money_back_once(nodes: list[Store]) -> None:
    await _in(nodes[0], _topup(10_000))
    for n in range(10):
        hold = await _in(nodes[0], _hold(f"h{n}", 100))
        paid = await _in(nodes[0], _capture(f"c{n}", hold.hold_id, 100, fee=10))
        tries = [
            _in(store, _reverse(f"r{n}:{i}", paid.transfer_id, 100, 10))
            for i, store in enumerate(nodes)
        ]
        results = await asyncio.gather(*tries, return_exceptions=True)
        refused = [result for result in results if isinstance(result, Conflict)]
        assert len(refused) == NODES - 1
        assert {error.code for error in refused} == {"reversal_exceeds_capture"}
        assert await _wallet(nodes[0]) == WalletView(10_000, 0)
    await _assert_sound(nodes[0])


async def test_two_payouts_race_for_the_same_earnings_and_exactly_one_leaves(
    nodes: list[Store],
) -> None:
    """Earnings may be below zero, after a refund: no constraint stands behind this."""
    for n in range(10):
        expert = f"eva{n}"
        await _earn(nodes[0], expert, 100)
        tries = [
            _in(store, _payout(f"pay{n}:{i}", 100, expert=expert)) for i, store in enumerate(nodes)
        ]
        results = await asyncio.gather(*tries, return_exceptions=True)
        refused = [result for result in results if isinstance(result, Conflict)]
        assert [error.code for error in refused] == ["insufficient_earnings"] * (NODES - 1)
        assert await _earned(nodes[0], expert) == 0
    await _assert_sound(nodes[0])


async def test_a_payout_that_arrives_and_returns_at_once_does_one_of_both(
    nodes: list[Store],
) -> None:
    for n in range(10):
        expert, payment = f"eva{n}", f"pay{n}"
        await _earn(nodes[0], expert, 100)
        await _in(nodes[0], _payout(payment, 100, expert=expert))
        tries = [_in(store, _end_payout(payment, paid=i % 2 == 0)) for i, store in enumerate(nodes)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        refused = [result for result in results if isinstance(result, BaseException)]
        assert {getattr(error, "code", error) for error in refused} == {"payout_ended"}
        returned = not isinstance(results[1], BaseException)
        assert returned == (not isinstance(results[3], BaseException))
        assert returned == isinstance(results[0], BaseException)
        assert await _earned(nodes[0], expert) == (100 if returned else 0)
    await _assert_sound(nodes[0])


async def test_staff_who_take_a_gift_back_all_at_once_take_it_once(nodes: list[Store]) -> None:
    for n in range(10):
        user = f"user{n}"
        await _in(nodes[0], _topup(100, user=user, key=f"t{n}"))
        takes = [
            _in(store, _take_back(f"adjust:{n}:{i}", 100, user=user))
            for i, store in enumerate(nodes)
        ]
        results = await asyncio.gather(*takes, return_exceptions=True)
        refused = [result for result in results if isinstance(result, BaseException)]
        assert [getattr(error, "code", error) for error in refused] == ["insufficient_funds"] * 3
        assert await _wallet(nodes[0], user) == WalletView(0, 0)
    await _assert_sound(nodes[0])


async def test_one_key_for_two_wallets_is_used_once_and_refused_once(nodes: list[Store]) -> None:
    for n in range(10):
        results = await asyncio.gather(
            _in(nodes[0], _topup(5, user="ann", key=f"t{n}")),
            _in(nodes[1], _topup(5, user="bob", key=f"t{n}")),
            return_exceptions=True,
        )
        (refused,) = [result for result in results if isinstance(result, BaseException)]
        assert isinstance(refused, Conflict)
        assert refused.code == "idempotency_key_reused"
    await _assert_sound(nodes[0])


async def test_C36_a_busy_bank_stays_sound_and_nobody_meets_a_deadlock(
    nodes: list[Store],
) -> None:
    chance = random.Random(7)
    users, experts = ["u1", "u2", "u3"], ["e1", "e2"]
    for user in users:
        await _in(nodes[0], _topup(3_000, user=user, key=f"t:{user}"))

    async def call(n: int, store: Store) -> None:
        user, expert = chance.choice(users), chance.choice(experts)
        amount = chance.randint(1, 400)
        held = await _in(store, _hold(f"h{n}", amount, user=user))
        if held.status is HoldStatus.REFUSED:
            return
        used = chance.randint(0, amount)
        async with store.transaction() as tx:
            key = f"settle{n}"
            paid = await _capture(key, held.hold_id, used, expert=expert, fee=used // 10)(tx)
            await ledger.release(tx, key=key, hold_id=held.hold_id)
        if used > 5 and n % 5 == 0:
            await _in(store, _reverse(f"r{n}", paid.transfer_id, 5, 0))

    await asyncio.gather(*(call(n, chance.choice(nodes)) for n in range(120)))
    await _assert_sound(nodes[0])
    async with nodes[0].reading() as tx:
        assert await ledger.balance(tx, AccountKind.PSP, PLATFORM, "TRY") == -9_000
    for user in users:
        assert (await _wallet(nodes[0], user)).held_minor == 0


# Orders of events that only PostgreSQL allows: two write transactions open at once ----------------


async def _second_waits(store: Store, second: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start `second` and return once the server sees it waiting for a lock."""
    task = asyncio.create_task(second)
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    for _ in range(500):
        async with store.transaction() as tx:
            if await tx.scalar(waiting):
                return task
        assert not task.done(), "the second transaction did not wait"
        await asyncio.sleep(0.01)
    pytest.fail("the second transaction never waited")


@pytest.mark.postgres
@pytest.mark.parametrize("funds", [100, 1_000])
async def test_a_hold_repeated_while_the_first_is_uncommitted_is_held_once(
    postgres_store: Store, funds: int
) -> None:
    """With funds for one the second finds too little, with more it grants and takes it back."""
    await _in(postgres_store, _topup(funds))
    async with postgres_store.transaction() as tx:
        first = await _hold("h", 100)(tx)
        second = await _second_waits(postgres_store, _in(postgres_store, _hold("h", 100)))
    repeated = await second
    assert repeated == HoldResult(HoldStatus.GRANTED, first.hold_id, 100, 0, replayed=True)
    assert await _wallet(postgres_store) == WalletView(funds, 100)
    await _assert_sound(postgres_store)


@pytest.mark.postgres
async def test_a_hold_repeated_while_the_first_rolls_back_takes_its_place(
    postgres_store: Store,
) -> None:
    await _in(postgres_store, _topup(100))
    async with postgres_store.engine.connect() as connection, connection.begin() as first:
        await _hold("h", 100)(connection)
        second = await _second_waits(postgres_store, _in(postgres_store, _hold("h", 100)))
        await first.rollback()
    assert (await second).status is HoldStatus.GRANTED
    assert await _wallet(postgres_store) == WalletView(100, 100)


@pytest.mark.postgres
async def test_a_hold_that_waits_for_a_topup_is_granted(postgres_store: Store) -> None:
    """The conditional statement does not see the top-up, the look under the lock does."""
    await _in(postgres_store, _topup(10))
    async with postgres_store.transaction() as tx:
        await _topup(90, key="t2")(tx)
        second = await _second_waits(postgres_store, _in(postgres_store, _hold("h", 100)))
    assert (await second).status is HoldStatus.GRANTED
    assert await _wallet(postgres_store) == WalletView(100, 100)


@pytest.mark.postgres
async def test_captures_of_different_wallets_do_not_wait_for_each_other(
    postgres_store: Store,
) -> None:
    """Both pay a fee: the platform's accounts are locked by nobody."""
    holds = {}
    for user in ("ann", "bob"):
        await _in(postgres_store, _topup(100, user=user, key=f"t:{user}"))
        holds[user] = await _in(postgres_store, _hold(f"h:{user}", 100, user=user))
    # The fees account exists; creating it would make the second wait once.
    await _in(postgres_store, _capture("first", holds["ann"].hold_id, 20, fee=2))
    async with postgres_store.transaction() as tx:
        await _capture("c:ann", holds["ann"].hold_id, 80, fee=8)(tx)
        other = _capture("c:bob", holds["bob"].hold_id, 100, fee=10, expert="max")
        async with asyncio.timeout(4):  # less than the store's lock timeout
            await _in(postgres_store, other)
    await _assert_sound(postgres_store)


@pytest.mark.postgres
async def test_refunds_to_different_wallets_do_not_wait_for_each_other(
    postgres_store: Store,
) -> None:
    """From two experts, and each with its part of the fee."""
    paid = {}
    for user, expert in (("ann", "eva"), ("bob", "max")):
        await _in(postgres_store, _topup(100, user=user, key=f"t:{user}"))
        hold = await _in(postgres_store, _hold(f"h:{user}", 100, user=user))
        capture = _capture(f"c:{user}", hold.hold_id, 100, fee=10, expert=expert)
        paid[user] = (await _in(postgres_store, capture)).transfer_id
    async with postgres_store.transaction() as tx:
        await _reverse("r:ann", paid["ann"], 50, 5)(tx)
        async with asyncio.timeout(4):  # less than the store's lock timeout
            await _in(postgres_store, _reverse("r:bob", paid["bob"], 50, 5))
    await _assert_sound(postgres_store)


@pytest.mark.postgres
async def test_a_capture_repeated_while_the_first_is_uncommitted_is_posted_once(
    postgres_store: Store,
) -> None:
    """The first empties one of two holds, and the second sees that before it sees the key."""
    await _in(postgres_store, _topup(200))
    one, two = [await _in(postgres_store, _hold(key, 100)) for key in ("h1", "h2")]
    call = _capture_parts("c", [HoldPart(one.hold_id, 100), HoldPart(two.hold_id, 30)], fee=13)
    async with postgres_store.transaction() as tx:
        first = await call(tx)
        second = await _second_waits(postgres_store, _in(postgres_store, call))
    repeated = await second
    assert (repeated.transfer_id, repeated.replayed) == (first.transfer_id, True)
    assert await _wallet(postgres_store) == WalletView(70, 70)
    await _assert_sound(postgres_store)


@pytest.mark.postgres
async def test_topups_of_different_wallets_do_not_wait_for_each_other(
    postgres_store: Store,
) -> None:
    for user in ("ann", "bob"):
        await _in(postgres_store, _topup(100, user=user, key=f"t:{user}"))
    async with postgres_store.transaction() as tx:
        await _topup(5, user="ann", key="t2:ann")(tx)
        async with asyncio.timeout(4):  # less than the store's lock timeout
            await _in(postgres_store, _topup(5, user="bob", key="t2:bob"))
    await _assert_sound(postgres_store)


@pytest.mark.postgres
async def test_a_wallet_read_under_a_lock_stays_as_it_was_read(postgres_store: Store) -> None:
    await _in(postgres_store, _topup(100))
    async with postgres_store.transaction() as tx:
        before = await ledger.wallet(tx, "ann", "TRY", lock=True)
        second = await _second_waits(postgres_store, _in(postgres_store, _hold("h", 100)))
        assert await ledger.wallet(tx, "ann", "TRY") == before == WalletView(100, 0)
    assert (await second).status is HoldStatus.GRANTED


@pytest.mark.postgres
async def test_a_capture_that_waits_for_another_sees_what_that_one_left(
    postgres_store: Store,
) -> None:
    """The look at the holds comes after the lock, as a statement of its own."""
    await _in(postgres_store, _topup(100))
    hold = await _in(postgres_store, _hold("h", 100))
    async with postgres_store.transaction() as tx:
        await _capture("c1", hold.hold_id, 60)(tx)
        waits = _in(postgres_store, _capture("c2", hold.hold_id, 60))
        second = await _second_waits(postgres_store, waits)
    with pytest.raises(Conflict) as refusal:
        await second
    assert refusal.value.code == "hold_exhausted"
    assert refusal.value.extra["remaining_minor"] == 40
    await _assert_sound(postgres_store)
