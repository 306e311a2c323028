"""The week in which an expert can usually be reached (T9 to T11), in anybody's time zone. Pure.

A grid is 168 cells of an hour, Monday 0:00 first, in the expert's zone; "1": possible. It informs
and guards nothing. Zones differ by what the date makes of them, so a grid is shown for the seven
days from a given instant on.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.errors import BadInput

CELLS = 7 * 24
NEVER = "0" * CELLS


def zone(name: str, path: str = "$.timezone") -> ZoneInfo:
    """An IANA zone. Raises `BadInput("timezone_unknown")`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput("timezone_unknown", "Choose a time zone by name.", path=path) from None


def in_zone(grid: str, expert_zone: ZoneInfo, viewer_zone: ZoneInfo, now_ms: int) -> str:
    """The expert's grid as 168 cells of the viewer's week, for the next seven days.

    A cell of the viewer is possible if the expert is there in all of that hour; an hour that a
    clock change skips is not, one that it repeats counts from its first time.
    """
    today = datetime.fromtimestamp(now_ms / 1_000, viewer_zone)
    midnight = today.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    cells = [""] * CELLS
    for hour in range(CELLS):
        local = midnight + timedelta(hours=hour)
        cells[_cell(local)] = "1" if _there(grid, expert_zone, viewer_zone, local) else "0"
    return "".join(cells)


def is_possible(grid: str, expert_zone: ZoneInfo, at_ms: int) -> bool:
    """Whether the instant is in a filled cell."""
    return grid[_cell(datetime.fromtimestamp(at_ms / 1_000, expert_zone))] == "1"


def _there(grid: str, expert_zone: ZoneInfo, viewer_zone: ZoneInfo, local: datetime) -> bool:
    start = local.replace(tzinfo=viewer_zone).astimezone(UTC)
    if start.astimezone(viewer_zone).replace(tzinfo=None) != local:
        return False  # skipped
    last = start + timedelta(minutes=59)
    return all(grid[_cell(at.astimezone(expert_zone))] == "1" for at in (start, last))


def _cell(local: datetime) -> int:
    return local.weekday() * 24 + local.hour
