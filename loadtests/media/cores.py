"""Which core serves and which one loads: never the same one, where there are two."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

_USABLE = sorted(os.sched_getaffinity(0))
SERVER: Final = _USABLE[0]
GENERATOR: Final = _USABLE[-1]


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Processes started inside run on `core`, with all the threads that they start."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
