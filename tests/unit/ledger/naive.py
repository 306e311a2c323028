"""A second ledger, written as naively as possible, to compare the real one with.

It keeps everything in dictionaries, names holds and captures by their keys, and answers what the
real one must answer: ``(word, number, …)`` for an outcome, ``("error", code)`` for a refusal.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

Outcome = tuple[object, ...]


@dataclass
class NaiveHold:
    user: str
    amount: int
    shortfall: int
    left: int


@dataclass
class NaiveCapture:
    user: str
    expert: str
    earned_left: int
    fee_left: int


@dataclass
class Naive:
    wallets: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    earnings: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    fees: int = 0
    outside: int = 0
    holds: dict[str, NaiveHold] = field(default_factory=dict)
    captures: dict[str, NaiveCapture] = field(default_factory=dict)
    requests: dict[str, tuple[object, Outcome]] = field(default_factory=dict)
    releases: dict[tuple[str, str], int] = field(default_factory=dict)

    def held(self, user: str) -> int:
        return sum(hold.left for hold in self.holds.values() if hold.user == user)

    def available(self, user: str) -> int:
        return self.wallets[user] - self.held(user)

    def topup(self, key: str, user: str, amount: int) -> Outcome:
        def do() -> Outcome:
            self.wallets[user] += amount
            self.outside -= amount
            return ("posted", amount)

        return self._once(key, ("topup", user, amount), do)

    def hold(self, key: str, user: str, amount: int) -> Outcome:
        def do() -> Outcome:
            missing = max(0, amount - self.available(user))
            self.holds[key] = NaiveHold(user, amount, missing, 0 if missing else amount)
            return ("refused" if missing else "granted", amount, missing)

        return self._once("hold/" + key, ("hold", user, amount), do)

    def capture(self, key: str, parts: dict[str, int], expert: str, fee: int) -> Outcome:
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
            self.captures[key] = NaiveCapture(user, expert, total - fee, fee)
            return ("posted", total)

        return self._once(key, ("capture", sorted(parts.items()), expert, fee), do)

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

    def reverse(self, key: str, capture: str, amount: int, fee: int) -> Outcome:
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
            return ("posted", amount)

        return self._once(key, ("reverse", capture, amount, fee), do)

    def _once(self, key: str, request: object, do) -> Outcome:  # type: ignore[no-untyped-def]
        if key in self.requests:
            before, outcome = self.requests[key]
            return outcome if before == request else ("error", "idempotency_key_reused")
        outcome: Outcome = do()
        if outcome[0] != "error":  # a refusal leaves no trace, so its key stays free
            self.requests[key] = (request, outcome)
        return outcome
