"""What a session machine wants done, in order. The meter's effects pass through unchanged."""

from __future__ import annotations

from msgspec import Struct

from engine.media.interface import Role
from engine.metering.funds import Fund
from engine.metering.signals import MeterEffect, Settlement


class Rang(Struct, frozen=True):
    """The session exists and rings at the expert."""


class Answered(Struct, frozen=True):
    """By `device`, reckoning with these prepaid holds and earlier metered sessions of the order."""

    device: str
    holds: tuple[Fund, ...]
    metered_sessions: int


class Began(Struct, frozen=True):
    """In progress: media may be forwarded, messages delivered; the meter is armed."""


class ClockStarted(Struct, frozen=True):
    """The meter runs since `at_ns`; this fixes the session's ordinal in its order."""

    trigger: str
    at_ns: int
    ordinal: int


class TrackChanged(Struct, frozen=True):
    """A camera or microphone button; `kind`: audio or video."""

    role: Role
    kind: str
    published: bool


class Turned(Struct, frozen=True):
    one_way: bool


class PartyChanged(Struct, frozen=True):
    role: Role
    up: bool


class RecordingChanged(Struct, frozen=True):
    """Asked, agreed, refused, stopped or failed: `consent.Recorded`; `by`: role, or nobody."""

    state: str
    by: str
    reason: str


class Stated(Struct, frozen=True):
    """The meter has run on for a while: say where it stands."""


class Ended(Struct, frozen=True):
    """The session ended at `at_ns`. Whatever its own holds still have is to be released."""

    reason: str
    ended_by: str
    at_ns: int
    settlement: Settlement


class Measured(Struct, frozen=True):
    """What both connections were like, by role (`quality.Summary`); the machine knows nothing of
    it.
    """

    summaries: dict[str, object]


Effect = (
    MeterEffect
    | Rang
    | Answered
    | Began
    | ClockStarted
    | TrackChanged
    | Turned
    | PartyChanged
    | RecordingChanged
    | Stated
    | Measured
    | Ended
)
