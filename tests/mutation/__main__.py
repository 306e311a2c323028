"""`python -m tests.mutation [module ...]`: mutants that survive without an explanation fail it."""

from __future__ import annotations

import os
import random
import re
import sys
import time
from pathlib import Path

import click

from tests.mutation import runner
from tests.mutation.mutants import Mutant, mutants
from tests.mutation.runner import Runner, Suite

_DOCUMENT = Path("docs/mutation.md")
_ORACLE = "tests/unit/metering/test_meter_oracle.py"
_MACHINE = "tests/unit/ledger/test_machine.py"
_QUICK = ("tests/unit/metering", f"--ignore={_ORACLE}")
_MONEY = "tests/unit/ledger/test_money.py"
_SUITES = {
    "tariff": Suite(("tests/unit/metering/test_tariff.py", *_QUICK), (_ORACLE,)),
    "meter": Suite(("tests/unit/metering/test_meter_edges.py", *_QUICK), (_ORACLE,)),
    "funds": Suite(("tests/unit/metering/test_funds.py", *_QUICK), (_ORACLE,)),
    "stopwatch": Suite(("tests/unit/metering/test_watch_edges.py", *_QUICK), (_ORACLE,)),
    "money": Suite((_MONEY,), (*_QUICK, _ORACLE, "tests/unit/ledger/test_transfers.py")),
}
_AUDIT = "tests/unit/ledger/test_audit.py"
_LEDGER = ("tests/unit/ledger", f"--ignore={_MACHINE}")
_LEDGER_SUITES = {
    "checks": Suite((_AUDIT,), (_MACHINE,)),
    "transfers": Suite(("tests/unit/ledger/test_transfers.py", *_LEDGER), (_MACHINE,)),
}
_OTHER_LEDGER = Suite(("tests/unit/ledger/test_holds.py", *_LEDGER), (_MACHINE,))


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


def _survivors(
    run: Runner, module: str, suite: Suite, *, quick: bool, share: float, seed: int
) -> tuple[int, list[Mutant]]:
    source = Path(module.replace(".", "/") + ".py").read_text()
    made = mutants(module.removeprefix("engine.metering."), source)
    dice = random.Random(f"{module} {seed}")
    left = made = [mutant for mutant in made if dice.random() < share]
    for tests in (suite.quick,) if quick else (suite.quick, suite.thorough):
        cost_s = run.cost_s(module, tests, source)
        total = len(left)

        def tell(done: int, total: int = total) -> None:
            if done % 25 == 0 or done == total:
                click.echo(f"  {done}/{total}", nl=done == total)

        left = run.survivors(module, tests, left, cost_s, tell) if left else []
    return len(made), left


@click.command()
@click.argument("names", nargs=-1)
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True)
@click.option("--quick", is_flag=True, help="Without the random histories: more will survive.")
@click.option("--share", default=1.0, show_default=True, help="Of the mutants, by chance.")
@click.option("--seed", default=0, show_default=True, help="Of that chance.")
def main(names: tuple[str, ...], jobs: int, quick: bool, share: float, seed: int) -> None:
    """Run the unit tests against every mutant of the named modules (default: all of them)."""
    modules = _modules()
    unknown = set(names) - modules.keys()
    if unknown:
        raise click.UsageError(f"{', '.join(sorted(unknown))}: choose from {', '.join(modules)}")
    os.nice(10)
    runner.prepare()
    run, explained = Runner(jobs), _explained()
    made = alive = unexplained = 0
    try:
        for name in names or modules:
            began = time.monotonic()
            count, left = _survivors(run, *modules[name], quick=quick, share=share, seed=seed)
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
    sys.exit(1 if unexplained else 0)


if __name__ == "__main__":
    main()
