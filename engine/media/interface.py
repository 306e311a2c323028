"""What the rest of the engine knows of the media plane: one small interface, several workers
behind it.

A *worker* is one UDP socket and its loop. A *session* on it has a customer leg and one or more
expert legs: while a call rings each of the expert's devices may connect a leg of its own,
`select_leg` keeps the one that answered. Nothing is forwarded before `open_gate`.

All instants are `Clock.now_ns` of the process. Events are rare by design: never one per packet.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

import msgspec

from engine.metering.policy import PAUSE_AFTER_NS


class Role(enum.StrEnum):
    CUSTOMER = "customer"
    EXPERT = "expert"


class MediaKind(enum.StrEnum):
    AUDIO = "audio"
    VIDEO = "video"


class LegConnected(msgspec.Struct, frozen=True):
    """ICE and DTLS are up; the leg can carry media. Sent again after a loss was healed."""

    session_id: str
    leg_id: str
    role: Role


class LegLost(msgspec.Struct, frozen=True):
    """Consent expired (RFC 7675), DTLS closed or failed. `reason`: consent, closed, failed."""

    session_id: str
    leg_id: str
    role: Role
    reason: str


class FirstFrame(msgspec.Struct, frozen=True):
    """The expert's first complete frame that the customer can decode and has acknowledged.

    `sent_at_ns` is the instant at which the frame's last packet left for the customer: it starts
    the clock. `acked_at_ns` is when the acknowledgement arrived. `pause_after_ns`: how long nothing
    may be acknowledged on this connection before that means something. Sent once per session.
    """

    session_id: str
    kind: MediaKind
    sent_at_ns: int
    acked_at_ns: int
    pause_after_ns: int = PAUSE_AFTER_NS


class Delivery(msgspec.Struct, frozen=True):
    """The customer's transport acknowledged expert media; at most one event a second per session,
    and one more about the first packet after a silence.

    `last_acked_at_ns` is the send instant of the newest packet known to have arrived;
    `pause_after_ns` as in `FirstFrame`.
    """

    session_id: str
    last_acked_at_ns: int
    pause_after_ns: int = PAUSE_AFTER_NS


class AcksWithheld(msgspec.Struct, frozen=True):
    """Media flowed for 5 s without one acknowledgement, or for less in a call of which much was not
    billed already, so forwarding to the customer was stopped.
    """

    session_id: str


MediaEvent = LegConnected | LegLost | FirstFrame | Delivery | AcksWithheld


class IceCandidate(msgspec.Struct, frozen=True):
    """`tcp`: the client connects to it (RFC 6544, passive); otherwise UDP."""

    host: str
    port: int
    tcp: bool = False


Tap = Callable[[Role, MediaKind, bytes, int], None]
"""Takes each packet that a party is sent: who published it, what it is, the plain RTP packet as it
left (one SSRC per stream, numbers and timestamps without a break), and when. Mended packets come
too, late and out of order, and the stream's sender reports as plain SR blocks (RFC 5761 section 4
tells them apart). Called on the event loop's thread.
"""


class LegStats(msgspec.Struct, frozen=True):
    """One leg's two hops: `in` is what its peer sends to us, `out` what it is sent.

    Counts are totals since the leg was added, so that two looks give the figures of the time
    between them; bitrates are means over the last second or so. A hop's loss is `lost` of
    `expected` packets, without retransmissions: of what came in by our own count, of what went out
    by the peer's receiver reports, as of the newest one (a late packet makes `lost` shrink again).
    `rtt_ms` and `jitter_out_ms` are the peer's newest word, too; None where nothing was said.
    `freezes` are those of the video that the leg is sent (see `engine.media.freezes`).
    """

    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int
    expected_in: int
    lost_in: int
    expected_out: int
    lost_out: int
    bitrate_in_bps: int
    bitrate_out_bps: int
    jitter_in_ms: float | None
    jitter_out_ms: float | None
    rtt_ms: float | None
    freezes: int
    frozen_ms: int


class MediaWorker(Protocol):
    """One media worker. All methods run on the event loop's thread and never block it."""

    @property
    def media(self) -> str:
        """What moves the packets: ``native`` or ``python``."""
        ...

    @property
    def running(self) -> bool:
        """Whether calls are served: started and not stopped."""
        ...

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Close every session and the socket; safe at any moment and more than once."""
        ...

    def subscribe(self, handler: Callable[[MediaEvent], None]) -> None:
        """`handler` is called on the loop's thread for every event; there is one subscriber."""
        ...

    def add_session(self, session_id: str, *, one_way: bool, video: bool) -> None:
        """`one_way`: nothing of the customer is forwarded. Raises `Unavailable` code
        `overloaded`.
        """
        ...

    def add_leg(self, session_id: str, role: Role) -> str:
        """A new leg's id. Raises `Conflict` code `too_many_legs` past the bound."""
        ...

    async def offer(self, leg_id: str, *, ice_restart: bool = False) -> str:
        """The engine's SDP offer for this leg; with `ice_restart` under fresh credentials."""
        ...

    async def answer(self, leg_id: str, sdp: str) -> None:
        """Apply the browser's SDP answer. Raises `BadInput` code `invalid_sdp`."""
        ...

    def select_leg(self, session_id: str, leg_id: str) -> None:
        """Keep this leg for its role and close the session's other legs of that role."""
        ...

    def remove_leg(self, leg_id: str) -> None: ...

    def open_gate(self, session_id: str) -> None:
        """Start forwarding between the selected legs; asks the publisher for a keyframe."""
        ...

    def set_publishing(self, session_id: str, role: Role, *, audio: bool, video: bool) -> None:
        """Camera and microphone buttons: what of this party may be forwarded."""
        ...

    def set_one_way(self, session_id: str, *, one_way: bool) -> None: ...

    def set_cutoff(self, session_id: str, cutoff_at_ns: int | None) -> None:
        """The watchdog: nothing is forwarded at or after this instant, whatever else fails."""
        ...

    def set_tap(self, session_id: str, tap: Tap | None) -> None:
        """Copy from now on what passes between the parties, or no more; unknown ids are
        ignored.
        """
        ...

    def close_session(self, session_id: str) -> None:
        """Close every leg (DTLS close_notify) and forget the session; unknown ids are ignored."""
        ...

    def leg_stats(self, leg_id: str) -> LegStats | None: ...

    def counters(self) -> dict[str, int]:
        """Monotonic counters of the worker, by stable name, for `/metrics`."""
        ...
