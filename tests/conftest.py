"""Fixtures that every test may use; each comes from a module of `tests.support`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.features.report import RulesReport

pytest_plugins = ["tests.support.browser", "tests.support.store", "tests.support.postgres"]


REAL_TIME = ("tests/e2e/", "tests/integration/", "tests/bank/", "tests/native/")
"""Folders whose tests run real processes, sockets and browsers against the real clock."""
VIRTUAL_TIME = ("tests/integration/session/",)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rules-report", type=Path, help="File that tells which rules' tests passed.")


def pytest_configure(config: pytest.Config) -> None:
    """The process that hears of every test is the one that starts the workers."""
    path = config.getoption("--rules-report")
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(RulesReport(path), "rules-report")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A machine that stands still for seconds can break any test in real time, so those have a
    second attempt. It is listed as a rerun at the end of the report: one that comes back is a
    defect. Tests on virtual time are never run twice.
    """
    for item in items:
        if item.nodeid.startswith(REAL_TIME) and not item.nodeid.startswith(VIRTUAL_TIME):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """A library that made this a real-time thread would let the tests' own processes starve all."""
    assert os.sched_getscheduler(0) == os.SCHED_OTHER, f"a real-time thread since {item.nodeid}"
