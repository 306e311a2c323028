"""The audit finds every kind of corruption, names it, and is quiet otherwise."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from engine.audit import MAX_DIFFERENCES, AuditReport, Total, audit, main
from engine.clock import SystemClock
from engine.metering.ledger import AccountKind, HoldPart, Ledger
from engine.metering.ledger.checks import CHECKS
from engine.store import tables as t
from engine.store.database import Store, Tx
from tests.support.corrupt import unlock
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

    ses_live rings; another order has a void session and is closed; a payment stands behind the
    top-up.
    """
    async with till.store.transaction() as tx:
        people = ["ann", "bob", "eva", "max"]
        await _insert(tx, t.users, *({**_USER, "id": p, "email": p} for p in people))
        running = {"id": "ord_1", "number": "1", "metered_sessions": 2}
        closed = {"id": "ord_2", "number": "2", "metered_sessions": 1, "state": "completed"}
        work = {"id": "ord_3", "number": "3", "fulfilment": "work", "state": "completed"}
        work |= {"tariff": None, "terms": {"commission_bps": 1_000}}
        orders = [{**_ORDER, **row} for row in (running, closed, work)]
        await _insert(tx, t.orders, *orders)
        await _insert(tx, t.sessions, *_sessions(till.store.clock.wall_ms()))
        payment = {"direction": "in", "user_id": "ann", "currency": "TRY", "amount_minor": 1000}
        payment |= {"provider": "sandbox", "created_at_ms": 0, "updated_at_ms": 0}
        done = {"id": "pay_1", "provider_ref": "1", "state": "succeeded"}
        open_ = {"id": "pay_2", "provider_ref": "2", "state": "pending"}
        await _insert(tx, t.payments, {**payment, **done}, {**payment, **open_})
        await till.ledger.topup(
            tx, key="t", user_id="ann", currency="TRY", amount_minor=1000, payment_id="pay_1"
        )
    one, two = await till.hold("h:1", 250), await till.hold("h:2", 100)
    transfer = await till.capture("c", [(one.hold_id, 250), (two.hold_id, 50)], fee=30)
    async with till.store.transaction() as tx:
        await till.ledger.release(tx, key="r", hold_id=two.hold_id)
        order = {"user_id": "ann", "currency": "TRY", "order_id": "ord_1"}
        await till.ledger.hold(tx, key="order", amount_minor=50, **order)
        await till.ledger.hold(tx, key="refused", amount_minor=5000, **order)
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
    rows = {"ses_1": paid, "ses_2": died, "ses_void": void, "ses_live": live}
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


async def _pay_out(till: Till) -> None:
    """eva has 40 on their way, 30 at the bank and 20 back; ann was given 5."""
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


def _names(report: AuditReport) -> set[str]:
    return {check.name for check in report.checks if check.count}


async def test_a_true_ledger_passes_and_nothing_was_left_unexamined(history: Till) -> None:
    report = await audit(history.store)
    assert report.ok
    assert _names(report) == set()
    assert [check.name for check in report.checks] == [check.name for check in CHECKS]
    assert all(check.examined for check in report.checks)
    assert report.totals == (
        Total("TRY", AccountKind.EARNINGS, 299, 0),
        Total("TRY", AccountKind.FEES, 35, 0),
        Total("TRY", AccountKind.PAYOUTS, 40, 0),
        Total("TRY", AccountKind.PSP, -970, 0),
        Total("TRY", AccountKind.WALLET, 596, 50),
    )


async def test_an_empty_ledger_passes(any_store: Store) -> None:
    report = await audit(any_store)
    assert report.ok
    assert report.totals == ()


_CAPTURE_ID = "(SELECT id FROM transfers WHERE key = 'c')"


