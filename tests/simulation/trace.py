"""What happened, in order: a hash over all of it, and the newest of it for people."""

from __future__ import annotations

import hashlib
from collections import deque

from engine.clock import NS_PER_S
from tests.simulation.loop import START_NS, SimLoop

KEPT = 400


class Trace:
    """Two runs of one seed write the same lines, so that their hashes are equal."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._hash = hashlib.sha256()
        self._newest: deque[str] = deque(maxlen=KEPT)
        self.count = 0

    def __call__(self, who: str, what: str) -> None:
        elapsed_ns = self._loop.now_ns - START_NS
        line = f"{elapsed_ns // NS_PER_S:>6}.{elapsed_ns % NS_PER_S:09} {who:<12} {what}"
        self._hash.update(line.encode())
        self._newest.append(line)
        self.count += 1

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def newest(self, count: int = 60, about: str = "") -> list[str]:
        """The last lines; those that mention `about`, if anything is asked about."""
        lines = [line for line in self._newest if about in line]
        return lines[-count:]


class Broken(AssertionError):
    """An invariant that did not hold; `name` is stable."""

    def __init__(self, name: str, text: str, about: str = "") -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.about = about
