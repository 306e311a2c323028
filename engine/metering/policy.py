"""How live sessions of an order behave; snapshotted into the order beside its tariff."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from engine.clock import NS_PER_S
from engine.metering import money

PAUSE_AFTER_NS: Final = 3 * NS_PER_S
"""Without an acknowledged frame for this long the clock stands still, from the last one on."""

PAUSE_AFTER_REPORTS_ONLY_NS: Final = 8 * NS_PER_S
"""The same for a customer who acknowledges by receiver reports of audio alone. Browsers send one
every 5 s (RFC 3550 section 6.2), give or take half of it (section 6.3.1): shorter silences say
nothing."""

RINGS: Final = frozenset({"ring", "silent", "refuse"})
PRESENCE: Final = {
    "available": "ring",
    "away": "silent",
    "busy": "refuse",
    "undefined": "refuse",
}


class Policy(Struct, frozen=True, kw_only=True):
    """Times in seconds. Raises `ValueError` naming the field.

    `presence`: what a call does at each effective status of the expert: ring, silent (badge only)
    or refuse. `low_balance_s`: warn when service is left for this long. `hold_slice_seconds`: how
    much of short blocks is set aside at a time. `customer_live_sessions`: calls of one customer at
    once, ringing ones included.
    """

    commission_bps: int
    ring_timeout_s: float = 60
    connect_timeout_s: float = 60
    reconnect_window_s: float = 30
    low_balance_s: tuple[float, ...] = (120, 30)
    text_idle_end_s: float = 600
    presence: dict[str, str] = msgspec.field(default_factory=lambda: dict(PRESENCE))
    customer_live_sessions: int = 1
    hold_slice_seconds: int = 30

    def __post_init__(self) -> None:
        _check("commission_bps", self.commission_bps, 0, money.BASIS_POINTS)
        _check("ring_timeout_s", self.ring_timeout_s, 1, 600)
        _check("connect_timeout_s", self.connect_timeout_s, 1, 600)
        # A gap shorter than the pause's own delay could not be told from jitter.
        _check("reconnect_window_s", self.reconnect_window_s, 4, 600)
        _check("text_idle_end_s", self.text_idle_end_s, 1, 86_400)
        _check("customer_live_sessions", self.customer_live_sessions, 1, 100)
        _check("hold_slice_seconds", self.hold_slice_seconds, 2, 3_600)
        if self.presence.keys() != PRESENCE.keys() or not RINGS.issuperset(self.presence.values()):
            raise ValueError("presence must map every status to ring, silent or refuse")
        for warning_s in self.low_balance_s:
            _check("low_balance_s", warning_s, 0, 86_400)

    def ring(self, status: str) -> str:
        """What a call does at this effective status; an unknown one refuses."""
        return self.presence.get(status, "refuse")

    def fee_minor(self, due_minor: int) -> int:
        """The platform's part of a cumulated total, rounded down."""
        return money.fee_minor(due_minor, self.commission_bps)

    @property
    def reconnect_window_ns(self) -> int:
        return round(self.reconnect_window_s * NS_PER_S)


def _check(field: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ValueError(f"{field} must be {least} to {most}")
