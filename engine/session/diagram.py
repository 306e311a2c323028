"""docs/sessions.md, printed from the transition table: `python -m engine.session.diagram`."""

from __future__ import annotations

from engine.session import inputs as i
from engine.session.states import TRANSITIONS, Inputs, Reason, State, handled, mermaid

_INTRO = """\
# The states of a session

One session is one call or one chat, from its first ring to its end. An order can have any number of
them. This page is printed by `python -m engine.session.diagram` from the table that the engine runs
on (`engine/session/states.py`); a test keeps it current.
"""

_AFTER_DIAGRAM = """\
A text session needs no media: `Accept` takes it to `in_progress` at once. `Tick` stands for a
deadline that passed: ring, connect and reconnect timeouts, an idle chat, the end of the money.
"""

_STATES: dict[State, str] = {
    State.RINGING: "the customer waits, the expert's devices ring; media paths connect already",
    State.CONNECTING: "answered; the expert has not pressed start",
    State.IN_PROGRESS: "the gate is open; the meter is armed, runs, or stands still",
    State.ENDED: "for good; settled, with a reason and a receipt",
}

_REASONS: dict[Reason, str] = {
    Reason.COMPLETED: "either side hung up",
    Reason.VOID: "a first session of at most the free time: nothing is paid, whoever ended it",
    Reason.INSUFFICIENT_FUNDS: "the next block was not covered when it was due",
    Reason.DISCONNECTED: "a party was gone, or nothing arrived, for the whole reconnect window",
    Reason.FAILED: "answered, but no media ever reached the customer",
    Reason.IDLE: "nobody wrote in a chat for long enough",
    Reason.TERMINATED: "ended by staff, or by an orderly stop of the engine",
    Reason.SERVER_RESTART: "the engine died and the parties did not come back in time",
    Reason.NO_ANSWER: "it rang in vain",
    Reason.DECLINED: "the expert declined",
    Reason.CANCELED: "the customer stopped ringing",
}


def sessions_page() -> str:
    """The whole page as Markdown."""
    parts = [
        _INTRO,
        f"```mermaid\n{mermaid()}\n```\n",
        _AFTER_DIAGRAM,
        _table("state", "what it is", {state.value: text for state, text in _STATES.items()}),
        "## Why a session ended\n",
        _table("reason", "what happened", {each.value: text for each, text in _REASONS.items()}),
        "## Every event in every state\n",
        "An arrow leads to another state, though not every time: a wallet that changed ends a\n"
        "session only without money. A check mark takes effect without leaving the state, a\n"
        "`code` refuses, a dot is news that came too late or too early and changes nothing.\n",
        _matrix(),
    ]
    return "\n".join(parts)


def _table(left: str, right: str, rows: dict[str, str]) -> str:
    lines = [f"| {left} | {right} |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {text} |" for name, text in rows.items())]) + "\n"


def _matrix() -> str:
    lines = [
        "| event | meaning | " + " | ".join(f"`{state}`" for state in State) + " |",
        "|---|---|" + "---|" * len(State),
    ]
    for event in i.INPUTS:
        cells = " | ".join(_cell(state, event) for state in State)
        lines.append(f"| `{event.__name__}` | {_meaning(event)} | {cells} |")
    return "\n".join(lines) + "\n"


def _cell(state: State, event: Inputs) -> str:
    rule = TRANSITIONS[state, event]
    if rule.refusal is not None:
        return f"`{rule.refusal}`"
    targets = [to.value for to in rule.to if to is not state]
    if targets:
        return "→ " + ", ".join(targets)
    return "✓" if handled(state, event) else "·"


def _meaning(event: Inputs) -> str:
    return " ".join((event.__doc__ or "").split()).rstrip(".")


if __name__ == "__main__":
    import sys

    sys.stdout.write(sessions_page())