@pytest.mark.parametrize(
    ("statements", "names"),
    [
        (
            ["UPDATE entries SET amount_minor = amount_minor + 1 WHERE amount_minor = 270"],
            "transfers_sum_to_zero balances_follow_entries transfers_move_what_they_say",
        ),
        (
            ["UPDATE accounts SET balance_minor = 651 WHERE kind = 'wallet'"],
            "accounts_sum_to_zero balances_follow_entries",
        ),
        (
            ["UPDATE accounts SET balance_minor = 0 WHERE kind = 'fees'"],
            "accounts_sum_to_zero balances_follow_entries",
        ),
        (["UPDATE accounts SET held_minor = 49 WHERE kind = 'wallet'"], "held_follows_holds"),
        (
            ["UPDATE holds SET captured_minor = 99, released_minor = 1 WHERE key = 'h:2'"],
            "hold_parts_follow_moves",
        ),
        (
            ["UPDATE hold_moves SET amount_minor = 51 WHERE kind = 'release'"],
            "hold_parts_follow_moves",
        ),
        (["UPDATE holds SET state = 'granted' WHERE key = 'h:1'"], "hold_states"),
        (
            ["UPDATE holds SET state = 'granted' WHERE key = 'refused'"],
            "hold_states held_follows_holds",
        ),
        (
            ["UPDATE holds SET state = 'resolved' WHERE key = 'order'"],
            "hold_states held_follows_holds",
        ),
        (
            ["UPDATE hold_moves SET transfer_id = NULL WHERE amount_minor = 250"],
            "captures_come_from_holds",
        ),
        (
            [f"UPDATE transfers SET fee_minor = 31 WHERE id = {_CAPTURE_ID}"],
            "transfers_move_what_they_say sessions_state_their_captures"
            " sessions_cost_what_they_should",
        ),
        (
            [f"UPDATE transfers SET amount_minor = 301 WHERE id = {_CAPTURE_ID}"],
            "transfers_move_what_they_say sessions_state_their_captures captures_come_from_holds"
            " sessions_cost_what_they_should",
        ),
        (
            [
                "INSERT INTO transfers (id, key, request_hash, kind, currency, amount_minor,"
                " created_at_ms) VALUES ('tr_ghost', 'ghost', '', 'topup', 'TRY', 5, 0)"
            ],
            "transfers_move_what_they_say payments_post_once",
        ),
        (["UPDATE transfers SET currency = 'EUR' WHERE key = 'back'"], "one_currency"),
        (["UPDATE orders SET expert_id = 'max' WHERE id = 'ord_1'"], "right_parties"),
        (["UPDATE orders SET customer_id = 'bob' WHERE id = 'ord_1'"], "right_parties"),
        (
            ["UPDATE transfers SET reverses_id = NULL WHERE key = 'back'"],
            "reversals_within_captures",
        ),
        (
            [
                "INSERT INTO transfers (id, key, request_hash, kind, currency, amount_minor,"
                " fee_minor, reverses_id, created_at_ms) VALUES"
                f" ('tr_ghost', 'ghost', '', 'reverse', 'TRY', 200, 19, {_CAPTURE_ID}, 0)"
            ],
            "reversals_within_captures transfers_move_what_they_say money_belongs_to_orders",
        ),
        (
            ["UPDATE sessions SET captured_minor = 299 WHERE id = 'ses_1'"],
            "sessions_state_their_captures",
        ),
        (
            ["UPDATE sessions SET fee_minor = 29 WHERE id = 'ses_1'"],
            "sessions_state_their_captures",
        ),
        (
            [f"UPDATE transfers SET session_id = 'ses_ghost' WHERE id = {_CAPTURE_ID}"],
            "sessions_state_their_captures sessions_cost_what_they_should money_belongs_to_orders",
        ),
        (
            ["UPDATE sessions SET end_reason = 'void' WHERE id = 'ses_1'"],
            "void_sessions_move_nothing grace_is_kept",
        ),
        (
            ["UPDATE sessions SET metered_at_ms = NULL WHERE id = 'ses_1'"],
            "void_sessions_move_nothing",
        ),
        (
            ["UPDATE holds SET session_id = 'ses_void' WHERE key = 'order'"],
            "ended_sessions_hold_nothing money_belongs_to_orders",
        ),
        (
            ["UPDATE holds SET order_id = 'ord_2' WHERE key = 'order'"],
            "closed_orders_hold_nothing",
        ),
        (["UPDATE payments SET state = 'failed' WHERE id = 'pay_1'"], "payments_post_once"),
        (["UPDATE payments SET state = 'succeeded' WHERE id = 'pay_2'"], "payments_post_once"),
        (["UPDATE payments SET id = 'pay_3' WHERE id = 'pay_1'"], "payments_post_once"),
        (["UPDATE payments SET state = 'paid' WHERE id = 'out_1'"], "payouts_follow_payments"),
        (["UPDATE payments SET state = 'failed' WHERE id = 'out_2'"], "payouts_follow_payments"),
        (["UPDATE payments SET state = 'sent' WHERE id = 'out_3'"], "payouts_follow_payments"),
        (["UPDATE payments SET amount_minor = 41 WHERE id = 'out_1'"], "payouts_follow_payments"),
        (
            ["UPDATE payments SET user_id = 'eva' WHERE id = 'pay_1'"],
            "payments_keep_their_owner",
        ),
        (
            ["UPDATE payments SET user_id = 'ann' WHERE id = 'out_1'"],
            "payments_keep_their_owner",
        ),
        (
            ["UPDATE payments SET currency = 'EUR' WHERE id = 'pay_1'"],
            "payments_keep_their_owner",
        ),
        (["UPDATE transfers SET reason = '' WHERE kind = 'adjust'"], "adjustments_are_whole"),
        (["UPDATE transfers SET amount_minor = 6 WHERE kind = 'adjust'"], "adjustments_are_whole"),
        (["UPDATE transfers SET payment_id = NULL WHERE key = 't'"], "payments_post_once"),
        (
            ["UPDATE transfers SET payment_id = 'pay_2' WHERE key = 'out_1'"],
            "payouts_follow_payments payments_keep_their_owner",
        ),
        (
            [
                "INSERT INTO transfers (id, key, request_hash, kind, currency, amount_minor,"
                " created_at_ms) VALUES ('tr_ghost', 'ghost', '', 'payout', 'TRY', 5, 0)",
                "INSERT INTO entries (transfer_id, account_id, amount_minor)"
                " SELECT 'tr_ghost', id, CASE kind WHEN 'earnings' THEN -5 ELSE 5 END FROM accounts"
                " WHERE kind = 'payouts' OR (kind = 'earnings' AND owner_id = 'eva')",
                "UPDATE accounts SET balance_minor = balance_minor - 5"
                " WHERE kind = 'earnings' AND owner_id = 'eva'",
            ],
            "payouts_follow_payments",
        ),
        # Prices
        (
            ["UPDATE sessions SET served_ns = 180000000001 WHERE id = 'ses_1'"],
            "sessions_cost_what_they_should",
        ),
        (
            ["UPDATE sessions SET served_ns = 120000000000 WHERE id = 'ses_1'"],
            "sessions_cost_what_they_should",
        ),
        (
            ["UPDATE sessions SET served_ns = 90600000000 WHERE id = 'ses_2'"],
            "sessions_cost_what_they_should",
        ),
        (
            ["UPDATE sessions SET end_reason = 'completed' WHERE id = 'ses_2'"],
            "sessions_cost_what_they_should",
        ),
        (
            [
                "INSERT INTO sessions (id, order_id, customer_id, expert_id, mode, direction,"
                " state, ordinal, end_reason, rung_at_ms, metered_at_ms, served_ns, owner,"
                " checkpoint_at_ms) VALUES ('ses_free', 'ord_1', 'ann', 'eva', 'video', 'one_way',"
                " 'ended', 3, 'completed', 0, 1, 3600000000000, 'node', 0)",
                "UPDATE orders SET metered_sessions = 3 WHERE id = 'ord_1'",
            ],
            "sessions_cost_what_they_should",
        ),
        (
            [
                "UPDATE transfers SET key = 'staff' WHERE key = 'session:ses_2:unserved'",
            ],
            "sessions_cost_what_they_should",
        ),
        (
            ["""UPDATE orders SET policy = '{"commission_bps": 999}' WHERE id = 'ord_1'"""],
            "sessions_cost_what_they_should",
        ),
        (
            ["""UPDATE orders SET terms = '{"commission_bps": 1017}' WHERE id = 'ord_3'"""],
            "fixed_prices_pay_their_fee",
        ),
        (["UPDATE orders SET terms = '{}' WHERE id = 'ord_3'"], "fixed_prices_pay_their_fee"),
        (
            ["""UPDATE orders SET terms = '{"commission_bps": 10001}' WHERE id = 'ord_3'"""],
            "fixed_prices_pay_their_fee",
        ),
        (
            ["""UPDATE orders SET policy = '{"commission_bps": "x"}' WHERE id = 'ord_1'"""],
            "sessions_cost_what_they_should",
        ),
        (["UPDATE orders SET tariff = '{}' WHERE id = 'ord_1'"], "sessions_cost_what_they_should"),
        (
            ["UPDATE orders SET tariff = 'null' WHERE id = 'ord_1'"],
            "sessions_cost_what_they_should",
        ),
        (["UPDATE orders SET tariff = NULL WHERE id = 'ord_1'"], "sessions_cost_what_they_should"),
        (
            [
                """UPDATE orders SET tariff = '{"price_minor": 100, "per_seconds": 0,"""
                """ "block_seconds": 60, "grace_seconds": 60}' WHERE id = 'ord_1'"""
            ],
            "sessions_cost_what_they_should",
        ),
        # Sessions
        (["UPDATE sessions SET served_ns = 9000000000000 WHERE id = 'ses_void'"], "grace_is_kept"),
        (
            ["UPDATE sessions SET end_reason = 'completed', served_ns = 0 WHERE id = 'ses_void'"],
            "grace_is_kept",
        ),
        (
            ["UPDATE sessions SET ordinal = NULL WHERE id = 'ses_void'"],
            "grace_is_kept ordinals_count_sessions",
        ),
        (["UPDATE sessions SET ordinal = 1 WHERE id = 'ses_2'"], "ordinals_count_sessions"),
        (["UPDATE sessions SET ordinal = 3 WHERE id = 'ses_2'"], "ordinals_count_sessions"),
        (
            ["UPDATE orders SET metered_sessions = 3 WHERE id = 'ord_1'"],
            "ordinals_count_sessions",
        ),
        (["UPDATE sessions SET checkpoint_at_ms = 0 WHERE id = 'ses_live'"], "sessions_are_run"),
        (
            [
                "UPDATE sessions SET quarantined_at_ms = 1, checkpoint_at_ms = 0"
                " WHERE id = 'ses_live'"
            ],
            "none_is_quarantined",
        ),
        # What belongs to nothing
        (
            [
                "UPDATE holds SET order_id = 'ord_ghost', session_id = 'ses_ghost'"
                " WHERE key = 'order'"
            ],
            "money_belongs_to_orders",
        ),
        (["UPDATE holds SET order_id = NULL WHERE key = 'order'"], "money_belongs_to_orders"),
        (
            ["UPDATE transfers SET order_id = NULL, session_id = NULL WHERE key = 'c'"],
            "money_belongs_to_orders sessions_state_their_captures sessions_cost_what_they_should"
            " fixed_prices_pay_their_fee",
        ),
        (
            ["UPDATE transfers SET session_id = NULL WHERE key = 'c'"],
            "money_belongs_to_orders sessions_state_their_captures sessions_cost_what_they_should"
            " fixed_prices_pay_their_fee",
        ),
        (["UPDATE transfers SET order_id = 'ord_2' WHERE key = 'c'"], "money_belongs_to_orders"),
        (["UPDATE transfers SET order_id = NULL WHERE key = 'back'"], "money_belongs_to_orders"),
    ],
)
async def test_every_planted_corruption_is_named(
    history: Till, statements: list[str], names: str
) -> None:
    async with history.store.transaction() as tx:
        await unlock(tx)
        for statement in statements:
            assert (await tx.execute(sa.text(statement))).rowcount > 0
    report = await audit(history.store)
    assert not report.ok
    assert _names(report) == set(names.split())


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
