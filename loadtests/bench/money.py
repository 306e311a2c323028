"""`make bench-money`: what the engine's money costs, a table for people, then one line of JSON.

Each figure comes from a module of its own with a ``run() -> dict``; a figure is null where what it
needs (a PostgreSQL server) is not installed. A part that fails leaves out its own figures only, and
the command's status is 1. Name parts to run only those.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from loadtests.bench import cutoffs, idle_sessions, money_pairs, recovery

Figures = Mapping[str, float | None]

PARTS: Final[dict[str, tuple[str, Callable[[], Figures]]]] = {
    "pairs": ("holding and capturing beside the bare stores", money_pairs.run),
    "idle": ("running 10,000 sessions to which nothing happens", idle_sessions.run),
    "cutoffs": ("cutting 10,000 sessions off within one minute", cutoffs.run),
    "recovery": ("recovering 10,000 sessions", recovery.run),
}


def run(parts: Iterable[str]) -> tuple[Figures, list[str]]:
    """The figures, and the parts that failed."""
    console = Console(stderr=True)
    figures: dict[str, float | None] = {}
    failed: list[str] = []
    for name in parts:
        doing, part = PARTS[name]
        console.print(doing)  # no spinner: its thread would be measured too
        try:
            found = part()
        except Exception:
            console.print_exception()
            failed.append(name)
        else:
            console.print(f"  {dict(found)}")
            figures |= found
    return figures, failed


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
def main(parts: tuple[str, ...]) -> None:
    """Measure what money costs."""
    figures, failed = run(parts or PARTS)
    table = Table("figure", "value", title="Talktime: money")
    for name, value in figures.items():
        table.add_row(name, "not measured" if value is None else str(value))
    Console().print(table)
    sys.stdout.write(json.dumps({"bench": "money", **figures}) + "\n")
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
