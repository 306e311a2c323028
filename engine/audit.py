"""Audit a live store: recompute every balance and name whatever does not add up.

``python -m engine.audit --store URL`` prints a table and exits with 0 if every promise is kept, 1
if not, 2 if the store cannot be audited. `audit(store)` is the same for the staff page and the
metrics. Everything is read from one snapshot; nothing is written and no wallet is locked.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import sqlalchemy as sa
from rich import box
from rich.console import Console
from rich.table import Table

from engine.clock import SystemClock
from engine.config import SettingsError, load
from engine.errors import Unavailable
from engine.metering.ledger import AccountKind
from engine.metering.ledger.checking import Check
from engine.metering.ledger.checks import CHECKS, totals
from engine.metering.money import format_minor
from engine.store.database import Store, Tx, async_url

MAX_DIFFERENCES: Final = 100
"""How many differences of one check are named; the count is always the whole."""

AUDIT_PATIENCE_S: Final = 600.0
"""How long one statement of an audit may take on PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`subject` is the id of the transfer, account, hold, session, order or payment (or a
    currency).
    """

    subject: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`count` differences among `examined` rows; the first MAX_DIFFERENCES of them are named."""

    name: str
    promise: str
    examined: int
    count: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """Balance and held part of all accounts of one kind, in minor units."""

    currency: str
    kind: AccountKind
    balance_minor: int
    held_minor: int


@dataclass(frozen=True, slots=True)
class AuditReport:
    at_ms: int
    checks: tuple[CheckResult, ...]
    totals: tuple[Total, ...]

    @property
    def ok(self) -> bool:
        return all(check.count == 0 for check in self.checks)


async def audit(store: Store, checks: Sequence[Check] = CHECKS) -> AuditReport:
    """Run the checks on one snapshot. Raises `Unavailable("store_unavailable")`."""
    now_ms = store.clock.wall_ms()
    async with store.reading() as tx:
        results = [await _run(tx, check, now_ms) for check in checks]
        rows = (await tx.execute(totals())).all()
    sums = [
        Total(row.currency, AccountKind(row.kind), int(row.balance), int(row.held)) for row in rows
    ]
    return AuditReport(now_ms, tuple(results), tuple(sums))


async def _run(tx: Tx, check: Check, now_ms: int) -> CheckResult:
    asked = {"now_ms": now_ms}
    examined = (await tx.execute(check.examined)).scalar_one()
    found = check.differences.subquery()
    named = (await tx.execute(sa.select(found).limit(MAX_DIFFERENCES), asked)).all()
    count = len(named)
    if count == MAX_DIFFERENCES:
        whole = sa.select(sa.func.count()).select_from(found)
        count = (await tx.execute(whole, asked)).scalar_one()
    differences = tuple(Difference(*(str(value) for value in row)) for row in named)
    return CheckResult(check.name, check.promise, examined, count, differences)


def show(report: AuditReport, console: Console) -> None:
    """Print the report for people."""
    table = Table(box=box.SIMPLE)
    for heading in ("check", "examined", "differences", "promise"):
        table.add_column(heading, no_wrap=heading == "check")
    for check in report.checks:
        mark = "[red]" if check.count else "[green]"
        table.add_row(check.name, str(check.examined), f"{mark}{check.count}", check.promise)
    console.print(table)
    for check in report.checks:
        for difference in check.differences:
            console.print(
                f"{check.name}: {difference.subject}: "
                f"expected {difference.expected}, found {difference.found}",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )
    console.print(_money(report.totals))


def _money(sums: tuple[Total, ...]) -> Table:
    table = Table("accounts", "balance", "held", box=box.SIMPLE)
    for total in sums:
        balance = format_minor(total.balance_minor, total.currency)
        table.add_row(total.kind, balance, format_minor(total.held_minor, total.currency))
    return table


async def _audit_url(url: str) -> AuditReport:
    store = Store(url, SystemClock(), patience_s=AUDIT_PATIENCE_S)
    try:
        return await audit(store)
    finally:
        await store.close()


@click.command()
@click.option(
    "--store",
    help="sqlite:///path or postgresql://user:password@host/name; without it the store that the "
    "settings name, as the engine itself would find it",
)
def main(store: str | None) -> None:
    """Check that every balance, hold, transfer and session adds up."""
    try:
        store = store or load().store
        url = async_url(store)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            raise click.UsageError(f"There is no file {url.database}.")  # opening would create it
        report = asyncio.run(_audit_url(store))
    except (Unavailable, SettingsError, sa.exc.SQLAlchemyError) as error:
        click.echo(f"The store cannot be audited: {error}", err=True)
        sys.exit(2)
    show(report, Console())
    sys.exit(0 if report.ok else 1)


if __name__ == "__main__":
    main()
