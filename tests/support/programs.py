"""Programs that tests run to their end."""

from __future__ import annotations

import subprocess
from pathlib import Path

LIMIT_S = 100


def output_of(*command: str | Path) -> str:
    """What a program printed; it must succeed within `LIMIT_S`.

    `timeout` starts it, as a child of its own: a process begins with the peak of memory of the one
    that started it, and libFuzzer takes a large test process's for its own.
    """
    limited = ("timeout", "--signal=KILL", str(LIMIT_S), *command)
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told[-4000:]
    return told
