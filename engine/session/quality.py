"""What a party's connection was like: figures between two looks at its leg, and their sums. Pure.

A party has two hops: `up` from it to the engine, `down` from the engine to it. Each is judged by
itself, so that a dispute can tell whose network it was.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from engine.clock import NS_PER_S
from engine.media.interface import LegStats, Role

Summary = dict[str, object]

MIN_PACKETS: Final = 20
"""Of fewer packets a share says nothing: while nobody speaks, audio sends five in two seconds."""
CALM_LOOKS: Final = 3
"""A level falls at once and rises after so many looks, so that nobody watches it flicker."""


class Level(enum.StrEnum):
    UNKNOWN = "unknown"
    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"


_ORDER: Final = list(Level)


class Hop(Struct, frozen=True):
    """Media of one hop between two looks."""

    bitrate_bps: int
    lost: int
    expected: int
    jitter_ms: float | None

    @property
    def loss(self) -> float | None:
        """The share that was lost, None where too few packets were due."""
        return self.lost / self.expected if self.expected >= MIN_PACKETS else None


class Figures(Struct, frozen=True):
    """One party's connection between two looks. Freezes are those of the picture it was sent."""

    seconds: float
    up: Hop
    down: Hop
    rtt_ms: float | None
    freezes: int
    frozen_ms: int


class _Limits(Struct, frozen=True):
    rtt_ms: float
    loss: float
    frozen: float


# The same as the client's own (quality.ts), which sees what the browser's decoder makes of it.
_FAIR: Final = _Limits(rtt_ms=250, loss=0.03, frozen=0.02)
_POOR: Final = _Limits(rtt_ms=600, loss=0.1, frozen=0.15)


def between(before: LegStats, after: LegStats, elapsed_ns: int) -> Figures:
    """`elapsed_ns` > 0. What was said before media stopped is left out while nothing flows."""
    sent, received = after.bytes_in - before.bytes_in, after.bytes_out - before.bytes_out
    return Figures(
        seconds=elapsed_ns / NS_PER_S,
        up=Hop(
            bitrate_bps=sent * 8 * NS_PER_S // elapsed_ns,
            lost=max(0, after.lost_in - before.lost_in),
            expected=max(0, after.expected_in - before.expected_in),
            jitter_ms=after.jitter_in_ms if sent else None,
        ),
        down=Hop(
            bitrate_bps=received * 8 * NS_PER_S // elapsed_ns,
            lost=max(0, after.lost_out - before.lost_out),
            expected=max(0, after.expected_out - before.expected_out),
            jitter_ms=after.jitter_out_ms if received else None,
        ),
        rtt_ms=after.rtt_ms if received else None,
        freezes=after.freezes - before.freezes,
        frozen_ms=after.frozen_ms - before.frozen_ms,
    )


def judge(figures: Figures) -> Level:
    if not figures.up.bitrate_bps and not figures.down.bitrate_bps:
        return Level.UNKNOWN
    if _exceeds(figures, _POOR):
        return Level.POOR
    return Level.FAIR if figures.freezes or _exceeds(figures, _FAIR) else Level.GOOD


def _exceeds(figures: Figures, limits: _Limits) -> bool:
    loss = max(figures.up.loss or 0, figures.down.loss or 0)
    frozen = figures.frozen_ms / 1_000 / figures.seconds
    return (figures.rtt_ms or 0) > limits.rtt_ms or loss > limits.loss or frozen > limits.frozen


# Two parties of every session have these all the time. They cannot refer to themselves, so the
# interpreter need not look through them for garbage, which stops all sessions (gc=False).


class _Tally(Struct, gc=False):
    """Mean and maximum of what was measured."""

    total: float = 0
    count: int = 0
    most: float = 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.total += value
            self.count += 1
            self.most = max(self.most, value)

    def summary(self, digits: int) -> Summary | None:
        if self.count == 0:
            return None
        mean = self.total / self.count
        return {"mean": round(mean, digits), "max": round(self.most, digits)}


class _HopSums(Struct, gc=False):
    bits: float = 0
    most_bps: int = 0
    lost: int = 0
    expected: int = 0
    most_loss: float = 0
    jitter_ms: _Tally = field(default_factory=_Tally)

    def add(self, hop: Hop, seconds: float) -> None:
        self.bits += hop.bitrate_bps * seconds
        self.most_bps = max(self.most_bps, hop.bitrate_bps)
        self.lost += hop.lost
        self.expected += hop.expected
        self.most_loss = max(self.most_loss, hop.loss or 0)
        self.jitter_ms.add(hop.jitter_ms)

    def summary(self, seconds: float) -> Summary:
        loss: Summary | None = None
        if self.expected:
            mean = min(1.0, self.lost / self.expected)
            loss = {"mean": round(mean, 4), "max": round(max(mean, self.most_loss), 4)}
        return {
            "bitrate_bps": {"mean": round(self.bits / seconds), "max": self.most_bps},
            "loss": loss,
            "jitter_ms": self.jitter_ms.summary(1),
        }


class PartyQuality(Struct, gc=False):
    """One party over a session: `latest` figures, `level` now, and the sums for the evidence."""

    latest: Figures | None = None
    level: Level = Level.UNKNOWN
    _leg_id: str | None = None
    _before: LegStats | None = None
    _before_ns: int = 0
    _calm: int = 0
    _seconds: float = 0
    _poor_seconds: float = 0
    _up: _HopSums = field(default_factory=_HopSums)
    _down: _HopSums = field(default_factory=_HopSums)
    _rtt_ms: _Tally = field(default_factory=_Tally)
    _freezes: int = 0
    _frozen_ms: int = 0

    def look(self, leg_id: str | None, stats: LegStats | None, now_ns: int) -> Figures | None:
        """Figures since the last look at the same leg, None if this is the first."""
        before, elapsed_ns = self._before, now_ns - self._before_ns
        same = leg_id == self._leg_id
        self._leg_id, self._before, self._before_ns = leg_id, stats, now_ns
        if stats is None:
            self.latest, self.level = None, Level.UNKNOWN
        if before is None or stats is None or not same or elapsed_ns <= 0:
            return None
        self.latest = figures = between(before, stats, elapsed_ns)
        found = judge(figures)
        self._poor_seconds += figures.seconds if found is Level.POOR else 0
        self._add(figures)
        self._move(found)
        return figures

    def _add(self, figures: Figures) -> None:
        self._seconds += figures.seconds
        self._up.add(figures.up, figures.seconds)
        self._down.add(figures.down, figures.seconds)
        self._rtt_ms.add(figures.rtt_ms)
        self._freezes += figures.freezes
        self._frozen_ms += figures.frozen_ms

    def _move(self, found: Level) -> None:
        better = found is not Level.UNKNOWN and _ORDER.index(found) < _ORDER.index(self.level)
        self._calm = self._calm + 1 if better else 0
        if not better or self._calm >= CALM_LOOKS:
            self.level = found
            self._calm = 0

    def summary(self) -> Summary | None:
        """For the session's evidence; None if nothing was measured."""
        if not self._seconds:
            return None
        return {
            "seconds": round(self._seconds),
            "poor_seconds": round(self._poor_seconds),
            "up": self._up.summary(self._seconds),
            "down": self._down.summary(self._seconds),
            "rtt_ms": self._rtt_ms.summary(1),
            "freezes": self._freezes,
            "frozen_ms": self._frozen_ms,
        }


def summaries(parties: Mapping[Role, PartyQuality]) -> Summary | None:
    """Both parties' summaries by role, None if there is none."""
    found = {role.value: parties[role].summary() for role in Role}
    return dict(found) if any(found.values()) else None
