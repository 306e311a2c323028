"""A second ledger, written as naively as possible, to compare the real one with.

It keeps everything in dictionaries, names holds and captures by their keys, and answers what the
real one must answer: ``(word, number, …)`` for an outcome, ``("error", code)`` for a refusal.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

Outcome = tuple[object, ...]
Of = tuple[str | None, str | None]
"""The order and the session that a movement belongs to."""
NONE: Of = (None, None)


@dataclass
class NaiveHold:
    user: str
    amount: int
    shortfall: int
    left: int
    of: Of


@dataclass
class NaiveCapture:
    user: str
    expert: str
    earned_left: int
    fee_left: int
    of: Of


@dataclass
class NaivePayout:
    user: str
    amount: int
    state: str = "sent"


@dataclass(frozen=True)
class NaiveLine:
    """A transfer as a wallet's owner sees it; `user` is None if no wallet was part of it."""

    kind: str
    user: str | None
    amount: int
    fee: int = 0
    of: Of = NONE
    reason: str | None = None


@dataclass
class Naive:
    wallets: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    earnings: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    fees: int = 0
    outside: int = 0
    on_its_way: int = 0
    lines: list[NaiveLine] = field(default_factory=list)
    payouts: dict[str, NaivePayout] = field(default_factory=dict)
    holds: dict[str, NaiveHold] = field(default_factory=dict)
    captures: dict[str, NaiveCapture] = field(default_factory=dict)
    requests: dict[str, tuple[object, Outcome]] = field(default_factory=dict)
    releases: dict[tuple[str, str], int] = field(default_factory=dict)

    def held(self, user: str) -> int:
        return sum(hold.left for hold in self.holds.values() if hold.user == user)

    def available(self, user: str) -> int:
        return self.wallets[user] - self.held(user)

    def open_holds(self) -> dict[str, NaiveHold]:
        return {key: hold for key, hold in self.holds.items() if hold.left}

    def statement(self, user: str) -> list[NaiveLine]:
        """Newest first; what moved nothing is on nobody's statement."""
        return [line for line in reversed(self.lines) if line.user == user and line.amount]

    def session_total(self, session: str) -> tuple[int, int, int, int]:
        """Captured, fees of it, given back, fees of that."""
        mine = [line for line in self.lines if line.of[1] == session]
        paid = [line for line in mine if line.kind == "capture"]
        back = [line for line in mine if line.kind == "reverse"]
        return (
            -sum(line.amount for line in paid),
            sum(line.fee for line in paid),
            sum(line.amount for line in back),
            sum(line.fee for line in back),
        )

    def topup(self, key: str, user: str, amount: int) -> Outcome:
        def do() -> Outcome:
            self.wallets[user] += amount
            self.outside -= amount
            self.lines.append(NaiveLine("topup", user, amount))
            return ("posted", amount)

        return self._once(key, ("topup", user, amount), do)

    def hold(self, key: str, user: str, amount: int, of: Of = NONE) -> Outcome:
        def do() -> Outcome:
            missing = max(0, amount - self.available(user))
            left = 0 if missing else amount
            self.holds[key] = NaiveHold(user, amount, missing, left, of)
            return ("refused" if missing else "granted", amount, missing)

        return self._once("hold/" + key, ("hold", user, amount, of), do)

    def capture(
        self, key: str, parts: dict[str, int], expert: str, fee: int, of: Of = NONE
    ) -> Outcome:
        total = sum(parts.values())
        if fee > total:
            return ("error", "bad_amount")

        def do() -> Outcome:
            if any(hold not in self.holds for hold in parts):
                return ("error", "hold_not_found")
            users = {self.holds[hold].user for hold in parts}
            if len(users) > 1:
                return ("error", "holds_of_two_wallets")
            if any(self.holds[hold].left < part for hold, part in parts.items()):
                return ("error", "hold_exhausted")
            (user,) = users
            for hold, part in parts.items():
                self.holds[hold].left -= part
            self.wallets[user] -= total
            self.earnings[expert] += total - fee
            self.fees += fee
            self.captures[key] = NaiveCapture(user, expert, total - fee, fee, of)
            self.lines.append(NaiveLine("capture", user, -total, fee, of))
            return ("posted", total)

        request = ("capture", sorted(parts.items()), expert, fee, of)
        return self._once(key, request, do)

    def release(self, key: str, hold: str, amount: int | None) -> Outcome:
        if hold not in self.holds:
            return ("error", "hold_not_found")
        if (hold, key) in self.releases:
            before = self.releases[hold, key]
            if amount not in (None, before):
                return ("error", "idempotency_key_reused")
            return ("released", before)
        left = self.holds[hold].left
        if left == 0:
            return ("already_resolved", 0)
        part = left if amount is None else amount
        if part > left:
            return ("error", "hold_exhausted")
        self.holds[hold].left -= part
        self.releases[hold, key] = part
        return ("released", part)

    def reverse(self, key: str, capture: str, amount: int, fee: int, of: Of = NONE) -> Outcome:
        if fee > amount:
            return ("error", "bad_amount")

        def do() -> Outcome:
            paid = self.captures.get(capture)
            if paid is None:
                return ("error", "capture_not_found")
            if amount - fee > paid.earned_left or fee > paid.fee_left:
                return ("error", "reversal_exceeds_capture")
            paid.earned_left -= amount - fee
            paid.fee_left -= fee
            self.wallets[paid.user] += amount
            self.earnings[paid.expert] -= amount - fee
            self.fees -= fee
            line = NaiveLine("reverse", paid.user, amount, fee, of, "test")
            self.lines.append(line)
            return ("posted", amount)

        request = ("reverse", capture, amount, fee, of)
        return self._once(key, request, do)

    def payout(self, key: str, user: str, amount: int) -> Outcome:
        def do() -> Outcome:
            if amount > self.earnings[user]:
                return ("error", "insufficient_earnings")
            self.earnings[user] -= amount
            self.on_its_way += amount
            self.payouts[key] = NaivePayout(user, amount)
            self.lines.append(NaiveLine("payout", None, amount))
            return ("posted", amount)

        return self._once(key, ("payout", user, amount), do)

    def end_payout(self, key: str, payout: str, paid: bool) -> Outcome:
        def do() -> Outcome:
            sent = self.payouts[payout]
            if sent.state != "sent":
                return ("error", "payout_ended")
            sent.state = "paid" if paid else "failed"
            self.on_its_way -= sent.amount
            if paid:
                self.outside += sent.amount
            else:
                self.earnings[sent.user] += sent.amount
            self.lines.append(NaiveLine("payout_paid" if paid else "payout_returned", None, 0))
            return ("posted", sent.amount)

        if payout not in self.payouts:
            return ("error", "payout_not_found")
        return self._once(key, ("end_payout", payout, paid), do)

    def adjust(self, key: str, kind: str, user: str, amount: int) -> Outcome:
        def do() -> Outcome:
            if kind == "wallet" and self.available(user) + amount < 0:
                return ("error", "insufficient_funds")
            balances = self.wallets if kind == "wallet" else self.earnings
            balances[user] += amount
            self.fees -= amount
            owner = user if kind == "wallet" else None
            self.lines.append(NaiveLine("adjust", owner, amount, reason="test"))
            return ("posted", abs(amount))

        return self._once(key, ("adjust", kind, user, amount), do)

    def _once(self, key: str, request: object, do) -> Outcome:  # type: ignore[no-untyped-def]
        if key in self.requests:
            before, outcome = self.requests[key]
            return outcome if before == request else ("error", "idempotency_key_reused")
        outcome: Outcome = do()
        if outcome[0] != "error":  # a refusal leaves no trace, so its key stays free
            self.requests[key] = (request, outcome)
        return outcome
