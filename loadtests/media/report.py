"""The figures of a run as tables for people and as one object for a line of JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from loadtests.media.measure import CALLS, HALF, LEGS, RATES_PPS, SATURATED, SERVERS, Row

# The load and the number of legs that the headline figures are for.
_HEADLINE: Final = (1, "10000")
_LOADS: Final = (*(str(rate) for rate in RATES_PPS), SATURATED)
_NAMES: Final = tuple(server.name for server in SERVERS)


class Figures:
    """Looks up what the run measured; None for what it did not."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = {(row.server, row.legs, row.load): row for row in rows}

    def cell(self, server: str, legs: int, load: str) -> Row | None:
        return self._rows.get((server, legs, load))

    def cpu_us(self, server: str) -> float | None:
        row = self.cell(server, *_HEADLINE)
        return row.cpu_us if row else None

    def half_load(self, server: str) -> Row | None:
        return next((r for r in self._of(server) if r.load == HALF), None)

    def calls(self, server: str) -> Row | None:
        """The most calls at once that lost nothing."""
        clean = [row for row in self._of(server) if row.load == CALLS and not row.lost]
        return max(clean, key=lambda row: row.legs, default=None)

    def loop_lag_ms(self, server: str) -> float | None:
        """How late the event loop beside the packets was at most, at full load."""
        lags = [r.loop_lag_ms for r in self._of(server) if r.load == SATURATED]
        return max((lag for lag in lags if lag is not None), default=None)

    def worker(self) -> str | None:
        """The engine's better worker that was measured."""
        return next((n for n in ("native", "python") if self.cpu_us(n) is not None), None)

    def _of(self, server: str) -> Iterable[Row]:
        return (row for row in self._rows.values() if row.server == server)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The closing line: headline figures first, then everything by server, legs and load.

    `added_*`, `lost` and `calls_per_core` are those of `worker`.
    """
    figures = Figures(rows)
    native_us = figures.cpu_us("native")
    worker = figures.worker() or ""
    half, calls = figures.half_load(worker), figures.calls(worker)
    return {
        **{f"{name}_us": figures.cpu_us(name) for name in _NAMES},
        "native_to_janus": _ratio(native_us, figures.cpu_us("janus")),
        "native_to_floor": _ratio(native_us, figures.cpu_us("floor")),
        "worker": worker or None,
        "added_p50_ms": _ms(half.delay_p50_us) if half else None,
        "added_p99_ms": _ms(half.delay_p99_us) if half else None,
        "lost": half.lost if half else None,
        "loop_lag_ms": figures.loop_lag_ms(worker),
        "calls_per_core": calls.calls_per_core if calls else None,
        "cpu_us": {name: _by_legs(figures, name) for name in _NAMES},
        "half_load": {name: _half(figures.half_load(name)) for name in _NAMES},
        "calls": {name: _calls(figures.calls(name)) for name in _NAMES},
    }


def _by_legs(figures: Figures, name: str) -> dict[str, dict[str, float | None]]:
    rows = {legs: {load: figures.cell(name, legs, load) for load in _LOADS} for legs in LEGS}
    return {
        str(legs): {load: row.cpu_us if row else None for load, row in of_legs.items()}
        for legs, of_legs in rows.items()
    }


def _half(row: Row | None) -> dict[str, float | None] | None:
    if row is None:
        return None
    return {
        "pps": row.offered_pps,
        "p50_ms": _ms(row.delay_p50_us),
        "p99_ms": _ms(row.delay_p99_us),
        "lost": row.lost,
    }


def _calls(row: Row | None) -> dict[str, float | None] | None:
    if row is None:
        return None
    return {"at_once": row.legs // 2, "per_core": row.calls_per_core, "cpu_us": row.cpu_us}


def _ratio(value: float | None, base: float | None) -> float | None:
    return round(value / base, 2) if value is not None and base else None


def _ms(us: float | None) -> float | None:
    return None if us is None else round(us / 1e3, 3)


def show(console: Console, rows: Sequence[Row], missing: dict[str, str]) -> None:
    figures = Figures(rows)
    console.print(_cpu_table(figures))
    console.print(_delay_table(figures))
    console.print(_calls_table(figures))
    for name, reason in missing.items():
        console.print(f"{name}: not measured: {reason}")


def _cpu_table(figures: Figures) -> Table:
    table = Table(title="CPU of the server for one forwarded packet, µs (packets lost)")
    for heading in ("server", "legs", *(f"{rate // 1000} kpps" for rate in RATES_PPS), SATURATED):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    for name in _NAMES:
        for legs in LEGS:
            cells = [figures.cell(name, legs, load) for load in _LOADS]
            if any(cells):
                table.add_row(name, str(legs), *(_cpu_cell(row) for row in cells))
    return table


def _cpu_cell(row: Row | None) -> str:
    if row is None or row.cpu_us is None:
        return "-"
    return f"{row.cpu_us:.1f}" + (f" ({row.lost})" if row.lost else "")


def _delay_table(figures: Figures) -> Table:
    table = Table(title="Delay at half of the saturated rate")
    for heading in ("server", "packets/s", "p50 µs", "p99 µs", "lost", "generator late µs"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    for name in _NAMES:
        if row := figures.half_load(name):
            delays = (str(row.delay_p50_us), str(row.delay_p99_us))
            late = f"{row.generator_late_us:.0f}"
            table.add_row(name, str(row.offered_pps), *delays, str(row.lost), late)
    return table


def _calls_table(figures: Figures) -> Table:
    table = Table(title="Two-way calls of 1.5 Mbit/s and Opus, at the most that lost nothing")
    for heading in ("server", "calls at once", "share of a core", "µs/packet", "calls per core"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    for name in _NAMES:
        if row := figures.calls(name):
            share = f"{100 * row.utilisation:.0f} %"
            per_core = str(row.calls_per_core)
            table.add_row(name, str(row.legs // 2), share, str(row.cpu_us), per_core)
    return table
