"""What things cost, written once more from the rules (features.md, overrides 1-5) and slowly.

Nothing here comes from `engine.metering`; fractions instead of integer tricks, loops instead of
formulas, and every event looked at in turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import ceil, floor

SECOND = 1_000_000_000
STANDSTILL = 3 * SECOND


def due(price: int, per_s: int, block_s: int, blocks: int) -> int:
    return floor(Fraction(price, per_s) * block_s * blocks)


def blocks(elapsed_ns: int, block_s: int) -> int:
    return ceil(Fraction(elapsed_ns, block_s * SECOND))


def affordable(price: int, per_s: int, block_s: int, money: int) -> int:
    """The most blocks that this much money buys, at most a day's."""
    count = int(Fraction(money * per_s, price * block_s))
    while due(price, per_s, block_s, count + 1) <= money:
        count += 1
    while count and due(price, per_s, block_s, count) > money:
        count -= 1
    return count


def prorata(price: int, per_s: int, elapsed_ns: int) -> int:
    return floor(Fraction(price, per_s) * Fraction(elapsed_ns, SECOND))


def fee(total: int, bps: int) -> int:
    return floor(Fraction(total * bps, 10_000))


def media(start_ns: int, acks: Iterable[tuple[int, int]], until_ns: int) -> tuple[int, int, int]:
    """(proven, elapsed, last frame) at an instant; acks are (heard, sent) in order of hearing."""
    proven, last = 0, start_ns
    for heard_ns, sent_ns in acks:
        if heard_ns > until_ns or sent_ns <= last:
            continue
        if sent_ns - last < STANDSTILL:
            proven += sent_ns - last
        last = sent_ns
    tail = max(0, until_ns - last)
    return proven, proven + (tail if tail < STANDSTILL else 0), last


def text(
    start_ns: int,
    sockets: Iterable[tuple[int, str, bool]],
    standstills: Iterable[tuple[int, int]],
    until_ns: int,
) -> int:
    """Elapsed: the time in which both parties were there, and the process ran."""
    here: dict[str, bool] = {}
    spans, since = [], start_ns
    for at_ns, role, up in sockets:
        if at_ns > until_ns:
            break
        if at_ns > start_ns and all(here.get(one) for one in ("customer", "expert")):
            spans.append((since, at_ns))
        since = max(start_ns, at_ns)
        here[role] = up
    if all(here.get(one) for one in ("customer", "expert")) and until_ns > since:
        spans.append((since, until_ns))
    elapsed = sum(to_ns - from_ns for from_ns, to_ns in spans)
    for still_ns, again_ns in standstills:
        for from_ns, to_ns in spans:
            elapsed -= max(0, min(to_ns, again_ns) - max(from_ns, still_ns))
    return elapsed
