"""The closing line of the media benchmark: which figure it takes, and null for what is missing."""

from __future__ import annotations

import io
import json

from rich.console import Console

from loadtests.media import report
from loadtests.media.measure import CALLS, HALF, Row


def row(server: str, legs: int, load: str, **members: object) -> Row:
    values: dict[str, object] = {
        "offered_pps": 10_000,
        "cpu_us": 10.0,
        "utilisation": 0.1,
        "lost": 0,
        "delay_p50_us": 80.0,
        "delay_p99_us": 400.0,
        "generator_late_us": 1.0,
    }
    return Row(server=server, legs=legs, load=load, **(values | members))


ROWS = [
    row("native", 1, "10000", cpu_us=6.0),
    row("python", 1, "10000", cpu_us=18.0),
    row("floor", 1, "10000", cpu_us=5.0),
    row("native", 8, HALF),
    row("native", 64, CALLS, utilisation=0.08),
    row("native", 500, CALLS, utilisation=0.5, lost=3),
]


def test_the_headline_is_ten_thousand_packets_on_one_leg() -> None:
    found = report.summary(ROWS)
    assert (found["native_us"], found["python_us"], found["floor_us"]) == (6.0, 18.0, 5.0)
    assert found["native_to_floor"] == 1.2
    assert found["worker"] == "native"
    assert (found["added_p50_ms"], found["added_p99_ms"], found["lost"]) == (0.08, 0.4, 0)


def test_calls_per_core_are_from_the_most_legs_without_loss() -> None:
    assert report.summary(ROWS)["calls_per_core"] == 400


def test_what_is_not_installed_is_null() -> None:
    found = report.summary(ROWS)
    assert found["janus_us"] is None
    assert found["native_to_janus"] is None
    assert found["half_load"]["janus"] is None
    assert found["cpu_us"]["janus"]["1"]["10000"] is None
    nothing = report.summary([])
    assert nothing["worker"] is nothing["calls_per_core"] is nothing["lost"] is None
    json.dumps(nothing, allow_nan=False)


def test_the_python_worker_stands_in_where_the_native_one_is_not_built() -> None:
    found = report.summary([row("python", 1, "10000"), row("python", 8, HALF, lost=7)])
    assert (found["worker"], found["lost"]) == ("python", 7)


def test_the_tables_say_why_a_server_is_missing() -> None:
    out = io.StringIO()
    report.show(Console(file=out, width=100), ROWS, {"janus": "Janus is not installed"})
    assert "janus: not measured: Janus is not installed" in out.getvalue()
    assert "500" not in out.getvalue(), "a run with loss is no measure of calls"
