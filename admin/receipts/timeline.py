"""A session's events as sentences for people; pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from admin.http.times import money_text
from admin.receipts import quality


@dataclass(frozen=True)
class Happening:
    """One stored event."""

    type: str
    at_ms: int
    data: Mapping[str, Any]


_MONEY = ("meter.charged", "meter.returned")
_SENTENCES = {
    "session.ringing": "{customer} called {expert}.",
    "session.answered": "{expert} answered.",
    "session.started": "The session was opened.",
    "session.suspended": "The service was interrupted: the session waited for both to come back.",
    "participant.joined": "{who} connected.",
    "participant.left": "{who} lost the connection.",
    "track.published": "{who} switched the {kind} on.",
    "track.unpublished": "{who} switched the {kind} off.",
    "recording.requested": "{who} asked to record the call.",
    "recording.recording": "{who} agreed: the recording began.",
    "recording.stopped": "{who} ended the recording.",
    "recording.failed": "The recording ended by itself; the call went on.",
    "meter.resumed": "The clock went on.",
    "meter.low_balance": "{customer} was told that the balance runs out.",
}
_TRIGGERS = {
    "first_frame": "The clock started with the first picture or sound of {expert} that arrived.",
    "second_message": "The clock started with a message of {customer}.",
}
_PAUSES = {
    "no_media": "The clock stood still: nothing of {expert} arrived.",
    "disconnected": "The clock stood still: the connection was lost.",
}
_ENDINGS = {
    "completed": "{by} ended the session.",
    "void": "{by} ended the session within its free time: nothing is charged.",
    "insufficient_funds": "The balance did not cover the next block: the session ended.",
    "disconnected": "The connection did not come back in time: the session ended.",
    "failed": "No connection came about: the session ended.",
    "idle": "Nobody wrote for a while: the session ended.",
    "terminated": "{by} ended the session.",
    "server_restart": "The service was restarted: the session ended with what was served.",
    "no_answer": "Nobody answered.",
    "declined": "{expert} declined the call.",
    "canceled": "{customer} gave up the call.",
}
_DIRECTIONS = {
    "one_way": "{customer} chose to be neither seen nor heard.",
    "two_way": "{customer} chose to be seen and heard.",
}
_NO_RECORDING = {
    "declined": "{who} did not agree to a recording.",
    "withdrawn": "{who} took the request to record back.",
}
_RECORDING_OVER = {
    "ended": "The recording ended with the session.",
    "interrupted": "The recording was cut off when the service was interrupted.",
    "unavailable": "The recording could not begin; the call went on.",
}
_KINDS = {"audio": "microphone", "video": "camera"}


def timeline(
    happenings: Sequence[Happening],
    *,
    customer: str,
    expert: str,
    currency: str,
    for_expert: bool,
    for_staff: bool = False,
) -> list[tuple[int, str, str]]:
    """Instant, type and sentence of every event worth telling, in order; connections to staff."""
    people = {
        "customer": customer,
        "expert": expert,
        "system": "The service",
        "staff": "The platform's staff",
    }
    told = []
    for type_, group in itertools.groupby(happenings, key=lambda happening: happening.type):
        run = list(group)
        if type_ in _MONEY:
            told.append((run[0].at_ms, type_, _money(run, currency, for_expert)))
        elif type_ == "session.quality":
            shown = run if for_staff else []
            told += [(one.at_ms, type_, text) for one in shown for text in _quality(one, people)]
        else:
            told += [(one.at_ms, type_, _sentence(one, people)) for one in run]
    return [entry for entry in told if entry[2]]


def _sentence(happening: Happening, people: Mapping[str, str]) -> str:
    data = happening.data
    words = {
        **people,
        "who": people.get(str(data.get("role")), "Somebody"),
        "by": people.get(str(data.get("ended_by")), "The service"),
        "kind": _KINDS.get(str(data.get("kind")), "device"),
    }
    return _pattern(happening).format(**words)


def _pattern(happening: Happening) -> str:
    data = happening.data
    if happening.type == "meter.started":
        return _TRIGGERS.get(str(data.get("trigger")), "The clock started.")
    if happening.type == "meter.paused":
        return _PAUSES.get(str(data.get("reason")), "The clock stood still.")
    if happening.type == "recording.off":
        return _NO_RECORDING.get(str(data.get("reason")), "")
    if happening.type in ("recording.stopped", "recording.failed"):
        usual = _SENTENCES[happening.type]
        return _RECORDING_OVER.get(str(data.get("reason")), usual)
    if happening.type == "session.direction":
        return _DIRECTIONS.get(str(data.get("direction")), "")
    if happening.type == "session.ended":
        return _ENDINGS.get(str(data.get("reason")), "The session ended.")
    return _SENTENCES.get(happening.type, "")


def _quality(happening: Happening, people: Mapping[str, str]) -> list[str]:
    parties = [(role, happening.data.get(role)) for role in ("customer", "expert")]
    return [quality.sentence(people[role], party) for role, party in parties if party]


def _money(run: Sequence[Happening], currency: str, for_expert: bool) -> str:
    """A run of charges as one sentence: by-the-second billing charges several times a minute."""
    amount = sum(int(one.data.get("amount_minor", 0)) for one in run)
    fee = sum(int(one.data.get("fee_minor", 0)) for one in run)
    text = money_text(amount, currency)
    if run[0].type == "meter.returned":
        return f"{text} given back: the service failed to serve that part."
    steps = f" in {len(run)} steps" if len(run) > 1 else ""
    part = f", {money_text(fee, currency)} of it commission" if for_expert else ""
    return f"{text} charged{steps}{part}."
