"""The money set aside for one session: the order's prepaid hold first, then the session's own."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from engine.metering.tariff import Tariff


class Fund(Struct, frozen=True):
    """What is left of one hold."""

    hold_id: str
    left_minor: int


class Part(Struct, frozen=True):
    """What a capture takes from one hold."""

    hold_id: str
    amount_minor: int


class Funds:
    """Holds in the order in which they are used up, and what was captured from them."""

    def __init__(self, holds: Iterable[Fund] = ()) -> None:
        self._left = {fund.hold_id: fund.left_minor for fund in holds if fund.left_minor > 0}
        self.captured_minor = 0

    @property
    def total_minor(self) -> int:
        """What the session may cost at most: captured and still held."""
        return self.captured_minor + sum(self._left.values())

    def add(self, fund: Fund) -> None:
        self._left[fund.hold_id] = self._left.get(fund.hold_id, 0) + fund.left_minor

    def take(self, amount_minor: int) -> tuple[Part, ...]:
        """Use up this much. The caller never asks for more than is left."""
        parts: list[Part] = []
        missing = amount_minor
        for hold_id, left in list(self._left.items()):
            used = min(left, missing)
            if used == 0:
                break
            parts.append(Part(hold_id, used))
            missing -= used
            if left == used:
                del self._left[hold_id]
            else:
                self._left[hold_id] = left - used
        assert missing == 0, "captured beyond the funds"
        self.captured_minor += amount_minor
        return tuple(parts)


class Slice(Struct, frozen=True):
    """What to set aside next: so many blocks for this much."""

    blocks: int
    amount_minor: int


def next_slice(
    tariff: Tariff, total_minor: int, *, wanted_blocks: int, available_minor: int, sharers: int
) -> Slice:
    """The largest affordable slice of at most `wanted_blocks`, and never under one block.

    `sharers` live sessions draw on the wallet (this one included): near empty each takes its fair
    share, but one block is asked for whatever the share, so that the last block goes to someone.
    """
    funded = tariff.affordable_blocks(total_minor)
    share_minor = available_minor // max(1, sharers)
    affordable = tariff.affordable_blocks(total_minor + share_minor) - funded
    blocks = max(1, min(wanted_blocks, affordable))
    return Slice(blocks, tariff.due_minor(funded + blocks) - total_minor)
