"""What a bad network does to handshakes: each of the first datagrams meets a fate of its own."""

from __future__ import annotations

import enum
from collections.abc import Iterable


def is_dtls(datagram: bytes) -> bool:
    """RFC 7983."""
    return len(datagram) > 0 and 20 <= datagram[0] < 64


class Fate(enum.Enum):
    """What becomes of a datagram on its way."""

    PASSES = "passes"
    LOST = "lost"
    DOUBLED = "doubled"
    LATE = "late"
    """Arrives behind the next one."""


class HandshakeTrouble:
    """One direction of a bad network: the first DTLS datagrams meet these fates, the rest passes,
    and so does what is not DTLS.
    """

    def __init__(self, fates: Iterable[Fate]) -> None:
        self._fates = iter(fates)
        self._late: list[bytes] = []

    def __call__(self, datagram: bytes) -> list[bytes]:
        """What arrives when this is sent, in order."""
        fate = next(self._fates, Fate.PASSES) if is_dtls(datagram) else Fate.PASSES
        if fate is Fate.LOST:
            return []
        if fate is Fate.LATE:
            self._late.append(datagram)
            return []
        late, self._late = self._late, []
        return [datagram] * (1 + (fate is Fate.DOUBLED)) + late
