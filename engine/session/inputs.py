"""Everything that can happen to a session. Instants are monotonic nanoseconds."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from engine.media.interface import Role
from engine.metering.funds import Fund
from engine.metering.policy import PAUSE_AFTER_NS
from engine.metering.signals import HoldGranted, HoldRefused, Tick, Wallet

__all__ = [
    "INPUTS",
    "Accept",
    "AcksWithheld",
    "Begin",
    "Cancel",
    "Connected",
    "Decline",
    "Delivered",
    "FirstFrame",
    "Hangup",
    "HoldGranted",
    "HoldRefused",
    "Input",
    "MessageStored",
    "SetDirection",
    "SetTracks",
    "Shutdown",
    "Terminate",
    "Tick",
    "Wallet",
]


class Accept(Struct, frozen=True):
    """The expert answered on `device`; with what pays for the session as it was read just now."""

    device: str
    holds: tuple[Fund, ...]
    wallet: Wallet
    metered_sessions: int


class Decline(Struct, frozen=True):
    """The expert will not answer."""


class Cancel(Struct, frozen=True):
    """The customer stops ringing."""


class Begin(Struct, frozen=True):
    """The expert's start button (T21)."""


class Hangup(Struct, frozen=True):
    """Either side ends it, at any moment (T33)."""

    role: Role


class Terminate(Struct, frozen=True):
    """Staff end it."""


class Shutdown(Struct, frozen=True):
    """This node is going down in an orderly way."""


class FirstFrame(Struct, frozen=True):
    """The customer acknowledged the expert's first frame, sent at `sent_at_ns`."""

    sent_at_ns: int
    pause_after_ns: int = PAUSE_AFTER_NS


class Delivered(Struct, frozen=True):
    """The newest frame that the customer acknowledged was sent at `last_acked_at_ns`."""

    last_acked_at_ns: int
    pause_after_ns: int = PAUSE_AFTER_NS


class AcksWithheld(Struct, frozen=True):
    """The customer's transport acknowledges nothing; forwarding was stopped."""


class MessageStored(Struct, frozen=True):
    """A chat message of `role`, received at `at_ns`, is in the store, which has `from_customer` of
    the customer's by now; that is 0 where it no longer matters.
    """

    role: Role
    at_ns: int
    from_customer: int = 0


class Connected(Struct, frozen=True):
    """The party's first socket came or its last one went."""

    role: Role
    up: bool


class SetTracks(Struct, frozen=True):
    """The camera and microphone buttons of a party (T50)."""

    role: Role
    audio: bool
    video: bool


class SetDirection(Struct, frozen=True):
    """The customer switches one-way and two-way (T25)."""

    one_way: bool


class AskRecording(Struct, frozen=True):
    """A party asks the other one for consent to record."""

    role: Role


class AnswerRecording(Struct, frozen=True):
    """The other party agrees to be recorded, or declines."""

    role: Role
    consent: bool


class StopRecording(Struct, frozen=True):
    """A party ends it, or takes its request or its consent back."""

    role: Role


class RecorderEnded(Struct, frozen=True):
    """Recording ended by itself."""

    reason: str


Input = (
    Accept
    | Decline
    | Cancel
    | Begin
    | Hangup
    | Terminate
    | Shutdown
    | FirstFrame
    | Delivered
    | AcksWithheld
    | MessageStored
    | Connected
    | SetTracks
    | SetDirection
    | AskRecording
    | AnswerRecording
    | StopRecording
    | RecorderEnded
    | Wallet
    | HoldGranted
    | HoldRefused
    | Tick
)

INPUTS: Final[tuple[type[Input], ...]] = (
    Accept,
    Decline,
    Cancel,
    Begin,
    Hangup,
    Terminate,
    Shutdown,
    FirstFrame,
    Delivered,
    AcksWithheld,
    MessageStored,
    Connected,
    SetTracks,
    SetDirection,
    AskRecording,
    AnswerRecording,
    StopRecording,
    RecorderEnded,
    Wallet,
    HoldGranted,
    HoldRefused,
    Tick,
)
