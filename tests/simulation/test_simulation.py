"""A short walk through the simulation; `make sim` takes the long one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.run import run_seed

HOURS = 0.06


@pytest.mark.parametrize("seed", [*range(10), 14, 15])
def test_every_invariant_holds_under_faults(seed: int) -> None:
    """Invariants 1 to 13 of the metering design, after every commit and at the end."""
    result = run_seed(seed, hours=HOURS)
    assert result.broken is None, "\n".join([*result.story, str(result.broken)])
    assert result.metered > 0


def test_a_seed_is_one_run_in_every_process() -> None:
    """The same events in the same order, whatever order sets have in a process."""
    here = run_seed(7, hours=0.03)
    command = "from tests.simulation.run import run_seed; print(run_seed(7, hours=0.03).digest)"
    there = subprocess.run(
        [sys.executable, "-c", command],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONHASHSEED": "4711"},
    )
    assert there.stdout.strip() == here.digest
    assert run_seed(7, hours=0.03).digest == here.digest
    assert run_seed(8, hours=0.03).digest != here.digest
