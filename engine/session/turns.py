"""Whose money is written next when more sessions wait for the store than it serves at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

_URGENT_IN_A_ROW: Final = 3
"""Ended sessions that wait get every fourth turn at least: they hold money that is not used."""


class WriteTurns:
    """At most `at_once` write together; the others wait here.

    In the store's own queue they would time out, and keep commands and checkpoints waiting. Those
    that run go first: one whose hold is not answered in time is cut off, and while it waits for the
    store it hears of nothing else. What an ended one has to settle can wait.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._patient: deque[asyncio.Future[None]] = deque()
        self._in_a_row = 0

    @contextlib.asynccontextmanager
    async def turn(self, *, urgent: bool) -> AsyncIterator[None]:
        """In order of arrival among those of the same urgency."""
        await self._take(urgent=urgent)
        try:
            yield
        finally:
            self._give()

    async def _take(self, *, urgent: bool) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._patient).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._give()  # it came, and nobody is here to use it
            raise

    def _give(self) -> None:
        while (turn := self._next()) is not None:
            if not turn.done():  # whoever waited for it may be gone
                turn.set_result(None)
                return
        self._free += 1

    def _next(self) -> asyncio.Future[None] | None:
        if self._urgent and (not self._patient or self._in_a_row < _URGENT_IN_A_ROW):
            self._in_a_row += 1
            return self._urgent.popleft()
        self._in_a_row = 0
        return self._patient.popleft() if self._patient else None
