"""The audit finds every kind of corruption, names it, and is quiet otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from engine.audit import MAX_DIFFERENCES, AuditReport, Total, audit, main
from engine.clock import SystemClock
from engine.metering.ledger import AccountKind, HoldPart, Ledger
from engine.metering.ledger.checks import CHECKS
from engine.metering.ledger.model import PLATFORM
from engine.store import tables as t
from engine.store.database import Store, Tx
from tests.support.corrupt import unlock
from tests.support.virtual_clock import VirtualClock
from tests.unit.ledger.conftest import Till

_USER = {"display_name": "x", "password_hash": "x", "roles": [], "created_at_ms": 0}
_TARIFF = {"currency": "TRY", "price_minor": 100, "per_seconds": 60, "block_seconds": 60}
_TARIFF |= {"prepaid_seconds": 180, "grace_seconds": 60, "grace_sessions": 1}
_ORDER = {
    "customer_id": "ann",
    "expert_id": "eva",
    "title": "x",
    "fulfilment": "live",
    "mode": "video",
    "tariff": _TARIFF,
    "policy": {"commission_bps": 1_000},
    "currency": "TRY",
    "prepay_minor": 300,
    "state": "open",
    "created_at_ms": 0,
    "updated_at_ms": 0,
}
_SESSION = {
    "order_id": "ord_1",
    "customer_id": "ann",
    "expert_id": "eva",
    "mode": "video",
    "direction": "one_way",
    "state": "ended",
    "end_reason": "completed",
    "ended_by": "customer",
    "ordinal": 1,
    "metered_at_ms": 1,
    "rung_at_ms": 0,
    "owner": "node",
    "checkpoint_at_ms": 0,
}
_MINUTE_NS = 60 * 10**9


async def _insert(tx: Tx, table: sa.Table, *rows: dict[str, object]) -> None:
    for row in rows:
        await tx.execute(sa.insert(table).values(row))


@pytest.fixture
async def history(till: Till) -> Till:
    """One of everything: ann paid eva 300 less 30 for the three minutes of ses_1, got 100 back, and
    holds 50 more. The engine died after a minute and a half of ses_2: 50 of its 200 went back.

    Of the 90 for a piece of work 31 went back, so that 59 pay their tenth, which is 5.

    ses_live rings, ses_missed rang in vain, and ses_talks is in its first minute; another order has
    a void session and is closed; a payment stands behind each top-up, and bob's is in another
    currency.
    """
    async with till.store.transaction() as tx:
        people = ["ann", "bob", "eva", "max"]
        await _insert(tx, t.users, *({**_USER, "id": p, "email": p} for p in people))
        running = {"id": "ord_1", "number": "1", "metered_sessions": 2}
        closed = {"id": "ord_2", "number": "2", "metered_sessions": 1, "state": "completed"}
        work = {"id": "ord_3", "number": "3", "fulfilment": "work", "state": "completed"}
        work |= {"tariff": None, "terms": {"commission_bps": 1_000}}
        first = {"id": "ord_4", "number": "4", "metered_sessions": 1}
        orders = [{**_ORDER, **row} for row in (running, closed, work, first)]
        await _insert(tx, t.orders, *orders)
        await _insert(tx, t.sessions, *_sessions(till.store.clock.wall_ms()))
        payment = {"direction": "in", "user_id": "ann", "currency": "TRY", "amount_minor": 1000}
        payment |= {"provider": "sandbox", "created_at_ms": 0, "updated_at_ms": 0}
        done = {"id": "pay_1", "provider_ref": "1", "state": "succeeded"}
        open_ = {"id": "pay_2", "provider_ref": "2", "state": "pending"}
        failed = {"id": "pay_0", "provider_ref": "0", "state": "failed"}
        await _insert(tx, t.payments, *({**payment, **one} for one in (done, open_, failed)))
        await till.ledger.topup(
            tx, key="t", user_id="ann", currency="TRY", amount_minor=1000, payment_id="pay_1"
        )
        other = {"user_id": "bob", "currency": "EUR", "amount_minor": 700}
        bob = {"id": "pay_3", "provider_ref": "3"}
        await _insert(tx, t.payments, {**payment, **done, **other, **bob})
        await till.ledger.topup(tx, key="t:bob", payment_id="pay_3", **other)
    one, two = await till.hold("h:1", 250), await till.hold("h:2", 100)
    transfer = await till.capture("c", [(one.hold_id, 250), (two.hold_id, 50)], fee=30)
    async with till.store.transaction() as tx:
        await till.ledger.release(tx, key="r", hold_id=two.hold_id)
        order = {"user_id": "ann", "currency": "TRY", "order_id": "ord_1"}
        await till.ledger.hold(tx, key="order", amount_minor=50, **order)
        await till.ledger.hold(tx, key="refused", amount_minor=5000, **order)
        ended = {**order, "order_id": "ord_2", "session_id": "ses_void"}
        await till.ledger.hold(tx, key="refused:void", amount_minor=651, **ended)  # of 650
    await till.reverse("back", transfer.transfer_id, 100, fee=10)
    await _die(till)
    await _deliver(till)
    await _pay_out(till)
    return till


def _sessions(now_ms: int) -> list[dict[str, object]]:
    paid = {"served_ns": 3 * _MINUTE_NS, "captured_minor": 300, "fee_minor": 30}
    died = {"ordinal": 2, "end_reason": "server_restart", "ended_by": "system"}
    died |= {"served_ns": 3 * _MINUTE_NS // 2, "captured_minor": 200, "fee_minor": 20}
    void = {"order_id": "ord_2", "end_reason": "void", "served_ns": _MINUTE_NS}
    live = {"state": "ringing", "end_reason": None, "ended_by": None, "metered_at_ms": None}
    live |= {"ordinal": None, "checkpoint_at_ms": now_ms}
    missed = live | {"state": "ended", "end_reason": "no_answer", "ended_by": "system"}
    # Would be void if it ended now.
    talks = live | {"order_id": "ord_4", "state": "in_progress", "metered_at_ms": 1, "ordinal": 1}
    talks |= {"served_ns": _MINUTE_NS // 2}
    rows = {"ses_1": paid, "ses_2": died, "ses_void": void, "ses_live": live}
    rows |= {"ses_missed": missed, "ses_talks": talks}
    return [{**_SESSION, "id": session_id, **row} for session_id, row in rows.items()]


async def _die(till: Till) -> None:
    ledger, names = till.ledger, {"order_id": "ord_1", "session_id": "ses_2"}
    async with till.store.transaction() as tx:
        money = {"user_id": "ann", "currency": "TRY", "amount_minor": 200}
        held = await ledger.hold(tx, key="h:3", **money, **names)
        parts = [HoldPart(held.hold_id, 200)]
        paid = await ledger.capture(
            tx, key="died", parts=parts, expert_id="eva", fee_minor=20, **names
        )
        await ledger.reverse(
            tx,
            key="session:ses_2:unserved",
            transfer_id=paid.transfer_id,
            amount_minor=50,
            fee_minor=5,
            reason="unserved",
            **names,
        )


async def _deliver(till: Till) -> None:
    ledger, names = till.ledger, {"order_id": "ord_3", "session_id": None}
    async with till.store.transaction() as tx:
        money = {"user_id": "ann", "currency": "TRY", "amount_minor": 90, "order_id": "ord_3"}
        held = await ledger.hold(tx, key="work", **money)
        parts = [HoldPart(held.hold_id, 90)]
        paid = await ledger.capture(
            tx, key="done", parts=parts, expert_id="eva", fee_minor=9, **names
        )
        back = {"amount_minor": 31, "fee_minor": 4, "reason": "late"}
        await ledger.reverse(tx, key="late", transfer_id=paid.transfer_id, **back, **names)
        # An extra that was given back whole.
        held = await ledger.hold(tx, key="extra", **(money | {"amount_minor": 10}))
        parts = [HoldPart(held.hold_id, 10)]
        paid = await ledger.capture(
            tx, key="more", parts=parts, expert_id="eva", fee_minor=1, **names
        )
        back = {"amount_minor": 10, "fee_minor": 1, "reason": "never came"}
        await ledger.reverse(tx, key="never", transfer_id=paid.transfer_id, **back, **names)


async def _pay_out(till: Till) -> None:
    """eva has 40 on their way, 30 at the bank and 20 back; ann was given 5, and max owes 5."""
    ledger, states = till.ledger, {"out_1": "sent", "out_2": "paid", "out_3": "failed"}
    async with till.store.transaction() as tx:
        payout = {"direction": "out", "user_id": "eva", "currency": "TRY", "provider": "manual"}
        payout |= {"created_at_ms": 0, "updated_at_ms": 0}
        for number, (payment_id, state) in enumerate(states.items()):
            own = {"id": payment_id, "provider_ref": payment_id, "state": state}
            amount = 40 - 10 * number
            await _insert(tx, t.payments, {**payout, **own, "amount_minor": amount})
            money = {"user_id": "eva", "currency": "TRY", "amount_minor": amount}
            await ledger.payout(tx, key=payment_id, payment_id=payment_id, **money)
        await ledger.end_payout(tx, key="paid", payment_id="out_2", paid=True)
        await ledger.end_payout(tx, key="failed", payment_id="out_3", paid=False)
        gift = {"user_id": "ann", "currency": "TRY", "amount_minor": 5, "reason": "goodwill"}
        await ledger.adjust(tx, key="gift", kind=AccountKind.WALLET, **gift)
        debt = {"user_id": "max", "currency": "TRY", "amount_minor": -5, "reason": "x"}
        await ledger.adjust(tx, key="debt", kind=AccountKind.EARNINGS, **debt)
        # Accounts in which nothing moved.
        await ledger.account(tx, AccountKind.WALLET, "max", "TRY")
        await ledger.account(tx, AccountKind.FEES, PLATFORM, "EUR")


_EXAMINED = {
    "transfers_sum_to_zero": 17,
    "accounts_sum_to_zero": 2,
    "balances_follow_entries": 10,
    "held_follows_holds": 10,
    "wallets_within_bounds": 3,
    "hold_parts_follow_moves": 8,
    "hold_states": 8,
    "captures_come_from_holds": 4,
    "transfers_move_what_they_say": 17,
    "adjustments_are_whole": 2,
    "one_currency": 42,
    "reversals_within_captures": 4,
    "right_parties": 8,
    "sessions_state_their_captures": 4,
    "void_sessions_move_nothing": 2,
    "ended_sessions_hold_nothing": 4,
    "closed_orders_hold_nothing": 2,
    "payments_post_once": 7,
    "payouts_follow_payments": 3,
    "payments_keep_their_owner": 7,
    "money_belongs_to_orders": 8,
    "ordinals_count_sessions": 4,
    "sessions_are_run": 2,
    "none_is_quarantined": 6,
    "sessions_cost_what_they_should": 3,
    "grace_is_kept": 3,
    "fixed_prices_pay_their_fee": 2,
}
"""Rows of the history that each check looked at."""


def _names(report: AuditReport) -> set[str]:
    return {check.name for check in report.checks if check.count}


async def test_a_true_ledger_passes_and_nothing_was_left_unexamined(history: Till) -> None:
    report = await audit(history.store)
    assert report.ok
    assert _names(report) == set()
    assert [check.name for check in report.checks] == [check.name for check in CHECKS]
    assert {check.name: check.examined for check in report.checks} == _EXAMINED
    assert report.totals == (
        Total("EUR", AccountKind.FEES, 0, 0),
        Total("EUR", AccountKind.PSP, -700, 0),
        Total("EUR", AccountKind.WALLET, 700, 0),
        Total("TRY", AccountKind.EARNINGS, 294, 0),
        Total("TRY", AccountKind.FEES, 40, 0),
        Total("TRY", AccountKind.PAYOUTS, 40, 0),
        Total("TRY", AccountKind.PSP, -970, 0),
        Total("TRY", AccountKind.WALLET, 596, 50),
    )


async def test_an_empty_ledger_passes(any_store: Store) -> None:
    report = await audit(any_store)
    assert report.ok
    assert report.totals == ()


def _corruptions() -> Iterator[Any]:
    """Statements and what the audit says then, called after the checks that say it."""
    text = Path(__file__).with_name("corruptions.txt").read_text()
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        statements = [line for line in lines if not line.startswith(" ")]
        findings = sorted(line.strip() for line in lines if line.startswith(" "))
        if statements:
            checks = " ".join(dict.fromkeys(line.split()[0] for line in findings))
            yield pytest.param(statements, findings, id=checks)


@pytest.mark.parametrize(("statements", "findings"), list(_corruptions()))
async def test_every_planted_corruption_is_named(
    history: Till, statements: list[str], findings: list[str]
) -> None:
    async with history.store.transaction() as tx:
        await unlock(tx)
        for statement in statements:
            assert (await tx.execute(sa.text(statement))).rowcount > 0
    report = await audit(history.store)
    assert not report.ok
    assert await _findings(history.store, report) == findings


async def _findings(store: Store, report: AuditReport) -> list[str]:
    names: dict[str, str] = {}
    async with store.reading() as tx:
        for table in (t.transfers, t.holds):
            for row in await tx.execute(sa.select(table.c.id, table.c.key)):
                names[row.id] = row.key
        for row in await tx.execute(sa.select(t.accounts)):
            names[row.id] = f"{row.kind} of {row.owner_id}"
    return sorted(
        f"{check.name} {names.get(one.subject, one.subject)}:"
        f" expected {one.expected}, found {one.found}"
        for check in report.checks
        for one in check.differences
    )


@pytest.mark.parametrize("state", ["requested", "approved", "sent"])
async def test_payouts_follow_payments_while_they_are_under_way(history: Till, state: str) -> None:
    async with history.store.transaction() as tx:
        statement = sa.text("UPDATE payments SET state = :state WHERE id = 'out_1'")
        await tx.execute(statement, {"state": state})
    assert (await audit(history.store)).ok


@pytest.mark.parametrize(("age_ms", "ok"), [(3_600_000, True), (3_600_001, False)])
async def test_sessions_are_run_if_written_down_within_an_hour(
    any_store: Store, monkeypatch: pytest.MonkeyPatch, age_ms: int, *, ok: bool
) -> None:
    row = {**_SESSION, "state": "ringing", "ordinal": None, "metered_at_ms": None}
    clock = VirtualClock()
    row |= {"end_reason": None, "ended_by": None, "checkpoint_at_ms": clock.wall_ms() - age_ms}
    async with any_store.transaction() as tx:
        await _insert(tx, t.users, *({**_USER, "id": p, "email": p} for p in ("ann", "eva")))
        order = {**_ORDER, "id": "ord_1", "number": "1", "metered_sessions": 0}
        await _insert(tx, t.orders, order)
        await _insert(tx, t.sessions, {**row, "id": "ses_1"})
    monkeypatch.setattr(any_store, "clock", clock)
    assert _names(await audit(any_store)) == (set() if ok else {"sessions_are_run"})


async def test_a_wallet_out_of_bounds_is_named(sqlite_url: str) -> None:
    """What the constraints prevent can still come from a file edited by hand."""
    store = Store(sqlite_url, SystemClock())
    async with store.transaction() as tx:
        await Ledger(SystemClock()).account(tx, AccountKind.WALLET, "ann", "TRY")
        await tx.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
        await tx.exec_driver_sql("UPDATE accounts SET held_minor = 5")
        await tx.exec_driver_sql("PRAGMA ignore_check_constraints=OFF")
    report = await audit(store)
    await store.close()
    assert _names(report) == {"wallets_within_bounds", "held_follows_holds"}
    (found,) = next(c for c in report.checks if c.name == "wallets_within_bounds").differences
    assert (found.expected, found.found) == ("0 <= held <= balance", "5 held of 0")


async def test_many_differences_are_counted_whole_and_named_in_part(store: Store) -> None:
    rows = MAX_DIFFERENCES + 20
    transfer = {"request_hash": "", "kind": "topup", "currency": "TRY", "created_at_ms": 0}
    async with store.transaction() as tx:
        for n in range(rows):
            ids = {"id": f"tr_{n}", "key": f"{n}", "amount_minor": 1}
            await tx.execute(sa.insert(t.transfers).values({**transfer, **ids}))
    report = await audit(store)
    found = {check.name: check for check in report.checks if check.count}
    assert found.keys() == {"transfers_move_what_they_say", "payments_post_once"}
    moved = found["transfers_move_what_they_say"]
    assert moved.count == rows
    assert moved.differences[0].expected == "wallet 1 earnings 0 payouts 0 fees 0 psp -1"
    assert len(moved.differences) == MAX_DIFFERENCES


def test_the_command_says_what_differs_and_exits_with_one(sqlite_url: str) -> None:
    sound = CliRunner().invoke(main, ["--store", sqlite_url])
    assert sound.exit_code == 0, sound.output
    engine = sa.create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO accounts (id, kind, owner_id, currency, balance_minor, created_at_ms)"
            " VALUES ('acc_planted', 'wallet', 'ann', 'TRY', 90000, 0)"
        )
    engine.dispose()
    broken = CliRunner().invoke(main, ["--store", sqlite_url])
    assert broken.exit_code == 1
    assert "balances_follow_entries: acc_planted: expected 0, found 90000" in broken.output
    assert "accounts_sum_to_zero: TRY: expected 0, found 90000" in broken.output
    assert "900.00 TRY" in broken.output


@pytest.mark.parametrize("url", ["sqlite:////nowhere/store.db", "mysql://x/y"])
def test_the_command_exits_with_two_if_there_is_nothing_to_audit(url: str) -> None:
    assert CliRunner().invoke(main, ["--store", url]).exit_code == 2
