"""A meter with a small bank behind it: grants holds, books captures, keeps every effect."""

from __future__ import annotations

from engine.clock import NS_PER_MS
from engine.metering import signals as s
from engine.metering.funds import Fund, next_slice
from engine.metering.meter import Meter
from engine.metering.policy import PAUSE_AFTER_NS, Policy
from engine.metering.tariff import Tariff

ORIGIN_NS = 5_000_000_000_000
"""Far from 0, so that an instant is never mistaken for a duration."""


def tariff(block_s: int = 900, **changes: int) -> Tariff:
    """900.00 per 900 s in blocks of `block_s`, one prepaid block of 900 s, 60 s of grace."""
    values = {
        "price_minor": 90_000,
        "per_seconds": 900,
        "block_seconds": block_s,
        "prepaid_seconds": 900,
        "grace_seconds": 60,
    }
    return Tariff(currency="TRY", **(values | changes))


class MeterRig:
    """Times in milliseconds since the clock started; `wallet` is what is available."""

    def __init__(
        self,
        tariff: Tariff,
        *,
        wallet: int = 0,
        prepaid: int | None = None,
        ordinal: int = 1,
        text: bool = False,
        policy: Policy | None = None,
    ) -> None:
        self.tariff = tariff
        self.policy = policy or Policy(commission_bps=1_500)
        self.available = wallet
        self.holds: dict[str, int] = {}
        self.captured = 0
        self.fees = 0
        self.now_ms: float = 0
        self.pause_after_ns = PAUSE_AFTER_NS
        self.log: list[tuple[int, s.MeterEffect]] = []
        self.ended: s.Exhausted | s.Silent | None = None
        prepaid = tariff.prepay_minor() if prepaid is None else prepaid
        if prepaid:
            self.holds["prepay"] = prepaid
        self.text, self.ordinal = text, ordinal
        self.meter = self._new_meter()
        self.answering = True
        """Whether the bank answers requests for a hold."""

    def _new_meter(self, attempts_before: int = 0) -> Meter:
        return Meter(
            self.tariff,
            self.policy,
            text=self.text,
            ordinal=self.ordinal,
            holds=tuple(Fund(key, left) for key, left in self.holds.items()),
            wallet=s.Wallet(self.available),
            attempts_before=attempts_before,
        )

    def start(self, *, connected: bool = True, pause_after_ns: int = PAUSE_AFTER_NS) -> None:
        self._take(self.meter.arm())
        self.pause_after_ns = pause_after_ns
        self.feed(s.Start(self.ns(self.now_ms), connected, pause_after_ns))

    def ns(self, at_ms: float) -> int:
        return ORIGIN_NS + round(at_ms * NS_PER_MS)

    def feed(self, event: s.MeterEvent) -> None:
        self._take(self.meter.handle(event, self.ns(self.now_ms)))

    def wait(self, until_ms: float, *, acks_every_ms: int | None = 1_000) -> None:
        """Fire every deadline up to `until_ms`, with frames acknowledged on the way."""
        if acks_every_ms is not None:
            first = int(self.now_ms // acks_every_ms + 1) * acks_every_ms
            for ack_ms in range(first, int(until_ms) + 1, acks_every_ms):
                self._tick_until(ack_ms)
                self.feed(s.Acked(self.ns(ack_ms), self.pause_after_ns))
        self._tick_until(until_ms)

    def ack(self, at_ms: float, *, sent_ms: float | None = None) -> None:
        self._tick_until(at_ms)
        self.feed(s.Acked(self.ns(at_ms if sent_ms is None else sent_ms), self.pause_after_ns))

    def _tick_until(self, until_ms: float) -> None:
        while self.ended is None:
            due = self.meter.next_deadline_ns()
            if due is None or due > self.ns(until_ms):
                break
            self.now_ms = max(self.now_ms, (due - ORIGIN_NS) / NS_PER_MS)
            self._take(self.meter.handle(s.Tick(), due))
        self.now_ms = until_ms

    def end(self, at_ms: float | None = None, *, fault: bool = False) -> s.Settlement:
        """End now, or where the money or the silence ended it."""
        if at_ms is not None:
            self.wait(at_ms)
        instant = self.ns(self.now_ms) if self.ended is None else self.ended.at_ns
        self._take(self.meter.finish(instant, fault=fault))
        self._let_go()
        assert self.meter.settlement is not None
        return self.meter.settlement

    def _let_go(self) -> None:
        for key in [key for key in self.holds if key != "prepay"]:
            self.available += self.holds.pop(key)

    def topup(self, amount: int) -> None:
        self.available += amount
        self.feed(s.Wallet(self.available))

    def _take(self, effects: list[s.MeterEffect]) -> None:
        for effect in effects:
            self.log.append((int(self.now_ms), effect))
            match effect:
                case s.PlaceHold():
                    if self.answering:
                        self._answer(effect)
                case s.Capture():
                    self._pay(effect)
                case s.GiveBack():
                    self._give_back(effect)
                case s.Exhausted() | s.Silent():
                    self.ended = effect

    def _pay(self, capture: s.Capture) -> None:
        assert sum(part.amount_minor for part in capture.parts) == capture.amount_minor
        for part in capture.parts:
            self.holds[part.hold_id] -= part.amount_minor
            assert self.holds[part.hold_id] >= 0
        self.captured += capture.amount_minor
        self.fees += capture.fee_minor

    def _give_back(self, back: s.GiveBack) -> None:
        self.captured -= back.amount_minor
        self.fees -= back.fee_minor

    def _answer(self, ask: s.PlaceHold) -> None:
        want = next_slice(
            self.tariff,
            ask.total_minor,
            wanted_blocks=ask.blocks,
            available_minor=self.available,
            sharers=1,
        )
        if want.amount_minor > self.available:
            self.feed(s.HoldRefused(s.Wallet(self.available)))
            return
        key = f"{ask.block}:{ask.attempt}"
        assert key not in self.holds
        self.holds[key] = want.amount_minor
        self.available -= want.amount_minor
        self.feed(s.HoldGranted(Fund(key, want.amount_minor), s.Wallet(self.available)))

    def of(self, kind: type[s.MeterEffect]) -> list[tuple[int, s.MeterEffect]]:
        return [(at_ms, effect) for at_ms, effect in self.log if isinstance(effect, kind)]
