"""What one party of a session was told, numbered so that it can be told again."""

from __future__ import annotations

from collections import deque
from typing import Final

Event = tuple[str, dict[str, object]]

EPOCH_SPAN: Final = 2**24
"""Numbers of one run: a day of 190 events a second. JavaScript counts exactly to 2**53."""

TRANSIENT = frozenset({"typing", "quality.updated"})
"""Pointless to repeat."""


class PartyLog:
    """The newest `kept` events; older ones are covered by the snapshot of a join.

    `epoch`: how often the session was taken over. Each run numbers from a base beyond whatever the
    runs before it can have used, so that nobody takes a later event for one already seen.
    """

    def __init__(self, kept: int, epoch: int = 1) -> None:
        self.last_seq = (epoch - 1) * EPOCH_SPAN
        self._events: deque[Event] = deque(maxlen=kept)

    def append(self, event: str, payload: dict[str, object], at: str) -> dict[str, object]:
        """Number and keep an event; the payload to send."""
        self.last_seq += 1
        stamped = {"v": 1, "seq": self.last_seq, "at": at} | payload
        if event not in TRANSIENT:
            self._events.append((event, stamped))
        return stamped

    def trim(self, kept: int) -> None:
        """Keep only the newest events from now on."""
        self._events = deque(self._events, maxlen=kept)

    def after(self, last_seq: int) -> list[Event]:
        """What came after `last_seq`, oldest first."""
        return [
            (event, payload)
            for event, payload in self._events
            if isinstance(payload["seq"], int) and payload["seq"] > last_seq
        ]
