"""Check the noted outcomes of tests against the promised rules; keep docs/features.md current."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from tests.features.report import passed
from tests.features.rules import RULES

PAGE = Path("docs/features.md")
_SHOWN = 3
_HEAD = """# Features

Every rule that the product promises, and tests that keep it. Made by `make features`, which fails
for a rule without a passing test. T: metered consultations, work and digital goods (`infotwip`).
P: custom services in escrow (`azmoudegan`).

| ID | Rule | Kept by |
|---|---|---|
"""


def page(by_rule: dict[str, list[str]]) -> str:
    lines = []
    for rule in RULES:
        tests = by_rule.get(rule.id, [])
        shown = "<br>".join(f"`{test.partition('tests/')[2]}`" for test in tests[:_SHOWN])
        if len(tests) > _SHOWN:
            shown += f"<br>and {len(tests) - _SHOWN} more"
        lines.append(f"| {rule.id} | {rule.text} | {shown or 'content'} |")
    return _HEAD + "\n".join(lines) + "\n"


@click.command()
@click.argument("report", type=click.Path(path_type=Path))
@click.option("--write", is_flag=True, help="Renew docs/features.md.")
def main(report: Path, *, write: bool) -> None:
    """Exit status 1 if a promised rule has no passing test or docs/features.md is stale."""
    by_rule = passed(json.loads(report.read_text()))
    missing = [rule for rule in RULES if not rule.content and not by_rule.get(rule.id)]
    for rule in missing:
        click.echo(f"{rule.id}: no passing test: {rule.text}", err=True)
    wanted = page(by_rule)
    if write:
        PAGE.write_text(wanted)
    stale = not PAGE.exists() or PAGE.read_text() != wanted
    if stale:
        click.echo(f"{PAGE} is not current: make features", err=True)
    click.echo(f"{len(RULES) - len(missing)} of {len(RULES)} rules kept")
    sys.exit(1 if missing or stale else 0)


if __name__ == "__main__":
    main()
