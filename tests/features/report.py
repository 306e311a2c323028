"""Which rules had a passing test: noted while the tests run, checked and written up afterwards.

pytest --rules-report=FILE     notes every passed and failed test that names a rule
python -m tests.features FILE  fails for a promised rule without a passing test, and for a stale
                               docs/features.md; --write renews the page
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

_NAMED = re.compile(r"^test_((?:[MTPC]\d{1,2}_)+)")


def rules_of(nodeid: str) -> list[str]:
    """The IDs that a test's name begins with."""
    found = _NAMED.match(nodeid.rpartition("::")[2])
    return found[1].strip("_").split("_") if found else []


class RulesReport:
    """A plugin of the process that hears of every test's outcome."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not rules_of(report.nodeid.partition("[")[0]):
            return
        if report.failed:
            self._outcomes[report.nodeid] = "failed"
        elif report.when == "call":
            self._outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._outcomes, indent=1, sort_keys=True))


def passed(outcomes: dict[str, str]) -> dict[str, list[str]]:
    """Tests by rule, of those that passed in every one of their variants."""
    variants: dict[str, set[str]] = {}
    for nodeid, outcome in outcomes.items():
        variants.setdefault(nodeid.partition("[")[0], set()).add(outcome)
    return _by_rule(test for test, results in variants.items() if results == {"passed"})


def _by_rule(tests: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for test in sorted(tests):
        for rule in rules_of(test):
            found.setdefault(rule, []).append(test)
    return found
