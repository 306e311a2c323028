"""What a process of a benchmark has of the machine's memory."""

from __future__ import annotations

import os
from pathlib import Path

_MIB = 1 << 20


def rss_mib(pid: int) -> float:
    """Resident, in MiB (proc(5), statm)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB
