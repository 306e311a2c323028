"""Quality of a connection: figures between two looks, levels, and what the evidence sums up."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.clock import NS_PER_S
from engine.media.interface import LegStats, Role
from engine.session.measures import BOUNDS, Histogram, Measures
from engine.session.quality import CALM_LOOKS, Level, PartyQuality, between, judge, summaries

NOTHING = LegStats(
    packets_in=0,
    packets_out=0,
    bytes_in=0,
    bytes_out=0,
    expected_in=0,
    lost_in=0,
    expected_out=0,
    lost_out=0,
    bitrate_in_bps=0,
    bitrate_out_bps=0,
    jitter_in_ms=None,
    jitter_out_ms=None,
    rtt_ms=None,
    freezes=0,
    frozen_ms=0,
)
FINE = {"bytes_in": 250_000, "bytes_out": 125_000, "expected_in": 200, "expected_out": 100}
LOOK_NS = 2 * NS_PER_S


def stats(**changes: Any) -> LegStats:
    return msgspec.structs.replace(NOTHING, **changes)


def after(stats: LegStats, **more: float) -> LegStats:
    """The same leg two seconds later: totals grow, what was said last is replaced."""
    said = ("rtt_ms", "jitter_in_ms", "jitter_out_ms")
    changes = {k: v if k in said else getattr(stats, k) + v for k, v in more.items()}
    return msgspec.structs.replace(stats, **changes)


class Looks:
    """A party that is looked at every two seconds."""

    def __init__(self) -> None:
        self.party = PartyQuality()
        self.now_ns = 0
        self.stats = NOTHING
        self.see(self.stats)

    def see(self, stats: LegStats | None, leg_id: str | None = "leg_1") -> Level:
        self.party.look(leg_id, stats, self.now_ns)
        self.now_ns += LOOK_NS
        return self.party.level

    def more(self, **more: float) -> Level:
        self.stats = after(self.stats, **more)
        return self.see(self.stats)


def test_both_hops_are_told_apart() -> None:
    before = stats(bytes_in=1_000, lost_in=3, expected_in=50)
    later = after(
        before,
        **FINE,
        lost_in=20,
        lost_out=5,
        rtt_ms=80.0,
        jitter_in_ms=4.0,
        jitter_out_ms=9.0,
        freezes=1,
        frozen_ms=600,
    )
    figures = between(before, later, LOOK_NS)
    assert (figures.up.bitrate_bps, figures.down.bitrate_bps) == (1_000_000, 500_000)
    assert (figures.up.loss, figures.down.loss) == (0.1, 0.05)
    assert (figures.up.jitter_ms, figures.down.jitter_ms, figures.rtt_ms) == (4.0, 9.0, 80.0)
    assert (figures.freezes, figures.frozen_ms, figures.seconds) == (1, 600, 2.0)


def test_what_was_said_before_media_stopped_is_not_said_again() -> None:
    before = stats(jitter_in_ms=4.0, jitter_out_ms=9.0, rtt_ms=80.0)
    figures = between(before, before, LOOK_NS)
    assert (figures.up.jitter_ms, figures.down.jitter_ms, figures.rtt_ms) == (None, None, None)
    assert judge(figures) is Level.UNKNOWN


def test_a_late_packet_makes_no_negative_loss() -> None:
    before = stats(lost_in=5, expected_in=100)
    assert between(before, after(before, **FINE, lost_in=-2), LOOK_NS).up.loss == 0


@pytest.mark.parametrize(
    ("more", "level"),
    [
        ({}, Level.GOOD),
        ({"rtt_ms": 250}, Level.GOOD),
        ({"rtt_ms": 251}, Level.FAIR),
        ({"rtt_ms": 601}, Level.POOR),
        ({"lost_in": 6}, Level.GOOD),
        ({"lost_in": 7}, Level.FAIR),
        ({"lost_in": 21}, Level.POOR),
        ({"lost_out": 11}, Level.POOR),
        ({"freezes": 1, "frozen_ms": 30}, Level.FAIR),
        ({"freezes": 1, "frozen_ms": 301}, Level.POOR),
    ],
)
def test_a_level_is_the_worst_of_what_was_measured(more: dict[str, float], level: Level) -> None:
    assert judge(between(NOTHING, after(NOTHING, **FINE, **more), LOOK_NS)) is level


def test_a_few_packets_of_silence_tell_nothing() -> None:
    quiet = after(NOTHING, bytes_in=100, expected_in=5, lost_in=3)
    assert judge(between(NOTHING, quiet, LOOK_NS)) is Level.GOOD


def test_a_level_falls_at_once_and_rises_with_patience() -> None:
    looks = Looks()
    assert looks.more(**FINE) is Level.GOOD
    assert looks.more(**FINE, lost_in=50) is Level.POOR
    for _ in range(CALM_LOOKS - 1):
        assert looks.more(**FINE) is Level.POOR
    assert looks.more(**FINE, lost_in=10) is Level.FAIR
    for _ in range(CALM_LOOKS - 1):
        assert looks.more(**FINE) is Level.FAIR
    assert looks.more(**FINE) is Level.GOOD
    assert looks.more() is Level.UNKNOWN


def test_another_leg_begins_anew_and_a_missing_one_is_unknown() -> None:
    looks = Looks()
    looks.more(**FINE)
    looks.see(stats(bytes_in=10**9, expected_in=10**6, lost_in=10**6), "leg_2")
    looks.see(None, None)
    assert (looks.party.level, looks.party.latest) == (Level.UNKNOWN, None)
    summary = looks.party.summary()
    assert summary is not None
    assert summary["seconds"] == 2, "nothing of the other leg's life before the first look"


def test_the_evidence_has_means_and_maxima_of_both_hops() -> None:
    looks = Looks()
    looks.more(**FINE, rtt_ms=40.0, jitter_in_ms=2.0)
    looks.more(
        bytes_in=500_000,
        expected_in=200,
        lost_in=40,
        bytes_out=125_000,
        expected_out=100,
        rtt_ms=120.0,
        jitter_in_ms=6.0,
        freezes=2,
        frozen_ms=900,
    )
    assert looks.party.summary() == {
        "seconds": 4,
        "poor_seconds": 2,
        "up": {
            "bitrate_bps": {"mean": 1_500_000, "max": 2_000_000},
            "loss": {"mean": 0.1, "max": 0.2},
            "jitter_ms": {"mean": 4.0, "max": 6.0},
        },
        "down": {
            "bitrate_bps": {"mean": 500_000, "max": 500_000},
            "loss": {"mean": 0.0, "max": 0},
            "jitter_ms": None,
        },
        "rtt_ms": {"mean": 80.0, "max": 120.0},
        "freezes": 2,
        "frozen_ms": 900,
    }


def test_without_a_measurement_there_is_no_evidence() -> None:
    assert summaries({role: PartyQuality() for role in Role}) is None
    seen = Looks()
    seen.more(**FINE)
    found = summaries({Role.CUSTOMER: seen.party, Role.EXPERT: PartyQuality()})
    assert found is not None
    assert found["expert"] is None


def test_a_histogram_puts_a_bound_into_its_own_bucket() -> None:
    histogram = Histogram((1, 2))
    for value in (0, 1, 1.5, 2, 3):
        histogram.observe(value)
    assert (histogram.counts, histogram.total) == ([2, 2, 1], 7.5)


def test_measures_are_few_whatever_calls_do() -> None:
    measures = Measures()
    later = after(NOTHING, **FINE, rtt_ms=30.0, jitter_in_ms=5.0, jitter_out_ms=5.0, freezes=1)
    for _ in range(100):
        for role in Role:
            measures.add(role, between(NOTHING, later, LOOK_NS))
            measures.add(role, between(NOTHING, NOTHING, LOOK_NS))
    assert len(measures.histograms) == len(Role) * (3 * 2 + 1)
    assert {name for name, _, _ in measures.histograms} == set(BOUNDS)
    assert all(sum(h.counts) == 100 for h in measures.histograms.values())
    assert measures.freezes == {"customer": 100, "expert": 100}
