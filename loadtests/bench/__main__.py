"""`make bench`: every benchmark in one run, a table for people, then one line of JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtests.bench import call_setup, first_frame, media_relay


def main() -> int:
    console = Console()
    figures: dict[str, Any] = {}
    with console.status("relaying packets"):
        relay: Any = media_relay.run()
    for row in relay["rows"]:
        rate = f"{row['rate_pps'] // 1000}kpps"
        figures[f"python_us_{rate}"] = row["cpu_us_per_packet"]
        figures[f"added_p50_us_{rate}"] = row["delay_p50_us"]
        figures[f"added_p99_us_{rate}"] = row["delay_p99_us"]
        figures[f"lost_{rate}"] = row["lost"]
    with console.status("setting up calls"):
        figures |= _figures(call_setup.run())
    with console.status("calling in Chromium"):
        figures |= _figures(first_frame.run())
    table = Table("figure", "value", title="Talktime benchmarks")
    for name, value in figures.items():
        table.add_row(name, str(value))
    console.print(table)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in ("bench", "calls")}


if __name__ == "__main__":
    sys.exit(main())
