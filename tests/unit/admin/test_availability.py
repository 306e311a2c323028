"""A week's grid across zones and clock changes (T11, C24)."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from admin.experts.availability import CELLS, in_zone, is_possible

KYIV, NEW_YORK, KOLKATA = (
    ZoneInfo("Europe/Kyiv"),
    ZoneInfo("America/New_York"),
    ZoneInfo("Asia/Kolkata"),
)
ZONES = st.sampled_from(["UTC", "Europe/Kyiv", "America/New_York", "Asia/Kolkata", "Pacific/Apia"])


def at(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1_000)  # type: ignore[arg-type,misc]


def cells(grid: str) -> set[tuple[int, int]]:
    return {divmod(n, 24) for n, cell in enumerate(grid) if cell == "1"}


def week(*filled: tuple[int, int]) -> str:
    return "".join("1" if divmod(n, 24) in filled else "0" for n in range(CELLS))


def test_T11_C24_an_hour_of_kyiv_is_told_right_around_the_clock_changes() -> None:
    every_day = week(*((day, 9) for day in range(7)))
    # Seven hours apart, but six between the two changes: 8 and 29 March 2026.
    assert cells(in_zone(every_day, KYIV, NEW_YORK, at(2026, 2, 10))) == {(d, 2) for d in range(7)}
    assert cells(in_zone(every_day, KYIV, NEW_YORK, at(2026, 3, 15))) == {(d, 3) for d in range(7)}
    assert cells(in_zone(every_day, KYIV, NEW_YORK, at(2026, 4, 10))) == {(d, 2) for d in range(7)}
    # Within the week of the change itself, days before it and after it differ.
    shown = cells(in_zone(every_day, KYIV, NEW_YORK, at(2026, 3, 5, 12)))
    assert {(3, 2), (4, 2), (5, 2), (6, 3), (0, 3), (1, 3), (2, 3)} == shown


def test_T11_an_hour_that_begins_in_the_middle_of_another_needs_both() -> None:
    assert cells(in_zone(week((0, 9)), KYIV, KOLKATA, at(2026, 1, 5))) == set()
    shown = cells(in_zone(week((0, 9), (0, 10)), KYIV, KOLKATA, at(2026, 1, 5)))
    assert shown == {(0, 13)}


@given(ZONES, ZONES, st.integers(0, CELLS - 1), st.integers(0, 3_000))
def test_T11_what_is_shown_as_possible_is(mine: str, theirs: str, cell: int, day: int) -> None:
    now_ms = at(2022, 1, 1) + day * 86_400_000
    grid = "1" * cell + "0" + "1" * (CELLS - 1 - cell)
    shown = in_zone(grid, ZoneInfo(theirs), ZoneInfo(mine), now_ms)
    assert len(shown) == CELLS
    today = datetime.fromtimestamp(now_ms / 1_000, ZoneInfo(mine)).replace(minute=0)
    if shown[today.weekday() * 24 + today.hour] == "1":
        assert is_possible(grid, ZoneInfo(theirs), int(today.timestamp() * 1_000))


def test_T10_the_own_zone_shows_the_grid_itself() -> None:
    grid = week((2, 4), (6, 23), (0, 0))
    assert in_zone(grid, KYIV, KYIV, at(2026, 6, 1)) == grid
