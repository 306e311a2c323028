"""An independent meter to compare with: it looks at every tenth of a second in turn and shares no
code with `engine.metering`. Times are whole tenths since the clock started.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

PAUSE = 30
WINDOW = 300


@dataclass(frozen=True)
class Outcome:
    served: Fraction | int
    blocks: int
    total: int
    fee: int


@dataclass(frozen=True)
class NaiveMeter:
    price: int
    per_s: int
    block_s: int
    bps: int
    grace_s: int
    funds: int
    topups: dict[int, int]
    before: Fraction | int = 0
    """Tenths that a run which died had proven."""
    standing: bool = False
    """As after such a run: the clock waits for the first sign of life."""
    fault: bool = False
    """Whether the engine will be why it ends."""

    def due(self, blocks: int) -> int:
        return int(Fraction(self.price, self.per_s) * self.block_s * blocks)

    def blocks_for(self, money: int) -> int:
        blocks = 0
        while self.due(blocks + 1) <= money:
            blocks += 1
        return blocks

    def settle(self, served: Fraction | int) -> Outcome:
        if self.grace_s > 0 and served <= self.grace_s * 10:
            return Outcome(served, 0, 0, 0)
        blocks = 0
        while blocks * self.block_s * 10 < served:
            blocks += 1
        total = self.due(blocks)
        if self.fault:
            total = int(Fraction(self.price, self.per_s) * served / 10)
        return Outcome(served, blocks, total, int(Fraction(total * self.bps, 10_000)))

    def media(self, acks: dict[int, int], end: int) -> Outcome:
        """Frames acknowledged at these instants, each with how long a silence after it is none; a
        hangup at `end`.
        """
        base, last, standing = self.before, 0, self.standing
        patience = PAUSE
        money = self.funds
        paid = self.blocks_for(money) * self.block_s * 10
        for now in range(end + 1):
            if now - last > WINDOW:
                return self.settle(base)
            if now in acks:
                base += now - last if now - last < patience and not standing else 0
                last, standing, patience = now, False, acks[now]
            served = base + (now - last if now - last < patience and not standing else 0)
            if served >= paid:
                return self.settle(paid)
            if now in self.topups:
                money += self.topups[now]
                paid = self.blocks_for(money) * self.block_s * 10
        return self.settle(served)

    def text(self, toggles: set[int], end: int) -> Outcome:
        """Both connected at first, unless it stands; each toggle takes the connection away or
        brings it back.
        """
        served, up = self.before, not self.standing
        money = self.funds
        paid = self.blocks_for(money) * self.block_s * 10
        for now in range(end + 1):
            if served >= paid:
                return self.settle(paid)
            if now in self.topups:
                money += self.topups[now]
                paid = self.blocks_for(money) * self.block_s * 10
            if now in toggles:
                up = not up
            if now < end:
                served += up
        return self.settle(served)
