"""Quality of calls as metric families: what two seconds of a leg were like, over all legs.

`role` is whose leg it is; `hop` is up (from the party to the engine) or down (back to it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from engine.session.measures import BOUNDS, Histogram, Measures

_TEXTS: Final = {
    "bitrate_bps": "Bitrate of media that flowed, in bits per second.",
    "loss_ratio": "Share of packets that did not arrive, before any repair.",
    "jitter_seconds": "Interarrival jitter (RFC 3550).",
    "rtt_seconds": "Round trip between the engine and the party.",
}


def quality_families(measures: Measures) -> Iterator[Metric]:
    for measure in BOUNDS:
        family = HistogramMetricFamily(
            f"talktime_leg_{measure}", _TEXTS[measure], labels=["role", "hop"]
        )
        for (name, role, hop), histogram in sorted(measures.histograms.items()):
            if name == measure:
                family.add_metric([role, hop], _buckets(histogram), histogram.total)
        yield family
    yield _by_role("talktime_leg_freezes", "Freezes of pictures.", measures.freezes)
    frozen = {role: ms / 1_000 for role, ms in measures.frozen_ms.items()}
    yield _by_role("talktime_leg_frozen_seconds", "How long pictures were frozen.", frozen)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*map(str, histogram.bounds), "+Inf"]
    return list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))


def _by_role(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["role"])
    for role, value in sorted(values.items()):
        family.add_metric([role], value)
    return family
