"""Random histories of sessions that share wallets, against the naive meter after every step.

Two customers, each with a call by the second, a call by the started block and a chat, all on the
naive ledger. Whatever happens to them, each must stand where the naive meter stands, and the books
must hold what all of them together explain.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine.clock import NS_PER_MS
from engine.metering import signals as s
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from tests.support.meter_rig import ORIGIN_NS
from tests.support.naive_meter import WINDOW
from tests.support.shared_wallet import TENTH_MS, TENTH_NS, Order, SharedRig, outcome
from tests.unit.ledger.naive import Naive

CUSTOMERS, EXPERTS = ("ann", "bob"), ("eva", "max")
ACK_EVERY = 20
"""Tenths between two acknowledged frames while media flow: less than a pause."""

customers, which = st.sampled_from(CUSTOMERS), st.integers(0, 11)
spans = st.sampled_from([7, 29, 30, 31, 60, 100, 200, 299, 300, 301, 600])
waits = st.sampled_from([0, 0, 1, 9, 31, 80, 200])
"""How long nothing else happens afterwards: a history of events at one instant shows little."""
gaps = st.sampled_from([0, 1, 15, 29, 30, 31, 300, 301])
near = st.sampled_from([-1, 0, 0, 1])
ages = st.sampled_from([0, 1, 3])


def _tariff(price: int, per_s: int, block_s: int, prepaid_s: int, grace_s: int) -> Tariff:
    return Tariff(
        currency="TRY",
        price_minor=price,
        per_seconds=per_s,
        block_seconds=block_s,
        prepaid_seconds=prepaid_s,
        grace_seconds=grace_s,
    )


def _tenth(at_ns: int) -> int:
    """The first whole one at or after that instant."""
    return -(-(at_ns - ORIGIN_NS) // TENTH_NS)


# Prices that do not divide, so that every step is rounded.
KINDS = {
    "second": (_tariff(7, 3, 1, 0, 0), False),
    "block": (_tariff(46, 20, 20, 20, 10), False),
    "chat": (_tariff(50, 60, 7, 14, 5), True),
}
kinds = st.sampled_from(tuple(KINDS))


class SessionsMachine(RuleBasedStateMachine):
    """Time is in tenths of a second. At most one session of an order at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Naive()
        self.now = 0
        self.count = 0
        self.orders: dict[tuple[str, str], Order] = {}
        self.rigs: list[SharedRig] = []
        self.paid_in = dict.fromkeys(CUSTOMERS, 0)
        self.paid_out = 0
        self.told: dict[str, tuple[int, int]] = {}

    @initialize(
        funds=st.sampled_from([50, 100, 200, 500]),
        slice_s=st.sampled_from([2, 10, 30]),
        calls=st.lists(st.tuples(customers, kinds), min_size=1, max_size=4, unique=True),
    )
    def open(self, funds: int, slice_s: int, calls: list[tuple[str, str]]) -> None:
        self.policy = Policy(commission_bps=1_234, hold_slice_seconds=slice_s)
        for customer in CUSTOMERS:
            self._top_up(customer, funds)
        for customer, kind in calls:
            self._start(customer, kind, at_once=True)

    # What people do -------------------------------------------------------------------------------

    @rule(customer=customers, kind=kinds, at_once=st.sampled_from([True, True, False]), wait=waits)
    def start(self, customer: str, kind: str, at_once: bool, wait: int) -> None:
        """A call is answered, and its clock starts at once or with a later frame."""
        self._start(customer, kind, at_once=at_once)
        self._wait(wait)

    def _start(self, customer: str, kind: str, *, at_once: bool) -> None:
        order = self._order(customer, kind)
        if order is None or any(rig.order is order for rig in self._live()):
            return
        sharers = 1 + len([rig for rig in self._live() if rig.order.customer == customer])
        rig = SharedRig(self.books, order, self._new("s"), now=self.now, sharers=sharers)
        self.rigs.append(rig)
        rig.arm()
        if at_once and rig.ended is None:
            rig.first_frame(self.now)
        self._after()

    @precondition(lambda self: self._waiting())
    @rule(n=which, wait=waits)
    def first_frame(self, n: int, wait: int) -> None:
        self._one_of(self._waiting(), n).first_frame(self.now)
        self._wait(wait)

    @precondition(lambda self: self._media())
    @rule(n=which, gap=gaps, age=ages, wait=waits)
    def frame(self, n: int, gap: int, age: int, wait: int) -> None:
        """Media flow again, after a gap that is a pause, is not, or was the end."""
        rig = self._one_of(self._media(), n)
        if rig.flowing:
            rig.frame(self.now)
            rig.flowing = False
        self._wait(gap)
        if rig.live:
            rig.flowing = True
            rig.frame(self.now, age=age)
        self._wait(wait)

    @precondition(lambda self: self._media())
    @rule(n=which, wait=waits)
    def silence(self, n: int, wait: int) -> None:
        self._one_of(self._media(), n).flowing = False
        self._wait(wait)

    @precondition(lambda self: self._chats())
    @rule(n=which, wait=waits)
    def come_or_go(self, n: int, wait: int) -> None:
        rig = self._one_of(self._chats(), n)
        rig.connect(self.now, up=not rig.up)
        self._wait(wait)

    @precondition(lambda self: self._live())
    @rule(n=which, fault=st.sampled_from([False, False, True]), wait=waits)
    def end(self, n: int, fault: bool, wait: int) -> None:
        """Somebody hangs up, or the engine cannot go on."""
        rig = self._one_of(self._live(), n)
        self._end(rig, fault=fault or rig.suspended)
        self._wait(wait)

    # Money ----------------------------------------------------------------------------------------

    @rule(customer=customers, amount=st.integers(1, 150), late=st.booleans(), wait=waits)
    def topup(self, customer: str, amount: int, late: bool, wait: int) -> None:
        """In time, or late: when a session was refused already."""
        if late:
            self._run_to_a_refusal()
        self._top_up(customer, amount)
        self._wait(wait)

    def _top_up(self, customer: str, amount: int) -> None:
        self.books.topup(self._new("t"), customer, amount)
        self.paid_in[customer] += amount
        self._after()

    @rule(customer=customers, left=st.sampled_from([0, 1, 10, 40]), wait=waits)
    def take_out(self, customer: str, left: int, wait: int) -> None:
        """Money moves away in mid-call, but what is held stays."""
        amount = self.books.available(customer) - left
        if amount > 0:
            beyond = self.books.adjust(self._new("a"), "wallet", customer, -amount - left - 1)
            assert beyond == ("error", "insufficient_funds")
            self.books.adjust(self._new("a"), "wallet", customer, -amount)
            self.paid_in[customer] -= amount
            self._wait(wait)

    @rule(expert=st.sampled_from(EXPERTS))
    def pay_out(self, expert: str) -> None:
        if self.books.earnings[expert] > 0:
            amount = self.books.earnings[expert]
            self.books.payout(self._new("p"), expert, amount)
            self.paid_out += amount

    # What goes wrong ------------------------------------------------------------------------------

    @precondition(lambda self: self._live())
    @rule()
    def checkpoint(self) -> None:
        for rig in self._live():
            rig.checkpoint()

    @precondition(lambda self: self._live())
    @rule(
        gap=st.sampled_from([0, 1, 50]),
        money=st.tuples(st.booleans(), st.booleans()),
        back=st.none() | st.sampled_from([0, 100, 290]),
        flowing=st.booleans(),
        wait=waits,
    )
    def crash(
        self, gap: int, money: tuple[bool, bool], back: int | None, flowing: bool, wait: int
    ) -> None:
        """The engine dies; another takes everything up, and perhaps all are back later.

        `money`: whether a session was refused before, and whether a hold that was under way is
        granted all the same.
        """
        late, answered = money
        if late:
            self._run_to_a_refusal()
        for rig in self._live():
            rig.die(answered=answered)
        self.now += gap
        for rig in self._live():
            rig.rise(self.now)
        self._wait(back or 0)
        for rig in self._suspended() if back is not None else []:
            self._back(rig, flowing=flowing)
        self._wait(wait)

    @precondition(lambda self: self._suspended())
    @rule(n=which, flowing=st.booleans(), wait=waits)
    def come_back(self, n: int, flowing: bool, wait: int) -> None:
        self._back(self._one_of(self._suspended(), n), flowing=flowing)
        self._wait(wait)

    def _back(self, rig: SharedRig, *, flowing: bool) -> None:
        if not rig.live:
            return
        if rig.text:
            rig.connect(self.now, up=True)
        else:
            rig.reattach(self.now)
            rig.flowing = flowing
        self._after()

    @precondition(lambda self: self._live())
    @rule(n=which, wait=waits)
    def ledger_slows_down(self, n: int, wait: int) -> None:
        rig = self._one_of(self._live(), n)
        rig.answering, rig.disturbed = False, True
        self._wait(wait)

    @precondition(lambda self: self._unanswered())
    @rule(n=which)
    def ledger_answers(self, n: int) -> None:
        self._one_of(self._unanswered(), n).answer()
        self._after()

    # Time -----------------------------------------------------------------------------------------

    @rule(tenths=spans)
    def time_passes(self, tenths: int) -> None:
        self._run_until(self.now + tenths)

    @precondition(lambda self: self._next_due() is not None)
    @rule(offset=near)
    def time_passes_to_a_deadline(self, offset: int) -> None:
        due = self._next_due()
        assert due is not None
        self._run_until(max(self.now, _tenth(due[0]) + offset))

    @precondition(lambda self: self._live())
    @rule(tenths=st.sampled_from([1, 15, 40, 310]))
    def timers_are_late(self, tenths: int) -> None:
        """Everything that was due in between is found at once."""
        self.now += tenths
        for rig in self._live():
            rig.disturbed = True
            rig.now_ms = self.now * TENTH_MS
        for rig in self._live():
            if rig.live:
                rig.feed(s.Tick())
                self._after()

    def _run_to_a_refusal(self) -> None:
        """To the last seconds of a wallet, in which what happens matters most."""
        short = len(self._refused())
        for _ in range(30):
            due = self._next_due()
            if due is None or len(self._refused()) > short:
                break
            self._run_until(max(self.now, _tenth(due[0])))

    def _wait(self, tenths: int) -> None:
        self._after()
        self._run_until(self.now + tenths)

    def _run_until(self, until: int) -> None:
        while self.now < until:
            to = min(until, (self.now // ACK_EVERY + 1) * ACK_EVERY)
            self._tick_until(to)
            if to % ACK_EVERY == 0:
                for rig in self._media():
                    if rig.live and rig.flowing:
                        rig.frame(to)
                        self._after()
        self._tick_until(until)

    def _tick_until(self, to: int) -> None:
        """Whatever is due, of all sessions, in its order."""
        seen = set()
        while (due := self._next_due()) is not None and due[0] <= self._ns(to):
            assert due not in seen, "a deadline did not move"
            seen.add(due)
            at_ns, n = due
            self.rigs[n].tick(max(at_ns, self._ns(self.now)))
            self._at(at_ns)
            self._after()
        self.now = max(self.now, to)
        for rig in self._live():
            rig.now_ms = self.now * TENTH_MS

    def _at(self, at_ns: int) -> None:
        """Whatever a tick changes for the others, it changes at its own instant."""
        for rig in self._live():
            rig.now_ms = max(rig.now_ms, (at_ns - ORIGIN_NS) / NS_PER_MS)

    def _ns(self, at: int) -> int:
        return ORIGIN_NS + at * TENTH_NS

    def _next_due(self) -> tuple[int, int] | None:
        for rig in self._live():
            meter = rig.meter
            assert meter.next_deadline_ns() == meter._find_deadline_ns(), "remembered for too long"
        due = [(rig.meter.next_deadline_ns(), n) for n, rig in enumerate(self.rigs) if rig.live]
        return min(((at_ns, n) for at_ns, n in due if at_ns is not None), default=None)

    # Around the sessions --------------------------------------------------------------------------

    def _seen(self, rig: SharedRig) -> int:
        """The first tenth at which the rig's end can be seen."""
        if rig.ended is None:
            return self.now
        return max(self.now, _tenth(rig.ended.at_ns))

    def _new(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def _order(self, customer: str, kind: str) -> Order | None:
        """The customer's open order of this kind, prepaid; None if there is no money for that."""
        tariff, text = KINDS[kind]
        order = self.orders.get((customer, kind))
        if order is None:
            expert = EXPERTS[len(self.orders) % 2]
            order = Order(self._new("o"), customer, expert, tariff, self.policy, text)
            prepaid = tariff.prepay_minor()
            if prepaid and self.books.available(customer) < prepaid:
                return None
            if prepaid:
                self.books.hold(order.key, customer, prepaid, (order.name, None))
            self.orders[customer, kind] = order
            self._after()
        return order

    def _live(self) -> list[SharedRig]:
        return [rig for rig in self.rigs if rig.live]

    def _those(self, chosen: Callable[[SharedRig], bool]) -> list[SharedRig]:
        return [rig for rig in self._live() if chosen(rig)]

    def _waiting(self) -> list[SharedRig]:
        return self._those(lambda rig: not rig.meter.started)

    def _media(self) -> list[SharedRig]:
        return self._those(lambda rig: rig.meter.started and not rig.text)

    def _chats(self) -> list[SharedRig]:
        return self._those(lambda rig: rig.meter.started and rig.text)

    def _suspended(self) -> list[SharedRig]:
        return self._those(lambda rig: rig.meter.started and rig.suspended)

    def _refused(self) -> list[SharedRig]:
        return self._those(lambda rig: rig.refused)

    def _unanswered(self) -> list[SharedRig]:
        return self._those(lambda rig: not rig.answering)

    def _one_of(self, rigs: list[SharedRig], n: int) -> SharedRig:
        return rigs[n % len(rigs)]

    def _after(self) -> None:
        """Ends are settled, and everybody hears what it leaves in the wallet, until all is told."""
        while True:
            for rig in self._those(lambda rig: rig.ended is not None):
                self._end(rig, fault=rig.suspended)
            news = [customer for customer in CUSTOMERS if self._news(customer)]
            if not news:
                return
            for customer in news:
                self.told[customer] = self._state(customer)
                for rig in self._drawing_on(customer):
                    if rig.live and rig.ended is None:
                        rig.tell(self.told[customer][1])

    def _drawing_on(self, customer: str) -> list[SharedRig]:
        return self._those(lambda rig: rig.order.customer == customer)

    def _state(self, customer: str) -> tuple[int, int]:
        return self.books.available(customer), len(self._drawing_on(customer))

    def _news(self, customer: str) -> bool:
        return self.told.get(customer) != self._state(customer)

    def _end(self, rig: SharedRig, *, fault: bool) -> None:
        if isinstance(rig.ended, s.Exhausted) and not rig.disturbed:
            assert rig.missing() > 0, "it ended although the wallet could pay for more"
        if rig.ended is not None and rig.cutoff_ns is not None:
            assert rig.ended.at_ns <= rig.cutoff_ns, "served beyond what the watchdog was told"
        if isinstance(rig.ended, s.Silent):
            assert rig.ended.at_ns > self._ns(rig.last_frame() + WINDOW), "frames were in time yet"
        settlement = rig.end(fault=fault)
        if rig.evidence is None:
            assert settlement == s.NOTHING
        else:
            assert outcome(settlement) == rig.expected(self._seen(rig), fault=fault)
        assert rig.own_holds() == {}
        assert rig.captured == settlement.total_minor
        assert rig.fees == settlement.fee_minor

    # What must be true ----------------------------------------------------------------------------

    @invariant()
    def each_stands_where_the_naive_meter_stands(self) -> None:
        for rig in self._those(lambda rig: rig.evidence is not None):
            fault = rig.suspended
            assert outcome(rig.as_if_ended(fault=fault)) == rig.expected(self.now, fault=fault)

    @invariant()
    def nobody_is_waited_for_beyond_the_window(self) -> None:
        for rig in self._media():
            assert self.now <= rig.last_frame() + WINDOW

    @invariant()
    def nothing_is_charged_before_its_time(self) -> None:
        for rig in self._those(lambda rig: rig.meter.started):
            meter, now_ns = rig.meter, self._ns(self.now)
            assert meter.captured_minor == rig.captured
            assert meter.captured_fee_minor == rig.fees
            assert meter.elapsed_ns(now_ns) <= meter.paid_ns
            if not rig.suspended:
                assert rig.captured <= rig.expected(self.now, fault=False).total

    @invariant()
    def the_watchdog_knows_when_money_ends(self) -> None:
        for rig in self._those(lambda rig: rig.meter.started and not rig.meter.paused):
            meter, now_ns = rig.meter, self._ns(self.now)
            assert rig.cutoff_ns == now_ns + meter.paid_ns - meter.elapsed_ns(now_ns)

    @invariant()
    def the_books_hold_what_the_sessions_explain(self) -> None:
        books = self.books
        for customer in CUSTOMERS:
            assert 0 <= books.held(customer) <= books.wallets[customer]
            mine = [rig for rig in self.rigs if rig.order.customer == customer]
            assert books.wallets[customer] == self.paid_in[customer] - sum(r.captured for r in mine)
        for rig in self._live():
            held = {key: left for key, left in rig.holds.items() if key != "prepay" and left}
            assert rig.own_holds() == held
        earned = sum(rig.captured - rig.fees for rig in self.rigs)
        assert sum(books.earnings.values()) + self.paid_out == earned
        for rig in self.rigs:
            captured, fee, back, fee_back = books.session_total(rig.name)
            assert (captured - back, fee - fee_back) == (rig.captured, rig.fees)

    def teardown(self) -> None:
        for rig in self._live():
            if rig.live:
                self._end(rig, fault=rig.suspended)
                self._after()
        for order in self.orders.values():
            self.books.release("close", order.key, None)
        assert [self.books.held(customer) for customer in CUSTOMERS] == [0, 0]


SETTINGS = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    # The same histories every time: how far they see is known from what was planted.
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)


def test_sessions_that_share_wallets_agree_with_the_naive_meter() -> None:
    run_state_machine_as_test(SessionsMachine, settings=SETTINGS)
