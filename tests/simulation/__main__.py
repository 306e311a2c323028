"""``python -m tests.simulation --seeds 200``: run that many seeds; stop at the first that breaks.

``--seed N`` replays one; ``--hours H`` is how long people live in each, in virtual time.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

import click

from tests.simulation.run import Result, run_seed


@click.command()
@click.option("--seeds", default=200, show_default=True, help="How many seeds, from 0 or --first.")
@click.option("--first", default=0, show_default=True, help="The first of them.")
@click.option("--seed", type=int, help="Only this one, with the end of its trace.")
@click.option("--hours", default=0.25, show_default=True, help="Virtual hours of each seed.")
@click.option("--go-on", is_flag=True, help="Do not stop at the first broken seed.")
def main(seeds: int, first: int, seed: int | None, hours: float, go_on: bool) -> None:
    """Simulate the whole engine under seeded faults and check every invariant."""
    began = time.perf_counter()
    results: list[Result] = []
    for number in [seed] if seed is not None else range(first, first + seeds):
        with _named(number, hours):
            result = run_seed(number, hours=hours)
        results.append(result)
        click.echo(_line(result, results, time.perf_counter() - began))
        if result.broken is not None:
            click.echo("\n".join(["", *result.story, "", f"seed {number}: {result.broken}"]))
            click.echo(_again(number, hours))
            if not go_on:
                break
    broken = [one.seed for one in results if one.broken is not None]
    click.echo(f"{len(results)} seeds, broken: {broken or 'none'}")
    sys.exit(1 if broken else 0)


@contextlib.contextmanager
def _named(seed: int, hours: float) -> Iterator[None]:
    """Whatever ends the program, it does not end without the seed."""
    try:
        yield
    except BaseException as error:
        click.echo(f"\nseed {seed}: {type(error).__name__}: {error}\n{_again(seed, hours)}")
        raise


def _again(seed: int, hours: float) -> str:
    return f"again: python -m tests.simulation --seed {seed} --hours {hours}\n"


def _line(result: Result, results: list[Result], real_s: float) -> str:
    hours = sum(one.virtual_s for one in results) / 3_600
    calls = sum(one.served_s for one in results) / 3_600
    mark = "BROKEN" if result.broken is not None else "ok"
    return (
        f"seed {result.seed:>5} {mark:<6} {result.digest[:12]} {result.sessions:>3} sessions, "
        f"{result.metered:>3} metered, {result.commits:>5} commits | "
        f"{hours:.1f} h simulated, {calls:.1f} h of calls served, "
        f"{hours * 60 / real_s:.1f} and {calls * 60 / real_s:.1f} h per minute | {result.plan}"
    )


if __name__ == "__main__":
    main()
