"""The quality of a session's connections as sentences for staff who judge a dispute; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Figures = Mapping[str, Any]


def sentence(name: str, party: Figures) -> str:
    """One party's connection, from its part of the event ``session.quality``."""
    parts = [
        f"Connection of {name} over {_time(party['seconds'])}: sent {_hop(party['up'])}",
        f"was sent {_hop(party['down'])}",
    ]
    if party["rtt_ms"]:
        parts.append("round trip " + _spread(party["rtt_ms"], _ms))
    if party["freezes"]:
        parts.append(_freezes(party))
    if party["poor_seconds"]:
        parts.append(f"poor for {_time(party['poor_seconds'])}")
    return "; ".join(parts) + "."


def _hop(hop: Figures) -> str:
    if not hop["bitrate_bps"]["max"]:
        return "nothing"
    parts = [_spread(hop["bitrate_bps"], _rate)]
    if hop["loss"]:
        parts.append(_spread(hop["loss"], _share) + " lost")
    if hop["jitter_ms"]:
        parts.append("jitter " + _spread(hop["jitter_ms"], _ms))
    return ", ".join(parts)


def _spread(tally: Figures, text: Callable[[float], str]) -> str:
    return f"{text(tally['mean'])} (at most {text(tally['max'])})"


def _freezes(party: Figures) -> str:
    times = "once" if party["freezes"] == 1 else f"{party['freezes']} times"
    return f"the picture froze {times}, {party['frozen_ms'] / 1_000:.1f} s in all"


def _rate(bps: float) -> str:
    return f"{bps / 1e6:.1f} Mbit/s" if bps >= 1e6 else f"{bps / 1e3:.0f} kbit/s"


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _ms(ms: float) -> str:
    return f"{ms:.0f} ms"


def _time(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
