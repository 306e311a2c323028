"""A bad line, decided without a clock: which datagrams it loses and when it delivers the others.

A `Line` is fed every datagram of one direction with the instant at which it came, and answers with
the instant at which it leaves, or None. It is a bottleneck (a rate with a bounded queue), then a
lossy medium, then a delay. Each effect draws from a die of its own, seeded by the line's seed, so
that a run can be repeated and changing one effect does not disturb the others.
"""

from __future__ import annotations

import random

import msgspec

NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """Loss in bursts: the Gilbert-Elliott model. All are probabilities for one datagram.

    `enter` and `leave` are the odds of a burst to begin and to end; the mean burst is 1 / `leave`
    long. Within one `loss` are lost, outside none but by `Impairment.loss`.
    """

    enter: float
    leave: float
    loss: float = 1.0


class Impairment(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a line. As it is by default: nothing.

    `jitter_ms` adds up to so much delay, evenly spread, and keeps the order; the share `reorder` is
    held back by another `reorder_ms`, so that later ones overtake. `rate_kbps` is a bottleneck with
    a queue of `queue_bytes` in front of it, which drops what finds it full.
    """

    loss: float = 0.0
    burst: Burst | None = None
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    reorder: float = 0.0
    reorder_ms: float = 20.0
    rate_kbps: float | None = None
    queue_bytes: int = 64_000


class Line:
    """One direction. Counts what it `lost` at random and what found the queue full (`overflowed`).

    Time is an argument and must not go back.
    """

    def __init__(self, impairment: Impairment, seed: int = 1) -> None:
        self.impairment = impairment
        self.passed = self.lost = self.overflowed = 0
        self._loss, self._burst, self._jitter, self._order = (
            random.Random(f"{seed} {effect}") for effect in ("loss", "burst", "jitter", "order")
        )
        self._in_burst = False
        self._free_at_ns = 0
        self._newest_ns = 0

    def carry(self, size: int, now_ns: int) -> int | None:
        """When a datagram of `size` bytes that comes at `now_ns` leaves; None: it never does."""
        sent_ns = self._through_bottleneck(size, now_ns)
        if sent_ns is None:
            self.overflowed += 1
            return None
        if self._is_lost():
            self.lost += 1
            return None
        self.passed += 1
        return self._delayed(sent_ns)

    def _through_bottleneck(self, size: int, now_ns: int) -> int | None:
        rate_kbps = self.impairment.rate_kbps
        if rate_kbps is None:
            return now_ns
        ns_per_byte = 8 * _NS_PER_S / (1000 * rate_kbps)
        begins_ns = max(now_ns, self._free_at_ns)
        if (begins_ns - now_ns) / ns_per_byte + size > self.impairment.queue_bytes:
            return None
        self._free_at_ns = begins_ns + round(size * ns_per_byte)
        return self._free_at_ns

    def _is_lost(self) -> bool:
        lost = self._loss.random() < self.impairment.loss
        burst = self.impairment.burst
        if burst is None:
            return lost
        turn, die = self._burst.random(), self._burst.random()
        self._in_burst = turn >= burst.leave if self._in_burst else turn < burst.enter
        return lost or (self._in_burst and die < burst.loss)

    def _delayed(self, sent_ns: int) -> int:
        line = self.impairment
        delay_ms = line.delay_ms + line.jitter_ms * self._jitter.random()
        due_ns = max(self._newest_ns, sent_ns + round(delay_ms * NS_PER_MS))
        if self._order.random() < line.reorder:
            return due_ns + round(line.reorder_ms * NS_PER_MS)
        self._newest_ns = due_ns
        return due_ns
