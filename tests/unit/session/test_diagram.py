"""docs/sessions.md says what the transition table says."""

from __future__ import annotations

from pathlib import Path

from engine.session import inputs as i
from engine.session.diagram import sessions_page
from engine.session.states import Reason, State

PAGE = Path(__file__).parents[3] / "docs" / "sessions.md"


def test_the_page_of_the_session_states_is_current() -> None:
    assert PAGE.read_text() == sessions_page()


def test_the_page_explains_every_state_reason_and_event() -> None:
    rows = [line for line in sessions_page().splitlines() if line.startswith("| `")]
    first_cells = [row.split(" | ")[0].removeprefix("| ").strip("`") for row in rows]
    assert first_cells == [*State, *Reason, *(event.__name__ for event in i.INPUTS)]
    assert not any(" |  |" in row for row in rows), "a cell without a word"
