"""Rate limits by GCRA: one instant per key instead of a bucket and a timer.

The theoretical arrival time of a key is when a caller that had always kept the rate would be due
next. An arrival is refused while that instant lies further ahead than the burst allows, and a
refusal costs the caller nothing, so waiting `retry_after` always helps. Pure: time is an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from engine.clock import NS_PER_S
from engine.errors import RateLimited


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_s` events a second on average, and up to `burst` at once."""

    per_s: float
    burst: int

    def __post_init__(self) -> None:
        if self.per_s <= 0:
            raise ValueError("per_s must be positive")
        if self.burst < 1:
            raise ValueError("burst must be at least 1")

    @property
    def interval_ns(self) -> int:
        return max(1, round(NS_PER_S / self.per_s))


class Limiter:
    """One rate for many keys. Holds at most `max_keys` of them; the longest unused goes first."""

    def __init__(self, rate: Rate, max_keys: int = 100_000) -> None:
        self.rate = rate
        self._max_keys = max_keys
        self._due_ns: OrderedDict[Hashable, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._due_ns)

    def hit(self, key: Hashable, now_ns: int) -> int:
        """Count one event: 0 if it may pass, else nanoseconds until one may."""
        interval_ns = self.rate.interval_ns
        due_ns = max(now_ns, self._due_ns.get(key, now_ns))
        early_ns = due_ns - now_ns - interval_ns * (self.rate.burst - 1)
        if early_ns > 0:
            return early_ns
        self._due_ns[key] = due_ns + interval_ns
        self._due_ns.move_to_end(key)
        if len(self._due_ns) > self._max_keys:
            self._due_ns.popitem(last=False)
        return 0

    def forget(self, key: Hashable) -> None:
        self._due_ns.pop(key, None)

    def require(self, key: Hashable, now_ns: int) -> None:
        """Count one event. Raises `RateLimited` (rate_limited, `retry_after` in seconds)."""
        wait_ns = self.hit(key, now_ns)
        if wait_ns:
            retry_after = round(wait_ns / NS_PER_S + 0.0005, 3)  # never rounded below the wait
            raise RateLimited("rate_limited", "too many requests", retry_after=retry_after)
