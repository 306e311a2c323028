"""Limits and timings of the real-time namespace, each with its unit and its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.ratelimit import Rate

NAMESPACE = "/rt"

PRESENCE_MAP: Mapping[str, str] = {
    "available": "ring",
    "away": "silent",
    "busy": "refuse",
    "undefined": "refuse",
}
"""What a call does at each effective status (T13 to T16): ring, silent or refuse."""

EVENT_RATES: Mapping[str, Rate] = {
    "call.cancel": Rate(5, 20),
    "call.decline": Rate(5, 20),
    "call.invite": Rate(0.5, 5),
    "message.send": Rate(5, 20),
    "message.history": Rate(5, 20),
    "presence.set": Rate(1, 5),
    "recording.request": Rate(0.2, 5),
    "recording.stop": Rate(5, 20),
    "rtc.restart": Rate(1, 5),
    "session.end": Rate(5, 20),
    "typing": Rate(2, 10),
}


@dataclass(frozen=True, slots=True)
class SignalingSettings:
    """Bounds of what one client may cost. The defaults suit a person with a few devices."""

    cors_origins: tuple[str, ...] = ()
    """Other origins whose pages may connect; the own one always may; ``*`` allows all."""

    max_frame_bytes: int = 200_000
    """One frame: an SDP of 64 KiB, escaped in JSON, fits twice."""

    max_backlog_packets: int = 1_000
    """Unsent packets of one device; more means that it does not read, and it is cut off."""

    connections_per_user: int = 10
    connections_total: int = 20_000
    subscriptions_per_connection: int = 200
    """Experts one connection may watch."""

    connect_timeout_s: float = 10.0
    """From the transport's opening to an accepted token."""

    close_timeout_s: float = 5.0
    """What a closed transport gets to drain before it is aborted."""

    expiry_recheck_s: float = 10.0
    """How often an expired token that carries a running session is looked at again."""

    presence_linger_s: float = 4.0
    """How long a user stays online without a socket, so that a reload does not flash offline."""

    connection_rate: Rate = field(default_factory=lambda: Rate(20, 60))
    user_rate: Rate = field(default_factory=lambda: Rate(40, 120))
    event_rates: Mapping[str, Rate] = field(default_factory=lambda: dict(EVENT_RATES))
    """Per user and event, beside the two general rates."""

    presence_map: Mapping[str, str] = field(default_factory=lambda: dict(PRESENCE_MAP))

    ping_interval_s: int = 10
    ping_timeout_s: int = 10
    """A device that vanished is noticed within interval + timeout, inside the reconnect window."""

    transports: tuple[str, ...] = ("polling", "websocket")
