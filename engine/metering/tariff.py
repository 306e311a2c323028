"""What a session costs: a pure function from blocks begun to money due.

A block of `block_seconds` is paid when it begins, so ``blocks = ceil(elapsed / block_seconds)``: a
session that ends exactly at a boundary has not begun the next block. Money is rounded once, down,
on the cumulated total: a step is the difference of two totals, and the sum never depends on how a
session was sliced. 3000.00 an hour billed by the second is 3000.00 after an hour.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from engine.clock import NS_PER_S
from engine.metering.money import MAX_AMOUNT_MINOR

MAX_PERIOD_SECONDS: Final = 86_400
"""The longest block, price period and grace: a day. Keeps every product within 64 bits."""

_CURRENCY = re.compile(r"[A-Z]{3}")


class Tariff(Struct, frozen=True, kw_only=True):
    """Price of one mode of a listing, snapshotted into the order.

    `price_minor` buys `per_seconds` of service, charged in blocks of `block_seconds`; the order
    prepays `prepaid_seconds`. A session among the order's first `grace_sessions` is void if it ends
    within `grace_seconds`. In a text session the customer's `clock_message`-th message starts the
    clock. Raises `ValueError` naming the field.
    """

    currency: str
    price_minor: int
    per_seconds: int
    block_seconds: int
    prepaid_seconds: int
    grace_seconds: int
    grace_sessions: int = 1
    clock_message: int = 2

    def __post_init__(self) -> None:
        if not _CURRENCY.fullmatch(self.currency):
            raise ValueError("currency is three capital letters")
        _check("price_minor", self.price_minor, 1, MAX_AMOUNT_MINOR)
        _check("per_seconds", self.per_seconds, 1, MAX_PERIOD_SECONDS)
        _check("block_seconds", self.block_seconds, 1, MAX_PERIOD_SECONDS)
        _check("prepaid_seconds", self.prepaid_seconds, 0, MAX_PERIOD_SECONDS)
        _check("grace_seconds", self.grace_seconds, 0, MAX_PERIOD_SECONDS)
        _check("grace_sessions", self.grace_sessions, 0, 1_000)
        _check("clock_message", self.clock_message, 1, 100)
        _check("prepay", self.prepay_minor(), 0, MAX_AMOUNT_MINOR)
        _check("block price", self.block_price_minor(), 0, MAX_AMOUNT_MINOR)

    @property
    def block_ns(self) -> int:
        return self.block_seconds * NS_PER_S

    @property
    def grace_ns(self) -> int:
        return self.grace_seconds * NS_PER_S

    def blocks(self, elapsed_ns: int) -> int:
        """Blocks begun after this much service: ``ceil(elapsed / block)``, 0 at 0."""
        return -(-elapsed_ns // self.block_ns)

    def due_minor(self, blocks: int) -> int:
        """What this many blocks cost together."""
        return self.price_minor * blocks * self.block_seconds // self.per_seconds

    def block_price_minor(self) -> int:
        """What the first block costs; a later one may cost one minor unit more by rounding."""
        return self.due_minor(1)

    def prepay_minor(self) -> int:
        """What an order puts on hold: the blocks begun within `prepaid_seconds`."""
        return self.due_minor(self.blocks(self.prepaid_seconds * NS_PER_S))

    def affordable_blocks(self, funds_minor: int) -> int:
        """The most blocks whose cost is within `funds_minor`: ``max k with due(k) <= funds``."""
        # floor(p*k*b / s) <= f  <=>  p*k*b < (f + 1) * s
        return ((funds_minor + 1) * self.per_seconds - 1) // (self.price_minor * self.block_seconds)

    def prorata_minor(self, served_ns: int) -> int:
        """What exactly this much service costs when the unserved rest of a block is given back."""
        return self.price_minor * served_ns // (self.per_seconds * NS_PER_S)

    def in_grace(self, ordinal: int, elapsed_ns: int) -> bool:
        """Whether the order's `ordinal`-th metered session is void if it ends now (inclusive)."""
        free = self.grace_seconds > 0 and ordinal <= self.grace_sessions
        return free and elapsed_ns <= self.grace_ns


def _check(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{field} must be {least} to {most}")
