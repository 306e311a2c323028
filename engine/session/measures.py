"""Quality of all calls of a node since its start, as counts that only grow: for `/metrics`."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Final

from engine.media.interface import Role
from engine.session.quality import Figures

BOUNDS: Final[dict[str, tuple[float, ...]]] = {
    "bitrate_bps": (32e3, 64e3, 128e3, 256e3, 512e3, 1e6, 2e6, 4e6),
    "loss_ratio": (0.001, 0.01, 0.03, 0.05, 0.1, 0.2, 0.5),
    "jitter_seconds": (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25),
    "rtt_seconds": (0.01, 0.025, 0.05, 0.1, 0.25, 0.6, 1, 2.5),
}
"""Upper bounds by measure, among them those between good, fair and poor."""


class Histogram:
    """`counts[i]` values were at most `bounds[i]` and above the bound before; the last: above all.

    What is observed is what two seconds of one leg were like.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Measures:
    """`histograms` by measure, role and hop (up, down; both for the round trip)."""

    def __init__(self) -> None:
        self.histograms: dict[tuple[str, str, str], Histogram] = {}
        self.freezes: Counter[str] = Counter()
        self.frozen_ms: Counter[str] = Counter()

    def add(self, role: Role, figures: Figures) -> None:
        for name, hop in (("up", figures.up), ("down", figures.down)):
            if hop.bitrate_bps:
                self._observe("bitrate_bps", role, name, hop.bitrate_bps)
                self._observe("loss_ratio", role, name, hop.loss)
                self._observe("jitter_seconds", role, name, _seconds(hop.jitter_ms))
        self._observe("rtt_seconds", role, "both", _seconds(figures.rtt_ms))
        self.freezes[role.value] += figures.freezes
        self.frozen_ms[role.value] += figures.frozen_ms

    def _observe(self, measure: str, role: Role, hop: str, value: float | None) -> None:
        if value is None:
            return
        key = (measure, role.value, hop)
        if key not in self.histograms:
            self.histograms[key] = Histogram(BOUNDS[measure])
        self.histograms[key].observe(value)


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1_000
