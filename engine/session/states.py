"""The life of a session as a table: what each event does in each state.

    ringing ──accept──▶ connecting ──start──▶ in_progress ──▶ ended

A text session needs no media, so `accept` takes it to `in_progress` at once. Every pair of state
and event is in `TRANSITIONS`: it leads somewhere, is ignored as stale, or is refused with a stable
code. `mermaid` draws the diagram of the documentation from the same table.
"""

from __future__ import annotations

import enum
from typing import Final

from msgspec import Struct

from engine.session import inputs as i


class State(enum.StrEnum):
    RINGING = "ringing"
    CONNECTING = "connecting"
    IN_PROGRESS = "in_progress"
    ENDED = "ended"


class Reason(enum.StrEnum):
    """Why a session ended."""

    COMPLETED = "completed"
    VOID = "void"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    IDLE = "idle"
    TERMINATED = "terminated"
    SERVER_RESTART = "server_restart"
    NO_ANSWER = "no_answer"
    DECLINED = "declined"
    CANCELED = "canceled"


class EndedBy(enum.StrEnum):
    CUSTOMER = "customer"
    EXPERT = "expert"
    SYSTEM = "system"
    STAFF = "staff"


LIVE: Final = (State.CONNECTING, State.IN_PROGRESS)
"""An expert has one session in these states at a time."""


class Rule(Struct, frozen=True):
    """Where an event may lead; with a `refusal` the state stays and the code is raised."""

    to: tuple[State, ...]
    refusal: str | None = None


Inputs = type[i.Input]
_R, _C, _P, _E = State.RINGING, State.CONNECTING, State.IN_PROGRESS, State.ENDED


_ASKED: Final = (i.AskRecording, i.AnswerRecording, i.StopRecording)
_RECORDING: Final = (*_ASKED, i.RecorderEnded)


def _stay(*events: Inputs) -> dict[Inputs, tuple[State, ...]]:
    return dict.fromkeys(events, ())


_MOVES: Final[dict[State, dict[Inputs, tuple[State, ...]]]] = {
    _R: {
        i.Accept: (_C, _P),
        i.Decline: (_E,),
        i.Cancel: (_E,),
        i.Hangup: (_E,),
        i.Terminate: (_E,),
        i.Shutdown: (_E,),
        i.Tick: (_R, _E),
        **_stay(i.Connected, i.SetTracks, i.SetDirection, i.Wallet),
    },
    _C: {
        # Again by the device that answered: its ack was lost.
        i.Accept: (_C,),
        i.Begin: (_P,),
        i.Hangup: (_E,),
        i.Terminate: (_E,),
        i.Shutdown: (_E,),
        i.Tick: (_C, _E),
        **_stay(i.Connected, i.SetTracks, i.SetDirection, i.Wallet, *_RECORDING),
    },
    _P: {
        i.Accept: (_P,),
        i.Begin: (_P,),
        i.Hangup: (_E,),
        i.Terminate: (_E,),
        i.Shutdown: (_E,),
        i.AcksWithheld: (_P, _E),
        i.FirstFrame: (_P, _E),
        i.Delivered: (_P, _E),
        i.MessageStored: (_P, _E),
        i.Connected: (_P, _E),
        i.Wallet: (_P, _E),
        i.HoldGranted: (_P, _E),
        i.HoldRefused: (_P, _E),
        i.Tick: (_P, _E),
        **_stay(i.SetTracks, i.SetDirection, *_RECORDING),
    },
    _E: {},
}

_REFUSALS: Final[dict[State, dict[Inputs, str]]] = {
    _R: {i.Begin: "wrong_state", **dict.fromkeys(_ASKED, "wrong_state")},
    _C: {i.Decline: "already_answered", i.Cancel: "already_answered"},
    _P: {i.Decline: "already_answered", i.Cancel: "already_answered"},
    _E: {
        i.Accept: "session_ended",
        i.Decline: "session_ended",
        i.Cancel: "session_ended",
        i.Begin: "session_ended",
        i.SetTracks: "session_ended",
        i.SetDirection: "session_ended",
        **dict.fromkeys(_ASKED, "session_ended"),
    },
}


def _rule(state: State, event: Inputs) -> Rule:
    refusal = _REFUSALS[state].get(event)
    to = _MOVES[state].get(event, ())
    return Rule(to or (state,), refusal)


TRANSITIONS: Final[dict[tuple[State, Inputs], Rule]] = {
    (state, event): _rule(state, event) for state in State for event in i.INPUTS
}
"""What is neither moved nor refused is news that came too late or too early: ignored."""


def handled(state: State, event: Inputs) -> bool:
    """Whether the event means anything in this state."""
    return event in _MOVES[state]


def mermaid() -> str:
    """The state diagram, drawn from the table."""
    lines = ["stateDiagram-v2", "    [*] --> ringing: invite"]
    for state, moves in _MOVES.items():
        targets = {to for tos in moves.values() for to in tos if to is not state}
        for target in sorted(targets):
            names = [event.__name__ for event, tos in moves.items() if target in tos]
            lines.append(f"    {state} --> {target}: {', '.join(names)}")
    lines.append("    ended --> [*]")
    return "\n".join(lines)
