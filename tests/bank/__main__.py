"""`python -m tests.bank`: progress, a table of figures, one summary line; status 1 on any break."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from engine.store import migrate
from tests.bank.controller import Bank, Plan, Report
from tests.bank.verdict import judge
from tests.support.postgres import find_binaries, private_cluster


@contextlib.contextmanager
def _migrated_store() -> Iterator[str]:
    binaries = find_binaries()
    if binaries is None:
        raise click.ClickException("no PostgreSQL server is installed")
    with private_cluster(binaries) as cluster:
        cluster.execute("CREATE DATABASE bank")
        migrate.upgrade(cluster.url("bank"))
        yield cluster.url("bank")


async def _run(plan: Plan) -> Report:
    report = await Bank(plan).run()
    await judge(plan, report)
    return report


@click.command()
@click.option("--kills", default=300, show_default=True, type=click.IntRange(min=1))
@click.option("--engines", default=3, show_default=True, type=click.IntRange(2, 8))
@click.option("--calls", default=6, show_default=True, help="Calls at once in each process.")
@click.option("--seed", type=int, help="Of the faults and scripts; their timing is the machine's.")
def main(kills: int, engines: int, calls: int, seed: int | None) -> None:
    """Kill, freeze and cut off engine processes on one PostgreSQL, then count the money."""
    seed = random.randrange(1_000_000) if seed is None else seed
    click.echo(f"bank: {engines} engines, {kills} kills, seed {seed}")
    directory = Path(tempfile.mkdtemp(prefix="talktime-bank-"))
    began = time.monotonic()
    with _migrated_store() as url:
        plan = Plan(url, directory, kills, engines, seed, calls, tell=click.echo)
        report = asyncio.run(_run(plan))
    for name, figure in sorted(report.figures.items()):
        click.echo(f"  {name:34} {figure:>12,}")
    for text in report.breaks[:20]:
        click.echo(f"BROKEN {text}")
    click.echo(
        f"bank: {report.figures['kills']} kills, {report.figures['sessions']} sessions, "
        f"{time.monotonic() - began:.0f} s, {len(report.breaks)} breaks, seed {seed}"
    )
    if report.breaks:
        click.echo(f"logs and evidence are in {directory}")
        sys.exit(1)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
