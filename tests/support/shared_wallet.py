"""A session that draws on a wallet together with others, through the naive ledger.

What the engine around a meter does is here as short as it can be: a hold, a capture and what is
given back go to the books under the engine's own keys; a row keeps what a crash leaves. Each
session also writes down what the naive meter needs to tell how much it should have cost.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from fractions import Fraction

from engine.clock import NS_PER_MS, NS_PER_S
from engine.metering import signals as s
from engine.metering.funds import Fund, next_slice
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from tests.support.meter_rig import ORIGIN_NS, MeterRig
from tests.support.naive_meter import PAUSE, NaiveMeter, Outcome
from tests.unit.ledger.naive import Naive, Of

TENTH_MS = 100
TENTH_NS = TENTH_MS * NS_PER_MS
ATTEMPTS_PER_RUN = 1_000_000
PREPAID = "prepay"


@dataclass
class Order:
    """What a customer and an expert agreed on, and how many of its sessions were metered."""

    name: str
    customer: str
    expert: str
    tariff: Tariff
    policy: Policy
    text: bool = False
    metered: int = 0

    @property
    def key(self) -> str:
        return f"order:{self.name}:prepay"


@dataclass
class Evidence:
    """What the naive meter is told of one run of a session. Tenths since `began`."""

    began: int
    funds: int
    before: Fraction | int = 0
    standing: bool = False
    marks: set[int] = field(default_factory=set)
    grants: dict[int, int] = field(default_factory=dict)

    def granted(self, at_ns: int, amount: int) -> None:
        """Money is in time until the very instant at which the last is used up, and the naive
        meter, which looks at every tenth, wants it at the last one before.
        """
        at = -(-(at_ns - ORIGIN_NS) // TENTH_NS) - 1 - self.began
        if at < 0:
            self.funds += amount
        else:
            self.grants[at] = self.grants.get(at, 0) + amount

    def acked(self, sent: int) -> None:
        """Older news than the last change nothing, but the first lets a standing clock run."""
        if sent > max(self.marks, default=0) or (self.standing and not self.marks):
            self.marks.add(max(0, sent))


class SharedRig(MeterRig):
    """Times are tenths of a second since the machine began; `books` are shared by all."""

    def __init__(self, books: Naive, order: Order, name: str, *, now: int, sharers: int) -> None:
        self.books, self.order, self.name, self.sharers = books, order, name, sharers
        self.runs = 1
        self.row: s.Served | None = None
        self.evidence: Evidence | None = None
        self.pending: s.PlaceHold | None = None
        self.suspended = self.disturbed = self.refused = False
        self.blocks_paid = 0
        self.up = True
        self.flowing = not order.text
        self.cutoff_ns: int | None = None
        self.told: list[tuple[int, int]] = []
        """When it was told what is available."""
        super().__init__(
            order.tariff,
            wallet=books.available(order.customer),
            prepaid=self._left(order.key),
            ordinal=order.metered + 1,
            text=order.text,
            policy=order.policy,
        )
        self.now_ms = now * TENTH_MS
        self._wallet()

    # Around the meter -----------------------------------------------------------------------------

    @property
    def belongs(self) -> Of:
        return (self.order.name, self.name)

    @property
    def live(self) -> bool:
        return self.meter.settlement is None

    def _left(self, key: str) -> int:
        return self.books.holds[key].left if key in self.books.holds else 0

    def _ledger_key(self, hold_id: str) -> str:
        return self.order.key if hold_id == PREPAID else f"session:{self.name}:hold:{hold_id}"

    def own_holds(self) -> dict[str, int]:
        """What the books say is still set aside for this session alone, by the rig's names."""
        prefix = f"session:{self.name}:hold:"
        return {
            key.removeprefix(prefix): hold.left
            for key, hold in self.books.open_holds().items()
            if hold.of == self.belongs
        }

    def tell(self, sharers: int) -> None:
        """What is available now, to this many sessions."""
        self.sharers = sharers
        self.feed(self._wallet())

    def _wallet(self) -> s.Wallet:
        self.available = self.books.available(self.order.customer)
        self.told.append((self.ns(self.now_ms), self.available))
        return s.Wallet(self.available, self.sharers)

    def _take(self, effects: list[s.MeterEffect]) -> None:
        ends = [effect for effect in effects if isinstance(effect, s.Exhausted | s.Silent)]
        # It is over before any answer: nothing is asked for any more.
        self.ended = self.ended or (ends[0] if ends else None)
        for effect in effects:
            match effect:
                case s.Resumed():
                    self.suspended = False
                case s.CutoffMoved(at_ns=at_ns):
                    self.cutoff_ns = at_ns
                case s.PlaceHold():
                    self.pending = effect
        super()._take(effects)
        if any(isinstance(effect, s.Capture) for effect in effects):
            self.checkpoint()

    def _answer(self, ask: s.PlaceHold) -> None:
        self.pending = None
        if self.ended is not None:
            return
        fund = self._hold(ask)
        self.refused = fund is None
        if fund is None:
            self.feed(s.HoldRefused(self._wallet()))
            return
        self.holds[fund.hold_id] = fund.left_minor
        if self.evidence is not None:
            self.evidence.granted(self.ns(self.now_ms), fund.left_minor)
        self.feed(s.HoldGranted(fund, self._wallet()))

    def _hold(self, ask: s.PlaceHold) -> Fund | None:
        want = next_slice(
            self.tariff,
            ask.total_minor,
            wanted_blocks=ask.blocks,
            available_minor=self.books.available(self.order.customer),
            sharers=self.sharers,
        )
        hold_id = f"{ask.block}:{ask.attempt}"
        key = self._ledger_key(hold_id)
        assert key not in self.books.holds, "an attempt was made before"
        answer = self.books.hold(key, self.order.customer, want.amount_minor, self.belongs)
        return Fund(hold_id, want.amount_minor) if answer[0] == "granted" else None

    def _pay(self, capture: s.Capture) -> None:
        super()._pay(capture)
        self.blocks_paid += capture.blocks
        assert self.blocks_paid == capture.block
        if capture.amount_minor == 0:
            return
        key = f"session:{self.name}:capture:{capture.block}"
        assert key not in self.books.requests, "a block was paid before"
        parts = {self._ledger_key(part.hold_id): part.amount_minor for part in capture.parts}
        fee = capture.fee_minor
        posted = self.books.capture(key, parts, self.order.expert, fee, self.belongs)
        assert posted == ("posted", capture.amount_minor), posted

    def _give_back(self, back: s.GiveBack) -> None:
        super()._give_back(back)
        key, capture = f"session:{self.name}:unserved", f"session:{self.name}:capture:{back.block}"
        posted = self.books.reverse(key, capture, back.amount_minor, back.fee_minor, self.belongs)
        assert posted == ("posted", back.amount_minor), posted

    def _let_go(self) -> None:
        for hold_id in self.own_holds():
            released = self.books.release(
                f"session:{self.name}:settle", self._ledger_key(hold_id), None
            )
            assert released[0] == "released"
            self.holds.pop(hold_id, None)

    # What happens to it ---------------------------------------------------------------------------

    def arm(self) -> None:
        """The call is answered: money is set aside before anything is served."""
        self._take(self.meter.arm())

    def first_frame(self, now: int) -> None:
        """Or the message that starts the clock of a chat."""
        funds = self._left(self.order.key) + sum(self.own_holds().values())
        self.evidence = Evidence(now, funds)
        self.order.metered += 1
        self.feed(s.Start(self.ns(self.now_ms), self.up))
        self.checkpoint()

    def frame(self, now: int, *, age: int = 0) -> None:
        """The customer acknowledges what was sent `age` tenths ago."""
        assert self.evidence is not None
        self.feed(s.Acked(self.ns((now - age) * TENTH_MS)))
        if not isinstance(self.ended, s.Silent):  # else it came too late to count
            self.evidence.acked(now - age - self.evidence.began)

    def connect(self, now: int, *, up: bool) -> None:
        assert self.evidence is not None
        if up is not self.up:
            self.up = up
            self.evidence.marks ^= {now - self.evidence.began}
        self.feed(s.Connection(up))

    def reattach(self, now: int) -> None:
        """Both are back after a crash: silence counts from now on."""
        self.feed(s.Reattached())
        run = self.evidence
        assert run is not None
        if self.ended is None and run.standing and not run.marks:
            funds = run.funds + sum(run.grants.values())
            self.evidence = Evidence(now, funds, run.before, standing=True)

    def tick(self, at_ns: int) -> None:
        self.now_ms = (at_ns - ORIGIN_NS) / NS_PER_MS
        self._take(self.meter.handle(s.Tick(), at_ns))

    def answer(self) -> None:
        """The ledger was slow, and answers."""
        self.answering = True
        if self.pending is not None:
            self._answer(self.pending)

    def checkpoint(self) -> None:
        meter = self.meter
        if meter.started:
            served_ns = meter.confirmed_ns(self.ns(self.now_ms))
            self.row = s.Served(served_ns, meter.captured_blocks, meter.captured_minor)

    def die(self, *, answered: bool) -> None:
        """The engine is gone; a hold that was under way may have been granted, unknown to it."""
        if answered and self.pending is not None:
            self._hold(self.pending)
        self.pending = None

    def rise(self, now: int) -> None:
        """Another engine takes up what the row and the books tell."""
        self.now_ms = now * TENTH_MS
        prepaid = self._left(self.order.key)
        self.holds = ({PREPAID: prepaid} if prepaid else {}) | self.own_holds()
        self._wallet()
        self.meter = self._new_meter(self.runs * ATTEMPTS_PER_RUN)
        self.runs += 1
        self.answering, self.cutoff_ns = True, None
        if self.row is None:  # nobody was there yet, so nobody has to come back
            self.arm()
            return
        captured = self.captured
        assert captured == self.row.captured_minor, "what was captured is in the row"
        self.suspended, self.up, self.flowing = True, False, False
        before = Fraction(self.row.served_ns, TENTH_NS)
        funds = captured + sum(self.holds.values())
        self.evidence = Evidence(now, funds, before, standing=True)
        self.meter.take_up(self.row, self.ns(self.now_ms))
        self.feed(s.Tick())

    def last_frame(self) -> int:
        """Or when a clock that stands began to wait for one."""
        assert self.evidence is not None
        return self.evidence.began + max(self.evidence.marks, default=0)

    def missing(self) -> int:
        """What was missing for the next block just before it ended, as far as it was told: not
        more than 0 if it should have gone on.
        """
        assert self.ended is not None
        told = [available for at_ns, available in self.told if at_ns < self.ended.at_ns]
        funds = self.captured + sum(self.holds.values())
        price = self.tariff.due_minor(self.meter.funded_blocks + 1) - funds
        return price - (told[-1] if told else 0)

    # What the naive meter says --------------------------------------------------------------------

    def expected(self, now: int, *, fault: bool) -> Outcome:
        """How it should have come out if it ended now, unless it ended before."""
        run = self.evidence
        assert run is not None
        grace = self.tariff.grace_seconds if self.ordinal <= self.tariff.grace_sessions else 0
        naive = NaiveMeter(
            self.tariff.price_minor,
            self.tariff.per_seconds,
            self.tariff.block_seconds,
            self.policy.commission_bps,
            grace,
            run.funds,
            run.grants,
            run.before,
            run.standing,
            fault,
        )
        if self.text:
            return naive.text(run.marks, now - run.began)
        return naive.media(dict.fromkeys(run.marks, PAUSE), now - run.began)

    def as_if_ended(self, *, fault: bool) -> s.Settlement:
        """Asked of a copy, so that it goes on."""
        meter = copy.deepcopy(self.meter)
        meter.finish(self.ns(self.now_ms), fault=fault)
        assert meter.settlement is not None
        return meter.settlement


def outcome(settlement: s.Settlement) -> Outcome:
    """In the naive meter's words."""
    served = Fraction(settlement.elapsed_ns * 10, NS_PER_S)
    return Outcome(served, settlement.blocks, settlement.total_minor, settlement.fee_minor)
