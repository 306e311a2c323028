"""Random histories: the real ledger on SQLite beside the naive one, compared after every step."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import astuple
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from engine.audit import audit
from engine.clock import SystemClock
from engine.errors import TalktimeError
from engine.metering.ledger import AccountKind, HoldPart, HoldView, Ledger, StatementLine
from engine.metering.ledger.checks import CHECKS
from engine.metering.ledger.model import PLATFORM
from engine.store import tables as t
from engine.store.database import Store, Tx
from tests.unit.ledger.naive import NONE, Naive, NaiveHold, Of, Outcome

CUSTOMERS, EXPERTS = ("ann", "bob"), ("eva", "max")
ORDERS = {"ord_1": ("ann", "eva"), "ord_2": ("ann", "max"), "ord_3": ("bob", "eva")}
# Two sessions of one order, so that what belongs to either differs from what belongs to both.
SESSIONS = {"ses_1": "ord_1", "ses_2": "ord_1", "ses_3": "ord_2", "ses_4": "ord_3"}
FROM_THE_FIRST = 200
"""How many lines of a statement are compared: more than a history makes."""

# These histories move money as they like, whatever anybody was served.
_PRICED = ("sessions_cost_what_they_should", "grace_is_kept", "fixed_prices_pay_their_fee")
_OF_PAPERS = ("ordinals_count_sessions", "payments_post_once", "money_belongs_to_orders")
_AUDITED = tuple(check for check in CHECKS if check.name not in {*_PRICED, *_OF_PAPERS})

# Small amounts: exact matches, exhausted holds and refusals all happen often.
customers, experts = st.sampled_from(CUSTOMERS), st.sampled_from(EXPERTS)
portions, fees = st.integers(0, 8), st.sampled_from([0, 0, 1, 2, 3])
ago = st.integers(0, 20)
sessions = st.sampled_from(tuple(SESSIONS))
maybe_sessions = st.sampled_from((None, *SESSIONS))
signed = st.integers(1, 15) | st.integers(-15, -1)


class LedgerMachine(RuleBasedStateMachine):
    """Every call goes to both ledgers and must have the same outcome, its repetition too.

    What belongs to an order moves between that order's parties, as a correct caller's does.
    """

    holds: Bundle[str] = Bundle("holds")
    captures: Bundle[str] = Bundle("captures")
    payouts: Bundle[str] = Bundle("payouts")

    def __init__(self, template: Path, directory: Path) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(dir=directory)
        path = Path(self.directory.name) / "store.db"
        shutil.copyfile(template, path)
        self.runner = asyncio.Runner()
        self.store = Store(f"sqlite:///{path}", SystemClock())
        self.ledger, self.naive = Ledger(SystemClock()), Naive()
        self.ids: dict[str, str] = {}  # of holds and captures, by the naive ledger's names
        self.history: list[tuple[str, str, tuple[Any, ...]]] = []
        self.focus = "ses_1"
        """The session that was last moved money for: all that it shows is compared at once."""

    @initialize(funds=st.sampled_from([60, 20]))
    def fund(self, funds: int) -> None:
        for user in CUSTOMERS:
            self._fresh("topup", user, funds)

    @rule(user=customers, amount=st.integers(1, 20))
    def topup(self, user: str, amount: int) -> None:
        self._fresh("topup", user, amount)

    @rule(target=holds, user=customers, amount=st.integers(1, 20))
    def hold(self, user: str, amount: int) -> str:
        return self._fresh("hold", user, amount, NONE)

    @rule(target=holds, session=sessions, amount=st.integers(1, 20), prepaid=st.booleans())
    def hold_for_a_session(self, session: str, amount: int, prepaid: bool) -> str:
        order = SESSIONS[self._look_at(session)]
        of = (order, None if prepaid else session)
        return self._fresh("hold", ORDERS[order][0], amount, of)

    @rule(
        target=captures,
        parts=st.lists(st.tuples(holds, portions), min_size=1, max_size=3),
        expert=experts,
        fee=fees,
        session=maybe_sessions,
    )
    def capture(
        self, parts: list[tuple[str, int]], expert: str, fee: int, session: str | None
    ) -> str:
        return self._captured(dict(parts), expert, fee, session)

    @rule(target=captures, used=portions, fee=fees, session=sessions)
    def serve(self, used: int, fee: int, session: str) -> str:
        order = SESSIONS[self._look_at(session)]
        customer, expert = ORDERS[order]
        hold = self._fresh("hold", customer, 10, (order, session))
        paid = self._fresh("capture", {hold: used}, expert, fee, (order, session))
        self._fresh("release", hold, None)
        return paid

    @rule(target=captures, hold=holds, expert=experts, fee=fees, session=maybe_sessions)
    def capture_all_that_is_left(
        self, hold: str, expert: str, fee: int, session: str | None
    ) -> str:
        return self._captured({hold: self.naive.holds[hold].left}, expert, fee, session)

    def _captured(self, parts: dict[str, int], expert: str, fee: int, session: str | None) -> str:
        """For the session, unless the holds are of somebody who has nothing to do with it."""
        if session is not None:
            customer, its_expert = ORDERS[SESSIONS[session]]
            if all(self.naive.holds[hold].user == customer for hold in parts):
                of = (SESSIONS[self._look_at(session)], session)
                return self._fresh("capture", parts, its_expert, fee, of)
        return self._fresh("capture", parts, expert, fee, NONE)

    @rule(hold=holds, amount=st.none() | st.integers(1, 15))
    def release(self, hold: str, amount: int | None) -> None:
        self._fresh("release", hold, amount)

    @rule(session=sessions)
    def settle(self, session: str) -> None:
        """One key lets go of whatever a session still holds."""
        key = f"settle{len(self.history)}"
        mine = [k for k, h in self.naive.open_holds().items() if h.of[1] == session]
        for hold in mine:
            self._recorded("release", key, hold, None)
        self._look_at(session)

    @rule(capture=captures, amount=st.integers(1, 15), fee=fees, by=st.integers(0, 2))
    def reverse(self, capture: str, amount: int, fee: int, by: int) -> None:
        self._fresh("reverse", capture, amount, fee, self._explained(capture, by))

    @rule(capture=captures, by=st.integers(0, 2))
    def reverse_all_that_is_left(self, capture: str, by: int) -> None:
        paid = self.naive.captures.get(capture)
        if paid is not None and paid.earned_left + paid.fee_left:
            left = (paid.earned_left + paid.fee_left, paid.fee_left)
            self._fresh("reverse", capture, *left, self._explained(capture, by))

    def _explained(self, capture: str, by: int) -> Of:
        """Given back for the session, for its order, or for neither."""
        paid = self.naive.captures.get(capture)
        if paid is None:
            return NONE
        order, session = paid.of
        if session is not None:
            self._look_at(session)
        return [paid.of, (order, None), NONE][by]

    @rule(target=payouts, expert=experts, amount=st.integers(1, 15))
    def payout(self, expert: str, amount: int) -> str:
        return self._fresh("payout", expert, amount)

    @rule(target=payouts, expert=experts, paid=st.booleans(), then=st.booleans())
    def payout_of_all(self, expert: str, paid: bool, then: bool) -> str:
        """What is earned leaves, and is told twice how it went."""
        payout = self._fresh("payout", expert, max(1, self.naive.earnings[expert]))
        self._fresh("end_payout", payout, paid)
        self._fresh("end_payout", payout, then)
        return payout

    @rule(payout=payouts, paid=st.booleans())
    def end_payout(self, payout: str, paid: bool) -> None:
        self._fresh("end_payout", payout, paid)

    @rule(user=customers, amount=signed)
    def adjust_wallet(self, user: str, amount: int) -> None:
        self._fresh("adjust", "wallet", user, amount)

    @rule(user=customers, more=st.integers(0, 1))
    def take_all_that_is_available(self, user: str, more: int) -> None:
        """Or one more than that, which what is held must not pay for."""
        if amount := self.naive.available(user) + more:
            self._fresh("adjust", "wallet", user, -amount)

    @rule(expert=experts, amount=signed)
    def adjust_earnings(self, expert: str, amount: int) -> None:
        self._fresh("adjust", "earnings", expert, amount)

    @rule(steps=ago)
    def repeat(self, steps: int) -> None:
        self._both(*self._before(steps))

    @rule(steps=ago, other=ago)
    def reuse_a_key(self, steps: int, other: int) -> None:
        kind, _, arguments = self._before(other)
        self._both(kind, self._before(steps)[1], arguments)

    @rule(steps=ago, whole=st.booleans())
    def reuse_a_key_for_another_session(self, steps: int, whole: bool) -> None:
        """Whose money it is belongs to the request: for the whole order, or for none."""
        kind, key, arguments = self._before(steps)
        if kind in {"hold", "capture", "reverse"}:
            *rest, (order, _) = arguments
            self._both(kind, key, (*rest, (order, None) if whole else NONE))

    def _look_at(self, session: str) -> str:
        self.focus = session
        return session

    def _before(self, steps: int) -> tuple[str, str, tuple[Any, ...]]:
        return self.history[-1 - steps % len(self.history)]

    def _fresh(self, kind: str, *arguments: Any) -> str:
        return self._recorded(kind, f"{kind}{len(self.history)}", *arguments)

    def _recorded(self, kind: str, key: str, *arguments: Any) -> str:
        self.history.append((kind, key, arguments))
        self._both(kind, key, arguments)
        return key

    def _both(self, kind: str, key: str, arguments: tuple[Any, ...]) -> None:
        expected: Outcome = getattr(self.naive, kind)(key, *arguments)
        outcome = self.runner.run(self._transact(kind, key, arguments))
        assert outcome == expected, (kind, key, arguments)

    async def _transact(self, kind: str, key: str, arguments: tuple[Any, ...]) -> Outcome:
        """The outcome of one call in one transaction, which commits even after a refusal."""
        async with self.store.transaction() as tx:
            try:
                outcome: Outcome = await getattr(self, f"_{kind}")(tx, key, *arguments)
            except TalktimeError as error:
                return ("error", error.code)
            return outcome

    async def _topup(self, tx: Tx, key: str, user: str, amount: int) -> Outcome:
        done = await self.ledger.topup(
            tx, key=key, user_id=user, currency="EUR", amount_minor=amount, payment_id=None
        )
        return ("posted", done.amount_minor)

    async def _hold(self, tx: Tx, key: str, user: str, amount: int, of: Of) -> Outcome:
        done = await self.ledger.hold(
            tx,
            key=key,
            user_id=user,
            currency="EUR",
            amount_minor=amount,
            order_id=of[0],
            session_id=of[1],
        )
        assert self.ids.setdefault(f"hold:{key}", done.hold_id) == done.hold_id
        return (done.status.value, done.amount_minor, done.shortfall_minor)

    async def _capture(self, tx: Tx, key: str, *arguments: Any) -> Outcome:
        parts, expert, fee, of = arguments
        named = [HoldPart(self.ids.get(f"hold:{h}", h), amount) for h, amount in parts.items()]
        done = await self.ledger.capture(
            tx,
            key=key,
            parts=named,
            expert_id=expert,
            fee_minor=fee,
            order_id=of[0],
            session_id=of[1],
        )
        assert self.ids.setdefault(f"capture:{key}", done.transfer_id) == done.transfer_id
        return ("posted", done.amount_minor)

    async def _release(self, tx: Tx, key: str, hold: str, amount: int | None) -> Outcome:
        hold_id = self.ids.get(f"hold:{hold}", hold)
        done = await self.ledger.release(tx, key=key, hold_id=hold_id, amount_minor=amount)
        return (done.status.value, done.amount_minor)

    async def _reverse(self, tx: Tx, key: str, *arguments: Any) -> Outcome:
        capture, amount, fee, of = arguments
        done = await self.ledger.reverse(
            tx,
            key=key,
            transfer_id=self.ids.get(f"capture:{capture}", capture),
            amount_minor=amount,
            fee_minor=fee,
            reason="test",
            order_id=of[0],
            session_id=of[1],
        )
        return ("posted", done.amount_minor)

    async def _payout(self, tx: Tx, key: str, user: str, amount: int) -> Outcome:
        done = await self.ledger.payout(
            tx,
            key=key,
            user_id=user,
            currency="EUR",
            amount_minor=amount,
            payment_id=key,  # one payment each, so nobody sends one twice
        )
        return ("posted", done.amount_minor)

    async def _end_payout(self, tx: Tx, key: str, payout: str, paid: bool) -> Outcome:
        done = await self.ledger.end_payout(tx, key=key, payment_id=payout, paid=paid)
        return ("posted", done.amount_minor)

    async def _adjust(self, tx: Tx, key: str, kind: str, user: str, amount: int) -> Outcome:
        done = await self.ledger.adjust(
            tx,
            key=key,
            kind=AccountKind(kind),
            user_id=user,
            currency="EUR",
            amount_minor=amount,
            reason="test",
        )
        return ("posted", done.amount_minor)

    @invariant()
    def both_show_the_same(self) -> None:
        self.runner.run(self._compare())

    async def _compare(self) -> None:
        async with self.store.reading() as tx:
            await self._compare_balances(tx)
            await self._compare_session(tx, self.focus)
            await self._compare_statement(tx, ORDERS[SESSIONS[self.focus]][0])
            holds = await self.ledger.open_holds(tx)
        assert _seen(holds) == _naively(self.naive.open_holds())

    async def _compare_balances(self, tx: Tx) -> None:
        ledger, naive = self.ledger, self.naive
        money = await ledger.money_of(tx, (*CUSTOMERS, *EXPERTS), "EUR")
        fees, outside, on_its_way = [
            await ledger.balance(tx, kind, PLATFORM, "EUR")
            for kind in (AccountKind.FEES, AccountKind.PSP, AccountKind.PAYOUTS)
        ]
        assert (fees, outside, on_its_way) == (naive.fees, naive.outside, naive.on_its_way)
        earnings = [money[expert][1] for expert in EXPERTS]
        assert earnings == [naive.earnings[expert] for expert in EXPERTS]
        wallets = {user: money[user][0] for user in CUSTOMERS}
        for user, wallet in wallets.items():
            assert wallet.balance_minor == naive.wallets[user]
            assert wallet.held_minor == naive.held(user)
            assert 0 <= wallet.held_minor <= wallet.balance_minor
        balances = [wallet.balance_minor for wallet in wallets.values()]
        assert fees + outside + on_its_way + sum(earnings) + sum(balances) == 0

    async def _compare_session(self, tx: Tx, session: str) -> None:
        ledger, naive, order = self.ledger, self.naive, SESSIONS[session]
        total = await ledger.session_total(tx, session)
        assert astuple(total) == naive.session_total(session)
        still = await ledger.open_holds(tx, order_id=order, session_id=session)
        mine = {k: h for k, h in naive.open_holds().items() if h.of[1] == session}
        assert _seen(still) == _naively(mine)
        ever = {k: h for k, h in naive.holds.items() if h.of[0] == order and not h.shortfall}
        assert _seen(await ledger.holds_of_order(tx, order)) == _naively(ever)

    async def _compare_statement(self, tx: Tx, user: str) -> None:
        lines = await self.ledger.transactions(tx, user, "EUR", limit=FROM_THE_FIRST)
        assert [_line(line) for line in lines] == [
            (line.kind, line.amount, line.of, line.reason) for line in self.naive.statement(user)
        ]

    def teardown(self) -> None:
        try:
            self.runner.run(self._finish())
        finally:
            self.runner.close()
            self.directory.cleanup()

    async def _finish(self) -> None:
        """Everything once more, and what the audit says when all sessions have ended."""
        try:
            async with self.store.transaction() as tx:
                for session in SESSIONS:
                    await self._compare_session(tx, session)
                for user in CUSTOMERS:
                    await self._compare_statement(tx, user)
                await self._end_everything(tx)
            report = await audit(self.store, _AUDITED)
        finally:
            await self.store.close()
        assert report.ok, [check for check in report.checks if check.count]

    async def _end_everything(self, tx: Tx) -> None:
        """The rows that explain the money, as the naive ledger knows it."""
        for key, hold in self.naive.open_holds().items():
            if hold.of[0] is not None:
                await self.ledger.release(tx, key="end", hold_id=self.ids[f"hold:{key}"])
        people = [{"id": name, "email": name} | _PERSON for name in (*CUSTOMERS, *EXPERTS)]
        await tx.execute(sa.insert(t.users), people)
        await tx.execute(sa.insert(t.orders), [_order(order) for order in ORDERS])
        for session in SESSIONS:
            captured, fee, _, _ = self.naive.session_total(session)
            paid = {"captured_minor": captured, "fee_minor": fee}
            await tx.execute(sa.insert(t.sessions).values(_session(session) | paid))
        for key, payout in self.naive.payouts.items():
            sent = {"user_id": payout.user, "amount_minor": payout.amount, "state": payout.state}
            own = {"id": key, "provider_ref": key}
            await tx.execute(sa.insert(t.payments).values(_PAYMENT | own | sent))


Seen = set[tuple[str, int, Of]]


def _seen(holds: list[HoldView]) -> Seen:
    return {(hold.key, hold.remaining_minor, (hold.order_id, hold.session_id)) for hold in holds}


def _naively(holds: dict[str, NaiveHold]) -> Seen:
    return {(key, hold.left, hold.of) for key, hold in holds.items()}


def _line(line: StatementLine) -> tuple[str, int, Of, str | None]:
    return (line.kind.value, line.amount_minor, (line.order_id, line.session_id), line.reason)


_PERSON = {"display_name": "x", "password_hash": "x", "roles": [], "created_at_ms": 0}
_PAYMENT = {
    "direction": "out",
    "currency": "EUR",
    "provider": "manual",
    "created_at_ms": 0,
    "updated_at_ms": 0,
}


def _order(order: str) -> dict[str, object]:
    customer, expert = ORDERS[order]
    return {
        "id": order,
        "number": order,
        "customer_id": customer,
        "expert_id": expert,
        "title": "x",
        "fulfilment": "live",
        "mode": "video",
        "tariff": {},
        "policy": {},
        "currency": "EUR",
        "prepay_minor": 0,
        "state": "completed",
        "created_at_ms": 0,
        "updated_at_ms": 0,
    }


def _session(session: str) -> dict[str, object]:
    customer, expert = ORDERS[SESSIONS[session]]
    return {
        "id": session,
        "order_id": SESSIONS[session],
        "customer_id": customer,
        "expert_id": expert,
        "mode": "video",
        "direction": "one_way",
        "state": "ended",
        "end_reason": "completed",
        "metered_at_ms": 1,
        "rung_at_ms": 0,
        "owner": "node",
        "checkpoint_at_ms": 0,
    }


def test_C36_random_histories_agree_with_a_naive_ledger(
    sqlite_template: Path, store_directory: Path
) -> None:
    run_state_machine_as_test(
        lambda: LedgerMachine(sqlite_template, store_directory),
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            # Shrinking takes minutes with a store behind; the steps printed replay as they are.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
