"""`python -m tests.mutation [module ...]`: mutants that survive without an explanation fail it."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tests.mutation import runner
from tests.mutation.mutants import Mutant, mutants
from tests.mutation.runner import Runner, Suite
from tests.support import postgres

_DOCUMENT = Path("docs/mutation.md")
_ORACLE = "tests/unit/metering/test_meter_oracle.py"
_MACHINE = "tests/unit/ledger/test_machine.py"
_SESSIONS = "tests/unit/metering/test_sessions_machine.py"
_RANDOM = (_ORACLE, _SESSIONS)
_PLANTED = "tests/unit/metering/test_sessions_planted.py"
"""Reads the source of what it breaks, which is not what a mutant runs."""
_QUICK = ("tests/unit/metering", *(f"--ignore={path}" for path in (*_RANDOM, _PLANTED)))
_MONEY = "tests/unit/ledger/test_money.py"
_FEW_COST_S = 5
"""Processor time of the few tests that are called after a function, at most."""
_SUITES = {
    "tariff": Suite(("tests/unit/metering/test_tariff.py", *_QUICK), _RANDOM),
    "meter": Suite(("tests/unit/metering/test_meter_edges.py", *_QUICK), _RANDOM),
    "funds": Suite(("tests/unit/metering/test_funds.py", *_QUICK), _RANDOM),
    "stopwatch": Suite(("tests/unit/metering/test_watch_edges.py", *_QUICK), _RANDOM),
    "money": Suite((_MONEY,), (*_QUICK, _ORACLE, "tests/unit/ledger/test_transfers.py")),
}
_AUDIT = "tests/unit/ledger/test_audit.py"
_TRUE = "a_true_ledger_passes"
"""What notices an alarm without a cause."""
_PRICES = "tests/unit/ledger/test_price_checks.py"
_LEDGER = ("tests/unit/ledger", *(f"--ignore={path}" for path in (_MACHINE, _AUDIT, _PRICES)))
_SLOW = (_AUDIT, _MACHINE)
_TRANSFERS = "tests/unit/ledger/test_transfers.py"
_HOLDS = "tests/unit/ledger/test_holds.py"
_PAYOUTS = "tests/unit/ledger/test_payouts.py"
_RACES = "tests/integration/store/test_ledger_races.py"
_ON_POSTGRES = (_RACES, _HOLDS, _TRANSFERS, _PAYOUTS)
_CHECKS = Suite((_AUDIT, _PRICES), (_MACHINE,), (_AUDIT, _PRICES), named=True)
_LEDGER_SUITES = {
    **dict.fromkeys(("business_checks", "checking", "checks"), _CHECKS),
    "price_checks": Suite((_PRICES, _AUDIT), (_MACHINE,), (_PRICES, _AUDIT)),
    "transfers": Suite((_TRANSFERS, *_LEDGER), _SLOW, _ON_POSTGRES),
}
_OTHER_LEDGER = Suite((_HOLDS, *_LEDGER), _SLOW, _ON_POSTGRES)


def _modules() -> dict[str, tuple[str, Suite]]:
    """Short name -> module and the tests that must notice its mutants."""
    found = {name: (f"engine.metering.{name}", suite) for name, suite in _SUITES.items()}
    for path in sorted(Path("engine/metering/ledger").glob("*.py")):
        if path.stem != "__init__":
            suite = _LEDGER_SUITES.get(path.stem, _OTHER_LEDGER)
            found[f"ledger.{path.stem}"] = (f"engine.metering.ledger.{path.stem}", suite)
    return found


def _explained() -> set[str]:
    """The mutants that the document lists, one row of a table each."""
    if not _DOCUMENT.exists():
        return set()
    rows = re.findall(r"^\| `(.+?)` \|", _DOCUMENT.read_text(), re.MULTILINE)
    return {row.replace("\\|", "|") for row in rows}


def _chosen(module: str, source: str, *, share: float, seed: int, only: str) -> list[Mutant]:
    dice = random.Random(f"{module} {seed}")
    made = mutants(module.removeprefix("engine.metering."), source)
    return [mutant for mutant in made if dice.random() < share and re.search(only, mutant.name)]


def _survivors(
    run: Runner, module: str, suite: Suite, *, quick: bool, share: float, seed: int, only: str
) -> tuple[int, list[Mutant]]:
    source = Path(module.replace(".", "/") + ".py").read_text()
    left = made = _chosen(module, source, share=share, seed=seed, only=only)
    for tests in suite.stages(quick=quick):
        if suite.named:
            left = _unnamed(run, module, tests, left)
        if not left:
            break
        cost_s = run.cost_s(module, tests, source)
        total = len(left)

        def tell(done: int, total: int = total) -> None:
            if done % 25 == 0 or done == total:
                click.echo(f"  {done}/{total}", nl=done == total)

        left = run.survivors(module, tests, left, cost_s, tell)
    return len(made), left


def _unnamed(run: Runner, module: str, tests: tuple[str, ...], made: list[Mutant]) -> list[Mutant]:
    """Those that the tests called after their function do not notice, in their order."""
    prefix, left = module.removeprefix("engine.metering."), []
    for function, group in itertools.groupby(made, key=lambda one: _function(one, prefix)):
        those = list(group)
        if function:
            own = (*tests, "-k", f"{function} or {_TRUE}")
            those = run.survivors(module, own, those, _FEW_COST_S, lambda done: None)
        left += those
    return left


def _function(mutant: Mutant, prefix: str) -> str:
    """The outermost one that it is in; empty if it is in none."""
    where = mutant.name.split(":")[0].removeprefix(prefix)
    return where.lstrip("._").split(".")[0]


@click.command()
@click.argument("names", nargs=-1)
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True)
@click.option("--quick", is_flag=True, help="Without the random histories: more will survive.")
@click.option("--share", default=1.0, show_default=True, help="Of the mutants, by chance.")
@click.option("--seed", default=0, show_default=True, help="Of that chance.")
@click.option("--only", default="", help="Mutants whose name matches this regular expression.")
def main(names: tuple[str, ...], jobs: int, quick: bool, **which: Any) -> None:
    """Run the unit tests against every mutant of the named modules (default: all of them)."""
    modules = _modules()
    unknown = set(names) - modules.keys()
    if unknown:
        raise click.UsageError(f"{', '.join(sorted(unknown))}: choose from {', '.join(modules)}")
    os.nice(10)
    runner.prepare()
    binaries = postgres.find_binaries()
    if binaries is None and not quick:
        raise click.UsageError("no PostgreSQL server is installed; --quick does without")
    with contextlib.ExitStack() as stack:
        if binaries is not None and not quick:
            stack.enter_context(postgres.shared(binaries))
        chosen = {name: modules[name] for name in names or modules}
        sys.exit(_run(chosen, jobs, quick=quick, **which))


def _run(chosen: Mapping[str, tuple[str, Suite]], jobs: int, **how: Any) -> int:
    """The status to exit with: 1 if a mutant survives without an explanation."""
    run, explained = Runner(jobs), _explained()
    made = alive = unexplained = 0
    try:
        for name, (module, suite) in chosen.items():
            began = time.monotonic()
            count, left = _survivors(run, module, suite, **how)
            open_ones = [mutant for mutant in left if mutant.name not in explained]
            click.echo(
                f"{name}: {count} mutants, {count - len(left)} killed, {len(left)} survive, "
                f"{len(open_ones)} of them unexplained, {time.monotonic() - began:.0f} s"
            )
            for mutant in open_ones:
                click.echo(f"  line {mutant.line}: {mutant.name}")
            made, alive = made + count, alive + len(left)
            unexplained += len(open_ones)
    finally:
        run.close()
    click.echo(f"mutation: {made} mutants, {made - alive} killed, {unexplained} unexplained")
    return 1 if unexplained else 0


if __name__ == "__main__":
    main()
